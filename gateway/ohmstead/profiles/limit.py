"""A limit template of a device model: between which values of a point which controls may be in force."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from ohmstead.profiles.point import Point, Strict
from ohmstead.units import Bounds, Duration, UnitError, bounds, quantity

LIMIT_KINDS = ("u16", "i16", "u32", "i32")
"""What the registers of a limit's point may hold: a node judges them without fractions."""

LEAST_STALE_S = 60.0
STALE_PERIODS = 3

_INJECTED: Any = Field(default="", json_schema_extra={"injected": True})


def _several(written: object) -> object:
    return [written] if isinstance(written, str) else written


class Limit(Strict):
    """A range of a point's values (in its unit), and what must not go on outside of it.

    An interlock holds the controls at their `safe` value while the point is outside or its reading is old; a trip does so once and
    for all, until somebody resets it.
    """

    id: str = _INJECTED
    point: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(min_length=1)
    reversed: bool = False
    """Whether the limit is about the point's value with the other sign (an import, where the point is positive for exports)."""
    range: str | None = None
    """What holds where the owner says nothing, and the widest an owner may choose. None: no limit unless the owner gives one."""
    hysteresis: str | float = 0
    """How far inside the range the value must come back."""
    hold: Duration = 0.0
    """How long the value must be outside, in seconds."""
    stale: Duration | None = None
    """After how many seconds without a reading the limit counts as broken; None: three periods of the point's group, at least a minute."""
    act: Literal["interlock", "trip"] = "interlock"
    low: tuple[str, ...] = ()
    """Effects and controls that are stopped at and below the lower end."""
    high: tuple[str, ...] = ()
    """The same for the upper end."""
    name: str = ""
    source: str = ""
    doubt: str = ""

    def stale_s(self, period_s: float) -> float:
        """`stale`, or what follows from how often the point is read."""
        return max(LEAST_STALE_S, STALE_PERIODS * period_s) if self.stale is None else self.stale

    def bounds(self, unit: str, written: str | None = None) -> Bounds:
        """The range that holds at a home, in `unit`: the template's own, narrowed by what the owner has `written`.

        The owner may give one size (`11 kW`) where only one end stops anything. Raises UnitError.
        """
        widest = Bounds(None, None) if self.range is None else bounds(self.range, unit)
        if written is None:
            return widest
        low, high = self._said(written, unit)
        for end, size, given in (("lower", low, bool(self.low)), ("upper", high, bool(self.high))):
            if size is not None and not given:
                raise UnitError(f"this limit has no {end} end")
            if size is not None and widest.high is not None and size > widest.high:
                raise UnitError(f"the {end} end must be at most {widest.high:g} {unit}".rstrip())
            if size is not None and widest.low is not None and size < widest.low:
                raise UnitError(f"the {end} end must be at least {widest.low:g} {unit}".rstrip())
        return Bounds(widest.low if low is None else low, widest.high if high is None else high)

    def _said(self, written: str, unit: str) -> Bounds:
        if ".." in written:
            return bounds(written, unit)
        if self.low and self.high:
            raise UnitError(f"this limit has two ends; write it `a..b`, with one of them e.g. ..{written}")
        size = quantity(written, unit)
        return Bounds(None, size) if self.high else Bounds(size, None)


class Threshold(NamedTuple):
    """An end of a limit in raw register values. The value breaks it when it is beyond `at` (below it if `below`, else above), and
    keeps it again when it has come back to `clear`. `end` is `floor` or `ceiling`, `stops` are effects and controls."""

    end: Literal["floor", "ceiling"]
    below: bool
    at: int
    clear: int
    stops: tuple[str, ...]


def thresholds(limit: Limit, point: Point, ends: Bounds) -> list[Threshold]:
    """The ends of a limit at a home, in raw values of one of its points.

    An end belongs to what is stopped: a floor of 15 % stops at 15 %, not at 14 %.
    """
    margin = quantity(limit.hysteresis, point.unit, bare=True)
    found: list[Threshold] = []
    for end, size, stops in (("floor", ends.low, limit.low), ("ceiling", ends.high, limit.high)):
        if size is None or not stops:
            continue
        back = size + margin if end == "floor" else size - margin
        below = (end == "floor") != limit.reversed
        at, clear = (-size, -back) if limit.reversed else (size, back)
        found.append(_raw("floor" if end == "floor" else "ceiling", below, at / point.scale, clear / point.scale, stops))
    return found


def _raw(end: Literal["floor", "ceiling"], below: bool, at: float, clear: float, stops: tuple[str, ...]) -> Threshold:
    """Rounded to the safe side: `at` one step inside, so that the end itself is beyond it, and `clear` never nearer than that."""
    if below:
        first = math.floor(round(at, 6)) + 1
        return Threshold(end, True, first, max(math.ceil(round(clear, 6)), first), stops)
    first = math.ceil(round(at, 6)) - 1
    return Threshold(end, False, first, min(math.floor(round(clear, 6)), first), stops)
