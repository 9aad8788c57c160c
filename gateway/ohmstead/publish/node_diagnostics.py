"""A node as a device of Home Assistant: how it is doing, as diagnostic entities.

`ohm/<site>/node/<node>/diagnostics` (retained JSON) holds what the node last told of itself, and
`homeassistant/device/<site>_node_<node>/config` announces it. What a machine cannot tell (signal, temperature) has no entity.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ohmstead
from ohmstead.messages import Messenger
from ohmstead.publish.announcement import Announcement, Configuration, Discovery
from ohmstead.publish.home_assistant import bridge_topic
from ohmstead.readings import Snapshot

_BYTES = {"unit_of_measurement": "B", "device_class": "data_size", "state_class": "measurement"}
_GROWING = {"state_class": "total_increasing"}

ENTITIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "memory_free": ("Free memory", _BYTES),
    "stack": ("Stack in use", _BYTES),
    "flash_writes": ("Flash writes", _GROWING),
    "flash_bytes": ("Flash written", {**_BYTES, **_GROWING}),
    "rssi": ("Signal", {"unit_of_measurement": "dBm", "device_class": "signal_strength", "state_class": "measurement"}),
    "temperature": ("Temperature", {"unit_of_measurement": "°C", "device_class": "temperature", "state_class": "measurement"}),
    "lag_max_ms": ("Loop lag", {"unit_of_measurement": "ms", "device_class": "duration", "state_class": "measurement"}),
    "reset_cause": ("Last reset", {}),
    "held": ("Held frames", {"state_class": "measurement"}),
    "dropped": ("Dropped frames", _GROWING),
    "restarts": ("Task restarts", _GROWING),
}
"""Key of the node's "link" event → name and what Home Assistant should know of it."""

BUS: Mapping[str, str] = {
    "requests": "Bus requests",
    "no_answer": "Bus requests without an answer",
    "crc": "Bus checksum errors",
    "exception": "Bus refusals",
    "partial": "Bus partial answers",
    "wrong": "Bus wrong answers",
}
"""Counter of a "bus" event → name."""


class Told(NamedTuple):
    """What a node last told of itself: its "link" event, its bus counters, why it is latched (None: not known), its firmware."""

    link: Mapping[str, Any]
    bus: Mapping[str, Any]
    latched: str | None
    firmware: str | None


class NodeDiagnostics:
    """One node. `told` is asked at each tick; nothing is announced before the node has said anything."""

    def __init__(self, site: str, node: str, messenger: Messenger, discovery: Discovery, told: Callable[[], Told]) -> None:
        self._site = site
        self._node = node
        self._messenger = messenger
        self._told = told
        self._id = f"{site}_node_{node}"
        self.topic = f"{discovery.prefix}/device/{self._id}/config"
        self.state_topic = f"ohm/{site}/node/{node}/diagnostics"
        self._announcement = Announcement(messenger, discovery, self._configurations)
        self._components: dict[str, dict[str, Any]] = {}
        self._firmware: str | None = None
        self._said = ""

    def start(self) -> None:
        self._announcement.start()
        self._messenger.on_connect(self._again)

    def _again(self) -> None:
        self._said = ""

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern it."""

    def tick(self, now: float) -> None:
        told = self._told()
        components = self._known(told)
        if set(components) - set(self._components) or told.firmware not in (None, self._firmware):
            self._components = {**self._components, **components}
            self._firmware = told.firmware or self._firmware
            self._announcement.again()
        self._announcement.tick(now)
        self._publish(told)

    def close(self) -> None:
        """Nothing: the entities stay, their availability says that nobody speaks."""

    def _publish(self, told: Told) -> None:
        if not self._components or not self._messenger.connected:
            return
        state: dict[str, Any] = {key: told.link[key] for key in ENTITIES if key in told.link}
        state |= {f"bus_{key}": told.bus[key] for key in BUS if key in told.bus}
        if told.latched is not None:
            state["latched"] = told.latched
        text = json.dumps(state, ensure_ascii=False)
        if text != self._said:
            self._messenger.publish(self.state_topic, text, retain=True)
            self._said = text

    def _known(self, told: Told) -> dict[str, dict[str, Any]]:
        """The entities of what the node has told."""
        components = {key: self._sensor(key, name, more) for key, (name, more) in ENTITIES.items() if key in told.link}
        components |= {f"bus_{key}": self._sensor(f"bus_{key}", name, _GROWING) for key, name in BUS.items() if key in told.bus}
        if told.latched is not None:
            components["latched"] = {
                **self._entity("binary_sensor", "latched", "Stopped"),
                "device_class": "problem",
                "value_template": "{{ 'ON' if value_json.latched else 'OFF' }}",
            }
        return components

    def _entity(self, platform: str, key: str, name: str) -> dict[str, Any]:
        return {
            "p": platform,
            "unique_id": f"{self._id}_{key}",
            "name": name,
            "state_topic": self.state_topic,
            "entity_category": "diagnostic",
        }

    def _sensor(self, key: str, name: str, more: Mapping[str, str]) -> dict[str, Any]:
        """A value that the node does not tell any more is unknown."""
        return {**self._entity("sensor", key, name), "value_template": f"{{{{ value_json.{key} | default(none) }}}}", **more}

    def _configurations(self) -> Sequence[Configuration] | None:
        if not self._components:
            return None
        described = {"identifiers": [self._id], "name": f"Node {self._node}", "manufacturer": "ohmstead", "model": "Node"}
        if self._firmware is not None:
            described["sw_version"] = self._firmware
        body = {
            "dev": described,
            "o": {"name": "ohmstead", "sw_version": ohmstead.__version__},
            "availability": [{"topic": bridge_topic(self._site)}, {"topic": f"ohm/{self._site}/node/{self._node}/up/online"}],
            "availability_mode": "all",
            "cmps": self._components,
        }
        return [Configuration(self.topic, json.dumps(body, ensure_ascii=False))]
