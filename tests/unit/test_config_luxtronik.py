"""A device with `source: luxtronik` in ohmstead.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from tests.unit.homes import Write, mistakes, writer
from tests.unit.test_config_schema import schema_complaints

HOME = """\
devices:
  pump:
    source: luxtronik
    host: 192.0.2.13
    {more}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_host_alone_is_enough_and_nothing_may_be_written(write: Write) -> None:
    config = load(write(HOME.format(more="")))
    profile = config.profile("pump")
    assert profile.points["flow_temperature"].field == "C10"
    assert profile.controls == {}
    assert "temperatur_rfv" not in profile.points


def test_what_may_be_written_is_named_and_narrowed(write: Write) -> None:
    config = load(write(HOME.format(more="control: {hot_water_target: {}}\n    limits: {hot_water_target: 45..50 °C}")))
    assert list(config.profile("pump").controls) == ["hot_water_target"]
    assert config.raw_limits("pump", "hot_water_target")[:2] == (450, 500)


def test_single_further_numbers_become_points(write: Write) -> None:
    points = load(write(HOME.format(more="points: {temperatur_rfv: {name: Remote}, calculation_260: {}}"))).profile("pump").points
    assert points["temperatur_rfv"].name == "Remote"
    assert points["calculation_260"].field == "C260"


def test_all_of_them_do_on_request(write: Write) -> None:
    points = load(write(HOME.format(more="further: on-request"))).profile("pump").points
    assert len(points) > 1600
    assert points["temperatur_rfv"].shown == "on-request"


def test_mistakes_have_their_line(write: Write) -> None:
    more = "points: {temperatur_rfw: {}}\n    control: {hot_water: {}}\n    limits: {heating_mode: 1..2}"
    told = mistakes(write(HOME.format(more=more)))
    assert [mistake.split(" — ")[0] for mistake in told] == [
        "ohmstead.yaml:5: devices.pump.points.temperatur_rfw",
        "ohmstead.yaml:6: devices.pump.control.hot_water",
        "ohmstead.yaml:7: devices.pump.limits.heating_mode: 1..2",
    ]


def test_what_has_a_name_of_ours_is_called_by_it(write: Write) -> None:
    (told,) = mistakes(write(HOME.format(more="points: {temperatur_tfb2: {name: Cellar}, calculation_268: {}, flow_temperature: {}}")))
    assert told.startswith("ohmstead.yaml:2: devices.pump — ")
    assert (
        "the point temperatur_tfb2 is called circuit_2_flow_temperature here; the point calculation_268 is called electrical_power" in told
    )


def test_editors_know_it(write: Write) -> None:
    assert schema_complaints(HOME.format(more="further: always")) == []
    assert schema_complaints(HOME.format(more="further: sometimes")) != []
