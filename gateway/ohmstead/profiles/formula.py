"""Formulas of calculated points: a small part of Python's expressions, checked once, compiled once, then fast.

Allowed are numbers, names of points, `+ - * / // % **`, comparisons (also in chains), `and or not`, `a if b else c`, and
calls of `min max abs round sum int float`; `sum` takes its terms as arguments. Nothing else gets past the check, so that
a formula can neither reach anything nor run for long.
"""

from __future__ import annotations

import ast
import builtins
import math
import re
import warnings
from collections.abc import Callable, Mapping

Number = int | float

_MAX_TEXT = 1000
_MAX_NODES = 250
_MAX_DEPTH = 30
_MAX_POWER_BITS = 1024
_MAX_DIGITS = 15
_NAME = re.compile(r"[a-z][a-z0-9_]*")

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.UAdd, ast.USub, ast.Not, ast.And, ast.Or)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_CALLS = {"min": (2, 50), "max": (2, 50), "abs": (1, 1), "round": (1, 2), "sum": (1, 50), "int": (1, 1), "float": (1, 1)}
"""Function → the least and the greatest number of its arguments."""


class FormulaError(ValueError):
    """A formula says something that is not allowed; the text names it."""


class Formula:
    """`Formula("max(0.0, float(inverter) - grid_power)")`. Raises FormulaError. `names` are the inputs, in order of appearance."""

    def __init__(self, text: str) -> None:
        self.text = text
        tree = _parse(text)
        self.names = _check(tree)
        self._function = _compile(tree, self.names)

    def evaluate(self, values: Mapping[str, object]) -> Number | None:
        """The result, or None when it is absent: an input is missing or no finite number, a division by zero, an overflow."""
        try:
            inputs = [values[name] for name in self.names]
            for value in inputs:
                if not isinstance(value, int | float) or not math.isfinite(value):
                    return None
            result = self._function(*inputs)
            if isinstance(result, bool):
                return int(result)
            return result if isinstance(result, int | float) and math.isfinite(result) else None
        except (KeyError, ArithmeticError, ValueError, TypeError):
            return None

    def __repr__(self) -> str:
        return f"Formula({self.text!r})"


def dependency_order(formulas: Mapping[str, Formula]) -> tuple[list[str], list[list[str]]]:
    """The names of `formulas` so that each comes after what it needs, and the cycles (each as a path that ends where it began).

    What is in a cycle is not in the order.
    """
    order: list[str] = []
    cycles: list[list[str]] = []
    done: set[str] = set()
    path: list[str] = []
    cyclic: set[str] = set()

    def visit(name: str) -> None:
        if name in path:
            cycle = path[path.index(name) :]
            cyclic.update(cycle)
            cycles.append([*cycle, name])
            return
        if name in done:
            return
        path.append(name)
        for needed in formulas[name].names:
            if needed in formulas:
                visit(needed)
        path.pop()
        done.add(name)
        order.append(name)

    for name in formulas:
        visit(name)
    return [name for name in order if name not in cyclic], cycles


def _parse(text: str) -> ast.expr:
    if len(text) > _MAX_TEXT:
        raise FormulaError(f"is longer than {_MAX_TEXT} characters")
    if "#" in text:
        raise FormulaError("cannot hold a comment")
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(" ".join(text.split()), mode="eval").body
    except SyntaxError as error:
        raise FormulaError(f"is not a formula: {error.msg} at character {error.offset or 1}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise FormulaError("is not a formula") from error


def _check(tree: ast.expr) -> tuple[str, ...]:
    names: dict[str, None] = {}
    count = 0

    def visit(node: ast.AST, depth: int) -> None:
        nonlocal count
        count += 1
        if depth > _MAX_DEPTH or count > _MAX_NODES:
            raise FormulaError("is nested too deeply" if depth > _MAX_DEPTH else "is too long")
        match node:
            case ast.Constant(value=value):
                if type(value) not in (int, float) or not math.isfinite(_as_float(value)):
                    raise FormulaError(f"{ast.unparse(node)} is not a number")
            case ast.Name(id=name):
                if not _NAME.fullmatch(name) or name in _CALLS:
                    raise FormulaError(f"`{name}` cannot be the name of a point")
                names[name] = None
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
                least, most = _CALLS[name]
                if not least <= len(arguments) <= most:
                    raise FormulaError(f"{name}() takes {least if least == most else f'{least} to {most}'} values, not {len(arguments)}")
                for argument in arguments:
                    visit(argument, depth + 1)
            case ast.Call(func=function):
                raise FormulaError(f"`{ast.unparse(function)}` cannot be called here; allowed are {', '.join(_CALLS)}")
            case ast.UnaryOp(op=operator) | ast.BinOp(op=operator) | ast.BoolOp(op=operator) if isinstance(operator, _OPERATORS):
                for below in ast.iter_child_nodes(node):
                    if isinstance(below, ast.expr):
                        visit(below, depth + 1)
            case ast.Compare(ops=operators) if all(isinstance(operator, _COMPARISONS) for operator in operators):
                for below in (node.left, *node.comparators):
                    visit(below, depth + 1)
            case ast.IfExp():
                for below in (node.test, node.body, node.orelse):
                    visit(below, depth + 1)
            case _:
                raise FormulaError(f"`{_excerpt(node)}` is not allowed in a formula")

    visit(tree, 0)
    return tuple(names)


def _as_float(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.inf


def _excerpt(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:37]}..."


class _Bounded(ast.NodeTransformer):
    """`a ** b` becomes a call of `_power`: the one operator whose result can be too large to compute."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        return ast.Call(func=ast.Name(id="_power", ctx=ast.Load()), args=[node.left, node.right], keywords=[])


def _compile(tree: ast.expr, names: tuple[str, ...]) -> Callable[..., object]:
    parameters = ast.arguments(posonlyargs=[], args=[ast.arg(arg=name) for name in names], kwonlyargs=[], kw_defaults=[], defaults=[])
    body: ast.expr = _Bounded().visit(tree)
    function = ast.Expression(body=ast.Lambda(args=parameters, body=body))
    code = compile(ast.fix_missing_locations(function), "<formula>", "eval")
    compiled: Callable[..., object] = eval(code, dict(_NAMESPACE))  # noqa: S307 - the tree holds only what _check let through, and no builtins
    return compiled


def _power(base: Number, exponent: Number) -> object:
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > _MAX_POWER_BITS:
        raise OverflowError
    return base**exponent


def _round(value: Number, digits: int | None = None) -> Number:
    if digits is not None and abs(digits) > _MAX_DIGITS:
        raise OverflowError
    return round(value, digits)


def _sum(*terms: Number) -> Number:
    return builtins.sum(terms)


_NAMESPACE = {
    "__builtins__": {}, "min": min, "max": max, "abs": abs, "round": _round, "sum": _sum, "int": int, "float": float, "_power": _power,
}  # fmt: skip
