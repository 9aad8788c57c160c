"""The MQTT contract of hoymiles-mqtt: one JSON object each for the DTU, for every inverter and for every port.

`homeassistant/hoymiles_mqtt/<serial>[/<port>]/state`, QoS 0, not retained. A key that is missing says to Home Assistant that its entity
is not available, so what is not known is left out, and the object of what is no longer heard of is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping, Sequence

from ohmstead.messages import Messenger
from ohmstead.profiles.model import Profile
from ohmstead.publish.announcement import Configuration, Discovery
from ohmstead.publish.hoymiles_discovery import PLANT, Entity, HoymilesDiscovery, Wanted
from ohmstead.publish.mtec import ContractDiscovery, Repeat
from ohmstead.publish.nameplate import Nameplate
from ohmstead.readings import Snapshot, Value

_LOST_AFTER = 3
"""Periods without a word of something: then it is said that there is none."""
_EMPTY = "{}"
_ALL = "all"
_OF_PORT = re.compile(r"port_(\d+)_operating_status")
_MEASURED = frozenset({"pv_voltage", "pv_current", "pv_power"})
"""What a port does not have while its inverter sleeps."""


class HoymilesJson:
    """One DTU with what is behind it. `period_s` is how often it is read, `inverter` the model of its inverters.

    `claims` (serial number → device) are shared by all DTUs of a home: an inverter that two of them list has one set of topics, which
    belongs to the first that has told of it.
    """

    def __init__(
        self,
        device: str,
        profile: Profile,
        inverter: Profile,
        messenger: Messenger,
        discovery: Discovery | None,
        *,
        period_s: float,
        wanted: Wanted | None = None,
        known: Mapping[str, Value] | None = None,
        claims: MutableMapping[str, str] | None = None,
    ) -> None:
        self._device = device
        self._behind = f"{device}-"
        self._messenger = messenger
        self._wanted = wanted or Wanted()
        self._of_inverter = self._wanted.of_inverter()
        self._of_port = self._wanted.of_port()
        self._nameplate = Nameplate(profile, known or {})
        self._claims = claims if claims is not None else {}
        self._lost_after_s = _LOST_AFTER * period_s
        root = self._wanted.topics or profile.contracts["json"].root
        self._composer = HoymilesDiscovery(discovery.prefix if discovery else "", root, profile, inverter, self._wanted)
        self._ports: dict[str, set[int]] = {}
        self._last: dict[str, str] = {}
        self._told: dict[str, float] = {}
        """Topic → when something was last told there."""
        self._fresh: set[str] = set()
        self._repeat = Repeat({_ALL: period_s}, self._publish_again)
        self._discovery = ContractDiscovery(messenger, discovery, self._configurations, self._repeat)

    @property
    def covers(self) -> frozenset[str]:
        """The points of the DTU that this contract publishes. It has no commands."""
        return frozenset(entity.name for entity in PLANT) | {"serial_no"}

    def start(self) -> None:
        self._discovery.start()

    def take(self, snapshot: Snapshot) -> None:
        """Of its own DTU and of what is behind it. Before the DTU's serial number is known, nothing of the DTU itself goes out."""
        if snapshot.device == self._device:
            if self._nameplate.read(snapshot.values):
                self._discovery.again()
            serial = self._nameplate.serial
            if snapshot.live and serial is not None and self._may_tell(serial):
                self._tell(self._composer.state_topic(serial), self._body(PLANT, snapshot.values))
        elif snapshot.live and snapshot.device.startswith(self._behind):
            serial = str(snapshot.values.get("serial_no", ""))
            if snapshot.device == self._behind + serial and self._may_tell(serial):
                self._take_inverter(serial, snapshot.values)

    def tick(self, now: float) -> None:
        for topic in self._fresh:
            self._told[topic] = now
        self._fresh.clear()
        for topic, told in self._told.items():
            if now - told > self._lost_after_s and self._last[topic] != _EMPTY:
                self._publish(topic, _EMPTY)
        self._discovery.tick(now)

    def close(self) -> None:
        """Nobody speaks for them any more: they are not available."""
        for topic, payload in self._last.items():
            if payload != _EMPTY:
                self._publish(topic, _EMPTY)

    def _take_inverter(self, serial: str, values: Mapping[str, Value]) -> None:
        ports = [int(match[1]) for match in map(_OF_PORT.fullmatch, values) if match]
        known = self._ports.setdefault(serial, set())
        if not known.issuperset(ports):
            known.update(ports)
            self._discovery.again()
        if self._of_inverter:
            self._tell(self._composer.state_topic(serial), self._body(self._of_inverter, values))
        for port in ports if self._of_port else ():
            self._tell(self._composer.state_topic(serial, port), self._port(port, values))

    def _port(self, port: int, values: Mapping[str, Value]) -> dict[str, Value]:
        asleep = values.get(f"port_{port}_operating_status") == 0
        body: dict[str, Value] = {}
        for entity in self._of_port:
            value = values.get(f"port_{port}_{entity.name}")
            if value is not None and not (asleep and entity.name in _MEASURED):
                body[entity.name] = self._wanted.multiplied(entity.name, value)
        return body

    def _body(self, entities: Sequence[Entity], values: Mapping[str, Value]) -> dict[str, Value]:
        return {entity.name: self._wanted.multiplied(entity.name, values[entity.name]) for entity in entities if entity.name in values}

    def _may_tell(self, serial: str) -> bool:
        return self._claims.setdefault(serial, self._device) == self._device

    def _tell(self, topic: str, body: Mapping[str, Value]) -> None:
        self._fresh.add(topic)
        self._repeat.read(_ALL)
        self._publish(topic, json.dumps(body))

    def _publish(self, topic: str, payload: str) -> None:
        self._last[topic] = payload
        self._messenger.publish(topic, payload)

    def _publish_again(self, _group: str) -> None:
        for topic, payload in self._last.items():
            self._publish(topic, payload)

    def _configurations(self, _prefix: str) -> Sequence[Configuration] | None:
        serial = self._nameplate.serial
        if serial is None or not self._ports:
            return None
        return [*self._composer.configurations(serial, self._ports), *self._composer.withdrawn()]
