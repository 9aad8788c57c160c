"""What SunSpec models mean (`shared/profiles/sunspec/models.yaml`), and the profile of a device that has some of them.

A device is a chain of models. A row of a model is called `<model>.<instance>.<key>` ("203.1.W"; of a module `160.1.2.DCW`), instances and
modules counted from 1: that is the `field` of its point.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from struct import unpack
from typing import Any, NamedTuple

from ohmstead.profiles import library
from ohmstead.profiles.model import Profile
from ohmstead.yamlfile import read

COMMON = 1
HEADER = 2
"""Registers of a model before its first row: its ID and its length."""

_STORAGE = (124, 713, 802)
_METERS = frozenset((201, 202, 203, 204, 211, 212, 213, 214))
_EXPORT_POSITIVE = ("solaredge",)
"""Makers whose meters are positive for an export."""

_WORDS = {"u16": 1, "i16": 1, "enum16": 1, "bits16": 1, "u32": 2, "i32": 2, "acc32": 2, "bits32": 2, "f32": 2} | {
    "u64": 4, "i64": 4, "acc64": 4,
}  # fmt: skip
_NOTHING = {"u16": 0xFFFF, "enum16": 0xFFFF, "bits16": 0xFFFF, "u32": 0xFFFFFFFF, "bits32": 0xFFFFFFFF, "u64": (1 << 64) - 1} | {
    "i16": -(1 << 15), "i32": -(1 << 31), "i64": -(1 << 63), "acc32": 0, "acc64": 0,
}  # fmt: skip
"""What a device says that has not implemented a row (SunSpec, device information model specification)."""

_MOST_MODULES = 48
"""Of one model; the largest inverters have half as many trackers."""

_FACTOR = "i16"
_MOST_EXPONENT = 10

_UNITS: dict[str, dict[str, Any]] = {
    "W": {"class": "power", "state": "measurement", "round": 1},
    "VA": {"class": "apparent_power", "state": "measurement", "round": 1},
    "var": {"class": "reactive_power", "state": "measurement", "round": 1},
    "V": {"class": "voltage", "state": "measurement", "round": 2},
    "A": {"class": "current", "state": "measurement", "round": 2},
    "Hz": {"class": "frequency", "state": "measurement", "round": 2},
    "°C": {"class": "temperature", "state": "measurement", "round": 1},
    "%": {"state": "measurement", "round": 1},
    "Wh": {"unit": "kWh", "scale": 0.001, "class": "energy", "state": "total_increasing", "round": 3},
}
_CAPACITY: dict[str, Any] = {"unit": "kWh", "scale": 0.001, "round": 3}


class Model(NamedTuple):
    """A model of a device's chain: where its ID is, how many registers follow its length, and which of its kind it is."""

    id: int
    address: int
    length: int
    instance: int = 1

    @property
    def end(self) -> int:
        """The register after its last one."""
        return self.address + HEADER + self.length


class Row(NamedTuple):
    """A value of a model of one device. `at` and `factor_at` are registers from the model's ID; `factor_at` None: no scale factor."""

    field: str
    kind: str
    at: int
    words: int
    factor_at: int | None
    unit: str
    point: str
    name: str
    sign: str = ""
    values: Mapping[int, str] = {}
    bits: Mapping[int, str] = {}

    @property
    def end(self) -> int:
        """The register after its last one."""
        return self.at + self.words

    @property
    def clear(self) -> str:
        """What no set bit means: nothing to complain of where they are events."""
        return "OK" if self.point.endswith("_events") else "none"


@cache
def definitions() -> Mapping[int, Mapping[str, Any]]:
    """Number of a model → what the file says of it."""
    listed = read(library.beside("sunspec/models.yaml"), "sunspec/models.yaml").value
    return {number: one for one in listed for number in one["models"]}


def is_static(model: int) -> bool:
    """Whether what it says changes so rarely that it is read once an hour."""
    return bool(definitions()[model].get("static"))


def rows(model: Model) -> Iterator[Row]:
    """What is read of a model, as far as it is long enough; nothing of one that is not known. A length that is no whole number of modules
    has that many whole ones; more than 48 are not looked for."""
    said = definitions().get(model.id)
    if said is None:
        return
    for row in _rows(said, said.get("rows", {}), f"{model.id}.{model.instance}", 0):
        if max(row.end, (row.factor_at or 0) + 1) <= model.length + HEADER:
            yield row
    repeats = said.get("repeats")
    if repeats is None:
        return
    modules = min((model.length + HEADER - repeats["first"]) // repeats["length"], _MOST_MODULES)
    for number in range(modules):
        start = repeats["first"] + number * repeats["length"]
        for row in _rows(said, repeats["rows"], f"{model.id}.{model.instance}.{number + 1}", start):
            yield row._replace(point=f"{row.point}_{number + 1}", name=f"{row.name} {number + 1}")


def _rows(said: Mapping[str, Any], listed: Mapping[str, Sequence[Any]], prefix: str, start: int) -> Iterator[Row]:
    factors = said.get("factors", {})
    for key, (at, kind, factor, unit, point, name) in listed.items():
        words = int(kind[3:]) if kind.startswith("str") else _WORDS[kind]
        yield Row(
            field=f"{prefix}.{key}",
            kind=kind,
            at=start + at,
            words=words,
            factor_at=factors[factor] if factor else None,
            unit=unit,
            point=point,
            name=name,
            sign=said.get("signs", {}).get(key, ""),
            values=said.get("values", {}).get(key, {}),
            bits=said.get("bits", {}).get(key, {}),
        )


def value(row: Row, octets: bytes, exponent: int | None) -> float | str | None:
    """What the registers of a row say: a number in the row's unit, a label's number, or a text. None for what the device has not
    implemented, which also holds where it has no scale factor for it (`exponent`; None where the row has none, see `exponent_of`)."""
    if row.kind.startswith("str"):
        text = octets.split(b"\0", 1)[0].decode("utf-8", "replace").strip()
        return text or None
    if row.kind == "f32":
        number = float(unpack(">f", octets)[0])
        return number if math.isfinite(number) else None
    raw = int.from_bytes(octets, "big", signed=row.kind.startswith("i"))
    if raw == _NOTHING[row.kind]:
        return None
    if row.bits:
        return ", ".join(label for bit, label in sorted(row.bits.items()) if raw >> bit & 1) or ("other" if raw else row.clear)
    if row.factor_at is None:
        return raw
    if exponent is None or abs(exponent) > _MOST_EXPONENT:
        return None
    return float(raw * 10**exponent) if exponent >= 0 else raw / float(10**-exponent)


def exponent_of(octets: bytes) -> int | None:
    """A scale factor; None where it is not implemented."""
    raw = int.from_bytes(octets, "big", signed=True)
    return None if raw == _NOTHING[_FACTOR] else raw


def profile_of(base: Profile, chain: Sequence[Model], said: Mapping[str, str], known: Collection[str]) -> Profile:
    """The profile of a device: `base` with a point for each row of `chain` that is `known` (its field). `said` are the texts of its
    common models by their field."""
    maker, model = said.get("1.1.Mn", ""), said.get("1.1.Md", "")
    points: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    exports = maker.lower().replace(" ", "").startswith(_EXPORT_POSITIVE)
    options = ""
    for one in chain:
        if one.id == COMMON:
            options = said.get(f"{one.id}.{one.instance}.Opt", "").lower()
        for row in rows(one):
            placed = _in_its_place(row, one, exports=exports, production="production" in options)
            name = _free(placed.point, taken)
            taken.add(name)  # whether it is known by now or not: a name stays the same
            if row.field in known:
                points[name] = _point(placed, name, static=is_static(one.id))
    described = {
        "profile": base.id,
        "name": f"{maker} {model}".strip() or base.name,
        "manufacturer": maker or base.manufacturer,
        "model": model or base.model,
        "reader": base.reader,
        "source": base.source,
        "doubt": base.doubt,
        "identity": {key: named for key, named in base.identity if named in points},
        "groups": {group: f"{period} s" for group, period in base.groups.items()},
        "points": points,
        "flow": _flow(chain, points, exports=exports),
    }
    controls = {
        name: control
        for name, control in base.controls.items()
        if control.point in points and points[control.point]["field"] == base.points[control.point].field
    }
    return Profile.model_validate(described).model_copy(update={"line": base.line, "controls": controls})


def _in_its_place(row: Row, model: Model, *, exports: bool, production: bool) -> Row:
    """A meter's row with the sign of its maker's meters; one that measures a production is not called the grid's."""
    if model.id not in _METERS:
        return row
    sign = "export positive" if exports and row.sign else row.sign
    if not production:
        return row._replace(sign=sign)
    return row._replace(
        sign=sign, point=row.point.replace("grid_", "production_", 1), name=row.name.replace("Grid", "Production meter's", 1)
    )


def _free(name: str, taken: Collection[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _point(row: Row, name: str, *, static: bool) -> dict[str, Any]:
    number = name.removeprefix(row.point).replace("_", " ")
    point: dict[str, Any] = {"name": row.name + number, "field": row.field, "group": "static" if static else "live"}
    if row.kind.startswith("str") or row.bits:
        return point | {"as": "str"}
    if row.values:
        return point | {"class": "enum", "values": dict(row.values)}
    # What a battery can hold is no energy that was counted.
    shown = _CAPACITY if row.unit == "Wh" and not _counts(row) else _UNITS.get(row.unit, {})
    point |= ({"unit": row.unit} if row.unit else {}) | shown
    if row.sign:
        point["sign"] = row.sign
    if row.point == "power_limit_percent":
        point |= {"as": "u16", "round": 0}  # a control may write it, in whole percent
    if row.point == "battery_soc":
        point |= {"class": "battery", "valid": "0..100 %"}
    return point


def _counts(row: Row) -> bool:
    return row.kind.startswith("acc") or row.kind in ("f32", "u64")


def _flow(chain: Sequence[Model], points: Collection[str], *, exports: bool) -> dict[str, str]:
    """Its part in the picture of the home's power, as far as it is certain: an inverter without storage delivers what the sun gives."""
    flow: dict[str, str] = {}
    if "grid_power" in points:
        flow["grid"] = "-grid_power" if exports else "grid_power"
    if "battery_soc" in points:
        flow["soc"] = "battery_soc"
    stores = any(model.id in _STORAGE for model in chain)
    if not stores and "inverter_power" in points:
        flow["pv"] = "inverter_power"
    return flow
