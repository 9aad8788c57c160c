"""What texts of a Miniserver mean, and that no other text means anything."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.control.loxone_words import Unreadable, kilowatts, level, minutes, mode

BLANKS = st.text(" \t\r\n", max_size=3)


@pytest.mark.parametrize("text", ["1", "1.0", "1,0", "on", "ON", "true", "True", " 1 ", "1\r\n", "+1", "01", "1.", "yes", "\u00a01"])
def test_what_is_on(text: str) -> None:
    assert level(text.encode()) is True


@pytest.mark.parametrize("text", ["0", "0.0", "0,0", "off", "OFF", "false", " 0", "-0", "0.000", "no"])
def test_what_is_off(text: str) -> None:
    assert level(text.encode()) is False


NO_NUMBERS = [
    "",
    " ",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1e309",
    "-1e309",
    "1e9999",
    "abc",
    "1;2",
    "1.2.3",
    "1,234.5",
    "0x10",
    "1_0",
    "--1",
]
NO_NUMBERS += ["١", "½", "{}", "null", "1 2", "+", ".", ",", "e5", "1" * 400]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "2", "0.5", "-1", "11", "enable"])
def test_what_is_neither_on_nor_off(text: str) -> None:
    with pytest.raises(Unreadable):
        level(text.encode())


@pytest.mark.parametrize("text", [*NO_NUMBERS, "3 W", "3 min", "on", "3kWh"])
def test_what_is_no_power(text: str) -> None:
    with pytest.raises(Unreadable, match="is not a power in kW"):
        kilowatts(text.encode())


@pytest.mark.parametrize("text", ["2.5", "2,5", " 2.50 ", "2.5 kW", "2,5kW", "2.5 KW", "+2.5", "25e-1", "02.5"])
def test_a_power_is_in_kw(text: str) -> None:
    assert kilowatts(text.encode()) == 2.5


def test_a_negative_power_is_read_as_one() -> None:
    assert kilowatts(b"-1,5") == -1.5


@pytest.mark.parametrize("text", ["60", "60.0", "60,0", "60 min", "60min"])
def test_a_time_is_in_minutes(text: str) -> None:
    assert minutes(text.encode()) == 60.0


MODES = {"auto": "auto", " AUTO": "auto", "0": "auto", "0,0": "auto", "manual": "manual", "1.0": "manual"}


@pytest.mark.parametrize(("text", "name"), MODES.items())
def test_a_mode_is_a_word_or_a_number(text: str, name: str) -> None:
    assert mode(text.encode()) == name


@pytest.mark.parametrize("text", [*NO_NUMBERS, "2", "stopped", "automatic", "on"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(Unreadable):
        mode(text.encode())


@pytest.mark.parametrize("payload", [b"\xff\xfe1", b"\x00\x01", b"1" * 65, b"\xc3", "1\u202e".encode()])
def test_bytes_that_are_no_text_are_shown_without_harm(payload: bytes) -> None:
    with pytest.raises(Unreadable) as error:
        level(payload)
    assert error.value.shown.isprintable()
    assert len(error.value.shown) <= 40


@given(st.floats(-1e6, 1e6), BLANKS, BLANKS, st.booleans())
def test_any_number_is_read_with_point_or_comma_and_blanks_around(size: float, before: str, after: str, comma: bool) -> None:
    text = f"{size:.3f}"
    written = before + (text.replace(".", ",") if comma else text) + after
    assert kilowatts(written.encode()) == float(text)
    assert minutes(written.encode()) == float(text)


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_whatever_comes_has_a_meaning_or_is_refused(payload: bytes) -> None:
    readers: tuple[Callable[[bytes], bool | float | str], ...] = (level, kilowatts, minutes, mode)
    for read in readers:
        found, shown = None, ""
        try:
            found = read(payload)
        except Unreadable as error:
            shown = error.shown
        assert shown.isprintable()
        assert len(shown) <= 64
        assert found in (None, "auto", "manual") or math.isfinite(float(found or 0))
