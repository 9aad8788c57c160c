"""What a node must hold by itself: its limits and its controls, in raw register values (the map's `limits` and `controls`)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ohmstead.config.limits import returning
from ohmstead.config.model import Config
from ohmstead.profiles.compiler import PollGroup
from ohmstead.profiles.limit import Threshold, thresholds
from ohmstead.profiles.point import Point


class Place(NamedTuple):
    """Where in the reads of a poll group a point is: the number of the read, and registers from its first."""

    group: str
    read: int
    offset: int


def place_of(point: Point, groups: list[PollGroup]) -> Place:
    """Where a point is read. Raises LookupError for one that nobody reads."""
    for group in groups:
        if point.group in group.groups:
            for index, read in enumerate(group.reads):
                if read.function == point.function and read.address <= point.address and point.last <= read.last:
                    return Place(group.name, index, point.address - read.address)
    raise LookupError(f"{point.id} is in no poll group")


def controls_of(config: Config, device: str) -> list[dict[str, Any]]:
    """The controls of a device; none where nothing is ever written. What a node takes for granted is left out: its memory is small."""
    if _only_read(config, device):
        return []
    return [_control(config, device, control) for control in config.profile(device).controls]


def _control(config: Config, device: str, control: str) -> dict[str, Any]:
    profile = config.profile(device)
    chosen, layout = profile.controls[control], config.layout(device, control)
    said: dict[str, Any] = {
        "name": control,
        "blocks": [list(block) for block in layout.blocks],
        "fields": [
            [
                *(field.first, field.words, int(field.signed), field.minimum, field.maximum, field.step),
                None if field.allowed is None else list(field.allowed),
            ]
            for field in layout.fields(config.raw_limits(device, control))
        ],
        "budget": chosen.budget,
    }
    home = returning(config.raw_limits(device, control), layout.reversion, layout.safe)
    for key, raw in (("safe", layout.safe), ("reversion", home)):
        if raw is not None:
            said[key] = layout.octets(raw)
    if chosen.lease == "required":
        said["lease"] = 1
    if chosen.interval:
        said["interval_ms"] = math.ceil(chosen.interval * 1000)
    if chosen.ramp is not None:
        said["ramp"] = round(chosen.ramp.size / profile.points[chosen.point].scale)
    return said


def limits_of(config: Config, device: str) -> list[dict[str, Any]]:
    """The limits of a device that stop anything at this home, one rule for each end and point; none where nothing is ever written."""
    if _only_read(config, device):
        return []
    profile, groups, ends = config.profile(device), config.poll_groups(device), config.limit_ends(device)
    periods = config.periods(device)
    rules: list[dict[str, Any]] = []
    for limit in profile.limits.values():
        for name in limit.point:
            point = profile.points[name]
            place = place_of(point, groups)
            for threshold in thresholds(limit, point, ends[limit.id]):
                stopped = profile.stopped(threshold.stops)
                rules.append(
                    {
                        "name": rule_name(limit.id, threshold, name if len(limit.point) > 1 else None),
                        "device": device,
                        "group": place.group,
                        "read": place.read,
                        "offset": place.offset,
                        "kind": str(point.kind),
                        "words": point.words,
                        "order": point.order,
                        "below" if threshold.below else "above": threshold.at,
                        "clear": threshold.clear,
                        "hold_ms": round(limit.hold * 1000),
                        "stale_ms": round(limit.stale_s(periods[point.group]) * 1000),
                        "trip": limit.act == "trip",
                        "controls": [[device, control] for control in stopped],
                    }
                )
    return rules


def _only_read(config: Config, device: str) -> bool:
    """Whether its node has nothing to do with its controls: a node without a key takes no commands, so there is nothing to take back."""
    chosen = config.devices[device]
    return chosen.read_only or (chosen.via.node is not None and config.nodes[chosen.via.node].key is None)


def rule_name(limit: str, threshold: Threshold, point: str | None = None) -> str:
    """What a rule is called in results and events: `soc floor`, `grid voltage ceiling ac_voltage_a`."""
    return f"{limit.replace('_', ' ')} {threshold.end}" + ("" if point is None else f" {point}")
