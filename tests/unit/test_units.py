"""Sizes as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.units import Bounds, Span, UnitError, bounds, duration, per_day, quantity, span


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3 kW", "W", 3000.0), ("3.3kW", "W", 3300.0), ("800 W", "kW", 0.8), ("-0.5 kW", "W", -500.0), ("15 %", "%", 15.0),
        ("5 kWh", "Wh", 5000.0), ("16 A", "A", 16.0), ("21.5 °C", "°C", 21.5), ("1.0 CZK/kWh", "CZK/kWh", 1.0), ("0", "W", 0.0),
        (0, "W", 0.0),
    ],
)  # fmt: skip
def test_a_size_is_read_in_the_unit_asked_for(text: object, unit: str, value: float) -> None:
    assert quantity(text, unit) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5 kg", "the unit must be W or kW or MW, not kg"), ("5 V", "not V"), ("5", "say the unit, e.g. 3 kW"), (5, "say the unit"),
        ("", "not a number"), ("kW", "not a number"), ("3,5 kW", "not a number"), (None, "not a number"), (True, "not a number"),
        (float("nan"), "finite"), ("1e999 W", "finite"), ("1..2 kW", "not a number"),
    ],
)  # fmt: skip
def test_what_is_no_power_is_refused_in_words(text: object, words: str) -> None:
    with pytest.raises(UnitError, match=words):
        quantity(text, "W")


def test_a_bare_number_is_taken_where_the_unit_is_plain() -> None:
    assert quantity(0.1, "%", bare=True) == 0.1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60 s", 60),
        ("250 ms", 0.25),
        ("10 min", 600),
        ("1 h 30 min", 5400),
        ("1h30min", 5400),
        ("1 d", 86400),
        ("2 days", 172800),
        ("0 s", 0),
    ],
)
def test_durations_are_read_as_people_say_them(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["-1 s", "10", "1 h 30", "ten seconds", "1 W", "min", None, []])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(UnitError):
        duration(text)


@pytest.mark.parametrize(
    ("text", "unit", "ends"),
    [
        ("15..95 %", "%", (15, 95)), ("..3 kW", "W", (None, 3000)), ("2 kW..", "W", (2000, None)), ("1..3 kW", "W", (1000, 3000)),
        ("500 W .. 3 kW", "W", (500, 3000)), ("-10..10 %", "%", (-10, 10)), ("0.5..1.5 A", "A", (0.5, 1.5)),
    ],
)  # fmt: skip
def test_a_range_may_leave_an_end_open_and_say_its_unit_once(text: str, unit: str, ends: tuple[float | None, float | None]) -> None:
    assert bounds(text, unit) == Bounds(*ends)


@pytest.mark.parametrize("text", ["95..15 %", "..", "15 %", "a..b", "1..2", "1...2 %", "1 W..2 %", 5, None])
def test_what_is_no_range_is_refused(text: object) -> None:
    with pytest.raises(UnitError):
        bounds(text, "%")


def test_a_span_keeps_its_unit_and_needs_both_ends() -> None:
    assert span("0..100 A") == Span(0, 100, "A")
    assert span("0 A..100 A") == Span(0, 100, "A")
    assert span("10000..10014") == Span(10000, 10014, "")
    for wrong in ("..3 A", "3 A..", "1 V..2 A", "2..1", 7):
        with pytest.raises(UnitError):
            span(wrong)


def test_a_budget_is_times_a_day() -> None:
    assert per_day("50/day") == 50
    assert per_day(" 20 / d ") == 20
    for wrong in ("50", "50/h", "-1/day", "1.5/day", 50):
        with pytest.raises(UnitError):
            per_day(wrong)


@given(st.decimals(min_value=-100000, max_value=100000, places=3))
def test_kilowatts_and_watts_agree_to_the_last_digit(size: object) -> None:
    assert quantity(f"{size} kW", "W") == float(f"{size}e3")


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_with_a_unit_error_and_no_other(text: str) -> None:
    for reading in (
        lambda: quantity(text, "W"),
        lambda: duration(text),
        lambda: bounds(text, "%"),
        lambda: span(text),
        lambda: per_day(text),
    ):
        with contextlib.suppress(UnitError):
            reading()
