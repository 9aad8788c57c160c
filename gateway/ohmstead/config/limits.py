"""What may be written to a control at this home: the range of the profile, narrowed by the owner."""

from __future__ import annotations

import math
from collections.abc import Callable

from ohmstead.profiles.model import Profile, RawLimits
from ohmstead.units import UnitError, bounds, quantity

_DECIMALS = 6
"""Digits to which a value divided by its scale is taken for exact."""


def narrowed(profile: Profile, control: str, written: str | None, power: str | None = None, rated: str | None = None) -> RawLimits:
    """The raw limits of a control, after the owner's `a..b` in the unit of its point (None: as the profile has them), and after what
    he allows it as a `power`: in W too where the control is percent of the `rated` power.

    The ends stay on the steps of the profile's range, rounded inwards. Raises UnitError with what is wrong, KeyError for an unknown
    control.
    """
    limits = _narrowed(profile, control, written)
    if power is None:
        return limits
    other = _narrowed(profile, control, _in_unit(profile, control, power, rated))
    low, high = max(limits.minimum, other.minimum), min(limits.maximum, other.maximum)
    if low > high:
        raise UnitError("leaves no value together with `limits`")
    return limits._replace(minimum=low, maximum=high)


def returning(limits: RawLimits, home: int | None, safe: int | None) -> int | None:
    """The raw value that a control returns to: its `home`, but no more or less than the owner allows where it has no value that is `safe`
    anyway. An export limit that is narrowed to ..60 % never goes beyond that, nor by itself."""
    if home is None or safe is not None or limits.allowed is not None:
        return home
    return min(max(home, limits.minimum), limits.maximum)


def _in_unit(profile: Profile, control: str, power: str, rated: str | None) -> str:
    """A range of powers in the unit of the control."""
    chosen = profile.controls[control]
    if not chosen.rated or "W" not in power:
        return power
    if rated is None:
        raise UnitError("this control is in % of the rated power; say which that is, e.g. rated: 5 kW")
    full = quantity(rated, "W")
    low, high = (None if size is None else size / full * 100 for size in bounds(power, "W"))
    if high is not None and high > 100:
        raise UnitError(f"more than the rated power, {rated}")
    return f"{'' if low is None else f'{low} %'}..{'' if high is None else f'{high} %'}"


def _narrowed(profile: Profile, control: str, written: str | None) -> RawLimits:
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
