"""What a field of Viessmann's cloud is called here where no table says it: the general rule.

From `heating.circuits.0.operating.programs.normalHeating:temperature` it makes `circuit_0_normal_heating_program_temperature`:

1. A leading `heating` goes, and so do `sensors`, `operating` and the property `value`.
2. A plural before its number is one of its kind: `circuits.0` is `circuit_0`.
3. Where something is measured stands before what is measured: `sensors.temperature.outside` is `outside_temperature`; which mode or
   program it is before that word: `modes.active` is `active_mode`.
4. Capitals become words of their own: `currentDay` is `current_day`. A list's current part is as its period, the one before it
   `previous_`: `power.consumption.total:day.previous` is `power_consumption_total_previous_day`.
5. A command's limits have its name: `heating.curve:setCurve.slope.max` is `heating_curve_set_curve_slope_max`; a parameter whose last
   word the command has already is not said again.
6. A word is not said twice in a row.

People read the same words with spaces and a capital.
"""

from __future__ import annotations

import keyword
import re

from ohmstead.sources.vicare_features import CONSTRAINTS, PERIODS

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_WORD = re.compile(r"[^a-z0-9]+")
_QUANTITIES = ("temperature", "pressure", "volumetricFlow", "humidity", "power", "rotation", "flow", "level")
_SINGULAR = {"batteries": "battery", "condensors": "condenser", "evaporators": "evaporator", "fans": "fan"}
_RESERVED = {"min", "max", "abs", "round", "sum", "int", "float", "keep"}
_SPOKEN = {
    "cop": "COP", "dhw": "DHW", "ecu": "ECU", "spf": "SPF", "scop": "SCOP", "wifi": "Wi-Fi", "id": "ID", "pv": "PV", "soc": "SOC",
    "co2": "CO2", "tcu": "TCU", "zigbee": "Zigbee", "ess": "ESS", "lqi": "LQI", "allengra": "Allengra",
}  # fmt: skip


def point_id(field: str) -> str:
    """The id of a field's point. Two fields may come to the same one; then `full_id` tells them apart."""
    feature, _, prop = field.partition(":")
    words = "_".join([*_of_feature(feature.split(".")), *_of_property(prop)]).split("_")
    return _fit("_".join(word for at, word in enumerate(words) if at == 0 or word != words[at - 1] or word.isdecimal()))


def full_id(field: str) -> str:
    """An id that leaves nothing out."""
    return _fit("_".join(_snake(part) for part in re.split(r"[.:]", field)))


def spoken(point: str) -> str:
    """What people see of an id."""
    words = [_SPOKEN.get(word, word) for word in point.split("_")]
    said = " ".join(words)
    return said[:1].upper() + said[1:]


def _of_feature(segments: list[str]) -> list[str]:
    if segments[0] == "heating" and len(segments) > 1:
        segments = segments[1:]
    words: list[str] = []
    at = 0
    while at < len(segments):
        segment, rest = segments[at], segments[at + 1 :]
        if segment == "sensors" and rest and rest[0] in _QUANTITIES:
            return [*words, *(_snake(one) for one in rest[1:]), _snake(rest[0])]
        if segment in ("modes", "programs") and rest and not rest[0].isdecimal():
            return [*words, *(_snake(one) for one in rest), segment[:-1]]
        if rest and rest[0].isdecimal():
            words += [_SINGULAR.get(segment, _snake(segment.removesuffix("s"))), rest[0]]
            at += 2
            continue
        if segment not in ("sensors", "operating"):
            words.append(_snake(segment))
        at += 1
    return words


def _of_property(prop: str) -> list[str]:
    first, *rest = prop.split(".")
    if first == "value" and not rest:
        return []
    if first in PERIODS and rest == ["previous"]:
        return ["previous", first]
    if len(rest) == 2 and rest[1] in CONSTRAINTS.values() and _snake(rest[0]).split("_")[-1] == _snake(first).split("_")[-1]:
        rest = rest[1:]
    return [_snake(first), *(_snake(one) for one in rest)]


def _snake(segment: str) -> str:
    return _NO_WORD.sub("_", _CAMEL.sub("_", segment).lower()).strip("_")


def _fit(words: str) -> str:
    """As an id has to be: it begins with a letter and is no word of a formula."""
    found = re.sub(r"_+", "_", words).strip("_") or "value"
    if not found[0].isalpha() or not found[0].isascii():
        found = f"p_{found}"
    return f"{found}_value" if keyword.iskeyword(found) or found in _RESERVED else found
