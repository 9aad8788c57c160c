"""What an owner writes of one device: which model it is, how it is reached, what may be done to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, WrapValidator

from ohmstead.config.hoymiles import Hoymiles
from ohmstead.config.values import (
    DURATION_SCHEMA,
    Baud,
    Duration,
    Parity,
    Period,
    Section,
    StopBits,
    Text,
    Via,
    every_group,
    rated_power,
    way,
)
from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Shown


class Line(Section):
    """What differs at this home from the line in the device's profile."""

    baud: Baud | None = None
    parity: Parity | None = None
    stop: StopBits | None = None
    max_read: Annotated[int, Field(ge=1, le=125)] | None = Field(None, description="Registers in one request, at most.")
    turnaround: Duration | None = Field(None, description="From the end of a request to the begin of the answer.")
    gap: Annotated[Duration, Field(le=10)] | None = Field(None, description="Pause between an answer and the next request.")
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0, le=10)] | None = None


class ControlRange(Section):
    """What an owner allows a control."""

    power: str | None = Field(None, description="A narrower range, e.g. ..3 kW; a control in % of the rated power needs `rated` for that.")


class DeviceControl(Section):
    """How a device may be controlled: for how long a command holds, and a range for each control (charge: {power: ..3 kW})."""

    model_config = ConfigDict(frozen=True, extra="allow", arbitrary_types_allowed=True)
    __pydantic_extra__: dict[str, ControlRange]

    lease: Duration = Field(3600.0, description="How long a command that must end holds when its author does not say, e.g. 60 min.")

    @property
    def ranges(self) -> Mapping[str, ControlRange]:
        """Control → what the owner allows it."""
        return self.__pydantic_extra__


class PointConfig(Section):
    """What an owner wants otherwise of one point."""

    name: Text | None = Field(None, description="What people call it.")
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="The value is multiplied by this; say the `unit` as well if that changes with it."
    )
    unit: Text | None = Field(None, description="Its unit after the scaling.")
    shown: Shown | None = Field(None, description="`always`, `on-request` (an entity that is disabled at first) or `never` (only kept).")
    above: float | None = Field(None, description="An alert while the value is above this.")
    below: float | None = Field(None, description="An alert while the value is below this.")


class AnyDevice(Section):
    """What all devices have in common, however they are read."""

    name: Text | None = Field(None, description="What people call it; the profile's name unless given.")
    every: Annotated[
        dict[str, Period],
        WrapValidator(every_group),
        WithJsonSchema({"anyOf": [DURATION_SCHEMA, {"type": "object", "additionalProperties": DURATION_SCHEMA}]}),
    ] = Field(
        default_factory=dict,
        description="How often it is read: one duration for the fastest groups (none is read more often), or one for each group.",
    )
    contract: Literal["json", "state", "none"] | None = Field(
        None, description="The MQTT contract of the device's make: `json` where the profile has one, `state`, or `none`."
    )
    read_only: bool = Field(False, description="Nothing is ever written to this device.")
    limits: dict[str, str] = Field(
        default_factory=dict,
        description="Limits of the profile, e.g. {soc: 15..95 %, grid_import: 11 kW}, and narrower ranges for controls,"
        " e.g. {grid_inject_limit: 0..50 %}. They hold whoever commands.",
    )
    control: DeviceControl = Field(default_factory=DeviceControl)
    rated: Annotated[str, AfterValidator(rated_power)] | None = Field(
        None, description="The power that 100 % of a control means, e.g. 5 kW."
    )
    points: dict[str, PointConfig] = Field(
        default_factory=dict, description="What is wanted otherwise of single points, e.g. {pv_power: {name: Roof, above: 9800}}."
    )

    def fitted(self, profile: Profile) -> Profile:
        """Its model's profile as this device wants it, before what is said of single points."""
        return profile


class DeviceConfig(AnyDevice):
    """An inverter, a meter, …: which model it is and how it is reached."""

    profile: str = Field(description="The device's model: a file of shared/profiles, or of `profiles/` beside this file.")
    via: Annotated[
        Via,
        PlainValidator(way),
        WithJsonSchema(
            {
                "type": "string",
                "examples": ["cellar", "cellar/roof", "cellar/tcp://192.0.2.10", "tcp://192.0.2.10:502", "growatt-mqtt:energy/solar"],
            }
        ),
    ] = Field(
        description="The name of a node (node/bus where it has several), node/tcp://host[:port] for Modbus TCP by the node,"
        " tcp://host[:port] for Modbus TCP by the gateway itself, or growatt-mqtt:<base topic> for an OpenInverterGateway on the broker."
    )
    unit: Annotated[int, Field(ge=0, le=255)] | None = Field(None, description="Modbus unit; the profile's unless given.")
    line: Line = Field(default_factory=Line)
    hoymiles: Hoymiles = Field(default_factory=Hoymiles, description="What is wanted of a Hoymiles DTU and of what is behind it.")
    exclude: list[Text] = Field(
        default_factory=list, description="Serial numbers of what is behind the device and must not appear, e.g. an inverter behind a DTU."
    )

    def fitted(self, profile: Profile) -> Profile:
        """Of a DTU or a SunSpec device only those controls that `control` names: nothing is written to it unless its owner says so."""
        if profile.reader not in ("hoymiles", "sunspec") or any(name not in profile.controls for name in self.control.ranges):
            return profile
        allowed = {name: control for name, control in profile.controls.items() if name in self.control.ranges}
        idle = {control.point for name, control in profile.controls.items() if name not in allowed}
        points = {name: point for name, point in profile.points.items() if name not in idle}
        return profile.model_copy(update={"controls": allowed, "points": points})


class SourceConfig(AnyDevice, ABC):
    """A device or a service that is not reached over Modbus; `source` says what it is."""

    @property
    @abstractmethod
    def profile(self) -> str:
        """The model that it is taken for before it has answered."""
        ...

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is, for people."""
        ...

    @property
    def identity(self) -> tuple[str, ...] | None:
        """What no two devices of a home have alike; None where that cannot be told."""
        return (self.profile, self.address)

    @property
    def via(self) -> Via:
        """By the gateway itself."""
        return Via(None)

    @property
    def unit(self) -> int | None:
        """None: it is no Modbus device."""
        return None

    @property
    def line(self) -> Line:
        """No line either."""
        return Line()

    @property
    def exclude(self) -> list[str]:
        """Nothing is behind it that could be left out."""
        return []
