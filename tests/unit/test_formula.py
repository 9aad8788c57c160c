"""Formulas: Python's own arithmetic, nothing else, and absent instead of wrong."""

from __future__ import annotations

import itertools
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.profiles.formula import Formula, FormulaError, dependency_order

NAMES = ("a", "b", "pv_day")
REFERENCE = {
    "__builtins__": {},
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "int": int,
    "float": float,
    "sum": lambda *terms: sum(terms),
}

numbers = st.integers(-10_000, 10_000) | st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3))
leaves = numbers.filter(lambda number: number >= 0).map(repr) | st.sampled_from(NAMES)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner)
    chain = st.tuples(inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner, st.sampled_from(["<", ">="]), inner)
    return st.one_of(
        binary.map(lambda parts: f"({' '.join(parts)})"),
        chain.map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["-", "+", "not "]), inner).map(lambda parts: f"({parts[0]}{parts[1]})"),
        st.tuples(inner, st.integers(0, 3)).map(lambda parts: f"({parts[0]} ** {parts[1]})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
        st.tuples(st.sampled_from(["min", "max", "sum"]), inner, inner).map(lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"),
        st.tuples(st.sampled_from(["abs", "round", "int", "float"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(inner, st.integers(-2, 3)).map(lambda parts: f"round({parts[0]}, {parts[1]})"),
    )


expressions = st.recursive(leaves, _larger, max_leaves=12)
inputs = st.fixed_dictionaries(dict.fromkeys(NAMES, numbers))


@settings(max_examples=500)
@given(expressions, inputs)
def test_a_formula_agrees_with_python(text: str, values: dict[str, float]) -> None:
    try:
        formula = Formula(text)
    except FormulaError as error:
        assert "too" in str(error)  # noqa: PT017 - only a formula that is too long or too deep may be refused here
        return
    try:
        expected = eval(text, dict(REFERENCE), dict(values))  # noqa: S307 - the reference; the texts are made above
    except (ArithmeticError, ValueError):
        expected = None
    if isinstance(expected, int | float) and not _finite(expected):
        expected = None
    result = formula.evaluate(values)
    if result is None and isinstance(expected, int | float) and abs(expected) > 1e200:
        return  # beyond what a power may reach
    assert result == expected
    if expected is not None:
        assert type(result) is (int if isinstance(expected, bool) else type(expected))


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


@pytest.mark.parametrize(
    "text",
    [
        "a.real", "a[0]", "lambda: 1", "'text'", "a + 'x'", "__import__('os')", "[a for a in b]", "[1, 2]", "(1, 2)", "{1: 2}", "{1}",
        "f'{a}'",
        "a if b", "a = 1", "(a := 1)", "a; b", "import os", "open('x')", "print(a)", "eval(a)", "min", "max(a)", "min()", "abs(a, b)",
        "round(a, ndigits=2)", "max(*a)", "sum()", "_a", "__class__", "a.__class__", "True", "None", "1j", "...", "a & b", "a | b", "a ^ b",
        "~a",
        "a << b", "a >> b", "a @ b", "a in b", "a is b", "a is not b", "await a", "yield a", "*a", "A", "ä", "", " ", "a +", "1 2",
        "(a", "a # b",
        "1e999", "b'x'", "min.__self__", "(abs)(a)(b)", "abs(abs)", "int('1')", "a if b else c.d", "not a.b",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        Formula(text)


@given(st.text(alphabet="abm_xin()[]{}.,+-*/%<>=!'\"0123456789 \n\\:;@#&|^~eif\0λ", max_size=40))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        formula = Formula(text)
    except FormulaError:
        return
    formula.evaluate(dict.fromkeys(formula.names, 2))


def test_a_refusal_says_what_is_wrong() -> None:
    with pytest.raises(FormulaError, match=r"`pv\.day` is not allowed in a formula"):
        Formula("pv.day + 1")
    with pytest.raises(FormulaError, match=r"`open` cannot be called here; allowed are min, max"):
        Formula("open(a)")
    with pytest.raises(FormulaError, match=r"abs\(\) takes 1 values, not 2"):
        Formula("abs(a, b)")


def test_names_are_told_in_the_order_they_appear() -> None:
    assert Formula("max(0.0, float(inverter) - grid_power + inverter)").names == ("inverter", "grid_power")


def test_a_missing_input_makes_the_result_absent() -> None:
    formula = Formula("a if b else 0")
    assert formula.evaluate({"b": 0}) is None
    assert formula.evaluate({}) is None
    assert formula.evaluate({"a": 1, "b": 1}) == 1


@pytest.mark.parametrize("value", ["3", None, float("nan"), float("inf"), 10**400, [1]])
def test_an_input_that_is_no_finite_number_is_as_good_as_missing(value: object) -> None:
    assert Formula("a + 1").evaluate({"a": value}) is None


@pytest.mark.parametrize(
    "text", ["a / 0", "a // 0", "a % 0", "0 ** -a", "1e300 * 1e300 * a", "(-a) ** 0.5", "10.0 ** 308 * 10 * a", "int(1e300 * 1e300)"]
)
def test_what_has_no_finite_result_is_absent_and_never_zero(text: str) -> None:
    assert Formula(text).evaluate({"a": 2}) is None


@pytest.mark.parametrize(
    "text", ["9 ** 9 ** 9", "a ** a ** a ** a", "round(1, -99999999999)", "round(a, a * 999999999)", "((a ** 99) ** 99) ** 99"]
)
def test_no_formula_computes_for_long(text: str) -> None:
    begin = time.process_time()
    assert Formula(text).evaluate({"a": 999}) is None
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize(
    "text", ["(" * 100 + "a" + ")" * 100, "-" * 40 + "a", "a" + "+a" * 300, "a" * 1001, "abs(" * 35 + "a" + ")" * 35, "(" * 450]
)
def test_formulas_have_a_limited_size_and_depth(text: str) -> None:
    if text.startswith("((") and text.endswith("))"):
        assert Formula(text).evaluate({"a": 1}) == 1  # parentheses alone are no depth
        return
    with pytest.raises(FormulaError):
        Formula(text)


def test_a_comparison_gives_one_or_zero() -> None:
    formula = Formula("0 < a <= 5")
    assert [type(formula.evaluate({"a": a})) for a in (3, 9)] == [int, int]
    assert [formula.evaluate({"a": a}) for a in (0, 3, 5, 9)] == [0, 1, 1, 0]


def test_a_formula_may_span_lines() -> None:
    assert Formula("a\n  + b").evaluate({"a": 1, "b": 2}) == 3


def test_calculated_points_come_after_what_they_need() -> None:
    order, cycles = dependency_order({"c": Formula("a + b"), "b": Formula("raw + a"), "a": Formula("raw * 2")})
    assert order == ["a", "b", "c"]
    assert cycles == []


def test_a_cycle_is_named_as_a_path() -> None:
    order, cycles = dependency_order({"a": Formula("b + 1"), "b": Formula("c"), "c": Formula("a"), "d": Formula("x"), "e": Formula("e")})
    assert cycles == [["a", "b", "c", "a"], ["e", "e"]]
    assert order == ["d"]


@given(st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from("abcdefgxyz"), min_size=1, max_size=3), max_size=7))
def test_any_set_of_formulas_is_ordered_or_its_cycles_are_found(needs: dict[str, list[str]]) -> None:
    order, cycles = dependency_order({name: Formula(" + ".join(needed)) for name, needed in needs.items()})
    for cycle in cycles:
        assert all(second in needs[first] for first, second in itertools.pairwise(cycle))
        assert cycle[0] == cycle[-1]
    assert set(order) | {name for cycle in cycles for name in cycle} == set(needs)
    if not cycles:
        for place, name in enumerate(order):
            assert {needed for needed in needs[name] if needed in needs} <= set(order[:place])
