"""What a node must know, in one file: `config.ohm`.

The file is `OHM1`, the SHA-256 of the rest, and the rest: a MessagePack map (see `firmware/README.md` for its keys). The node works
with it as it is: polls planned, limits in raw register values, nothing left to interpret.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from ohmcore.errors import PackError
from ohmcore.pack import Packer, unpack
from ohmstead.config.model import Config, DeviceConfig, NodeConfig
from ohmstead.errors import ConfigurationError, Mistake, OhmsteadError
from ohmstead.profiles.compiler import PARITY, PollGroup, frame_bound, line_cost
from ohmstead.profiles.model import Line, Profile
from ohmstead.profiles.point import Point

PROTOCOL = 1
MAGIC = b"OHM1"
MAX_BYTES = 8192
"""The longest file a node takes: it is held in RAM whole while it is read."""
MAX_DEPTH = 10
"""Maps and lists within each other (buses, devices, groups, reads)."""
MAX_ITEMS = 2048
"""Values in the file, keys included."""

_DIGEST = 32
_DEFAULT_UART = 1
_KEEPALIVE_S = 30
_BUFFER_S = 90
_SPOOL_EVENTS, _EVENT_BYTES = 16, 128
_SPOOL_MOST_FRAMES, _SPOOL_MOST_BYTES = 200, 16384
_BUS_REPORT_MS = 60_000


class NodeConfigError(OhmsteadError):
    """A file that is no node configuration, or one that was damaged."""


def node_config(config: Config, node: str) -> bytes:
    """The configuration file of a node; the same configuration always gives the same bytes.

    Raises KeyError for an unknown node, ConfigurationError when the file would be longer than `MAX_BYTES`.
    """
    packer = Packer(bytearray(MAX_BYTES - len(MAGIC) - _DIGEST))
    try:
        packer.value(_content(config, node, config.nodes[node]))
        body = packer.message()
        unpack(body, MAX_DEPTH, MAX_ITEMS, MAX_BYTES)
    except PackError as error:
        text = f"its configuration is larger than a node takes ({MAX_BYTES} bytes, {MAX_ITEMS} values); give it fewer devices"
        raise ConfigurationError([Mistake("the configuration", 0, f"nodes.{node}", text)]) from error
    return MAGIC + hashlib.sha256(body).digest() + body


def config_hash(file: bytes) -> bytes:
    """The 8 bytes by which a node's hello names the configuration it runs."""
    return file[len(MAGIC) : len(MAGIC) + 8]


def read_node_config(file: bytes) -> dict[str, Any]:
    """What a configuration file says, its checksum verified. Raises NodeConfigError."""
    digest, body = file[len(MAGIC) : len(MAGIC) + _DIGEST], file[len(MAGIC) + _DIGEST :]
    if not file.startswith(MAGIC):
        raise NodeConfigError("this is no node configuration")
    if hashlib.sha256(body).digest() != digest:
        raise NodeConfigError("the node configuration is damaged: its checksum is wrong")
    try:
        content = unpack(body, MAX_DEPTH, MAX_ITEMS, MAX_BYTES)
    except PackError as error:
        raise NodeConfigError(f"the node configuration cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("protocol") != PROTOCOL:
        raise NodeConfigError(f"the node configuration is not of protocol {PROTOCOL}")
    return content


def _content(config: Config, name: str, node: NodeConfig) -> dict[str, Any]:
    address = node.mqtt.url or config.mqtt.url
    itself = node.mqtt.user is not None or node.mqtt.password is not None
    return {
        "protocol": PROTOCOL,
        "site": config.site,
        "node": name,
        "key": node.key,
        "mqtt": {
            "servers": [[address.host, address.port]],
            "user": node.mqtt.user or config.mqtt.user,
            "password": node.mqtt.password if itself else config.mqtt.password,
            "keepalive": _KEEPALIVE_S,
            "tls": address.tls,
        },
        "wifi": {"ssid": node.wifi.ssid, "password": node.wifi.password} if node.wifi else None,
        "buses": [_bus(config, node, config.devices_of(name))],
        "spool": _spool(config, name),
        "bus_report_ms": _BUS_REPORT_MS,
    }


def _spool(config: Config, node: str) -> dict[str, int]:
    """Room for what the node reads in `_BUFFER_S` seconds and for what happens meanwhile. A board's memory is small: no more than that."""
    count, octets = _SPOOL_EVENTS, _SPOOL_EVENTS * _EVENT_BYTES
    for device in config.devices_of(node):
        for group in config.poll_groups(device):
            frames = math.ceil(_BUFFER_S / group.period_s)
            count += frames
            octets += frames * frame_bound(group.reads, device, group.name)
    return {"frames": min(count, _SPOOL_MOST_FRAMES), "bytes": min(octets, _SPOOL_MOST_BYTES)}


def _bus(config: Config, node: NodeConfig, devices: list[str]) -> dict[str, Any]:
    bus = node.bus
    line = config.profile(devices[0]).line if devices else Line(**bus.model_dump(include={"baud", "parity", "stop"}, exclude_none=True))
    return {
        "name": "rs485-1",
        "port": _DEFAULT_UART if bus.port is None else bus.port,
        "pins": {"tx": bus.pins.tx, "rx": bus.pins.rx, "de": bus.pins.de} if bus.pins else None,
        "baud": line.baud,
        "parity": PARITY[line.parity],
        "stop": line.stop,
        "devices": [_device(config, name, config.devices[name], config.profile(name)) for name in devices],
    }


def _device(config: Config, name: str, device: DeviceConfig, profile: Profile) -> dict[str, Any]:
    line, cost = profile.line, line_cost(profile.line)
    groups = config.poll_groups(name)
    return {
        "name": name,
        "unit": config.unit(name),
        "timeout_ms": round(line.timeout * 1000),
        "retries": line.retries,
        "turnaround_ms": math.ceil(max(line.gap, cost.silence_s) * 1000),
        "groups": [
            {
                "name": group.name,
                "period_ms": round(group.period_s * 1000),
                "priority": group.priority,
                "reads": [[read.function, read.address, read.count] for read in group.reads],
            }
            for group in groups
        ],
        "controls": [] if device.read_only else [_control(config, name, control, profile) for control in profile.controls],
        "vitals": [_vital(point, groups) for point in profile.points.values() if point.vital and point.table],
    }


def _control(config: Config, device: str, control: str, profile: Profile) -> dict[str, Any]:
    chosen, limits = profile.controls[control], config.raw_limits(device, control)
    point = profile.points[chosen.point]
    return {
        "name": control,
        "function": chosen.function,
        "address": point.address,
        "words": point.words,
        "min": limits.minimum,
        "max": limits.maximum,
        "step": limits.step,
        "allowed": None if limits.allowed is None else list(limits.allowed),
    }


def _vital(point: Point, groups: list[PollGroup]) -> dict[str, Any]:
    """Where in the reads of its poll group the point is, and how it becomes a plain number: raw / divisor."""
    group, index, read = next(
        (group, index, read)
        for group in groups
        if point.group in group.groups
        for index, read in enumerate(group.reads)
        if read.function == point.function and read.address <= point.address and point.last <= read.last
    )
    return {
        "point": point.id,
        "group": group.name,
        "read": index,
        "offset": point.address - read.address,
        "kind": point.kind,
        "words": point.words,
        "order": point.order,
        "divisor": point.divisor,
        "decimals": len(str(point.divisor)) - 1 if point.round is None else point.round,
    }
