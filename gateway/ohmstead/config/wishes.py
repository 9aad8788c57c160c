"""What an owner wants otherwise of single points (`points:` of a device): other names, units and scales, more or fewer of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ohmstead.config.device import PointConfig
from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Point
from ohmstead.units import Span
from ohmstead.yamlfile import did_you_mean

_MOST_DECIMALS = 6

Told = tuple[tuple[str, ...], str, str]
"""Where below the device, what is wrong, and what stands there."""

_LEARNS = ("hoymiles", "shelly", "sunspec", "vicare")
"""Readers that know points which are in no file."""


def unfit(wanted: Mapping[str, PointConfig], profile: Profile) -> Iterator[Told]:
    """What cannot be had."""
    for name, one in wanted.items():
        here = ("points", name)
        point = profile.points.get(name)
        if point is None:
            if profile.reader not in _LEARNS:
                yield here, f"no point of {profile.id}{did_you_mean(name, profile.points)}", ""
            continue
        if one.scale is not None and (point.is_text or point.kind == "str"):
            yield (*here, "scale"), "only fits a number", f"{one.scale:g}"
        elif one.scale is not None and (user := _needed_by(name, profile)) is not None:
            yield (*here, "scale"), f"{user} is made of this point as it is; scale it where you use it", f"{one.scale:g}"
        if (one.above is not None or one.below is not None) and point.is_text:
            yield here, "an alert needs a number", ""
        if one.above is not None and one.below is not None and one.below >= one.above:
            yield (*here, "below"), "must be less than `above`: every value would be an alert", f"{one.below:g}"


def fulfilled(wanted: Mapping[str, PointConfig], profile: Profile) -> Profile:
    """The profile with its points as they are wanted; what is unfit is left as it is."""
    wrong = {keys[1] for keys, _, _ in unfit(wanted, profile)}
    points = {
        name: as_wanted(point, wanted[name]) if name in wanted and name not in wrong else point for name, point in profile.points.items()
    }
    return profile.model_copy(update={"points": points}) if wanted else profile


def as_wanted(point: Point, wanted: PointConfig) -> Point:
    """A point with its owner's name, unit and scale."""
    said: dict[str, object] = {}
    if wanted.name is not None:
        said["name"] = wanted.name
    if wanted.unit is not None:
        said |= {"unit": wanted.unit, "device_class": point.device_class if wanted.unit == point.unit else None}
    if wanted.shown is not None:
        said["shown"] = wanted.shown
    if wanted.scale is not None:
        said |= {"scale": point.scale * wanted.scale} if point.is_read else {"calc": f"({point.calc}) * {wanted.scale!r}"}
        said |= _scaled(point, wanted.scale)
    changed = point.model_copy(update=said)
    changed.__dict__.pop("formula", None)  # what was worked out from the former `calc`
    return changed


def _scaled(point: Point, scale: float) -> dict[str, object]:
    """What is said of a point's value in its unit, for one that is multiplied by `scale`: what is plausible, and the decimals that are
    worth showing (where kilowatts are made of watts, three more)."""
    said: dict[str, object] = {}
    if point.valid is not None:
        low, high, _ = point.valid
        slack = 1e-9 * max(abs(low), abs(high)) * scale  # the value is multiplied in another order
        said["valid"] = Span(low * scale - slack, high * scale + slack, "")
    if point.round is not None:
        more = math.floor(-math.log10(scale) + 1e-9)
        said["round"] = min(point.round + max(more, 0), _MOST_DECIMALS)
    return said


def _needed_by(name: str, profile: Profile) -> str | None:
    """What is reckoned with the point in its own unit."""
    for point in profile.points.values():
        if point.formula is not None and name in point.formula.names:
            return point.id
    for control in profile.controls.values():
        if name in (control.point, control.shown):
            return f"the control {control.id}"
    for limit in profile.limits.values():
        if name in limit.point:
            return f"the limit {limit.id}"
    for figure, formula in (profile.flow.formulas() if profile.flow else {}).items():
        if formula is not None and name in formula.names:
            return f"the {figure} of the picture"
    return None
