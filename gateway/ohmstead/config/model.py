"""What an owner writes in `ohmstead.yaml`, section by section. Everything has a default that is safe; nothing unknown is accepted.

The texts of the field descriptions go into the JSON schema that editors use.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, PrivateAttr, WithJsonSchema

from ohmstead.config.control import ControlSection
from ohmstead.config.device import DeviceConfig
from ohmstead.config.devices import Device
from ohmstead.config.limits import narrowed
from ohmstead.config.log import Log
from ohmstead.config.loxone import Loxone
from ohmstead.config.node import Bus, NodeConfig
from ohmstead.config.prices import Plan, Prices
from ohmstead.config.values import (
    MQTT_PORT,
    BrokerAddress,
    Duration,
    Id,
    Secret,
    Section,
    Text,
    Via,
    broker,
    timezone_name,
)
from ohmstead.config.web import Web
from ohmstead.profiles.compiler import PollGroup, line_cost, period_name, periods, poll_groups
from ohmstead.profiles.layout import Layout, layout, limit_ends
from ohmstead.profiles.model import Profile, RawLimits
from ohmstead.profiles.planner import TcpCost
from ohmstead.units import Bounds


class Mqtt(Section):
    """The broker, and who we are there."""

    url: Annotated[
        BrokerAddress,
        PlainValidator(broker),
        WithJsonSchema({"type": "string", "pattern": "^mqtts?://", "examples": ["mqtt://nas", "mqtts://nas:8883"]}),
    ] = Field(default_factory=lambda: BrokerAddress("localhost", MQTT_PORT, False), description="mqtt://host[:port], or mqtts:// for TLS.")
    user: Text | None = None
    password: Secret | None = Field(None, repr=False)
    password_file: Path | None = Field(None, description="A file that holds the password (a secret of Docker or systemd).")
    client_id: Text | None = Field(None, description="How the gateway calls itself at the broker; `ohmstead-<site>` unless given.")

    @property
    def host(self) -> str:
        return self.url.host

    @property
    def port(self) -> int:
        return self.url.port

    @property
    def tls(self) -> bool:
        return self.url.tls


class Store(Section):
    path: Path = Field(Path("ohmstead.db"), description="The SQLite file; relative to the folder of this file.")
    flush: Duration = Field(1.0, description="How long readings may wait for a commit (and nodes for their acknowledgement).")
    keep_raw: Duration = Field(7 * 86400.0, description="How long the frames of the nodes are kept as they came.")


class HomeAssistant(Section):
    enabled: bool = True
    prefix: Text = "homeassistant"
    birth: Text | None = Field(None, description="The topic on which Home Assistant says `online`; `<prefix>/status` unless given.")
    entities: Literal["contract", "native", "both"] = Field(
        "contract",
        description="For a device with a contract: its contract's entities and natively what that lacks; only native ones; or both, twice.",
    )
    grace: Duration = Field(1.0, description="How long discovery waits after the start and after Home Assistant's birth, e.g. 15 s.")

    @property
    def birth_topic(self) -> str:
        return self.birth or f"{self.prefix}/status"


class Publish(Section):
    values: bool = Field(True, description="Each value plain under ohm/<site>/device/<device>/<point>.")


class Config(Section):
    """A home: `ohmstead.yaml` with the environment's overrides, checked against the profiles it names."""

    site: Id = "home"
    timezone: Annotated[str, PlainValidator(timezone_name), WithJsonSchema({"type": "string", "examples": ["Europe/Prague"]})] = (
        "Europe/Prague"
    )
    mqtt: Mqtt = Field(default_factory=Mqtt)
    nodes: dict[Id, NodeConfig] = Field(default_factory=dict)
    devices: dict[Id, Device] = Field(default_factory=dict)
    store: Store = Field(default_factory=Store)
    web: Web = Field(default_factory=Web)
    log: Log = Field(default_factory=Log)
    home_assistant: HomeAssistant = Field(default_factory=HomeAssistant)
    publish: Publish = Field(default_factory=Publish)
    prices: Prices | None = None
    plan: Plan | None = None
    loxone: Loxone | None = None
    control: ControlSection = Field(default_factory=ControlSection)

    _profiles: dict[str, Profile] = PrivateAttr(default_factory=dict)

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.timezone)

    @property
    def client_id(self) -> str:
        return self.mqtt.client_id or f"ohmstead-{self.site}"

    def profile(self, device: str) -> Profile:
        """The profile of a device; its `line` is the one of this home (profile, then bus, then the device's own `line`)."""
        return self._profiles[device]

    def unit(self, device: str) -> int:
        """The Modbus unit of a device, on the way it is reached."""
        line, chosen = self._profiles[device].line, self.devices[device]
        if chosen.unit is not None:
            return chosen.unit
        return line.unit_tcp if chosen.via.host is not None and line.unit_tcp is not None else line.unit

    def periods(self, device: str) -> dict[str, float]:
        """How often each group of a device is read, in seconds."""
        return periods(self._profiles[device], self.devices[device].every)

    def poll_groups(self, device: str) -> list[PollGroup]:
        """What is polled of a device: planned for its serial line, or for the network where it is reached over Modbus TCP."""
        profile, chosen = self._profiles[device], self.devices[device]
        if chosen.via.node is None:
            return poll_groups(profile, TcpCost(), chosen.every, device, max_frame=None)
        if profile.reader == "hoymiles" and isinstance(chosen, DeviceConfig):
            period_s = min(self.periods(device).values())
            return [PollGroup(period_name(period_s), period_s, 0, chosen.hoymiles.reads, tuple(profile.groups))]
        cost = line_cost(profile.line) if chosen.via.host is None else TcpCost()
        return poll_groups(profile, cost, chosen.every, device)

    def raw_limits(self, device: str, control: str) -> RawLimits:
        """What the register of a control may be set to, after the owner's `limits` and `control`. KeyError for an unknown one."""
        chosen = self.devices[device]
        allowed = chosen.control.ranges.get(control)
        power = allowed.power if allowed is not None else None
        return narrowed(self._profiles[device], control, chosen.limits.get(control), power, chosen.rated)

    def limit_ends(self, device: str) -> dict[str, Bounds]:
        """The range of each limit of a device at this home, in the unit of its point; an end that is None stops nothing."""
        return limit_ends(self._profiles[device], self.devices[device].limits)

    def layout(self, device: str, control: str) -> Layout:
        """How a control is written at this home. Raises KeyError for an unknown control."""
        return layout(self._profiles[device], control, self.limit_ends(device))

    def devices_of(self, node: str) -> list[str]:
        """The devices that are reached through a node, in the order of the file."""
        return [name for name, device in self.devices.items() if device.via.node == node]

    def bus_name(self, via: Via) -> str | None:
        """What the bus of a node is called that a device is on; None where it is on none, or where that is not said."""
        node = self.nodes.get(via.node or "")
        if node is None or via.host is not None:
            return None
        return via.bus or (next(iter(node.lines())) if len(node.lines()) == 1 else None)

    def bus_of(self, via: Via) -> Bus | None:
        """The bus of a node that a device is on; None as in `bus_name`, or where there is no such bus."""
        node = self.nodes.get(via.node or "")
        return node.lines().get(self.bus_name(via) or "") if node is not None else None

    def completed(self, devices: Mapping[str, Device], profiles: Mapping[str, Profile]) -> Config:
        """The same with what only the profiles say (called once, by `load`)."""
        config = self.model_copy(update={"devices": dict(devices)})
        config._profiles = dict(profiles)
        return config
