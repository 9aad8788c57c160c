"""What an owner may say of a Hoymiles DTU."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from ohmstead.config.values import Duration, Section, Text
from ohmstead.profiles.compiler import MAX_FRAME, frame_bound
from ohmstead.profiles.hoymiles import reads_of
from ohmstead.profiles.planner import Read
from ohmstead.units import quantity

_SERIAL = re.compile(r"[0-9a-f]{12}")
_NAMED = re.compile(r"[0-9a-f]{12}(?:/\d{1,2})?")

OfInverter = Literal["grid_voltage", "grid_frequency", "temperature", "operating_status", "alarm_code", "alarm_count", "link_status"]
OfPort = Literal["pv_voltage", "pv_current", "pv_power", "today_production", "total_production"]
Named = OfInverter | OfPort | Literal["alarm_flag"]
Multiplied = Literal[
    "pv_power", "today_production", "total_production", "pv_voltage", "pv_current", "grid_voltage", "grid_frequency", "temperature"
]


def serial_number(written: str) -> str:
    """The serial number of a DTU or an inverter as records say it. Raises ValueError."""
    serial = written.strip().lower()
    if not _SERIAL.fullmatch(serial):
        raise ValueError("a serial number has 12 digits (0-9, a-f), e.g. 114182a0b1c2")
    return serial


def _named(written: str) -> str:
    name = written.strip().lower()
    if not _NAMED.fullmatch(name):
        raise ValueError("write the 12 digits of a serial number, or serial/port, e.g. 114182a0b1c2/1")
    return name


def _degrees(written: object) -> float:
    return quantity(written, "°C", bare=True)


class Hoymiles(Section):
    """A DTU and the inverters behind it; `exclude` of the device leaves inverters out, of everything."""

    reset_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        0, description="The local hour at which the day's production begins anew (hoymiles-mqtt: 23)."
    )
    names: dict[Annotated[str, AfterValidator(_named)], Text] = Field(
        default_factory=dict, description="What people call an inverter or a port: {114182a0b1c2: Garage, 114182a0b1c2/1: Left panel}."
    )
    entity_names: dict[Named, Text] = Field(
        default_factory=dict, description="What people call the values of the contract, e.g. {pv_power: PV power}."
    )
    topics: Annotated[str, Field(pattern=r"^[^\s/+#$][^\s/+#]*(?:/[^\s/+#]+)*$")] = Field(
        "homeassistant/hoymiles_mqtt",
        description="What the contract's state topics begin with; `home_assistant.prefix` says where discovery is.",
    )
    multipliers: dict[Multiplied, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description="Factors for the values of the contract, e.g. {pv_power: 0.001}: then they are in kW. One that makes no other unit"
        " (1.02) corrects the value.",
    )
    inverter_entities: list[OfInverter] | None = Field(None, description="Which values of an inverter the contract has; all unless given.")
    port_entities: list[OfPort] | None = Field(None, description="Which values of a port the contract has; all unless given.")
    expire_after: Duration = Field(
        0.0, description="After so long without news Home Assistant takes a value for unknown, energies excepted; 0 s: never."
    )
    hot_above: Annotated[float, PlainValidator(_degrees), WithJsonSchema({"type": "string", "examples": ["75 °C"]})] | None = Field(
        None, description="The log says when an inverter is hotter than this."
    )
    offline_after: Duration | None = Field(
        None, description="`/health` calls a DTU offline that has not answered for so long; 5 min or three polls unless given."
    )

    ports: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None, description="How many PV ports the DTU lists, where a node reads it; the gateway itself finds the end of the list."
    )

    @property
    def reads(self) -> tuple[Read, ...]:
        """What a node reads."""
        return reads_of(self.ports or 0)

    def through_a_node(self, device: str, group: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """What keeps a node from reading it as `device`, one frame of the poll group `group` a poll; told as by `unfit`."""
        if self.ports is None:
            yield ("hoymiles", "ports"), "is missing: a node cannot tell where the list ends; write how many PV ports the DTU has", ""
            return
        if (length := frame_bound(self.reads, device, group)) > MAX_FRAME:
            fit = self.ports - -(-(length - MAX_FRAME) // (length - frame_bound(self.reads[:-1], device, group)))
            text = f"a node's message carries no more than {fit} of this device; let the gateway read it (`via: tcp://host`)"
            yield ("hoymiles", "ports"), text, str(self.ports)

    def unfit(self, period_s: float, exclude: Iterable[str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """What does not fit a DTU that is read so often and must not have the inverters in `exclude`: below the device the key, what is
        wrong, what stands there."""
        if 0 < self.expire_after <= period_s:
            text = f"must be longer than the {period_s:g} s between two polls, or every value expires"
            yield ("hoymiles", "expire_after"), text, f"{self.expire_after:g} s"
        if self.offline_after is not None and self.offline_after <= period_s:
            text = f"must be longer than the {period_s:g} s between two polls"
            yield ("hoymiles", "offline_after"), text, f"{self.offline_after:g} s"
        for written in exclude:
            try:
                serial_number(written)
            except ValueError as error:
                yield ("exclude",), str(error), written
