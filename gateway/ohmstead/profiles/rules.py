"""What must hold between the parts of a profile. Each rule yields what breaks it: where, and in words.

`left_out` names entries (("points", "pv"), …) that exist in the file but were faulty in themselves: nothing is said about what
refers to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from ohmstead.profiles.formula import dependency_order
from ohmstead.profiles.point import INTEGERS, fits
from ohmstead.yamlfile import Where, did_you_mean

if TYPE_CHECKING:
    from ohmstead.profiles.model import Control, Profile
    from ohmstead.profiles.point import Point

Broken = Iterator[tuple[Where, str]]
LeftOut = Collection[Where]


def broken_rules(profile: Profile, left_out: LeftOut = ()) -> Broken:
    """Everything that does not hold, each with its path below the profile."""
    yield from _points(profile, left_out)
    yield from _overlaps(profile)
    yield from _formulas(profile, left_out)
    yield from _flow(profile, left_out)
    yield from _identity(profile, left_out)
    for control in profile.controls.values():
        yield from ((("controls", control.id, *path), text) for path, text in _control(profile, control, left_out))
    yield from _contracts(profile, left_out)


def _unknown(word: str, section: str, known: Collection[str], left_out: LeftOut) -> str | None:
    """What to say about a reference to `section.word`, or None when that exists."""
    if word in known or (section, word) in left_out or (section,) in left_out:
        return None
    return f"there is no {section[:-1]} `{word}`{did_you_mean(word, known)}"


def _points(profile: Profile, left_out: LeftOut) -> Broken:
    names: dict[str, str] = {}
    for point in profile.points.values():
        if unknown := _unknown(point.group, "groups", profile.groups, left_out):
            yield ("points", point.id, "group"), unknown
        if point.table and point.words > profile.line.max_read:
            yield ("points", point.id), f"its {point.words} registers are more than the device answers at once ({profile.line.max_read})"
        if first := names.get(point.name):
            yield ("points", point.id, "name"), f"`{point.name}` is the name of {first} already"
        names.setdefault(point.name, point.id)


def _overlaps(profile: Profile) -> Broken:
    for table in ("holding", "input"):
        widest: Point | None = None
        for point in sorted((point for point in profile.points.values() if point.table == table), key=lambda point: point.address):
            if widest is not None and point.address <= widest.last:
                same = point.address == widest.address
                yield (
                    ("points", point.id, table),
                    f"address {point.address} is that of {widest.id} already"
                    if same
                    else f"its registers {point.address}..{point.last} overlap those of {widest.id}, {widest.address}..{widest.last}",
                )
            if widest is None or point.last > widest.last:
                widest = point


def _formulas(profile: Profile, left_out: LeftOut) -> Broken:
    formulas = {point.id: point.formula for point in profile.points.values() if point.formula is not None}
    for id_, formula in formulas.items():
        path = ("points", id_, "calc")
        for name in formula.names:
            if unknown := _unknown(name, "points", profile.points, left_out):
                yield path, unknown
            elif name in profile.points and profile.points[name].is_text:
                yield path, f"{name} is a text, a formula needs numbers"
    order, cycles = dependency_order(formulas)
    for cycle in cycles:
        yield ("points", cycle[0], "calc"), f"needs itself: {' → '.join(cycle)}"
    yield from _periods(profile, order)


def _flow(profile: Profile, left_out: LeftOut) -> Broken:
    for figure, formula in (profile.flow.formulas() if profile.flow else {}).items():
        for name in formula.names if formula else ():
            if unknown := _unknown(name, "points", profile.points, left_out):
                yield ("flow", figure), unknown
            elif name in profile.points and profile.points[name].is_text:
                yield ("flow", figure), f"{name} is a text, a formula needs numbers"


def _periods(profile: Profile, order: list[str]) -> Broken:
    """A calculated point has a value only when one poll reads all its inputs, and that is its own group's poll."""
    for id_ in order:
        point = profile.points[id_]
        names = [name for name in (point.formula.names if point.formula else ()) if name in profile.points]
        groups = [profile.points[name].group for name in names] + [point.group]
        if len({profile.groups.get(group) for group in groups}) > 1:
            said = ", ".join(f"{name} every {profile.groups.get(group, 0):g} s" for name, group in zip([*names, id_], groups, strict=True))
            yield ("points", id_, "calc"), f"its inputs are never read together: {said}"


def _identity(profile: Profile, left_out: LeftOut) -> Broken:
    identity = profile.identity
    for key, point in (("serial", identity.serial), ("firmware", identity.firmware), ("model", identity.model)):
        if point is not None and (unknown := _unknown(point, "points", profile.points, left_out)):
            yield ("identity", key), unknown


def _control(profile: Profile, control: Control, left_out: LeftOut) -> Broken:
    if unknown := _unknown(control.point, "points", profile.points, left_out):
        yield ("point",), unknown
    point = profile.points.get(control.point)
    if point is None:
        return
    if point.table != "holding" or point.kind not in INTEGERS:
        yield ("point",), f"{point.id} is no whole number in holding registers, it cannot be written"
        return
    if control.write == "fc6" and point.words > 1:
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


def _contracts(profile: Profile, left_out: LeftOut) -> Broken:
    for key, contract in profile.contracts.items():
        for point in contract.names:
            if unknown := _unknown(point, "points", profile.points, left_out):
                yield ("contracts", key, "names", point), unknown
        for group, points in contract.groups.items():
            path = ("contracts", key, "groups", group)
            if unknown := _unknown(group, "groups", profile.groups, left_out):
                yield path, unknown
            for point in points:
                if unknown := _unknown(point, "points", profile.points, left_out):
                    yield path, unknown
                elif point in profile.points and profile.points[point].group != group:
                    yield path, f"{point} is in the group {profile.points[point].group}"
        for group in profile.groups:
            names = [contract.name_of(point) for point in contract.groups.get(group, [point.id for point in profile.in_group(group)])]
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield ("contracts", key), f"two points of {group} are both called {name}"
