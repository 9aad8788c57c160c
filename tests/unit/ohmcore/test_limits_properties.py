"""What holds for limits, budgets and ramps whatever the values, the times and the order they come in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ohmcore.limits import Budget, Rule, integer, ramped, refusal

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

raws = st.integers(-0x8000, 0x7FFF)
pauses = st.integers(0, 8000)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    threshold, band = draw(st.integers(-100, 100)), draw(st.integers(0, 20))
    above = draw(st.booleans())
    return {
        "name": "limit",
        "above" if above else "below": threshold,
        "clear": threshold - band if above else threshold + band,
        "hold_ms": draw(st.sampled_from([0, 1000])),
        "stale_ms": draw(st.sampled_from([500, 5000])),
        "trip": draw(st.booleans()),
    }


steps = st.lists(st.tuples(st.one_of(st.none(), st.integers(-130, 130)), pauses), max_size=40)


def beyond(spec: dict[str, Any], value: int) -> bool:
    return bool(value > spec["above"]) if "above" in spec else bool(value < spec["below"])


def clear(spec: dict[str, Any], value: int) -> bool:
    return bool(value <= spec["clear"]) if "above" in spec else bool(value >= spec["clear"])


@given(rules(), steps)
def test_a_limit_changes_only_at_its_two_thresholds(spec: dict[str, Any], told: list[tuple[int | None, int]]) -> None:
    """It never chatters: active only after a value beyond, inactive again only with a value on the clear side."""
    rule = Rule(spec)
    last: int | None = None
    for value, pause in told:
        before = rule.active
        if value is not None:
            last = value
            rule.see(value)
            assert not (rule.active and clear(spec, value))
        rule.advance(pause)
        if rule.active and not before:
            assert last is not None
            assert beyond(spec, last)
        if before and not rule.active:
            assert last is not None
            assert clear(spec, last)


@given(rules(), steps)
def test_what_permits_has_a_fresh_value_that_permits(spec: dict[str, Any], told: list[tuple[int | None, int]]) -> None:
    rule = Rule(spec)
    age: int | None = None
    last = 0
    for value, pause in told:
        if value is not None:
            rule.see(value)
            age, last = 0, value
        rule.advance(pause)
        age = None if age is None else age + pause
        if not rule.blocks():
            assert age is not None
            assert age <= spec["stale_ms"]
            assert not beyond(spec, last) or spec["hold_ms"]
        if age is None or age > spec["stale_ms"]:
            assert rule.blocks() == "stale"
            assert not rule.cleared()


@given(rules(), steps)
def test_a_trip_needs_the_whole_hold_time_and_no_longer(spec: dict[str, Any], told: list[tuple[int | None, int]]) -> None:
    rule = Rule(spec | {"trip": True, "stale_ms": 10**8})
    held: int | None = None
    for value, pause in told:
        if value is not None:
            held = (held or 0) if beyond(spec, value) else None
        was = rule.active
        if value is not None:
            rule.see(value)
        rule.advance(pause)
        held = None if held is None else held + pause
        if held is not None and held >= spec["hold_ms"]:
            assert rule.tripped()
        elif not was:
            assert not rule.tripped()


@given(rules(), st.integers(-130, 130), st.lists(st.integers(0, 3000), max_size=10))
def test_time_in_pieces_is_time_in_one(spec: dict[str, Any], value: int, pieces: list[int]) -> None:
    pieced, whole = Rule(spec), Rule(spec)
    for rule in (pieced, whole):
        rule.see(value)
    for piece in pieces:
        pieced.advance(piece)
    whole.advance(sum(pieces))
    assert (pieced.blocks(), pieced.tripped(), pieced.lost()) == (whole.blocks(), whole.tripped(), whole.lost())


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 6 * HOUR_MS), st.booleans()), max_size=80))
def test_no_24_hours_have_more_writes_than_the_budget(most: int, told: list[tuple[int, bool]]) -> None:
    """`True`: the node restarts, and knows no more than what it kept."""
    budget = Budget(most)
    now = 0
    writes: list[int] = []
    for pause, restart in told:
        now += pause
        budget.advance(pause)
        if restart:
            kept = bytes(budget.hours)
            budget = Budget(most)
            budget.hours[:] = kept
        while budget.left() > 0:
            budget.spend(1)
            writes.append(now)
    for first in writes:
        assert sum(first <= moment < first + DAY_MS for moment in writes) <= most


@given(st.integers(1, 20))
def test_a_budget_comes_back_after_a_day_and_an_hour(most: int) -> None:
    budget = Budget(most)
    budget.spend(most)
    budget.advance(25 * HOUR_MS)
    assert budget.left() == most


fields = st.tuples(st.integers(-1000, 0), st.integers(0, 1000), st.sampled_from([1, 5, 100])).map(lambda drawn: [0, 1, 1, *drawn, None])


@given(fields, raws, st.integers(0, 2000), st.integers(0, 400))
def test_a_ramp_never_goes_too_far_and_always_arrives(field: list[Any], current: int, steps_of: int, speed: int) -> None:
    least, most, step = field[3:6]
    target = least + steps_of % ((most - least) // step + 1) * step
    allowed = step + speed
    current = max(min(current, most), least)
    for _ in range(2 * (most - least) // allowed + 3):
        if current == target:
            break
        value = ramped(current, target, allowed, field)
        assert abs(value - current) <= allowed
        assert min(current, target) <= value <= max(current, target)
        assert (value - least) % step == 0
        current = value
    assert current == target


@given(st.binary(min_size=2, max_size=6), fields, st.one_of(st.none(), st.binary(min_size=4, max_size=4)))
def test_what_is_not_refused_keeps_to_everything(raw: bytes, field: list[Any], safe: bytes | None) -> None:
    reason = refusal(raw, 2, [field], safe)
    if reason:
        assert reason in ("malformed", "out of range", "off step", "not allowed")
        return
    assert len(raw) == 4
    if raw == safe:
        return
    value = integer(raw, 0, 1, True)
    assert field[3] <= value <= field[4]
    assert (value - field[3]) % field[5] == 0
    assert safe is not None
    assert raw[2:] == safe[2:]


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2), st.integers(1, 2), st.booleans(), st.booleans())
def test_a_number_is_that_of_its_bytes(raw: bytes, offset: int, words: int, signed: bool, little: bool) -> None:
    part = raw[2 * offset : 2 * (offset + words)]
    ordered = part[2:] + part[:2] if little and words == 2 else part
    assert integer(raw, 2 * offset, words, signed, little) == int.from_bytes(ordered, "big", signed=signed)
