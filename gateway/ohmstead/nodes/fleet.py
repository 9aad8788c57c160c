"""What is known of each node and its devices right now: for the page, the metrics, and whoever wants to be told."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_RECENT = 50


class Event(NamedTuple):
    """Something a node reported: `device` is empty when it is about the node itself; `time` is UTC seconds."""

    node: str
    device: str
    kind: str
    detail: Mapping[str, Any]
    time: float


_ENDED = ("lapsed", "safe", "reverted")


class ControlState(NamedTuple):
    """What a node last said of a control: `stage` is done, unchanged, failed, reverted, safe, limited, external or lapsed;
    `value` is the raw value that was read, None where none was; `time` is UTC seconds."""

    stage: str
    reason: str
    value: int | None
    time: float


class Hello(NamedTuple):
    """How a node introduced itself when it last connected. `config_hash`: the first 8 bytes of its configuration's SHA-256."""

    firmware: str
    boot: int
    uptime_ms: int
    config_hash: bytes
    slot: str
    reset_cause: str
    capabilities: tuple[str, ...]
    first_seq: int


@dataclass(slots=True)
class DeviceState:
    """A device behind a node. `online`, as it was at `since`, is None before anything is known; `bus` are its counters as last reported."""

    online: bool | None = None
    since: float = 0.0
    last_frame: float | None = None
    bus: Mapping[str, Any] = field(default_factory=dict)
    controls: dict[str, ControlState] = field(default_factory=dict)

    def seen(self, online: bool, time: float) -> None:
        """It answered or did not, at `time` (UTC seconds). Messages may overtake each other: an older one changes nothing."""
        if time >= self.since:
            self.online = online
            self.since = time


@dataclass(slots=True)
class NodeState:
    """A node. `heard` is the UTC second of its last message, `started` that of its start as its newest frame tells it (None before one);
    `late` is the delay of its last frame in seconds.

    `latched` is the cause of its latch, empty where it is not latched, None while that is not known; `tripped` the limit that last
    tripped. `link` is what it last told of itself, `buses` the counters of each of its buses, `bus` those of all together.
    """

    name: str
    devices: dict[str, DeviceState]
    online: bool | None = None
    hello: Hello | None = None
    heard: float | None = None
    started: float | None = None
    late: float = 0.0
    boot: int = 0
    seq: int = 0
    acknowledged: int = 0
    frames: int = 0
    events: int = 0
    replayed: int = 0
    refused: int = 0
    given_up: int = 0
    restarts: int = 0
    bus: Mapping[str, Any] = field(default_factory=dict)
    buses: dict[str, Mapping[str, int]] = field(default_factory=dict)
    link: Mapping[str, Any] = field(default_factory=dict)
    latched: str | None = None
    latched_at: float = 0.0
    tripped: str = ""
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def is_earlier(self, boot: int) -> bool:
        """Whether this is a former life of the node: what it says comes from its flash."""
        return self.hello is not None and self.hello.boot != boot

    def latch(self, cause: str, time: float) -> None:
        """It is latched since `time` (UTC seconds), or not any more (an empty cause). An older message changes nothing."""
        if time >= self.latched_at:
            self.latched, self.latched_at = cause, time
            if not cause:
                self.tripped = ""


def ends_ownership(detail: Mapping[str, Any]) -> bool:
    """Whether nobody owns a control any more after this "control" event."""
    return detail.get("stage") in _ENDED or (detail.get("stage"), detail.get("reason")) == ("external", "given up")


class Fleet:
    """The state of every configured node, by name. Read freely in the event loop; `nodes/ingest.py` writes it."""

    def __init__(self, nodes: Mapping[str, Collection[str]]) -> None:
        """`nodes`: each node's devices."""
        self.nodes = {name: NodeState(name, {device: DeviceState() for device in devices}) for name, devices in nodes.items()}

    def clock_was_set(self, seconds: float) -> None:
        """UTC jumped by so many seconds: all that is remembered with a time moves along, so that what comes now is later than it."""
        for node in self.nodes.values():
            node.latched_at += seconds
            node.heard = None if node.heard is None else node.heard + seconds
            node.started = None if node.started is None else node.started + seconds
            for device in node.devices.values():
                device.since += seconds
                device.last_frame = None if device.last_frame is None else device.last_frame + seconds
                device.controls = {name: said._replace(time=said.time + seconds) for name, said in device.controls.items()}

    def device_online(self, device: str) -> bool | None:
        """Whether a device can be reached: its node must be there, and the node must get answers. None: not known yet."""
        for node in self.nodes.values():
            state = node.devices.get(device)
            if state is not None:
                return False if node.online is False else state.online
        return None

    def happened(self, event: Event) -> None:
        """Takes in what an event says about its node or device."""
        node = self.nodes[event.node]
        node.events += 1
        node.recent.append(event)
        device = node.devices.get(event.device)
        match event.kind:
            case "online" | "offline" if device is not None:
                device.seen(event.kind == "online", event.time)
            case "bus" if device is not None:
                device.bus = _counters(event.detail)
            case "bus":
                node.buses[str(event.detail.get("bus", ""))] = _counters(event.detail)
                node.bus = _together(node.buses.values())
            case "link":
                node.link = dict(event.detail)
                if isinstance(event.detail.get("latched"), str):
                    node.latch(event.detail["latched"], event.time)
            case "latch":
                node.latch(str(event.detail.get("cause") or "unknown"), event.time)
            case "reset":
                node.latch("", event.time)
            case "trip":
                node.tripped = str(event.detail.get("limit", ""))
            case "control" | "result" if device is not None:
                _noted(device, event)
            case "restart":
                node.restarts += 1
            case "dropped":
                node.given_up += sum(last - first + 1 for first, last in event.detail.get("ranges", ()))


def _noted(device: DeviceState, event: Event) -> None:
    """What an event says of a control. What a node rejected changed nothing."""
    said, control = event.detail, event.detail.get("control")
    known = device.controls.get(str(control))
    if isinstance(control, str) and said.get("stage") != "rejected" and (known is None or known.time <= event.time):
        value = said.get("value")
        device.controls[control] = ControlState(
            str(said.get("stage", "")), str(said.get("reason", "")), value if isinstance(value, int) else None, event.time
        )


_OF_THE_NODE = ("lag_max_ms", "memory_free")
"""What each bus reports of the node itself: not to be added up."""


def _together(buses: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counters in buses:
        for name, count in counters.items():
            total[name] = count if name in _OF_THE_NODE else total.get(name, 0) + count
    return total


def _counters(detail: Mapping[str, Any]) -> dict[str, int]:
    """What counts in a bus report; whatever else somebody put into it is not shown."""
    return {name: count for name, count in detail.items() if type(count) is int and count >= 0}
