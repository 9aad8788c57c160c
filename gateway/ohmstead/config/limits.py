"""What may be written to a control at this home: the range of the profile, narrowed by the owner."""

from __future__ import annotations

import math
from collections.abc import Callable

from ohmstead.profiles.model import Profile, RawLimits
from ohmstead.units import UnitError, bounds

_DECIMALS = 6
"""Digits to which a value divided by its scale is taken for exact."""


def narrowed(profile: Profile, control: str, written: str | None) -> RawLimits:
    """The raw limits of a control, after the owner's `a..b` in the unit of its point (None: as the profile has them).

    The ends stay on the steps of the profile's range, rounded inwards. Raises UnitError with what is wrong with `written`, KeyError
    for an unknown control.
    """
    limits = profile.raw_limits(control)
    if written is None:
        return limits
    chosen = profile.controls[control]
    if chosen.range is None:
        raise UnitError("this control takes one of some words; only a number can be limited")
    point = profile.points[chosen.point]
    low, high = bounds(written, point.unit)
    for end, size in (("lower", low), ("upper", high)):
        if size is not None and size > chosen.range.high:
            raise UnitError(f"the {end} end must be at most {chosen.range.high:g} {point.unit}".rstrip())
        if size is not None and size < chosen.range.low:
            raise UnitError(f"the {end} end must be at least {chosen.range.low:g} {point.unit}".rstrip())
    lowest = limits.minimum if low is None else _steps(low, point.scale, limits, math.ceil)
    highest = limits.maximum if high is None else _steps(high, point.scale, limits, math.floor)
    if lowest > highest:
        raise UnitError(f"leaves no value: the step is {chosen.step:g} {point.unit}".rstrip())
    return limits._replace(minimum=lowest, maximum=highest)


def _steps(size: float, scale: float, limits: RawLimits, rounding: Callable[[float], int]) -> int:
    """`size` as a raw value on the steps that begin at the least one."""
    steps = round((size / scale - limits.minimum) / limits.step, _DECIMALS)
    return limits.minimum + limits.step * rounding(steps)
