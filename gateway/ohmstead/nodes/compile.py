"""What a node must know, in one file: `config.ohm`.

The file is `OHM1`, the SHA-256 of the rest, and the rest: a MessagePack map (see `firmware/README.md` for its keys). The node works
with it as it is: polls planned, limits in raw register values, nothing left to interpret.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from ohmcore.errors import PackError
from ohmcore.pack import Packer, unpack
from ohmstead.config.model import Config
from ohmstead.config.node import Bus, NodeConfig
from ohmstead.errors import ConfigurationError, Mistake, OhmsteadError
from ohmstead.nodes.guards import controls_of, limits_of, place_of
from ohmstead.profiles.compiler import PARITY, PollGroup, frame_bound, line_cost
from ohmstead.profiles.model import Line
from ohmstead.profiles.point import Point

PROTOCOL = 1
MAGIC = b"OHM1"
MAX_BYTES = 8192
"""The longest file a node takes: it is held in RAM whole while it is read."""
MAX_DEPTH = 10
"""Maps and lists within each other (buses, devices, groups, reads)."""
MAX_ITEMS = 2048
"""Values in the file, keys included."""

STATE_BYTES = 2040
"""What a node can keep of its controls over a power cut: the latch, who is under lease, writes by the hour (`ohmnode/keep.py`)."""

FRAME_BYTES = 704
"""What the longest event takes, a node's report with every reason for which it refused something. Its buffers are no smaller."""

_SIGN_IN = 64
"""Bytes of that packet beside them, beyond the room that a node has around each frame (`ohmnode/packets.py`)."""

_DIGEST = 32
_HOURS = 25
_STATE_DEPTH, _STATE_ITEMS = 3, 400
_DEFAULT_UART = 1
_KEEPALIVE_S = 30
_BUFFER_S, _BUFFER_BEFORE_FLASH_S = 90, 10
_SPOOL_EVENTS, _EVENT_BYTES = 16, 128
_SPOOL_MOST, _SPOOL_MOST_BEFORE_FLASH = (200, 16384), (64, 8192)
"""Frames and bytes."""
_BUS_REPORT_MS = 60_000


class NodeConfigError(OhmsteadError):
    """A file that is no node configuration, or one that was damaged."""


def node_config(config: Config, node: str) -> bytes:
    """The configuration file of a node; the same configuration always gives the same bytes.

    Raises KeyError for an unknown node, ConfigurationError when the file would be longer than `MAX_BYTES`, or what the node has to keep
    of its controls longer than `STATE_BYTES`.
    """
    content = _content(config, node, config.nodes[node])
    content["frame"] = max(FRAME_BYTES, _largest_frame(config, node), _SIGN_IN + _credentials(content["mqtt"]))
    body = _packed(node, content)
    if (state := _state_bytes(node, content)) > content["frame"]:
        content["frame"] = state
        body = _packed(node, content)
    return MAGIC + hashlib.sha256(body).digest() + body


def _packed(node: str, content: Mapping[str, Any]) -> bytes:
    packer = Packer(bytearray(MAX_BYTES - len(MAGIC) - _DIGEST))
    try:
        packer.value(content)
        body = packer.message()
        unpack(body, MAX_DEPTH, MAX_ITEMS, MAX_BYTES)
    except PackError as error:
        text = f"its configuration is larger than a node takes ({MAX_BYTES} bytes, {MAX_ITEMS} values); give it fewer devices"
        raise _too_large(node, text) from error
    return body


def _credentials(mqtt: Mapping[str, Any]) -> int:
    """Bytes of the user and the password, which go into one packet: the first."""
    return sum(len((mqtt[name] or "").encode()) for name in ("user", "password"))


def _largest_frame(config: Config, node: str) -> int:
    """Bytes of the longest data frame; 0 for a node that reads nothing."""
    groups = ((device, group) for device in config.devices_of(node) for group in config.poll_groups(device))
    return max((frame_bound(group.reads, device, group.name) for device, group in groups), default=0)


def _state_bytes(node: str, content: Mapping[str, Any]) -> int:
    """What the node packs to keep the state of its controls, at most: in the buffer that it makes frames in. Raises ConfigurationError."""
    state = Packer(bytearray(STATE_BYTES))
    try:
        state.value(_largest_state(content))
        unpack(state.message(), _STATE_DEPTH, _STATE_ITEMS, STATE_BYTES)
    except PackError as error:
        text = (
            f"the state of its controls, with their devices' names, is more than a node can keep over a power cut ({STATE_BYTES} bytes); "
            "give the devices shorter names, or fewer of them to this node"
        )
        raise _too_large(node, text) from error
    return state.length


def _too_large(node: str, text: str) -> ConfigurationError:
    return ConfigurationError([Mistake("the configuration", 0, f"nodes.{node}", text)])


def _largest_state(content: Mapping[str, Any]) -> tuple[int, str, list[list[Any]]]:
    """What `ohmnode/keep.py` packs when all controls are under lease, have been written, and the limit of the longest name trips."""
    cause = max(("damaged state", *(str(rule["name"]) for rule in content["limits"])), key=len)
    controls = (
        [device["name"], control["name"], 1, bytes(_HOURS) if control["budget"] else None]
        for bus in content["buses"]
        for device in bus["devices"]
        for control in device["controls"]
    )
    return 1, cause, list(controls)


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
        "buses": _buses(config, name, node),
        "limits": [rule for device in config.devices_of(name) for rule in limits_of(config, device)],
        "link_loss_ms": round(node.link_loss * 1000),
        "stop_pin": {"pin": node.stop_pin.pin, "active": int(node.stop_pin.active == "high")} if node.stop_pin else None,
        "update_key": node.update_key,
        "flash_spool": node.flash_spool,
        "spool": _spool(config, name),
        "bus_report_ms": _BUS_REPORT_MS,
    }


def _spool(config: Config, node: str) -> dict[str, int]:
    """Room for what the node reads in 10 s, far longer than an acknowledgement takes, where the flash takes what has no room; without flash
    in 90 s. And for what happens meanwhile. A board's memory is small: no more than that.
    """
    flash = bool(config.nodes[node].flash_spool)
    buffer_s, most = (_BUFFER_BEFORE_FLASH_S, _SPOOL_MOST_BEFORE_FLASH) if flash else (_BUFFER_S, _SPOOL_MOST)
    count, octets = 2 * _SPOOL_EVENTS, _SPOOL_EVENTS * _EVENT_BYTES  # a quarter of the frames are events, and those are short
    for device in config.devices_of(node):
        for group in config.poll_groups(device):
            frames = math.ceil(buffer_s / group.period_s)
            count += frames
            octets += frames * frame_bound(group.reads, device, group.name)
    return {"frames": min(count, most[0]), "bytes": min(octets, most[1])}


def _buses(config: Config, name: str, node: NodeConfig) -> list[dict[str, Any]]:
    """The serial lines of a node, and one bus for each address that it reaches over Modbus TCP."""
    on: dict[str, list[str]] = {bus: [] for bus in node.lines()}
    behind: dict[tuple[str, int], list[str]] = {}
    for device in config.devices_of(name):
        via = config.devices[device].via
        if via.host is not None:
            behind.setdefault((via.host, via.port or config.profile(device).line.port), []).append(device)
        else:
            on[str(config.bus_name(via))].append(device)
    serial = [_serial(config, bus, line, on[bus], _DEFAULT_UART + number) for number, (bus, line) in enumerate(node.lines().items())]
    tcp = [
        {"name": f"{host}:{port}", "kind": "tcp", "host": host, "port": port, "devices": [_device(config, device) for device in devices]}
        for (host, port), devices in behind.items()
    ]
    return serial + tcp


def _serial(config: Config, name: str, bus: Bus, devices: list[str], uart: int) -> dict[str, Any]:
    line = config.profile(devices[0]).line if devices else Line(**bus.model_dump(include={"baud", "parity", "stop"}, exclude_none=True))
    spoken = _format(line)
    return {
        "name": name,
        "port": uart if bus.port is None else bus.port,
        "pins": {"tx": bus.pins.tx, "rx": bus.pins.rx, "de": bus.pins.de} if bus.pins else None,
        **spoken,
        "devices": [_device(config, device, spoken) for device in devices],
    }


def _format(line: Line) -> dict[str, Any]:
    return {"baud": line.baud, "parity": PARITY[line.parity], "stop": line.stop}


def _device(config: Config, name: str, bus: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`bus` is the format of its serial line; what a device has otherwise is its own."""
    profile, chosen = config.profile(name), config.devices[name]
    line, groups = profile.line, config.poll_groups(name)
    pause_s = line.gap if bus is None else max(line.gap, line_cost(line).silence_s)
    own = {} if bus is None else {key: said for key, said in _format(line).items() if said != bus[key]}
    return {
        "name": name,
        "unit": config.unit(name),
        **own,
        **({"read_only": True} if chosen.read_only else {}),
        "timeout_ms": round(line.timeout * 1000),
        "retries": line.retries,
        "turnaround_ms": math.ceil(pause_s * 1000),
        "groups": [
            {
                "name": group.name,
                "period_ms": round(group.period_s * 1000),
                "priority": group.priority,
                "reads": [[read.function, read.address, read.count] for read in group.reads],
            }
            for group in groups
        ],
        "controls": controls_of(config, name),
        "vitals": [_vital(point, groups) for point in profile.points.values() if point.vital and point.table],
    }


def _vital(point: Point, groups: list[PollGroup]) -> dict[str, Any]:
    """Where in the reads of its poll group the point is, and how it becomes a plain number: raw / divisor."""
    place = place_of(point, groups)
    return {
        "point": point.id,
        "group": place.group,
        "read": place.read,
        "offset": place.offset,
        "kind": point.kind,
        "words": point.words,
        "order": point.order,
        "divisor": point.divisor,
        "decimals": len(str(point.divisor)) - 1 if point.round is None else point.round,
    }
