"""What a Luxtronik's numbers mean, by the `luxtronik` library: names, types, units, and the profile of a pump.

A number is called by its block and index, as people do: `C10` is calculation 10, `P105` parameter 105, `V23` visibility 23. The id of a
point that `luxtronik.yaml` does not name is the library's name in small letters without `ID_` and `WEB_` (`ID_WEB_Temperatur_RFV` →
`temperatur_rfv`), with `parameter_` in front where a calculation has that name already; a number without a name is `calculation_268`.

The library keeps its fields in the class, so that two pumps would share them. Here only their types are used, never their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from functools import cache
from typing import Any, NamedTuple

from luxtronik.calculations import Calculations
from luxtronik.datatypes import Base, Bool, IPAddress, SelectionBase, Timestamp, Version
from luxtronik.parameters import Parameters
from luxtronik.visibilities import Visibilities

from ohmstead.profiles.model import Point, Profile
from ohmstead.profiles.point import Shown
from ohmstead.readings import Value

BLOCKS: Mapping[str, str] = {"P": "parameter", "C": "calculation", "V": "visibility"}
NOTHING = 2_147_483_647
"""The greatest 32-bit integer: what is not there."""

VERSION_AT = 81
_VERSION_LENGTH = 9

_GROUP = {"C": "further", "P": "further-settings", "V": "further-settings"}
_KINDS: dict[str, dict[str, Any]] = {
    "Celsius": {"unit": "°C", "scale": 0.1, "class": "temperature", "state": "measurement", "round": 1},
    "Kelvin": {"unit": "K", "scale": 0.1, "state": "measurement", "round": 1},
    "Seconds": {"unit": "s", "class": "duration"},
    "Hours": {"unit": "h", "scale": 0.1, "class": "duration"},
    "Pressure": {"unit": "bar", "scale": 0.01, "class": "pressure", "state": "measurement", "round": 2},
    "Percent": {"unit": "%", "scale": 0.1, "state": "measurement"},
    "Percent2": {"unit": "%", "state": "measurement"},
    "Speed": {"unit": "rpm", "state": "measurement"},
    "Power": {"unit": "W", "class": "power", "state": "measurement", "sign": "as the controller says, positive"},
    "Energy": {"unit": "kWh", "scale": 0.1, "class": "energy", "state": "total_increasing", "round": 1},
    "Voltage": {"unit": "V", "scale": 0.1, "class": "voltage", "state": "measurement", "round": 1},
    "Flow": {"unit": "L/h", "class": "volume_flow_rate", "state": "measurement"},
    "Frequency": {"unit": "Hz", "class": "frequency", "state": "measurement"},
    "Pulses": {"state": "total_increasing"},
}
"""Type of the library → what its raw numbers are to a profile."""

_TABLES: dict[str, Mapping[int, Base]] = {
    "P": Parameters.parameters,
    "C": Calculations.calculations,
    "V": Visibilities.visibilities,
}


class Entry(NamedTuple):
    """One number of the controller: `field` is block and `number` (C10), `id` its point where the profile has no nicer one."""

    field: str
    block: str
    number: int
    id: str
    name: str
    type: Base | None
    """The library's, which decodes it; None for a number that it does not know."""

    @property
    def writable(self) -> bool:
        """Whether the library holds it safe to write."""
        return bool(self.type is not None and self.type.writeable)

    def raw(self, blocks: Mapping[str, Any], zone: tzinfo) -> int | str | None:
        """What the profile's point takes: the integer, or the text of what is none; None for nothing. IndexError beyond the block's end."""
        raw: int = blocks[self.block][self.number]
        if raw == NOTHING:
            return None
        kind = self.type
        if isinstance(kind, Version):
            return _version(kind, blocks[self.block])
        if isinstance(kind, Timestamp):
            return datetime.fromtimestamp(raw, zone).isoformat() if raw > 0 else None
        if isinstance(kind, IPAddress):
            return str(kind.from_heatpump(raw))
        if isinstance(kind, Bool):
            return int(kind.from_heatpump(raw))
        if isinstance(kind, SelectionBase):
            return raw if kind.from_heatpump(raw) is not None else None
        return raw

    def value(self, blocks: Mapping[str, Any], zone: tzinfo) -> Value | None:
        """Decoded by the library: a number in the unit of its type, 0 and 1, or a text. None for nothing."""
        raw = self.raw(blocks, zone)
        if raw is None or self.type is None or isinstance(raw, str):
            return raw
        decoded: Value | bool | None = self.type.from_heatpump(raw)
        return int(decoded) if isinstance(decoded, bool) else decoded

    def as_point(self) -> dict[str, Any]:
        """As a profile's file would have it."""
        point: dict[str, Any] = {"name": self.name, "field": self.field, "group": _GROUP[self.block]}
        kind = self.type
        if isinstance(kind, Version | Timestamp | IPAddress):
            return {**point, "as": "str"}
        if isinstance(kind, Bool):
            return {**point, "values": {0: "off", 1: "on"}}
        if isinstance(kind, SelectionBase):
            return {**point, "values": dict(kind.codes)}
        return {**point, **_KINDS.get(type(kind).__name__, {})}


@cache
def entries() -> Mapping[str, Entry]:
    """All that the library knows, by their fields."""
    found: dict[str, Entry] = {}
    taken: set[str] = set()
    for block in ("C", "P", "V"):
        # Other users of the library in this process may have added to its tables: those have no names either.
        for index, kind in sorted(_TABLES[block].items()):
            if re.fullmatch(r"Unknown_[A-Za-z]+_\d+", kind.name):
                continue
            id_ = _snake_case(kind.name)
            if id_ in taken:
                id_ = f"{BLOCKS[block]}_{id_}"
            taken.add(id_)
            found[f"{block}{index}"] = Entry(f"{block}{index}", block, index, id_, kind.name, kind)
    return found


def entry(block: str, index: int) -> Entry:
    """One of them, also of those that nobody has a name for."""
    field = f"{block}{index}"
    known = entries().get(field)
    if known is not None:
        return known
    kind = BLOCKS[block]
    return Entry(field, block, index, f"{kind}_{index}", f"{kind.capitalize()} {index}", None)


def called(id_: str) -> Entry | None:
    """The number whose point has this id (`temperatur_rfv`, `calculation_268`); None if there is none."""
    match = re.fullmatch(r"(calculation|parameter|visibility)_(\d{1,4})", id_)
    if match is not None:
        one = entry(match[1][0].upper(), int(match[2]))
        return one if one.id == id_ else None
    return next((one for one in entries().values() if one.id == id_), None)


def extended(profile: Profile, wanted: Iterable[Entry], shown: Shown = "always") -> Profile:
    """The profile with further points behind its own; those that it has already stay as they are."""
    known = {point.field for point in profile.points.values()}
    further = [Point.model_validate({**one.as_point(), "id": one.id, "shown": shown}) for one in wanted if one.field not in known]
    period_s = min(profile.groups.values())
    return profile.model_copy(
        update={
            "groups": profile.groups | {point.group: period_s for point in further},
            "points": profile.points | {point.id: point for point in further},
        }
    )


def _version(kind: Version, calculations: Any) -> str | None:
    """The library takes nine of the ten characters; what is none has no version."""
    signs = calculations[VERSION_AT : VERSION_AT + _VERSION_LENGTH]
    if not all(0 <= sign < 128 for sign in signs):
        return None
    text: str = kind.from_heatpump(signs)
    return text or None


def _snake_case(name: str) -> str:
    plain = re.sub(r"^ID_(WEB_)?", "", name).lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
