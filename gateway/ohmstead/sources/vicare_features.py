"""What a Viessmann device says, taken apart: from the features of an answer to single fields, each a number, a truth value or a text.

A field is called by its feature and its property: `heating.circuits.0.heating.curve:slope`. What is not one value comes as several:

- the lists of days, weeks, months and years: the current one (`…:day`), and the one before it (`…:day.previous`);
- other lists: words joined by commas; of objects their number (`…:entries.count`) and the newest one (`…:entries.latest`);
- objects: each of their parts (`…:product.busAddress`);
- a schedule: one text, days that are alike together (`mon-fri 06:00-22:00 normal; sat sun 08:00-23:00 normal`);
- what may be set: the ends and the step, or the words to choose from (`…:setCurve.slope.max`).

A sensor that is not connected has no value, whatever stands there; neither has a feature that is not enabled.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from ohmstead.errors import WrongAnswer

LONGEST_TEXT = 255
"""What Home Assistant takes as a state. A longer text ends with an ellipsis there."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PERIODS = ("day", "week", "month", "year")
CONSTRAINTS = {"min": "min", "max": "max", "stepping": "step", "enum": "options", "modes": "options", "defaultMode": "default"}
_OWN = ("tcu.", "gateway.", "device.")
"""Features in which a gateway speaks of itself and of the account: that they are new says nothing of the heating."""

_PLACE = ("latitude", "longitude", "altitude")
_LONG_NUMBER = re.compile(r"([\"/])(\d{6,})(?=[\"/])")
_FURTHEST_AHEAD_S = 600.0


class Field(NamedTuple):
    """One value as it is told. `unit` is the cloud's word for it. `settable`: something of the feature can be set."""

    name: str
    value: int | float | str
    unit: str = ""
    settable: bool = False


def features_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The features in an answer; what is no feature is left out. Raises WrongAnswer where it is no list of them."""
    listed = answer.get("data")
    if not isinstance(listed, list):
        raise WrongAnswer("Viessmann's cloud: an answer without features")
    return [
        one
        for one in listed
        if isinstance(one, dict) and all(isinstance(one.get(key, ""), str) for key in ("feature", "uri")) and one.get("feature")
    ]


def is_told(feature: Mapping[str, Any]) -> bool:
    """Whether a feature says anything at the moment."""
    return feature.get("isEnabled", True) is not False and isinstance(feature.get("properties"), dict) and bool(feature["properties"])


def newest(features: Iterable[Mapping[str, Any]], now: float) -> float | None:
    """The UTC second of the newest thing that is known of the device itself, None where there is none. `now` is the cloud's second.

    A feature's time is that of its last change. What lies more than ten minutes ahead is not believed.
    """
    heard = [
        (moment, str(feature["feature"]).startswith(_OWN))
        for feature in features
        if is_told(feature) and (moment := _moment(feature.get("timestamp"))) is not None and moment <= now + _FURTHEST_AHEAD_S
    ]
    of_device = [moment for moment, own in heard if not own]
    return max(of_device or [moment for moment, _ in heard], default=None)


def fields(features: Iterable[Mapping[str, Any]]) -> Iterator[Field]:
    """All that the features say. What has a name that cannot be written is nothing."""
    for feature in features:
        if is_told(feature):
            yield from (field for field in _of_feature(feature) if field.name.isprintable())


def _of_feature(feature: Mapping[str, Any]) -> Iterator[Field]:
    name, properties, commands = feature["feature"], feature["properties"], feature.get("commands")
    commands = commands if isinstance(commands, dict) else {}
    settable = bool(commands)
    connected = not _is_sensor_without_value(name, properties)
    for key, told in properties.items():
        never = key.endswith("ReadAt") and isinstance(told, dict) and _moment(told.get("value")) is None
        if isinstance(told, dict) and (connected or key == "status") and not never:
            for suffix, value in _values(str(key), told.get("value")):
                yield Field(f"{name}:{suffix}", value, _word(told.get("unit")), settable)
    yield from _constraints(name, commands, properties)


def _is_sensor_without_value(name: str, properties: Mapping[str, Any]) -> bool:
    status = properties.get("status")
    return ".sensors." in name and isinstance(status, dict) and status.get("value") != "connected"


def _values(key: str, value: object) -> Iterator[tuple[str, int | float | str]]:
    """The single values of a property, each with what it is called."""
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        yield key, text(value) if isinstance(value, str) else value
    elif isinstance(value, dict) and is_schedule(value):
        yield key, text(schedule(value))
    elif isinstance(value, dict):
        for part, said in value.items():
            if isinstance(said, bool | int | float | str):
                yield from _values(f"{key}.{part}", said)
    elif isinstance(value, list) and key in PERIODS:
        for suffix, one in zip((key, f"{key}.previous"), value, strict=False):
            yield from _values(suffix, one) if _is_number(one) else ()
    elif isinstance(value, list) and (any(isinstance(one, dict) for one in value) or (not value and key == "entries")):
        entries = [one for one in value if isinstance(one, dict)]
        yield f"{key}.count", len(entries)
        if entries:
            yield f"{key}.latest", text(_entry(max(entries, key=lambda one: str(one.get("timestamp", "")))))
    elif isinstance(value, list):
        yield key, text(", ".join(str(one) for one in value if isinstance(one, str | int | float)))


def _constraints(name: str, commands: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[Field]:
    """Between which ends each command's parameters may be set, and what there is to choose from."""
    for command, said in commands.items():
        params = said.get("params") if isinstance(said, dict) else None
        for param, one in params.items() if isinstance(params, dict) else ():
            limits = one.get("constraints") if isinstance(one, dict) else None
            for key, word in CONSTRAINTS.items():
                limit = limits.get(key) if isinstance(limits, dict) else None
                called = f"{name}:{command}.{param}.{word}"
                if isinstance(limit, list):
                    yield Field(called, text(", ".join(str(choice) for choice in limit if isinstance(choice, str | int | float))))
                elif isinstance(limit, str):
                    yield Field(called, text(limit))
                elif isinstance(limit, int | float) and _is_number(limit):
                    yield Field(called, limit, _unit_of(str(param), properties))


def _unit_of(param: str, properties: Mapping[str, Any]) -> str:
    """The unit in which a parameter is set: that of the property of its name, or the only one there is."""
    units = {key: _word(told.get("unit")) for key, told in properties.items() if isinstance(told, dict) and _is_number(told.get("value"))}
    return units.get(param, next(iter(units.values())) if len(set(units.values())) == 1 else "")


def for_support(answer: Any) -> Any:
    """An answer as it may be given away: numbers of devices as `#`, like the library's own dumps, and no place of a house."""

    def without_place(one: Any, name: str = "") -> Any:
        if isinstance(one, dict):
            return {key: without_place(said, key if key in _PLACE else name if key == "value" else "") for key, said in one.items()}
        if isinstance(one, list):
            return [without_place(said) for said in one]
        return None if name in _PLACE and _is_number(one) else one

    text = json.dumps(without_place(answer))
    return json.loads(_LONG_NUMBER.sub(lambda match: match[1] + "#" * len(match[2]), text))


def is_schedule(value: Mapping[str, Any]) -> bool:
    return set(DAYS) <= set(value) and all(isinstance(value[day], list) for day in DAYS)


def schedule(entries: Mapping[str, Any]) -> str:
    """A week as one text; a day without entries is left out, no entry at all is `-`."""
    days = [(day, ", ".join(_slot(one) for one in ordered(entries[day]))) for day in DAYS]
    parts = []
    for slots, alike in groupby(days, key=lambda day: day[1]):
        names = [day for day, _ in alike]
        if slots:
            parts.append(f"{names[0] if len(names) == 1 else f'{names[0]}-{names[-1]}'} {slots}")
    return "; ".join(parts) or "-"


def ordered(slots: Sequence[object]) -> list[dict[str, Any]]:
    """A day's entries in the order of their begins."""
    whole = [one for one in slots if isinstance(one, dict) and isinstance(one.get("start"), str) and isinstance(one.get("end"), str)]
    return sorted(whole, key=lambda one: (one["start"], one["end"], str(one.get("mode", ""))))


def _slot(one: Mapping[str, Any]) -> str:
    return f"{one['start']}-{one['end']} {one.get('mode', '')}".strip()


def _entry(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {said}" for key, said in entry.items() if isinstance(said, str | int | float))


def text(words: str) -> str:
    """As long as a state may be."""
    return words if len(words) <= LONGEST_TEXT else words[: LONGEST_TEXT - 1] + "…"


def _moment(timestamp: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(timestamp))
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _word(unit: object) -> str:
    return unit if isinstance(unit, str) and unit.isprintable() else ""
