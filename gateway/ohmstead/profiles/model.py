"""What a device is, as data: the model of `shared/profiles/*.yaml` (see the README there for every key with an example).

All objects are frozen and refuse keys they do not know. What can only be judged between several of them (addresses that
overlap, formulas in a circle) is in `rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo, field_validator, model_validator

from ohmstead.profiles.controls import Block, Control, RawLimits
from ohmstead.profiles.formula import Formula
from ohmstead.profiles.limit import Limit
from ohmstead.profiles.point import Kind, Point, Strict, Table, formula_text
from ohmstead.profiles.rules import broken_rules
from ohmstead.units import Duration, span
from ohmstead.yamlfile import problems

__all__ = ["Block", "Contract", "Control", "Identity", "Kind", "Limit", "Line", "Point", "Profile", "RawLimits", "Table"]

_GROUP = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def _readable(listed: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(listed, list | tuple):
        raise ValueError("must be a list of addresses and ranges, e.g. [10000..10014, 50000]")  # noqa: TRY004 - pydantic reports ValueError
    ranges: list[tuple[int, int]] = []
    for item in listed:
        first, last = item if isinstance(item, tuple) else (item, item) if isinstance(item, int) else span(item)[:2]
        if first != int(first) or last != int(last) or not 0 <= first <= last <= 0xFFFF:
            raise ValueError(f"{item} is not an address or a range of addresses from 0 to 65535")
        ranges.append((int(first), int(last)))
    return tuple(sorted(ranges))


class Line(Strict):
    """How the device is spoken to. Durations in seconds."""

    baud: int = Field(default=9600, ge=300, le=1_000_000)
    parity: Literal["none", "even", "odd"] = "none"
    stop: Literal[1, 2] = 1
    unit: int = Field(default=1, ge=0, le=255)
    """The Modbus unit on a serial line."""
    unit_tcp: int | None = Field(default=None, ge=0, le=255)
    """The Modbus unit over TCP, where it differs."""
    port: int = Field(default=502, ge=1, le=65535)
    max_read: int = Field(default=125, ge=1, le=125)
    """The most registers the device answers at once."""
    turnaround: Duration = 0.0
    """How long the device thinks: from a complete request (its bytes and 3.5 characters of silence) to the begin of the answer."""
    gap: Duration = 0.0
    """The least pause the device wants between its answer and the next request, where silence on the line is not enough."""
    timeout: Duration = 1.0
    retries: int = Field(default=1, ge=0, le=10)
    readable: Annotated[tuple[tuple[int, int], ...], PlainValidator(_readable)] = ()
    """Ranges (first, last) of addresses known to answer: only these and points themselves are ever read."""


class Identity(Strict):
    """Which points say what this very device is; None where none does."""

    serial: str | None = None
    firmware: str | None = None
    model: str | None = None


class Contract(Strict):
    """What an MQTT contract of the device's make calls things, where that is not what the profile calls them."""

    root: str
    device_name: str = ""
    decimals: int = Field(default=3, ge=0, le=9)
    names: dict[str, str] = Field(default_factory=dict)
    """Point → its name in the contract."""
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Group → its points in the contract's order; a group that is not here has all its points, in the profile's order."""

    def name_of(self, point: str) -> str:
        return self.names.get(point, point)


class Flow(Strict):
    """The device's part in the picture of the home's power: formulas over its points, None where it does not know."""

    pv: str | None = None
    """W that the sun gives."""
    battery: str | None = None
    """W that the battery gives; negative when it charges."""
    grid: str | None = None
    """W that come from the grid; negative when they go there."""
    house: str | None = None
    """W that the house takes."""
    soc: str | None = None
    """State of charge in %."""

    @field_validator("*")
    @classmethod
    def _are_formulas(cls, text: str | None) -> str | None:
        return formula_text(text)

    def formulas(self) -> dict[str, Formula | None]:
        """Each figure of the picture and how it comes about."""
        return {name: Formula(text) if text else None for name, text in self}


Reader = Literal["registers", "hoymiles", "sunspec", "luxtronik", "vicare", "shelly", "open-meteo"]
"""Who can read a device: anything that reads Modbus as the registers of the profile say, or code of its own."""


class Profile(Strict):
    """A device model. `points` keep the order of the file, which is the order of publication."""

    id: str = Field(alias="profile", pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    name: str = Field(min_length=1)
    manufacturer: str = Field(min_length=1)
    model: str = Field(min_length=1)
    source: str = ""
    doubt: str = ""
    reader: Reader = "registers"
    """Who reads it; only `registers` needs nothing but this file."""
    line: Line = Line()
    identity: Identity = Identity()
    groups: dict[str, Duration] = Field(min_length=1)
    """Group of points → its period in seconds."""
    points: dict[str, Point] = Field(min_length=1)
    controls: dict[str, Control] = Field(default_factory=dict)
    limits: dict[str, Limit] = Field(default_factory=dict)
    contracts: dict[str, Contract] = Field(default_factory=dict)
    flow: Flow | None = None

    @field_validator("points", "controls", "limits", mode="before")
    @classmethod
    def _name_after_key(cls, items: Any) -> Any:
        if not isinstance(items, dict):
            return items
        if named_twice := [key for key, item in items.items() if isinstance(item, dict) and "id" in item]:
            raise problems([((key, "id"), "unknown") for key in named_twice])
        return {key: {**item, "id": str(key)} if isinstance(item, dict) else item for key, item in items.items()}

    @field_validator("groups")
    @classmethod
    def _named_in_kebab_case(cls, groups: dict[str, float]) -> dict[str, float]:
        for name, period in groups.items():
            if not _GROUP.fullmatch(name):
                raise ValueError(f"{name}: a group's name has small letters, digits and single hyphens")
            if period < 0.1:
                raise ValueError(f"{name}: a period is at least 100 ms")
        return groups

    @model_validator(mode="after")
    def _holds_together(self, info: ValidationInfo) -> Profile:
        context = info.context if isinstance(info.context, Mapping) else {}
        found = list(broken_rules(self, context.get("left_out", frozenset())))
        if found:
            raise problems(found)
        return self

    def in_group(self, group: str) -> list[Point]:
        """The points of a group in the order of publication."""
        return [point for point in self.points.values() if point.group == group]

    def units(self) -> dict[str, str]:
        """Point → unit, for `Snapshot.readings`."""
        return {point.id: point.unit for point in self.points.values()}

    def raw_limits(self, control: str) -> RawLimits:
        """The range, the step or the choice of a control in raw register values. Raises KeyError for an unknown control."""
        chosen = self.controls[control]
        point = self.points[chosen.point]
        if chosen.range is not None and chosen.step is not None:
            low, high, step = (round(size / point.scale) for size in (chosen.range.low, chosen.range.high, chosen.step))
            return RawLimits(low, high, step, None)
        allowed = tuple(sorted(self.choices(control).values()))
        return RawLimits(allowed[0], allowed[-1], 1, allowed)

    def stopped(self, stops: Iterable[str]) -> list[str]:
        """The controls that a limit means by effects and names of controls, in the order of the file."""
        named = set(stops)
        return [id_ for id_, control in self.controls.items() if id_ in named or control.effect in named]

    def choices(self, control: str) -> dict[str, int]:
        """What may be said to a switch or a select → raw value. Empty for a number."""
        chosen = self.controls[control]
        if chosen.switch is not None:
            return {"on": chosen.switch["on"], "off": chosen.switch["off"]}
        values = {label: raw for raw, label in self.points[chosen.point].values.items() if isinstance(raw, int)}
        if chosen.options == "values":
            return values
        return {label: values[label] for label in chosen.options or ()}
