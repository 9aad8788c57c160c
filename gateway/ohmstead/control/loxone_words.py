"""What a Miniserver's text means: `1`, `1.0`, `1,0`, `on`, `ON`, `true`, blanks around. Loxone only knows texts and analogue values, and
which of them arrives depends on how the block was set.

Tolerant of the form, never of the meaning: what is no finite number is none, what is neither on nor off is neither.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

MOST_BYTES = 64
"""A longer text is not looked at."""

_LEAST_MS = 1000
_SHOWN = 40
_NUMBER = re.compile(r"([+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,4})?)\s*([A-Za-z]*)")
_LEVELS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
_MODES = {"auto": "auto", "manual": "manual"}


class Unreadable(ValueError):  # noqa: N818 - says what the text is
    """A text that means nothing here. `shown` is its beginning, printable; the message says what was expected."""

    def __init__(self, shown: str, expected: str) -> None:
        self.shown = shown
        super().__init__(f"{shown!r} is not {expected}")


def level(payload: bytes) -> bool:
    """On or off. Raises Unreadable."""
    said = _text(payload, "0 or 1").lower()
    if said in _LEVELS:
        return _LEVELS[said]
    size = _number(said)
    if size not in (0, 1):
        raise Unreadable(said, "0 or 1")
    return size == 1


def kilowatts(payload: bytes) -> float:
    """A power in kW, `2.5`, `2,5` or `2.5 kW`. Raises Unreadable. A negative one is for somebody else to refuse."""
    return _size(payload, "kw", "a power in kW, such as 2.5")


def minutes(payload: bytes) -> float:
    """A time in minutes, `60`, `60,0` or `60 min`. Raises Unreadable."""
    return _size(payload, "min", "a time in minutes, such as 60")


def lease_ms(minutes: float | Decimal) -> int:
    """How long wishes are to last, for the arbiter to judge; less than a second is no time at all."""
    ms = round(minutes * 60_000)
    return ms if ms >= _LEAST_MS else min(ms, 0)


def mode(payload: bytes) -> str:
    """`auto` (or 0) or `manual` (or 1). Raises Unreadable."""
    said = _text(payload, "auto or manual (0 or 1)").lower()
    size = _number(said)
    if said not in _MODES and size not in (0, 1):
        raise Unreadable(said, "auto or manual (0 or 1)")
    return _MODES.get(said) or ("manual" if size == 1 else "auto")


def _size(payload: bytes, unit: str, expected: str) -> float:
    said = _text(payload, expected)
    size = _number(said, unit)
    if size is None:
        raise Unreadable(said, expected)
    return size


def _text(payload: bytes, expected: str) -> str:
    """The text without the blanks around it. Raises Unreadable when it is too long or none."""
    try:
        said = payload.decode().strip(" \t\r\n\0\u00a0") if len(payload) <= MOST_BYTES else None
    except UnicodeDecodeError:
        said = None
    if said is None or not said.isprintable():
        shown = payload[:_SHOWN].decode("ascii", "replace")
        raise Unreadable("".join(letter if letter.isprintable() else "?" for letter in shown), expected)
    return said


def _number(said: str, unit: str = "") -> float | None:
    """A finite number, with a decimal point or comma and maybe its unit after it; None: none."""
    match = _NUMBER.fullmatch(said)
    if match is None or match[2].lower() not in ("", unit):
        return None
    size = float(match[1].replace(",", "."))
    return size if math.isfinite(size) else None
