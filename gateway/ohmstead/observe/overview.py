"""Everything that can be seen of a running gateway, in one place: health, the live page, `/stats` and the metrics are made of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import ohmstead
from ohmstead.config.model import Config
from ohmstead.control.desk import Desk
from ohmstead.control.plan.model import Plan
from ohmstead.mqtt import MqttClient
from ohmstead.nodes.fleet import Fleet, NodeState
from ohmstead.nodes.ingest import Ingest
from ohmstead.observe.latest import Latest
from ohmstead.roster import Roster
from ohmstead.sources.polling import Budgeted
from ohmstead.sources.resilience import Breaker, Health
from ohmstead.store.writer import Writer

_STALE_PERIODS = 3

State = Literal["ok", "stale", "offline", "waiting"]


class Standing(Protocol):
    """An alert: on, off, or None while nothing is known; and the limit that the value is beyond."""

    @property
    def device(self) -> str: ...
    @property
    def point(self) -> str: ...
    @property
    def on(self) -> bool | None: ...
    @property
    def text(self) -> str: ...


class Source(Protocol):
    """What reads a device without a node."""

    @property
    def online(self) -> bool | None: ...
    @property
    def trouble(self) -> str: ...
    @property
    def counters(self) -> Mapping[str, int]: ...


class Taker(Protocol):
    """What takes the frames of a device behind a node that is no plain registers."""

    @property
    def partial(self) -> bool: ...


@dataclass(frozen=True)
class Overview:
    """The parts of a gateway, to be looked at."""

    config: Config
    roster: Roster
    mqtt: MqttClient
    writer: Writer
    fleet: Fleet
    ingest: Ingest
    sources: Mapping[str, Source]
    desk: Desk
    latest: Latest
    takers: Mapping[str, Taker] = field(default_factory=dict)
    wall: Callable[[], float] = time.time
    mono: Callable[[], float] = time.monotonic
    started: float = field(default_factory=time.monotonic)
    version: str = ohmstead.__version__
    plan: Callable[[], Plan | None] = lambda: None
    """The newest plan by price."""
    loxone: Callable[[], Mapping[str, int]] = dict
    """What was counted of a Miniserver's commands and UDP; nothing at a home without one."""
    standing: Callable[[], Iterable[Standing]] = tuple
    """The alerts that the owner wants."""
    audit_trouble: Callable[[], str] = lambda: ""
    """Why nothing is commanded at the moment; empty while all is well."""

    @property
    def uptime_s(self) -> float:
        return self.mono() - self.started

    def source(self, device: str) -> Source | None:
        """What reads a device that is behind no node."""
        return self.sources.get(self.roster[device].source)

    def online(self, device: str) -> bool | None:
        """Whether a device can be reached, as far as its source or its node knows; None before anything is known. A member is reached
        through what it is behind; whether it answers there its age tells."""
        source = self.source(device)
        return source.online if source is not None else self.fleet.device_online(self.roster[device].source)

    def age(self, device: str) -> float | None:
        """Seconds since the device's newest reading."""
        return self.latest.age(device)

    def state(self, device: str) -> State:
        """`stale` after three of its shortest periods without a reading, `offline` when somebody knows better."""
        age = self.age(device)
        if self.online(device) is False:
            return "offline"
        if age is None:
            return "waiting"
        return "stale" if age > _STALE_PERIODS * self.roster[device].period_s else "ok"

    def counters(self, device: str) -> Mapping[str, Any]:
        """The requests to a device and what came of them, as its source counts them or its node last reported."""
        source = self.source(device)
        if source is not None:
            return source.counters if self.roster[device].parent is None else {}
        for node in self.fleet.nodes.values():
            if device in node.devices:
                return node.devices[device].bus
        return {}

    def via(self, device: str) -> str:
        """How the device is reached, as the owner wrote it."""
        return self.roster[device].via

    def breakers(self) -> Iterator[tuple[str, Breaker]]:
        """The circuit breaker of each endpoint that the gateway asks itself."""
        for device, source in self.sources.items():
            breaker = getattr(source, "breaker", None)
            if isinstance(breaker, Breaker):
                yield device, breaker

    def budgets(self) -> Iterator[tuple[str, Sequence[tuple[str, int, int]]]]:
        """The windows of each cloud that counts our requests: name, how many were made, how many may be."""
        for device, source in self.sources.items():
            reader = getattr(source, "reader", None)
            if isinstance(reader, Budgeted):
                yield device, reader.spent()

    def component(self, device: str) -> Health:
        """How a device is: healthy while its readings come whole and in time, degraded when they come in part or late or with trouble,
        unhealthy when they do not come, unknown before it was tried."""
        source = self.source(device)
        said = getattr(source, "health", None)
        if isinstance(said, Health) and said in (Health.UNHEALTHY, Health.DEGRADED):
            return said
        state, taker = self.state(device), self.takers.get(self.roster[device].source)
        if state == "ok" and taker is not None and taker.partial:
            return Health.DEGRADED
        return {"ok": Health.HEALTHY, "stale": Health.DEGRADED, "offline": Health.UNHEALTHY, "waiting": Health.UNKNOWN}[state]

    def alerts(self) -> Iterator[Standing]:
        """The alerts that are known; not those of a device whose readings are old."""
        return (one for one in self.standing() if one.on is not None and self.state(one.device) == "ok")

    def not_ready(self) -> str:
        """What the start still waits for, empty once it is over: the broker's first answer, or that there is none. (The page is up last:
        store and sources are there before it.)"""
        if self.mqtt.tried.is_set():
            return ""
        address = self.mqtt.address
        return f"the broker at {address.host}:{address.port} was called {self.uptime_s:.0f} s ago and has not answered yet"

    def health(self) -> dict[str, Any]:
        """What is wrong, if anything. `ok` is False only for what a restart or a larger disk could cure: the store.

        An absent broker or inverter is told in its part and turns nothing red: restarting the gateway would not bring it back.
        """
        states = {listed.device: self.state(listed.device) for listed in self.roster}
        return {
            "ok": self.writer.healthy and not self.audit_trouble(),
            "store": "ok" if self.writer.healthy else f"nothing is stored: {self.writer.trouble}",
            "control": "ok" if not self.audit_trouble() else f"nothing is commanded, the audit cannot be kept: {self.audit_trouble()}",
            "mqtt": "ok" if self.mqtt.connected else "the broker is away",
            "nodes": {name: _node_health(node) for name, node in self.fleet.nodes.items()},
            "devices": states,
            "components": self.components(),
            "alerts": [f"{one.device} {one.point} is {one.text}" for one in self.alerts() if one.on],
        }

    def components(self) -> dict[str, str]:
        """How each part is, in the words of `Health`."""
        parts = {"store": Health.HEALTHY if self.writer.healthy else Health.UNHEALTHY}
        parts["mqtt"] = Health.HEALTHY if self.mqtt.connected else Health.UNHEALTHY if self.mqtt.tried.is_set() else Health.UNKNOWN
        for name, node in self.fleet.nodes.items():
            parts[f"node {name}"] = Health.UNKNOWN if node.online is None else Health.HEALTHY if node.online else Health.UNHEALTHY
        return {**parts, **{f"device {listed.device}": self.component(listed.device) for listed in self.roster}}

    def stats(self) -> dict[str, Any]:
        """Figures for people and scripts; counters since the start of the process."""
        return {
            "version": self.version,
            "site": self.config.site,
            "uptime_s": round(self.uptime_s, 1),
            "health": self.health(),
            "mqtt": {
                "connected": self.mqtt.connected,
                "connections": self.mqtt.connections,
                "received": self.mqtt.received,
                "published": self.mqtt.published,
                "dropped": self.mqtt.dropped,
                "queued": self.mqtt.queued,
            },
            "store": {
                "commits": self.writer.commits,
                "committed": self.writer.committed,
                "queued": self.writer.queued,
                "dropped_frames": self.writer.dropped_frames,
                "lost_snapshots": self.writer.lost_snapshots,
                "unfit_frames": self.writer.unfit_frames,
                "unfit_snapshots": self.writer.unfit_snapshots,
                "trouble": self.writer.trouble,
            },
            "ingest": {
                "frames": self.ingest.frames,
                "events": self.ingest.events,
                "replayed": self.ingest.replayed,
                "refused": {reason: count for reason, count in self.ingest.refused.items() if count},
            },
            "control": {
                "answered": dict(self.desk.answered),
                "rejected": {str(reason): count for reason, count in self.desk.rejected.items()},
                "retained": self.desk.retained,
            },
            "loxone": dict(self.loxone()),
            "plan": self._plan(),
            "devices": {listed.device: self._device(listed.device) for listed in self.roster},
            "nodes": {name: self._node(name) for name in self.fleet.nodes},
        }

    def _plan(self) -> dict[str, Any] | None:
        """What the plan says of itself; None at a home without prices, and before the first plan."""
        plan = self.plan()
        return None if plan is None else {"made": plan.made, "end": plan.end, "steps": len(plan.steps), "notes": list(plan.notes)}

    def _device(self, device: str) -> dict[str, Any]:
        age, source = self.age(device), self.source(device)
        return {
            "profile": self.roster[device].profile.id,
            "via": self.via(device),
            "state": self.state(device),
            "age_s": None if age is None else round(age, 1),
            "snapshots": self.latest.snapshots[device],
            "readings": self.latest.readings[device],
            "bus": dict(self.counters(device)),
            "trouble": source.trouble if source is not None else "",
            "health": self.component(device),
        }

    def _node(self, name: str) -> dict[str, Any]:
        node = self.fleet.nodes[name]
        hello = node.hello
        return {
            "online": node.online,
            "age_s": None if node.heard is None else round(max(0.0, self.wall() - node.heard), 1),
            "firmware": hello.firmware if hello else None,
            "config_hash": hello.config_hash.hex() if hello else None,
            "slot": hello.slot if hello else None,
            "reset_cause": hello.reset_cause if hello else None,
            "boot": node.boot,
            "seq": node.seq,
            "acknowledged": node.acknowledged,
            "late_s": round(node.late, 3),
            "frames": node.frames,
            "events": node.events,
            "replayed": node.replayed,
            "refused": node.refused,
            "given_up": node.given_up,
            "restarts": node.restarts,
            "latched": node.latched,
            "tripped": node.tripped,
            "controls": {device: {name: said._asdict() for name, said in state.controls.items()} for device, state in node.devices.items()},
            "link": dict(node.link),
            "bus": dict(node.bus),
        }


def _node_health(node: NodeState) -> str:
    state = "ok" if node.online else "offline"
    return f"{state}, stopped: {node.tripped or node.latched}" if node.latched else state
