"""Home Assistant's device-based discovery for the plain topics: one retained message per device, with origin and availability.

`homeassistant/device/<site>_<device>/config`. A device is available while the gateway and the device itself are. Controls are
`number`, `switch` and `select`; what is no figure of the house (temperatures, faults, versions) is diagnostic.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import ohmstead
from ohmstead.messages import Message, Messenger
from ohmstead.profiles.model import Control, Point, Profile, RawLimits
from ohmstead.profiles.point import TEXTS
from ohmstead.publish.announcement import Announcement, Configuration, Discovery
from ohmstead.publish.classes import classes
from ohmstead.publish.commands import command_topic
from ohmstead.publish.nameplate import Nameplate
from ohmstead.publish.values import device_topic, online_topic
from ohmstead.readings import Snapshot, Value

_LONGEST_STATE = 255
"""Characters; Home Assistant makes a longer state `unknown`."""


def bridge_topic(site: str) -> str:
    """Where the gateway's connection says `online` and its last will `offline`."""
    return f"ohm/{site}/bridge/online"


class HomeAssistantDevice:
    """The native entities of one device.

    `covered` are points and `<control>/set` that a contract announces already: they are left out here. With `joins` the
    entities join the contract's device, which is identified so ("{}" stands for the serial number), and wait until that has been read;
    without a `name` it keeps the contract's. `limits`
    are what this home allows, where that is narrower than the profile. `behind` is the device that it was found behind, `serial` its
    serial number where no point says it.
    """

    def __init__(
        self,
        site: str,
        device: str,
        name: str,
        profile: Profile,
        messenger: Messenger,
        discovery: Discovery,
        *,
        covered: Collection[str] = (),
        joins: str | None = None,
        read_only: bool = False,
        limits: Mapping[str, RawLimits] | None = None,
        known: Mapping[str, Value] | None = None,
        behind: str | None = None,
        serial: str | None = None,
    ) -> None:
        self._site = site
        self._device = device
        self._name = name
        self._profile = profile
        self._covered = frozenset(covered)
        self._joins = joins
        self._read_only = read_only
        self._limits = {control: profile.raw_limits(control) for control in profile.controls} | dict(limits or {})
        self._nameplate = Nameplate(profile, known or {})
        self._behind = behind
        self._serial = serial
        self._id = f"{site}_{device}"
        self.topic = f"{discovery.prefix}/device/{self._id}/config"
        self._messenger = messenger
        self._announced: dict[str, str] = {}
        self._announcement = Announcement(messenger, discovery, self._configurations)

    def learn(self, profile: Profile, name: str, serial: str | None = None) -> None:
        """The profile of the device, which may have grown, and what it is called: its entities are announced again."""
        self._profile = profile
        self._name = name
        self._serial = serial or self._serial
        self._announcement.again()

    @property
    def has_entities(self) -> bool:
        """Whether anything is left that nobody else announces."""
        return bool(self._components())

    def start(self) -> None:
        self._messenger.subscribe(self.topic, self._on_former)
        self._announcement.start()

    def take(self, snapshot: Snapshot) -> None:
        if snapshot.device == self._device and self._nameplate.read(snapshot.values):
            self._announcement.again()

    def tick(self, now: float) -> None:
        self._announcement.tick(now)

    def close(self) -> None:
        """Nothing: the entities stay, their availability says that nobody speaks."""

    def _on_former(self, messages: Sequence[Message]) -> None:
        """What an earlier start has announced."""
        for message in messages:
            former = _entities(message.payload) if message.retain else {}
            if former.keys() - self._components().keys() - self._announced.keys():
                self._announcement.again()
            self._announced = former | self._announced

    def _configurations(self) -> Sequence[Configuration] | None:
        """Home Assistant keeps an entity that is merely left out; one of which only the platform is said it removes."""
        if self._joins is not None and self._nameplate.serial is None:
            return None
        components = self._components()
        removed = {key: {"p": platform} for key, platform in self._announced.items() if key not in components}
        self._announced |= {key: str(entity["p"]) for key, entity in components.items()}
        body = {
            "dev": self._described(),
            "o": {"name": "ohmstead", "sw_version": ohmstead.__version__},
            "availability": [{"topic": bridge_topic(self._site)}, {"topic": online_topic(self._site, self._device)}],
            "availability_mode": "all",
            "cmps": components | removed,
        }
        return [Configuration(self.topic, json.dumps(body, ensure_ascii=False))]

    def _described(self) -> dict[str, object]:
        nameplate = self._nameplate
        described = {
            "identifiers": [self._id if self._joins is None else self._joins.format(nameplate.serial)],
            "name": self._name or None,
            "manufacturer": self._profile.manufacturer,
            "model": self._profile.model,
            "model_id": nameplate.model,
            "serial_number": nameplate.serial or self._serial,
            "sw_version": nameplate.firmware,
            "via_device": None if self._behind is None else f"{self._site}_{self._behind}",
        }
        return {key: value for key, value in described.items() if value is not None}

    def _components(self) -> dict[str, dict[str, object]]:
        controls = {
            control.shown: control
            for control in self._profile.controls.values()
            if not self._read_only and f"{control.id}/set" not in self._covered
        }
        components: dict[str, dict[str, object]] = {}
        for point in self._profile.points.values():
            control = controls.get(point.id)
            if control is not None:
                components[control.id] = self._control(control, point)
            elif point.id not in self._covered and point.clock is None and point.shown != "never":
                components[point.id] = self._sensor(point)
        return components

    def _entity(self, platform: str, key: str, name: str, point: Point) -> dict[str, object]:
        return {
            "p": platform,
            "unique_id": f"{self._id}_{key}",
            "name": name,
            "state_topic": f"{device_topic(self._site, self._device)}/{point.id}",
        }

    def _sensor(self, point: Point) -> dict[str, object]:
        entity = {**self._entity("sensor", point.id, point.name, point), **classes(point)}
        if point.bits:  # many labels at once may be longer than a state
            entity["value_template"] = f"{{{{ value[:{_LONGEST_STATE}] }}}}"
        if point.bits or point.kind in TEXTS or self._is_minor(point):
            entity["entity_category"] = "diagnostic"
        if point.shown == "on-request" or point.kind == "dat":  # a clock: it changes with every poll and fills the owner's database
            entity["enabled_by_default"] = False
        return entity

    def _is_minor(self, point: Point) -> bool:
        """The temperatures of an inverter; those of a heating are what it is about."""
        return point.device_class == "temperature" and self._profile.reader == "registers"

    def _control(self, control: Control, point: Point) -> dict[str, object]:
        entity = self._entity(control.kind, control.id, control.name or point.name, point)
        entity["command_topic"] = command_topic(self._site, self._device, control.id)
        entity["entity_category"] = "config"
        if control.range is not None:
            written = self._profile.points[control.point]
            low, high = (_value(written, raw) for raw in self._limits[control.id][:2])
            entity |= {"min": low, "max": high, "step": control.step, "mode": "box"}
            if point.unit:
                entity["unit_of_measurement"] = point.unit
        elif control.switch is not None:
            on, off = (str(control.switch[state]) for state in ("on", "off"))
            entity |= {"payload_on": "on", "payload_off": "off", "state_on": on, "state_off": off}
        else:
            allowed = self._limits[control.id].allowed or ()
            options = [label for label, raw in self._profile.choices(control.id).items() if raw in allowed]
            # A value that cannot be chosen is no choice: unknown, not an error in Home Assistant's log.
            listed = json.dumps(options, ensure_ascii=False)
            entity |= {"options": options, "value_template": f"{{{{ value if value in {listed} else none }}}}"}
        return entity


def _entities(payload: bytes) -> dict[str, str]:
    """The entities that a discovery message announces, each with its platform; those that it removes are none."""
    try:
        body = json.loads(payload)
    except ValueError:  # empty, or somebody else's nonsense
        return {}
    components = body.get("cmps") if isinstance(body, dict) else None
    if not isinstance(components, dict):
        return {}
    return {key: str(entity["p"]) for key, entity in components.items() if isinstance(entity, dict) and len(entity) > 1 and "p" in entity}


def _value(point: Point, raw: int) -> float:
    return raw / point.divisor if point.divisor != 1 else raw * point.scale
