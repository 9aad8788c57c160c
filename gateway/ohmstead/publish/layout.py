"""Which points a contract publishes in which group, in which order and under which name: worked out once."""

from __future__ import annotations

from typing import NamedTuple

from ohmstead.profiles.model import Contract, Point, Profile


class Entry(NamedTuple):
    """One value of a contract."""

    point: Point
    name: str
    group: str


def layout(profile: Profile, contract: Contract) -> dict[str, tuple[Entry, ...]]:
    """Group → its values in the contract's order."""
    groups: dict[str, tuple[Entry, ...]] = {}
    for group in profile.groups:
        points = contract.groups.get(group) or tuple(point.id for point in profile.in_group(group))
        groups[group] = tuple(Entry(profile.points[point], contract.name_of(point), group) for point in points)
    return groups
