"""What can only be judged between parts of the configuration, and with the profiles it names at hand."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ohmstead.config.environment import Keys
from ohmstead.config.limits import narrowed
from ohmstead.config.model import EVERY_GROUP, Bus, Config, DeviceConfig, Via
from ohmstead.errors import ConfigurationError, Mistake
from ohmstead.profiles import library
from ohmstead.profiles.compiler import FrameTooLong, line_cost, periods, poll_groups
from ohmstead.profiles.model import Line, Profile
from ohmstead.profiles.planner import PlanError, TcpCost
from ohmstead.profiles.rules import broken_rules
from ohmstead.units import UnitError
from ohmstead.yamlfile import did_you_mean


class Problem(NamedTuple):
    """A mistake at a place of the configuration; `value` is what stands there, as it was written."""

    keys: Keys
    text: str
    value: str = ""


def complete(config: Config, folder: Path, left_out: Collection[Keys]) -> tuple[Config, list[Problem], list[Mistake]]:
    """The configuration with its profiles and what follows from them, everything that does not fit together, and the mistakes in
    the profiles themselves.

    `folder` is that of the configuration; its `profiles/` goes before the models that come with ohmstead. `left_out` are the
    places of mistakes that were already told: nothing is concluded from their absence.
    """
    problems: list[Problem] = []
    wrong: list[Mistake] = []
    profiles: dict[str, Profile] = {}
    devices: dict[str, DeviceConfig] = {}
    load = cache(library.load)
    for name, device in config.devices.items():
        try:
            profile = load(device.profile, folder / "profiles")
        except ConfigurationError as error:
            wrong += [mistake for mistake in error.mistakes if mistake.file]
            problems += [Problem(("devices", name, "profile"), one.text, device.profile) for one in error.mistakes if not one.file]
            continue
        node = config.nodes.get(device.via.node or "")
        profiles[name] = profile.model_copy(update={"line": _line(profile.line, node.bus if node else None, device)})
        devices[name] = _spoken_out(device, profile)
        problems += _device(name, device, profiles[name])
    problems += _nodes(config, profiles, left_out)
    problems += _units(config, profiles, left_out)
    return config.completed(devices, profiles), problems, wrong


def _spoken_out(device: DeviceConfig, profile: Profile) -> DeviceConfig:
    """The device with the defaults that its profile gives."""
    via = device.via
    return device.model_copy(
        update={
            "via": via if via.host is None else Via(None, via.host, via.port or profile.line.port),
            "name": device.name or profile.name,
            "contract": None if device.contract == "none" else device.contract or ("json" if "json" in profile.contracts else None),
        }
    )


def _line(line: Line, bus: Bus | None, device: DeviceConfig) -> Line:
    """The profile's line, changed by what the bus says and then by what the device's own `line` says."""
    said = bus.model_dump(include={"baud", "parity", "stop"}, exclude_none=True) if bus else {}
    return line.model_copy(update=said | device.line.model_dump(exclude_none=True))


def _device(name: str, device: DeviceConfig, profile: Profile) -> Iterator[Problem]:
    here = ("devices", name)
    for group in device.every:
        if group != EVERY_GROUP and group not in profile.groups:
            known = did_you_mean(group, profile.groups) or f"; the groups are {', '.join(profile.groups)}"
            yield Problem((*here, "every", group), f"no group of {profile.id}{known}")
    at_our_pace = profile.model_copy(update={"groups": periods(profile, device.every)})
    for path, text in broken_rules(at_our_pace):
        yield Problem((*here, "every"), f"{path[1]} would have no value any more: {text}")
    if device.contract not in (None, "none", *profile.contracts):
        known = f"; it has {' and '.join(profile.contracts)}" if profile.contracts else "; leave it out"
        yield Problem((*here, "contract"), f"{profile.id} has no such contract{known}", device.contract or "")
    for control, written in device.limits.items():
        for text in _limit(control, written, profile):
            yield Problem((*here, "limits", control), text, written)
    try:
        if device.via.node is None:
            poll_groups(profile, TcpCost(), device=name, max_frame=None)
        else:
            poll_groups(profile, line_cost(profile.line), device=name)
    except FrameTooLong as error:
        yield Problem((*here, "profile"), str(error), device.profile)
    except PlanError as error:
        yield Problem((*here, "line", "max_read"), str(error))


def _limit(control: str, written: str, profile: Profile) -> Iterator[str]:
    if control not in profile.controls:
        known = did_you_mean(control, profile.controls)
        yield f"no control of {profile.id}{known or '; it has ' + (', '.join(profile.controls) or 'none')}"
        return
    try:
        narrowed(profile, control, written)
    except UnitError as error:
        yield str(error)


def _nodes(config: Config, profiles: Mapping[str, Profile], left_out: Collection[Keys]) -> Iterator[Problem]:
    """Devices name nodes that exist, the devices of one bus speak alike, and a node finds the broker."""
    unheard = {keys[1] for keys in left_out if keys[0] == "nodes" and len(keys) > 1}
    for name, device in config.devices.items():
        node = device.via.node
        if node is not None and node not in config.nodes and node not in unheard and ("nodes",) not in left_out:
            known = did_you_mean(node, config.nodes) or f"; the nodes are {', '.join(config.nodes)}" * bool(config.nodes)
            yield Problem(("devices", name, "via"), f"there is no such node under `nodes`{known}", node)
    for name, node_config in config.nodes.items():
        here = [on_it for on_it in config.devices_of(name) if on_it in profiles]
        for other in here[1:]:
            ours, theirs = (_speed(profiles[one].line) for one in (other, here[0]))
            if ours != theirs:
                yield Problem(("devices", other), f"{ours}, but {here[0]} on the same bus: {theirs}; one bus has one speed and format")
        address = node_config.mqtt.url or config.mqtt.url
        if node_config.bus.pins is not None and _is_loopback(address.host) and ("mqtt", "url") not in left_out:
            text = f"{address.host} is the node itself; give it the address of the broker in the home network"
            yield Problem(("nodes", name, "mqtt", "url"), text)


def _speed(line: Line) -> str:
    return f"{line.baud} baud, parity {line.parity}, {line.stop} stop bit{'s' if line.stop > 1 else ''}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _units(config: Config, profiles: Mapping[str, Profile], left_out: Collection[Keys]) -> Iterator[Problem]:
    """No two devices answer to one unit on one bus, or behind one address."""
    complete = config.completed(config.devices, profiles)
    seen: dict[tuple[object, ...], str] = {}
    for name in profiles:
        if ("devices", name, "unit") in left_out:
            continue
        via, unit = config.devices[name].via, complete.unit(name)
        place = (via.node, via.host, via.port or profiles[name].line.port, unit) if via.host else (via.node, unit)
        if place in seen:
            where = f"tcp://{via.host}" if via.host else f"the bus of {via.node}"
            text = f"{seen[place]} is unit {unit} of {where} already; give one of them another"
            yield Problem(("devices", name, "unit"), text, str(unit))
        seen.setdefault(place, name)
