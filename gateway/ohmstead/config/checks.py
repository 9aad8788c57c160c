"""What can only be judged between parts of the configuration, and with the profiles it names at hand."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ohmstead.config import wishes
from ohmstead.config.device import DeviceConfig, SourceConfig
from ohmstead.config.devices import SOURCES, Device
from ohmstead.config.environment import Keys
from ohmstead.config.limits import narrowed
from ohmstead.config.model import Config
from ohmstead.config.node import Bus, NodeConfig
from ohmstead.config.prices import doubts
from ohmstead.config.values import EVERY_GROUP, Via
from ohmstead.errors import ConfigurationError, Mistake
from ohmstead.profiles import library
from ohmstead.profiles.compiler import FrameTooLong, line_cost, period_name, periods, poll_groups
from ohmstead.profiles.model import Line, Profile
from ohmstead.profiles.planner import PlanError, TcpCost
from ohmstead.profiles.rules import broken_rules
from ohmstead.sources.growatt_commands import telemetry_names
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
    devices: dict[str, Device] = {}
    load = cache(library.load)
    for name, device in config.devices.items():
        try:
            profile = load(device.profile, folder / "profiles")
        except ConfigurationError as error:
            wrong += [mistake for mistake in error.mistakes if mistake.file]
            problems += [Problem(("devices", name, "profile"), one.text, device.profile) for one in error.mistakes if not one.file]
            continue
        profile = device.fitted(profile)
        problems += [Problem(("devices", name, *keys), *told) for keys, *told in wishes.unfit(device.points, profile)]
        profile = wishes.fulfilled(device.points, profile)
        profiles[name] = profile.model_copy(update={"line": _line(profile.line, config.bus_of(device.via), device)})
        devices[name] = _spoken_out(device, profile)
        problems += (problem for problem in _device(name, device, profiles[name]) if problem.keys not in left_out)
    problems += _nodes(config, profiles, left_out)
    problems += _units(config, profiles, left_out)
    problems += _sources(config)
    problems += _plan(config, profiles, left_out)
    problems += _compatible(config, profiles, left_out)
    return config.completed(devices, profiles), problems, wrong


def _spoken_out(device: Device, profile: Profile) -> Device:
    """The device with the defaults that its profile gives."""
    said: dict[str, object] = {
        "name": device.name or profile.name,
        "contract": None if device.contract == "none" else device.contract or ("json" if "json" in profile.contracts else None),
    }
    via = device.via
    if via.host is not None:
        said["via"] = via._replace(port=via.port or profile.line.port)
    return device.model_copy(update=said)


def _line(line: Line, bus: Bus | None, device: Device) -> Line:
    """The profile's line, changed by what the bus says and then by what the device's own `line` says."""
    said = bus.model_dump(include={"baud", "parity", "stop"}, exclude_none=True) if bus else {}
    return line.model_copy(update=said | device.line.model_dump(exclude_none=True))


def _device(name: str, device: Device, profile: Profile) -> Iterator[Problem]:
    here = ("devices", name)
    if isinstance(device, DeviceConfig):
        yield from _reader(here, device, profile)
    for group in device.every:
        if group != EVERY_GROUP and group not in profile.groups:
            known = did_you_mean(group, profile.groups) or f"; the groups are {', '.join(profile.groups)}"
            yield Problem((*here, "every", group), f"no group of {profile.id}{known}")
    at_our_pace = profile.model_copy(update={"groups": periods(profile, device.every)})
    for path, text in broken_rules(at_our_pace):
        what = "the limit {} would never hold: {}" if path[0] == "limits" else "{} would have no value any more: {}"
        yield Problem((*here, "every"), what.format(path[1], text))
    if device.contract not in (None, "none", *profile.contracts):
        known = f"; it has {' and '.join(profile.contracts)}" if profile.contracts else "; leave it out"
        yield Problem((*here, "contract"), f"{profile.id} has no such contract{known}", device.contract or "")
    if (
        device.via.topic is not None
        and profile.reader == "registers"
        and not telemetry_names(point.address for point in profile.points.values() if point.table == "input")
    ):
        yield Problem(
            (*here, "via"), f"an OpenInverterGateway has no values for {profile.id}; it speaks for Growatt inverters", str(device.via)
        )
    for limit, written in device.limits.items():
        for text in _limit(limit, written, profile):
            yield Problem((*here, "limits", limit), text, written)
    for control, allowed in device.control.ranges.items():
        if control not in profile.controls:
            yield Problem((*here, "control", control), _no_control(control, profile))
        elif allowed.power is not None and not any(_limit(control, device.limits[control], profile) if control in device.limits else ()):
            try:
                narrowed(profile, control, device.limits.get(control), allowed.power, device.rated)
            except UnitError as error:
                yield Problem((*here, "control", control, "power"), str(error), allowed.power)
    try:
        if device.via.node is None:
            poll_groups(profile, TcpCost(), device=name, max_frame=None)
        else:
            poll_groups(profile, line_cost(profile.line) if device.via.host is None else TcpCost(), device=name)
    except FrameTooLong as error:
        yield Problem((*here, "profile"), str(error), device.profile)
    except PlanError as error:
        yield Problem((*here, "line", "max_read"), str(error))


def _reader(here: Keys, device: DeviceConfig, profile: Profile) -> Iterator[Problem]:
    """Who reads it can, and what is said for one reader is for this one."""
    if profile.reader in SOURCES:
        text = f"is no Modbus device; write `source: {profile.reader}` in place of `profile` and `via`"
        yield Problem((*here, "profile"), text, device.profile)
    elif device.via.topic is not None and profile.reader != "registers":
        yield Problem((*here, "via"), f"nobody reads {profile.name} that way; write tcp://host", str(device.via))
    elif device.via.node is not None and profile.reader not in ("registers", "hoymiles"):
        text = f"only the gateway itself reads {profile.name}; write tcp://host"
        yield Problem((*here, "via"), text, str(device.via))
    for key in ("hoymiles", "exclude"):
        if profile.reader != "hoymiles" and key in device.model_fields_set:
            yield Problem((*here, key), f"only fits a Hoymiles DTU, not {profile.name}")
    if profile.reader == "hoymiles":
        period_s = min(periods(profile, device.every).values())
        problems = [*device.hoymiles.unfit(period_s, device.exclude)]
        if device.via.node is not None:
            problems += device.hoymiles.through_a_node(here[-1], period_name(period_s))
            text = "a node does not write to a DTU; let the gateway read it (`via: tcp://host`), or leave this out"
            problems += [(("control", name), text, "") for name in device.control.ranges if name in profile.controls]
        elif device.hoymiles.ports is not None:
            text = "is only for a DTU that a node reads: the gateway finds the end of the list; leave it out"
            problems.append((("hoymiles", "ports"), text, str(device.hoymiles.ports)))
        yield from (Problem((*here, *keys), text, value) for keys, text, value in problems)
        if profile.id == "hoymiles-inverter":
            yield Problem((*here, "profile"), "is found behind its DTU; write `hoymiles-dtu` and the DTU's address", device.profile)


def _no_control(name: str, profile: Profile) -> str:
    return f"no control of {profile.id}" + (did_you_mean(name, profile.controls) or "; it has " + (", ".join(profile.controls) or "none"))


def _limit(name: str, written: str, profile: Profile) -> Iterator[str]:
    """What is wrong with an entry of `limits`: a limit of the profile, or a control."""
    try:
        if name in profile.limits:
            template = profile.limits[name]
            template.bounds(profile.points[template.point[0]].unit, written)
        elif name in profile.controls:
            narrowed(profile, name, written)
        else:
            known = [*profile.limits, *profile.controls]
            yield f"no limit and no control of {profile.id}" + (did_you_mean(name, known) or "; it has " + (", ".join(known) or "none"))
    except UnitError as error:
        yield str(error)


def _nodes(config: Config, profiles: Mapping[str, Profile], left_out: Collection[Keys]) -> Iterator[Problem]:
    """Devices name nodes and buses that exist, a node has something to read, and it finds the broker."""
    unheard = {keys[1] for keys in left_out if keys[0] == "nodes" and len(keys) > 1}
    for name, device in config.devices.items():
        node = device.via.node
        if node is not None and node not in config.nodes and node not in unheard and ("nodes",) not in left_out:
            known = did_you_mean(node, config.nodes) or f"; the nodes are {', '.join(config.nodes)}" * bool(config.nodes)
            yield Problem(("devices", name, "via"), f"there is no such node under `nodes`{known}", node)
        elif node in config.nodes and not _faulty(node, left_out):
            yield from _bus(name, device.via, config.nodes[node])
    for name, node_config in config.nodes.items():
        reached = [config.devices[one].via.host for one in config.devices_of(name)]
        if not node_config.lines() and not any(reached) and not _faulty(name, left_out):
            yield Problem(("nodes", name, "bus"), "is missing")
        if node_config.stop_pin is not None and node_config.key is None and not _faulty(name, left_out):
            text = (
                "has no effect: without a `key` the node writes nothing, so that there is nothing to stop; give it a key or take this out"
            )
            yield Problem(("nodes", name, "stop_pin"), text)
        address = node_config.mqtt.url or config.mqtt.url
        on_a_board = any(bus.pins is not None for bus in node_config.lines().values())
        if on_a_board and _is_loopback(address.host) and ("mqtt", "url") not in left_out:
            text = f"{address.host} is the node itself; give it the address of the broker in the home network"
            yield Problem(("nodes", name, "mqtt", "url"), text)


def _plan(config: Config, profiles: Mapping[str, Profile], left_out: Collection[Keys]) -> Iterator[Problem]:
    """`prices` and `plan` fit together and to the devices; nothing is concluded from what was left out."""
    if any(keys[0] in ("prices", "plan", "devices") for keys in left_out) or len(profiles) < len(config.devices):
        return
    controls = {name: tuple(profile.controls) for name, profile in profiles.items()}
    points = {name: tuple(profile.points) for name, profile in profiles.items()}
    yield from (Problem(*doubt) for doubt in doubts(config.prices, config.plan, controls, points))


def _compatible(config: Config, profiles: Mapping[str, Profile], left_out: Collection[Keys]) -> Iterator[Problem]:
    """Who wants figures under the names of a former service has what it read."""
    if not any(keys[0] == "devices" for keys in left_out) and len(profiles) == len(config.devices):
        yield from (Problem(("web", "compatible"), text, name) for name, text in config.web.unfit(profiles.values()))


def _faulty(node: str, left_out: Collection[Keys]) -> bool:
    """Whether something of a node was left out, so that nothing follows from its absence."""
    return any(keys[:2] == ("nodes", node) and len(keys) > 2 for keys in left_out)


def _bus(device: str, via: Via, node: NodeConfig) -> Iterator[Problem]:
    """A device on a serial line says which one, where its node has several."""
    named = list(node.buses)
    here = ("devices", device, "via")
    if via.host is not None:
        return
    if via.bus is None and len(named) > 1:
        yield Problem(here, f"which of its buses? write {' or '.join(f'{via.node}/{bus}' for bus in named)}", str(via))
    elif via.bus is not None and via.bus not in node.lines():
        known = did_you_mean(via.bus, named) or (f"; it has {', '.join(named)}" if named else f"; it has only one, write {via.node}")
        yield Problem(here, f"{via.node} has no such bus{known}", str(via))
    elif not node.lines():
        yield Problem(here, f"{via.node} has no bus; write {via.node}/tcp://host for Modbus TCP, or give the node a `bus`", str(via))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sources(config: Config) -> Iterator[Problem]:
    """No two devices are one and the same, and a home has one weather."""
    seen: dict[tuple[str, ...], str] = {}
    for name, device in config.devices.items():
        if not isinstance(device, SourceConfig) or (place := device.identity) is None:
            continue
        if place in seen:
            yield Problem(("devices", name), f"{seen[place]} is this already ({device.address}); leave one of them out")
        seen.setdefault(place, name)


def _units(config: Config, profiles: Mapping[str, Profile], left_out: Collection[Keys]) -> Iterator[Problem]:
    """No two devices answer to one unit on one bus, or behind one address."""
    complete = config.completed(config.devices, profiles)
    seen: dict[tuple[object, ...], str] = {}
    for name in profiles:
        if ("devices", name, "unit") in left_out:
            continue
        if not isinstance(config.devices[name], DeviceConfig):
            continue
        via, unit = config.devices[name].via, complete.unit(name)
        if via.topic is not None:
            if (via.topic,) in seen:
                yield Problem(("devices", name, "via"), f"{seen[via.topic,]} is behind this OpenInverterGateway already", str(via))
            seen.setdefault((via.topic,), name)
            continue
        if via.host is not None:
            place: tuple[object, ...] = (via.host, via.port or profiles[name].line.port, unit)
            where = f"tcp://{via.host}"
        else:
            bus = config.bus_name(via)
            place, where = (via.node, bus, unit), f"the bus of {via.node}" if via.bus is None else f"the bus {via.bus} of {via.node}"
        if place in seen:
            text = f"{seen[place]} is unit {unit} of {where} already; give one of them another"
            yield Problem(("devices", name, "unit"), text, str(unit))
        seen.setdefault(place, name)
