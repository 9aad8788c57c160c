"""Every point of a Viessmann device says what PyViCare's getter says of the same answer, for all recorded answers that have both."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ohmstead.profiles import library
from ohmstead.profiles.point import Point
from ohmstead.readings import Value
from ohmstead.sources.vicare_device import Heard, ViessmannDevice
from ohmstead.sources.vicare_features import DAYS, features_of, newest, schedule
from ohmstead.sources.vicare_points import UNITS
from tests.contract.vicare_getters import FIELDS, WITHOUT_A_POINT

MODELS = (
    "Vitocal111S",
    "Vitocal200S_AWB-M-E-AC-201.D10",
    "Vitocal200S_E8NEV",
    "Vitocal222S",
    "Vitocal250A",
    "Vitocal252",
    "Vitocal300G_CU401B",
    "Vitocal333G",
)
HOME = datetime(2025, 10, 6, 6, 30, tzinfo=UTC)
"""A Monday morning: at this time of the week the getters that look at the clock say what was recorded of them."""


class Told(NamedTuple):
    """What a device says: its points by what the reader calls them, and their values."""

    points: Mapping[str, Point]
    values: Mapping[str, Value]

    def value(self, field: str) -> Value | None:
        point = self.points.get(field)
        return None if point is None else self.values.get(point.id)


def told(answer: Mapping[str, Any]) -> Told:
    features = features_of(answer)
    now = newest(features, math.inf) or 0.0
    device = ViessmannDevice(
        "heating", "Vitocal", [], library.load("vicare-heating"), period_s=1800.0, stale_s=7200.0, wanted=lambda profile: profile
    )
    snapshots, member = device.take(Heard(features, now, now, HOME))
    assert member is not None
    assert {snapshot.time for snapshot in snapshots} == {now}
    points = {str(point.field): point for point in member.profile.points.values()}
    return Told(points, {point: value for snapshot in snapshots for point, value in snapshot.values.items()})


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def numberless(getter: str) -> str:
    return re.sub(r"\d+\.", "N.", getter)


def field_of(getter: str, said: Told) -> str:
    number = re.search(r"(\d+)\.", getter)
    field = FIELDS[numberless(getter)]
    if number is not None:
        field = re.sub(r"\bN\b", number[1], field)
        active = said.value(f"heating.circuits.{number[1]}.operating.programs.active:value")
        field = field.replace("ACTIVE", str(active))
    return field


def as_point(expected: Any, getter: str) -> Any:
    """What a getter says, as a point would."""
    if getter.endswith("getDeviceErrors"):
        return len(expected)
    if isinstance(expected, bool):
        return "on" if expected else "off"
    if isinstance(expected, list):
        return ", ".join(expected)
    if isinstance(expected, dict):
        return schedule({day: expected[day] for day in DAYS})
    return expected


@pytest.mark.parametrize("model", MODELS)
def test_every_point_says_what_the_getter_says(goldens: Path, model: str) -> None:
    said = told(read(goldens / "vicare/responses" / f"{model}.json"))
    expected = read(goldens / "vicare/expected" / f"{model}.json")["values"]
    compared = 0
    for getter, value in expected.items():
        if numberless(getter) in WITHOUT_A_POINT or getter.endswith("Unit"):
            continue
        assert said.value(field_of(getter, said)) == (None if value is None else as_point(value, getter)), getter
        compared += 1
    assert compared >= 60


@pytest.mark.parametrize("model", MODELS)
def test_every_point_has_the_getters_unit(goldens: Path, model: str) -> None:
    said = told(read(goldens / "vicare/responses" / f"{model}.json"))
    expected = read(goldens / "vicare/expected" / f"{model}.json")["values"]
    units = {getter: unit for getter, unit in expected.items() if getter.endswith("Unit") and unit}
    for getter, unit in units.items():
        base = getter.removesuffix("Unit")
        alike = [name for name in FIELDS if name.startswith(numberless(base)) and not re.search(r"(Max|Min|Stepping)$", name)]
        alike += [numberless(base)] if numberless(base) in FIELDS else []
        assert alike, getter
        for name in alike:
            field = field_of(base.rpartition(".")[0] + "." + name.rpartition(".")[2], said)
            if field in said.points:
                assert said.points[field].unit == UNITS[unit], (getter, name)


def test_every_getter_is_accounted_for(goldens: Path) -> None:
    known = {numberless(getter) for model in MODELS for getter in read(goldens / "vicare/expected" / f"{model}.json")["values"]}
    assert {getter for getter in known if not getter.endswith("Unit")} == FIELDS.keys() | WITHOUT_A_POINT.keys()


@pytest.mark.parametrize("model", MODELS)
def test_nothing_that_is_told_is_left_out(goldens: Path, model: str) -> None:
    """Each property of each feature that is enabled has a point, whether a getter knows it or not."""
    answer = read(goldens / "vicare/responses" / f"{model}.json")
    said = told(answer)
    missing = []
    for feature in answer["data"]:
        for key, prop in feature["properties"].items() if feature["isEnabled"] else ():
            name = f"{feature['feature']}:{key}"
            if prop["value"] != [] and not any(field == name or field.startswith(f"{name}.") for field in said.points):
                missing.append(name)
    assert not missing


@pytest.mark.parametrize("model", MODELS)
def test_points_keep_their_names_when_features_come_one_by_one(goldens: Path, model: str) -> None:
    """What a device says first does not decide what it is called."""
    features = features_of(read(goldens / "vicare/responses" / f"{model}.json"))
    now = newest(features, math.inf) or 0.0
    table = library.load("vicare-heating")

    def ids(rounds: list[list[Any]]) -> dict[str, str]:
        device = ViessmannDevice("heating", "Vitocal", [], table, period_s=1800.0, stale_s=1e12, wanted=lambda profile: profile)
        members = [device.take(Heard(told, now, now, HOME))[1] for told in rounds]
        last = [member for member in members if member is not None][-1]
        return {str(point.field): point.id for point in last.profile.points.values()}

    assert ids([features[: len(features) // 2], features]) == ids([features])


def test_a_feature_that_turns_empty_is_unknown_and_no_zero(goldens: Path) -> None:
    features = features_of(read(goldens / "vicare/responses/Vitocal250A.json"))
    now = newest(features, math.inf) or 0.0
    device = ViessmannDevice(
        "heating", "Vitocal", [], library.load("vicare-heating"), period_s=1800.0, stale_s=7200.0, wanted=lambda profile: profile
    )
    device.take(Heard(features, now, now, HOME))
    emptied = [{**one, "properties": {}} if one["feature"] == "heating.sensors.temperature.return" else one for one in features]
    snapshots, learned = device.take(Heard(emptied, now, now, HOME))
    values = {point for snapshot in snapshots for point in snapshot.values}
    assert learned is None
    assert "return_temperature" not in values
    assert "outside_temperature" in values


def test_heat_that_is_told_in_the_wrong_unit_is_kilowatt(goldens: Path) -> None:
    """A Vitocal 250-A that draws 3.1 kW does not give 13 W."""
    said = told(read(goldens / "vicare/history/Vitocal250A__2025-07-11__e661a8e.json"))
    heat, drawn = ("heating.compressors.0.heat.production.current:value", "heating.compressors.0.power.consumption.current:value")
    assert (said.value(heat), said.value(drawn)) == (13.317, 3.107)
    assert (said.points[heat].unit, said.points[drawn].unit) == ("kW", "kW")
