"""Sizes as people write them: `3 kW`, `60 s`, `1 h 30 min`, `15 %`, `15..95 %`, `..3 kW`, `50/day`.

Inside, every size is a number in its base unit: W, Wh, s, V, A, Hz, %, °C. The `Annotated` types at the end read them in a
pydantic model.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, NamedTuple

from pydantic import PlainValidator, WithJsonSchema

_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_SIZE = re.compile(rf"({_NUMBER})\s*([^\d\s,.+-].*)?")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_PER_DAY = re.compile(r"(\d+)\s*/\s*(?:day|d)")

_UNITS: dict[str, tuple[str, Decimal]] = {
    name: (base, Decimal(factor))
    for base, names in {
        "W": {"W": "1", "kW": "1000", "MW": "1000000"},
        "Wh": {"Wh": "1", "kWh": "1000", "MWh": "1000000"},
        "s": {"ms": "0.001", "s": "1", "min": "60", "h": "3600", "d": "86400", "day": "86400", "days": "86400"},
        "V": {"mV": "0.001", "V": "1", "kV": "1000"},
        "A": {"mA": "0.001", "A": "1"},
        "VA": {"VA": "1", "kVA": "1000"},
        "var": {"var": "1", "kvar": "1000"},
        "B": {"B": "1", "kB": "1000", "KiB": "1024", "MB": "1000000", "MiB": "1048576"},
    }.items()
    for name, factor in names.items()
}
_EXAMPLES = {"W": "3 kW", "Wh": "5 kWh", "s": "60 s", "%": "15 %", "A": "16 A", "V": "230 V", "B": "256 KiB"}


class UnitError(ValueError):
    """A size that cannot be read; the text says what was expected."""


class Bounds(NamedTuple):
    """`a..b`, both ends included, in the base unit; an end that was left out is None."""

    low: float | None
    high: float | None


class Span(NamedTuple):
    """`a..b unit` as it was written: both ends given, the unit not converted."""

    low: float
    high: float
    unit: str


def quantity(size: object, unit: str, *, bare: bool = False) -> float:
    """`size` as a number in `unit` ("3 kW" in W is 3000.0). `bare` allows a number without its unit.

    Raises UnitError for anything else than a finite number followed by a unit that converts to `unit`.
    """
    number, written = _split(size, unit)
    if not written:
        if bare or not unit or number == 0:
            return float(number)
        raise UnitError(f"say the unit, e.g. {_example(unit)}")
    return float(number * _factor(written, unit))


def quantity_as_written(size: object) -> tuple[float, str]:
    """Number and unit of a size, the unit not converted (empty: none). Raises UnitError."""
    number, unit = _split(size, "")
    return float(number), unit


def duration(size: object) -> float:
    """Seconds of `60 s`, `250 ms`, `10 min`, `1 h 30 min`, `1 d`. Raises UnitError; a duration is never negative."""
    pieces = _PIECE.findall(size) if isinstance(size, str) and _PIECE.sub("", size.strip()) == "" else []
    if len(pieces) > 1:
        return float(sum(Decimal(number) * _factor(unit, "s") for number, unit in pieces))
    seconds = quantity(size, "s")
    if seconds < 0:
        raise UnitError("a duration cannot be negative")
    return seconds


def bounds(size: object, unit: str) -> Bounds:
    """`15..95 %`, `..3 kW`, `2 kW..`: the unit may stand at both ends or only at the upper one. Raises UnitError."""
    if not isinstance(size, str) or ".." not in size:
        raise UnitError(f"a range is written `a..b`, e.g. 1..{_example(unit)}")
    left, _, right = (part.strip() for part in size.partition(".."))
    if not left and not right:
        raise UnitError("a range needs at least one end")
    high = quantity(right, unit) if right else None
    if left and right and _SIZE.fullmatch(left) and not _split(left, unit)[1]:
        left = f"{left} {_split(right, unit)[1]}"
    low = quantity(left, unit) if left else None
    if low is not None and high is not None and low > high:
        raise UnitError("the lower end is above the upper one")
    return Bounds(low, high)


def span(size: object) -> Span:
    """`a..b unit`, both ends needed, unit as written (may be absent). Raises UnitError."""
    if not isinstance(size, str) or ".." not in size:
        raise UnitError("a range is written `a..b`, e.g. 0..100 %")
    left, _, right = (part.strip() for part in size.partition(".."))
    low, lower_unit = _split(left, "")
    high, unit = _split(right, "")
    if lower_unit not in ("", unit):
        raise UnitError("both ends of a range have the same unit")
    if low > high:
        raise UnitError("the lower end is above the upper one")
    return Span(float(low), float(high), unit)


def per_day(size: object) -> int:
    """Times a day of `50/day`. Raises UnitError."""
    match = _PER_DAY.fullmatch(size.strip()) if isinstance(size, str) else None
    if match is None:
        raise UnitError("a budget is written as times a day, e.g. 50/day")
    return int(match[1])


def _split(size: object, unit: str) -> tuple[Decimal, str]:
    if isinstance(size, int | float) and not isinstance(size, bool):
        if not math.isfinite(size):
            raise UnitError("must be a finite number")
        return Decimal(repr(size)), ""
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if match is None:
        raise UnitError(f"is not a number with a unit, e.g. {_example(unit)}")
    number = Decimal(match[1])
    if not math.isfinite(float(number)):
        raise UnitError("must be a finite number")
    return number, match[2] or ""


def _factor(written: str, unit: str) -> Decimal:
    if written == unit:
        return Decimal(1)
    base, factor = _UNITS.get(written, ("", Decimal(1)))
    wanted, divisor = _UNITS.get(unit, (unit, Decimal(1)))
    if not base or base != wanted:
        allowed = [name for name, (of, _) in _UNITS.items() if of == wanted] or [unit or "no unit"]
        raise UnitError(f"the unit must be {' or '.join(allowed)}, not {written}")
    return factor / divisor


def _example(unit: str) -> str:
    return _EXAMPLES.get(unit, f"10 {unit}".strip())


Duration = Annotated[
    float, PlainValidator(duration), WithJsonSchema({"type": ["string", "number"], "examples": ["60 s", "10 min", "250 ms"]})
]
"""Seconds."""
Power = Annotated[
    float, PlainValidator(lambda size: quantity(size, "W")), WithJsonSchema({"type": "string", "examples": ["3 kW", "800 W"]})
]
"""Watts."""
Percent = Annotated[float, PlainValidator(lambda size: quantity(size, "%")), WithJsonSchema({"type": "string", "examples": ["15 %"]})]
PowerBounds = Annotated[Bounds, PlainValidator(lambda size: bounds(size, "W")), WithJsonSchema({"type": "string", "examples": ["..3 kW"]})]
"""Watts."""
PercentBounds = Annotated[
    Bounds, PlainValidator(lambda size: bounds(size, "%")), WithJsonSchema({"type": "string", "examples": ["15..95 %"]})
]
PerDay = Annotated[int, PlainValidator(per_day), WithJsonSchema({"type": "string", "examples": ["50/day"]})]
"""Times a day."""
