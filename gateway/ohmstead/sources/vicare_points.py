"""From fields of Viessmann's cloud to points: by the table `shared/profiles/vicare-heating.yaml`, else by a general rule.

The rule: names as in `vicare_names`; a truth value is `on` or `off`; unit, class and state follow the cloud's unit; what the table does
not know is shown where it is measured, and else an entity that its owner has to enable. A point keeps its unit for ever: what comes in
another one is converted, and absent where that makes no sense.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from itertools import chain, count
from types import MappingProxyType
from typing import Any

from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Point
from ohmstead.sources.vicare_features import CONSTRAINTS, PERIODS, Field
from ohmstead.sources.vicare_names import full_id, point_id, spoken

_NUMBER = re.compile(r"\.\d+(?=[.:]|$)")

UNITS = {
    "celsius": "°C", "kelvin": "K", "percent": "%", "kilowattHour": "kWh", "wattHour": "Wh", "kilowattHour/year": "kWh/a", "watt": "W",
    "kilowatt": "kW", "hour": "h", "hours": "h", "minute": "min", "minutes": "min", "second": "s", "seconds": "s", "day": "d", "bar": "bar",
    "degree": "°", "liter": "L", "liter/hour": "L/h", "liter/minute": "L/min", "cubicMeter": "m³", "cubicMeter/hour": "m³/h", "meter": "m",
    "revolutionsPerSecond": "1/s", "ampere": "A", "volt": "V", "hertz": "Hz", "gram": "g", "kilogram": "kg", "ppm": "ppm", "dBm": "dBm",
}  # fmt: skip
"""The cloud's words, and ours."""

_CLASSES = {
    "°C": "temperature", "kWh": "energy", "Wh": "energy", "W": "power", "kW": "power", "h": "duration", "min": "duration", "s": "duration",
    "bar": "pressure", "L/h": "volume_flow_rate", "L/min": "volume_flow_rate", "m³/h": "volume_flow_rate", "A": "current", "V": "voltage",
    "Hz": "frequency", "dBm": "signal_strength",
}  # fmt: skip
_SAME = (
    {"W": 1.0, "kW": 1000.0},
    {"Wh": 1.0, "kWh": 1000.0},
    {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0},
    {"L/h": 1.0, "L/min": 60.0, "m³/h": 1000.0},
)
"""Units of one kind, each with its size."""

_MEANT = (("L", "L/h"), ("°C", "K"))
"""What the cloud says of a flow, and of the step of a temperature."""

_GROWS = re.compile(r".*:(current|lifeCycle|cumulated)|.*\.cumulated:value")
"""Energies that only grow, or begin anew at zero; any other may also fall."""

_HEAT_OUTPUT = re.compile(r"heating\.compressors\.\d+\.heat\.production\.current:value")
_LEAST_HEAT_W = 100.0


class Points:
    """The points of one device, as they become known. `take` learns, `raw` is what a `Decoder` takes."""

    def __init__(self, table: Profile) -> None:
        self.lost: dict[str, str] = {}
        """Field → the unit in which it came lately and which does not fit its point."""
        self._table = {_numberless(str(point.field)): (at, point) for at, point in enumerate(table.points.values())}
        self._points: dict[str, Point] = {}
        self._told: dict[str, tuple[str, str, bool]] = {}
        self._groups = tuple(table.groups)

    def take(self, fields: Iterable[Field], before: Mapping[str, str] = MappingProxyType({})) -> bool:
        """Whether there was anything new among them. `before`: field → the id that its point had before a restart, and has again."""
        new = [field for field in fields if field.name not in self._points]
        if not new:
            return False
        ids = {point.id for point in self._points.values()}
        names = {point.name for point in self._points.values()}
        by_rule = [point_id(field.name) for field in new]
        for field in sorted(new, key=lambda one: (_numberless(one.name) not in self._table, one.name)):
            point = self._known(field.name)
            if field.name in before:
                if point is None or point.id != before[field.name]:
                    point = _point(field, before[field.name])
            elif point is None or point.id in ids:
                short = point_id(field.name)
                taken = short in ids or by_rule.count(short) > 1
                point = _point(field, _free(full_id(field.name), ids) if taken else short)
            if point.name in names:
                point = point.model_copy(update={"name": f"{point.name} ({point.id})"})
            ids.add(point.id)
            names.add(point.name)
            self._points[field.name] = point
            kind = "switch" if isinstance(field.value, bool) else "text" if isinstance(field.value, str) else "number"
            self._told[field.name] = kind, field.unit, field.settable
        return True

    def told(self) -> list[tuple[str, str, str, bool, str]]:
        """Of each field its name, its kind (switch, number, text), its unit as the cloud calls it, whether it is settable, and the id of
        its point."""
        return [(name, *told, self._points[name].id) for name, told in self._told.items()]

    def points(self) -> list[Point]:
        """All of them in the order of publication: as in the table, then by name; limits at the end."""

        def place(point: Point) -> tuple[bool, int, str]:
            known = self._table.get(_numberless(str(point.field)))
            return (point.group == "limits", known[0] if known is not None else len(self._table), str(point.field))

        return sorted(self._points.values(), key=place)

    def profile(self, model: Mapping[str, str], period_s: float) -> Profile:
        """The profile of the device. `model` has `profile`, `name` and `model`."""
        groups = dict.fromkeys(self._groups, f"{period_s:g} s")
        points = {point.id: point for point in self.points()}
        return Profile.model_validate({"manufacturer": "Viessmann", "reader": "vicare", **model, "groups": groups, "points": points})

    def raw(self, fields: Iterable[Field]) -> dict[str, object]:
        """Field → its value in the unit of its point; what cannot be converted is left out and noted in `lost`."""
        found: dict[str, object] = {}
        for field in fields:
            point = self._points.get(field.name)
            if point is None:
                continue
            value = _converted(field, point)
            if value is None:
                self.lost[field.name] = field.unit
            else:
                self.lost.pop(field.name, None)
                found[field.name] = value
        return found

    def _known(self, field: str) -> Point | None:
        """The table's point for a field, for the number that the field has."""
        found = self._table.get(_numberless(field))
        if found is None:
            return None
        point = found[1]
        number = _NUMBER.search(field)
        if number is None or number[0] == ".0":
            return point.model_copy(update={"field": field})
        of = number[0][1:]
        id_ = re.sub(r"_0(?=_|$)", f"_{of}", point.id, count=1)
        return point.model_copy(update={"field": field, "id": id_, "name": re.sub(r"\b0\b", of, point.name, count=1)})


def _free(id_: str, taken: Container[str]) -> str:
    return next(one for one in chain((id_,), (f"{id_}_{number}" for number in count(2))) if one not in taken)


def _numberless(field: str) -> str:
    return _NUMBER.sub(".0", field)


def _converted(field: Field, point: Point) -> int | float | str | None:
    if isinstance(field.value, bool) and point.unit:
        return None
    if isinstance(field.value, str | bool) or point.is_text:
        return field.value
    told = UNITS.get(field.unit, field.unit)
    if told == "W" and 0 < abs(field.value) < _LEAST_HEAT_W and _HEAT_OUTPUT.fullmatch(field.name):
        told = "kW"  # see the doubt in the table
    if told in ("", point.unit) or not point.unit or (told, point.unit) in _MEANT:
        return field.value
    for sizes in _SAME:
        if told in sizes and point.unit in sizes:
            value = field.value * sizes[told] / sizes[point.unit]
            return round(value, 9)
    return None


def _point(field: Field, id_: str) -> Point:
    """By the rule. Raises nothing: whatever the cloud says has a point."""
    prop = field.name.partition(":")[2]
    is_limit = prop.count(".") == 2 and prop.rpartition(".")[2] in CONSTRAINTS.values()
    said: dict[str, Any] = {"id": id_, "name": spoken(id_), "field": field.name}
    if isinstance(field.value, bool):
        said |= {"values": {0: "off", 1: "on"}}
    elif isinstance(field.value, str):
        said |= {"as": "str"} | ({"class": "timestamp"} if prop.endswith("ReadAt") else {})
    else:
        said |= _number(field, prop, is_limit)
    if is_limit:
        said |= {"group": "limits"}
    else:
        energy = said.get("class") == "energy" or ".statistics" in field.name
        said |= {"group": "energy" if energy else "settings" if field.settable else "measured" if said.get("unit") else "state"}
    measured = said["group"] in ("measured", "energy") and said.get("unit") and ".configuration." not in f".{field.name}"
    said |= {"shown": "always" if measured and not prop.endswith(".previous") else "on-request"}
    return Point.model_validate(said)


def _number(field: Field, prop: str, is_limit: bool) -> dict[str, Any]:
    unit = UNITS.get(field.unit, field.unit)
    if unit == "°C" and is_limit and prop.endswith(".step"):
        unit = "K"
    said: dict[str, Any] = {"unit": unit} if unit else {}
    if unit in _CLASSES:
        said["class"] = _CLASSES[unit]
    if unit in ("W", "kW"):
        said["sign"] = _sign(field.name)
    if is_limit or field.settable:
        return said
    if said.get("class") == "energy":
        said["state"] = "total_increasing" if prop in PERIODS or _GROWS.match(field.name) else "total"
    elif ".statistics" in field.name or prop.startswith(("starts", "hours")):
        said["state"] = "total_increasing"
    else:
        said["state"] = "measurement"
    return said | ({"round": 1} if unit in ("°C", "kWh", "bar", "K", "h") else {})


def _sign(name: str) -> str:
    for word in ("consumption", "production", "charge", "discharge", "feedIn"):
        if word.lower() in name.lower():
            return f"{word.lower()} positive"
    return "as the device counts it positive"
