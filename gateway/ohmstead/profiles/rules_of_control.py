"""What must hold of the controls and limits of a profile. Each rule yields what breaks it: where, and in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, get_args

from ohmstead.profiles.controls import VALUE, Effect
from ohmstead.profiles.limit import LIMIT_KINDS
from ohmstead.profiles.point import INTEGERS, fits
from ohmstead.units import UnitError, quantity
from ohmstead.yamlfile import Where, did_you_mean

if TYPE_CHECKING:
    from ohmstead.profiles.model import Block, Control, Limit, Profile
    from ohmstead.profiles.point import Point

Broken = Iterator[tuple[Where, str]]
LeftOut = Collection[Where]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_MOST_WORDS = 123
_EFFECTS = tuple(effect for effect in get_args(Effect) if effect != "none")


def unknown_name(word: str, section: str, known: Collection[str], left_out: LeftOut) -> str | None:
    """What to say about a reference to `section.word`, or None when that exists."""
    if word in known or (section, word) in left_out or (section,) in left_out:
        return None
    return f"there is no {section[:-1]} `{word}`{did_you_mean(word, known)}"


def broken_control(profile: Profile, control: Control, left_out: LeftOut) -> Broken:
    if unknown := unknown_name(control.point, "points", profile.points, left_out):
        yield ("point",), unknown
    point = profile.points.get(control.point)
    if point is None:
        return
    if point.field is not None:
        yield from _field(control, point)
    if (point.table != "holding" and point.field is None) or point.kind not in INTEGERS:
        yield ("point",), f"{point.id} is no whole number in holding registers, it cannot be written"
        return
    if point.order == "little" and point.words > 1:
        yield ("point",), f"{point.id} has its lowest word first, which nobody can write"
    if control.id == "lease":
        yield (), "this word has a meaning in ohmstead.yaml and cannot name a control"
    if control.shows is not None and (unknown := unknown_name(control.shows, "points", profile.points, left_out)):
        yield ("shows",), unknown
    if point.table and not control.block and control.write == "fc6" and point.words > 1:
        yield ("write",), f"fc6 writes one register, {point.id} has {point.words}: use fc16"
    if control.range is not None:
        yield from _number(control, point)
    elif control.switch is not None:
        for key, raw in control.switch.items():
            if not fits(point.kind, point.words, raw):
                yield ("switch", key), f"{raw} is nothing that {point.kind} can hold"
        if control.switch.get("on") == control.switch.get("off"):
            yield ("switch",), "on and off are the same"
        if control.reversion not in ("on", "off", "keep"):
            yield ("reversion",), f"{control.reversion} is neither `on` nor `off` nor `keep`"
    else:
        yield from _choice(control, point)
    yield from _safety(control, point)
    if control.block:
        yield from _blocks(profile, control, point, left_out)


def _field(control: Control, point: Point) -> Broken:
    """What a reader writes goes by the point's field, whole and at once."""
    for key in ("block", "write", "ramp"):
        if key in control.model_fields_set:
            yield (key,), f"only fits a point with registers; {point.id} is a field"
    if control.lease == "required":
        yield ("lease",), "nobody but a node ends a command by itself, and a node writes registers only"


def _number(control: Control, point: Point) -> Broken:
    low, high, unit = control.range or (0.0, 0.0, "")
    step = control.step or 0.0
    if unit != point.unit:
        yield ("range",), f"must be in {point.unit or 'no unit'}, the unit of {point.id}"
        return
    for end in (low, high):
        if not fits(str(point.kind), point.words, round(end / point.scale)):
            yield ("range",), f"{end:g} {unit}".strip() + f" is more than {point.kind} × {point.scale:g} can hold"
    if not _is_multiple(step, point.scale):
        yield ("step",), f"{step:g} is finer than the register, which holds multiples of {point.scale:g}"
    elif not _is_multiple(low, point.scale):
        yield ("range",), f"{low:g} is not a multiple of {point.scale:g}, which is what the register holds"
    elif not _is_multiple(high - low, step):
        yield ("range",), f"cannot be walked in steps of {step:g}"
    if control.reversion != "keep" and not isinstance(control.reversion, float):
        yield ("reversion",), f"{control.reversion} is neither a number nor `keep`"
    elif isinstance(control.reversion, float) and not low <= control.reversion <= high:
        yield ("reversion",), f"{control.reversion:g} is outside the range {low:g}..{high:g} {unit}".rstrip()


def _is_multiple(size: float, of: float) -> bool:
    return abs(size / of - round(size / of)) < 1e-6


def _choice(control: Control, point: Point) -> Broken:
    labels = list(point.values.values())
    if not labels:
        yield ("options",), f"{point.id} has no `values` to choose from"
        return
    if doubled := sorted({label for label in labels if labels.count(label) > 1}):
        yield ("options",), f"two values of {point.id} are both called {', '.join(doubled)}"
    options = labels if control.options == "values" else list(control.options or ())
    if not options:
        yield ("options",), "needs at least one option"
    for option in options:
        if option not in labels:
            yield ("options",), f"{point.id} has no value `{option}`{did_you_mean(option, labels)}"
    if control.reversion != "keep" and control.reversion not in options:
        yield ("reversion",), f"{control.reversion} is not among the options{did_you_mean(str(control.reversion), options)}"


def _safety(control: Control, point: Point) -> Broken:
    """What ends a control: its lease, its safe value, its ramp."""
    if control.safe == "keep":
        yield ("safe",), "`keep` is no safe value; leave it out where an emergency stop has nothing to change"
    elif control.safe is not None:
        yield from ((("safe",), text) for text in _no_value(control, control.safe))
    if control.lease == "required" and control.safe is None and control.reversion == "keep":
        yield ("lease",), "a required lease needs something to return to: a `reversion` other than `keep`, or a `safe` value"
    if control.ramp is not None and control.range is None:
        yield ("ramp",), "only a number has one"
    elif control.ramp is not None and control.ramp.unit != point.unit:
        yield ("ramp",), f"must be in {point.unit or 'no unit'}/s, the unit of {point.id}"
    elif control.ramp is not None and round(control.ramp.size / point.scale) < 1:
        yield ("ramp",), f"is less than the register can say, {point.scale:g} {point.unit}/s".replace(" /s", "/s")
    if control.rated and (control.range is None or point.unit != "%"):
        yield ("rated",), "only fits a number in %"


def _no_value(control: Control, said: float | str) -> Iterator[str]:
    """Why a control cannot be told this."""
    if control.range is not None:
        low, high, unit = control.range
        if not isinstance(said, float):
            yield f"{said} is no number"
        elif not low <= said <= high:
            yield f"{said:g} is outside the range {low:g}..{high:g} {unit}".rstrip()
    elif control.switch is not None and said not in ("on", "off"):
        yield f"{said} is neither `on` nor `off`"
    elif isinstance(control.options, tuple) and said not in control.options:
        yield f"{said} is not among the options{did_you_mean(str(said), control.options)}"


def _blocks(profile: Profile, control: Control, point: Point, left_out: LeftOut) -> Broken:
    values, total = 0, 0
    written: dict[int, int] = {}
    for number, block in enumerate(control.block):
        address = block.holding
        for index, word in enumerate(block.words):
            here = ("block", number, "words", index)
            if word.is_value:
                values += 1
                if address != point.address:
                    yield here, f"`value` stands at {address}, but {point.id} is at {point.address}"
            elif word.on != word.off and control.safe is None:
                yield here, "on and off differ: say at which value it is off, e.g. `safe: 0`"
            if word.range is not None and (
                word.is_value or word.range.low != int(word.range.low) or word.range.high != int(word.range.high)
            ):
                yield here, "a range is one of whole register values, and of other words than the value"
            for limit, end in word.ends():
                yield from ((here, text) for text in _end_of_limit(profile, limit, end, address, left_out))
            address += point.words if word.is_value else 1
        yield from _registers_of(block, number, address, written)
        total += address - block.holding
    if values != 1:
        yield ("block",), f"`{VALUE}` must stand in it once, not {values} times"
    if total > _MOST_WORDS:
        yield ("block",), f"{total} registers are more than a command can carry ({_MOST_WORDS})"


def _registers_of(block: Block, number: int, end: int, written: dict[int, int]) -> Broken:
    """A block lies within the address space and writes nothing that another one of the control writes."""
    if end > 0x10000:
        yield ("block", number), "goes beyond address 65535"
    if block.write == "fc6" and end - block.holding != 1:
        yield ("block", number, "write"), f"fc6 writes one register, these are {end - block.holding}: use fc16"
    for address in range(block.holding, end):
        if written.setdefault(address, number) != number:
            yield ("block", number), f"address {address} is written by an earlier block already"
            return


def _end_of_limit(profile: Profile, limit: str, end: str, address: int, left_out: LeftOut) -> Iterator[str]:
    if unknown := unknown_name(limit, "limits", profile.limits, left_out):
        yield unknown
        return
    ends = (profile.limits[limit].range or "").partition("..") if limit in profile.limits else ()
    if ends and not ends[0 if end == "low" else 2].strip():
        yield f"the range of the limit {limit} has no {end} end"
    register = next((one for one in profile.points.values() if one.table == "holding" and one.address == address), None)
    units = {
        profile.points[name].unit for name in (profile.limits[limit].point if limit in profile.limits else ()) if name in profile.points
    }
    if register is None or register.words != 1:
        yield f"there is no point of one register at {address} that says the scale of this word"
    elif units and units != {register.unit}:
        yield f"{register.id} is in {register.unit or 'no unit'}, the limit in {', '.join(sorted(units)) or 'no unit'}"


def broken_limit(profile: Profile, limit: Limit, left_out: LeftOut) -> Broken:
    """Everything that does not hold of a limit, each with its path below it."""
    if not _NAME.fullmatch(limit.id):
        yield (), "a limit's name is snake_case: small letters, digits and single underscores"
    if limit.id in profile.controls:
        yield (), "is the name of a control already"
    points = []
    for name in limit.point:
        if unknown := unknown_name(name, "points", profile.points, left_out):
            yield ("point",), unknown
        elif name in profile.points:
            points.append(profile.points[name])
    for point in points:
        if point.table is None or point.kind not in LIMIT_KINDS or point.values:
            yield ("point",), f"{point.id} is no number that a node reads: it must be one of {', '.join(LIMIT_KINDS)} in registers"
        elif limit.stale is not None and limit.stale < 1.5 * profile.groups.get(point.group, 0.0):
            yield ("stale",), f"{point.id} is read every {profile.groups[point.group]:g} s: it would always be too old"
    if len({point.unit for point in points}) > 1:
        yield ("point",), "all of them must have one unit"
    elif points:
        yield from _sizes(limit, points[0])
    yield from _stops(profile, limit, left_out)


def _sizes(limit: Limit, point: Point) -> Broken:
    try:
        ends = limit.bounds(point.unit)
    except UnitError as error:
        yield ("range",), str(error)
        return
    try:
        margin = quantity(limit.hysteresis, point.unit, bare=True)
    except UnitError as error:
        yield ("hysteresis",), str(error)
        return
    if margin < 0:
        yield ("hysteresis",), "cannot be negative"
    if ends.low is not None and ends.high is not None and ends.low + margin > ends.high - margin:
        yield ("hysteresis",), "leaves nothing between the two ends"
    for end, size, stops in (("low", ends.low, limit.low), ("high", ends.high, limit.high)):
        if limit.range is not None and size is None and stops:
            yield (end,), "stops something, but the range has no such end"


def _stops(profile: Profile, limit: Limit, left_out: LeftOut) -> Broken:
    if not limit.low and not limit.high:
        yield (), "stops nothing: name effects or controls under `low` or `high`"
    for end, stops in (("low", limit.low), ("high", limit.high)):
        for name in stops:
            if (
                name not in profile.controls
                and name not in _EFFECTS
                and ("controls", name) not in left_out
                and ("controls",) not in left_out
            ):
                yield (
                    (end,),
                    f"{name} is neither a control nor one of {', '.join(_EFFECTS)}{did_you_mean(name, [*profile.controls, *_EFFECTS])}",
                )
        for control in profile.stopped(stops):
            if profile.controls[control].safe is None:
                yield (end,), f"the control {control} has no `safe` value that it could be held at"
