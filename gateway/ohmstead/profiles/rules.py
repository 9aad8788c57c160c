"""What must hold between the parts of a profile. Each rule yields what breaks it: where, and in words.

`left_out` names entries (("points", "pv"), …) that exist in the file but were faulty in themselves: nothing is said about what
refers to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ohmstead.profiles.formula import dependency_order
from ohmstead.profiles.rules_of_control import Broken, LeftOut, broken_control, broken_limit, unknown_name

if TYPE_CHECKING:
    from ohmstead.profiles.model import Profile
    from ohmstead.profiles.point import Point


def broken_rules(profile: Profile, left_out: LeftOut = ()) -> Broken:
    """Everything that does not hold, each with its path below the profile."""
    yield from _points(profile, left_out)
    yield from _overlaps(profile)
    yield from _formulas(profile, left_out)
    yield from _flow(profile, left_out)
    yield from _identity(profile, left_out)
    for control in profile.controls.values():
        yield from ((("controls", control.id, *path), text) for path, text in broken_control(profile, control, left_out))
    for limit in profile.limits.values():
        yield from ((("limits", limit.id, *path), text) for path, text in broken_limit(profile, limit, left_out))
    yield from _contracts(profile, left_out)


def _points(profile: Profile, left_out: LeftOut) -> Broken:
    names: dict[str, str] = {}
    for point in profile.points.values():
        if unknown := unknown_name(point.group, "groups", profile.groups, left_out):
            yield ("points", point.id, "group"), unknown
        if point.field is not None and profile.reader == "registers":
            yield ("points", point.id, "field"), "only fits a profile with a `reader`, which knows what is called so"
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
            if unknown := unknown_name(name, "points", profile.points, left_out):
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
            if unknown := unknown_name(name, "points", profile.points, left_out):
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
        if point is not None and (unknown := unknown_name(point, "points", profile.points, left_out)):
            yield ("identity", key), unknown


def _contracts(profile: Profile, left_out: LeftOut) -> Broken:
    for key, contract in profile.contracts.items():
        for point in contract.names:
            if unknown := unknown_name(point, "points", profile.points, left_out):
                yield ("contracts", key, "names", point), unknown
        for group, points in contract.groups.items():
            path = ("contracts", key, "groups", group)
            if unknown := unknown_name(group, "groups", profile.groups, left_out):
                yield path, unknown
            for point in points:
                if unknown := unknown_name(point, "points", profile.points, left_out):
                    yield path, unknown
                elif point in profile.points and profile.points[point].group != group:
                    yield path, f"{point} is in the group {profile.points[point].group}"
        for group in profile.groups:
            names = [contract.name_of(point) for point in contract.groups.get(group, [point.id for point in profile.in_group(group)])]
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield ("contracts", key), f"two points of {group} are both called {name}"
