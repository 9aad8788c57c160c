"""A Viessmann account as devices: what is found in it, what they say, how old it may be, and what is unkind to us."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ohmstead.errors import NoAnswer
from ohmstead.profiles import library
from ohmstead.sim.vicare import Kindness
from ohmstead.sim.vicare_home import Equipment, heat_pump, home, stamp
from ohmstead.sources.polling import Dumper
from ohmstead.sources.vicare_device import Heard, ViessmannDevice
from ohmstead.sources.vicare_features import features_of
from tests.unit.vicare_account import BOX, HEATING, NOON, STAT, Made, by_device, homes


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    async with homes(tmp_path) as make:
        yield make


async def test_a_home_is_its_heating_its_other_devices_and_its_account(made: Made) -> None:
    house = made()
    values = await house.values()
    assert house.members.keys() == {HEATING, STAT, BOX, "house-account"}
    assert values[HEATING]["outside_temperature"] == pytest.approx(9.5, abs=2)
    assert values[HEATING]["circuit_0_name"] == "Radiators"
    assert values[HEATING]["circuit_1_name"] == "Floor"
    assert values[HEATING]["circuit_1_heating_curve_slope"] == 0.6
    assert values[HEATING]["circuit_1_desired_temperature"] == 21
    assert values[HEATING]["compressor_0_rated_power"] == 12
    assert "dhw_outlet_temperature" not in values[HEATING]
    assert values[STAT]["device_temperature"] == pytest.approx(21, abs=1.1)
    assert values[HEATING]["wifi_strength"] == -58
    assert values[BOX]["gateway_wifi_strength"] == -54
    assert house.members[STAT].name == "Living room"
    assert house.members[HEATING].serial == "7637415000000001"
    assert values["house-account"] == {"requests_day": 4, "requests_ten_minutes": 4, "requests_left": 1301, "silent": 0, "failed": 0}


async def test_a_poll_costs_one_request_for_each_gateway(made: Made) -> None:
    house = made()
    for _ in range(3):
        await house.values()
    api = house.cloud.api_calls()
    assert [path.rpartition("/")[2] for path in api] == ["installations", "features", "features", "features"]


async def test_each_device_can_be_asked_by_itself(made: Made) -> None:
    house = made(one_by_one=True)
    values = await house.values()
    assert {HEATING, STAT, BOX} <= values.keys()
    assert "outside_temperature" not in values[BOX]
    assert sum("/devices/" in path for path in house.cloud.asked) == 2
    assert len(house.cloud.api_calls()) == 4


async def test_units_and_classes_are_those_of_the_table_and_of_the_rule(made: Made) -> None:
    house = made()
    await house.values()
    points = house.members[HEATING].profile.points
    outside, energy = points["outside_temperature"], points["electricity_heating_current_day"]
    assert (outside.unit, outside.device_class, outside.state_class) == ("°C", "temperature", "measurement")
    assert (energy.unit, energy.device_class, energy.state_class) == ("kWh", "energy", "total_increasing")
    assert points["circuit_1_heating_curve_slope"].name == "Circuit 1 heating curve slope"
    assert points["circuit_1_heating_curve_set_curve_slope_max"].shown == "on-request"
    stat = house.members[STAT].profile.points
    assert (stat["device_temperature"].unit, stat["device_temperature"].shown) == ("°C", "always")


async def test_readings_have_the_time_of_the_newest_change_and_not_of_the_poll(made: Made) -> None:
    house = made()
    house.clock.now = NOON + 37.0
    snapshots = await house.reader.read()
    times = {snapshot.device: snapshot.time for snapshot in snapshots}
    assert times[HEATING] == NOON
    assert times["house-account"] == NOON + 37.0


async def test_what_the_cloud_has_not_heard_for_long_is_no_reading(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.stale_since = house.clock.now
    house.cloud.be(Kindness.STALE)
    house.clock.now += 7100
    assert HEATING in await house.values()
    house.clock.now += 300
    values = await house.values()
    assert HEATING not in values  # its thermostat may be silent for longer
    assert STAT in values
    assert values["house-account"]["silent"] == 1
    house.clock.now += 43_200
    with pytest.raises(NoAnswer, match=r"heard nothing of E3_Vitocal_16 since 2026-01-09 12:00 UTC"):
        await house.values()
    house.cloud.be(Kindness.KIND)
    assert HEATING in await house.values()


async def test_a_gateway_that_still_speaks_of_itself_does_not_make_its_heating_fresh(made: Made) -> None:
    def told(now: float) -> list[dict[str, Any]]:
        return [
            {**one, "timestamp": stamp(NOON - 10_000) if one["feature"].startswith("heating") else stamp(now)} for one in heat_pump(now)
        ]

    house = made([Equipment("7571381000000001", "0", "Vitocal", "heating", told)])
    with pytest.raises(NoAnswer, match="heard nothing"):
        await house.values()


@pytest.mark.parametrize("skew", [-90_000.0, -3000.0, 3000.0, 90_000.0])
async def test_a_clock_that_is_wrong_makes_nothing_old_and_nothing_newer_than_now(made: Made, skew: float) -> None:
    house = made()
    house.cloud.skew = skew
    snapshots = await house.reader.read()
    assert HEATING in by_device(snapshots)
    assert all(house.clock.now - 100 <= snapshot.time <= house.clock.now for snapshot in snapshots if snapshot.device == HEATING)


async def test_times_far_ahead_are_not_believed(made: Made) -> None:
    def told(now: float) -> list[dict[str, Any]]:
        return [{**one, "timestamp": stamp(now + 86_400)} for one in heat_pump(now)]

    house = made([Equipment("7571381000000001", "0", "Vitocal", "heating", told)])
    with pytest.raises(NoAnswer):
        await house.values()


async def test_two_devices_with_one_serial_number_stay_two(made: Made) -> None:
    other = home()[0]._replace(gateway="7571381000000002")
    house = made([*home(), other])
    values = await house.values()
    assert values.keys() >= {HEATING, "house-7571381000000002-0"}
    assert [house.members[name].serial for name in (HEATING, "house-7571381000000002-0")] == ["7637415000000001", None]


async def test_devices_whose_names_look_alike_have_names_of_their_own(made: Made) -> None:
    alike = [home()[1]._replace(device=name) for name in ("zigbee 1", "zigbee/1", "zigbee-1")]
    house = made([home()[0], *alike])
    await house.values()
    assert {f"house-7571381000000001-zigbee-1{end}" for end in ("", "-2", "-3")} <= house.members.keys()


async def test_the_heating_stays_the_heating_when_another_one_comes_before_it(made: Made) -> None:
    house = made()
    await house.values()
    newer = home()[0]._replace(gateway="1111111111111111", model="Vitocal new")
    house.cloud.equipment.insert(0, newer)
    house.restart()
    await house.values()
    assert house.members["house-1111111111111111-0"].name == "Viessmann Vitocal new"
    assert house.members[HEATING].name == "Viessmann Vitocal 16"


async def test_a_new_heating_takes_the_place_of_one_that_has_gone_but_a_known_one_does_not(made: Made) -> None:
    first, second, third = (home()[0]._replace(gateway=serial, model=serial) for serial in ("1111", "2222", "3333"))
    house = made([first, second])
    await house.values()
    house.cloud.equipment[:] = [second]
    house.restart()
    assert HEATING not in await house.values()
    house.cloud.equipment[:] = [third]
    house.restart()
    await house.values()
    assert house.members[HEATING].name == "Viessmann 3333"


async def test_devices_that_come_later_are_found_within_a_day(made: Made) -> None:
    house = made([home()[0]])
    await house.values()
    house.cloud.equipment.append(home()[1])
    await house.values()
    assert STAT not in house.members
    house.clock.now += 86_401
    await house.values()
    assert STAT in house.members


async def test_more_features_make_more_points_and_fewer_take_none_away(made: Made) -> None:
    more = False

    def told(now: float) -> list[dict[str, Any]]:
        features = heat_pump(now)
        return features if more else [one for one in features if "circuits.1" not in one["feature"]]

    house = made([home()[0]._replace(features=told)])
    await house.values()
    assert "circuit_1_heating_curve_slope" not in house.members[HEATING].profile.points
    more = True
    assert "circuit_1_heating_curve_slope" in (await house.values())[HEATING]
    learned = house.members[HEATING]
    assert "circuit_1_heating_curve_slope" in learned.profile.points
    more = False
    assert "circuit_1_heating_curve_slope" not in (await house.values())[HEATING]
    assert house.members[HEATING] is learned


async def test_after_a_restart_everything_is_there_before_the_cloud_answers(made: Made) -> None:
    house = made()
    await house.values()
    before = dict(house.members)
    house.members.clear()
    house.restart()
    house.cloud.be(Kindness.DOWN)
    house.reader.start()
    assert house.members == before
    house.cloud.be(Kindness.KIND)
    await house.values()
    assert house.members == before


@pytest.mark.parametrize(
    "kept", ["", "nonsense", "[3]", '[{"key": 1}]', '[{"device": "a", "model": "b", "roles": [], "heating": 1, "fields": 3}]']
)
async def test_what_was_kept_and_cannot_be_read_is_found_again(made: Made, kept: str) -> None:
    house = made()
    house.kept.values["vicare/house/found"] = kept
    house.reader.start()
    assert house.members == {}
    await house.values()
    assert HEATING in house.members


async def test_a_unit_that_changes_is_converted_or_absent(made: Made) -> None:
    unit, value = "kilowatt", 3.1

    def told(now: float) -> list[dict[str, Any]]:
        power = {"status": {"value": "connected"}, "value": {"type": "number", "value": value, "unit": unit}}
        return [{**one, "properties": power} if one["feature"] == "heating.power.consumption.current" else one for one in heat_pump(now)]

    house = made([home()[0]._replace(features=told)])
    assert (await house.values())[HEATING]["power_consumption_current"] == 3.1
    unit, value = "watt", 3100
    assert (await house.values())[HEATING]["power_consumption_current"] == pytest.approx(3.1)
    unit = "celsius"
    assert "power_consumption_current" not in (await house.values())[HEATING]


def test_nonsense_in_place_of_features_does_no_harm() -> None:
    nonsense: list[Any] = [
        None,
        7,
        {},
        {"feature": 3},
        {"feature": "a.b", "properties": None},
        {
            "feature": "a.c",
            "properties": {"value": None, "x": {"value": float("nan")}, "y": {"value": {"z": [1]}}},
            "timestamp": "yesterday",
        },
        {"feature": "a.d", "properties": {"value": {"type": "array", "value": [None, {"b": 1}, "c"]}}, "commands": {"set": 3}},
        {"feature": "min", "properties": {"value": {"value": 1}}},
        {"feature": "9.9", "properties": {"value": {"value": "x" * 1000}}},
    ]
    device = ViessmannDevice(
        "house", "Vitocal", [], library.load("vicare-heating"), period_s=1800.0, stale_s=7200.0, wanted=lambda profile: profile
    )
    features = features_of({"data": [*heat_pump(NOON), *nonsense]})
    snapshots, learned = device.take(Heard(features, NOON, NOON, datetime.fromtimestamp(NOON, UTC)))
    assert learned is not None
    values = {point: value for snapshot in snapshots for point, value in snapshot.values.items()}
    assert values["outside_temperature"]
    assert values["min_value"] == 1
    assert len(str(values["p_9_9"])) == 255


async def test_support_sees_every_feature_and_no_number_of_a_device(made: Made) -> None:
    def told(now: float) -> list[dict[str, Any]]:
        place = {key: {"type": "number", "value": number, "unit": "degree"} for key, number in (("latitude", 50.08), ("longitude", 14.42))}
        return [*heat_pump(now), {**heat_pump(now)[0], "feature": "heating.configuration.houseLocation", "properties": place}]

    house = made([home()[0]._replace(features=told), *home()[1:]])
    said = await house.reader.dump()
    assert isinstance(house.reader, Dumper)
    assert isinstance(said, dict)
    assert [one["model"] for one in said["devices"]] == ["E3_Vitocal_16", "E3_RoomSensor", "E3_TCU300_x07"]
    features = {feature["feature"]: feature for feature in said["devices"][0]["data"]}
    assert features["device.serial"]["properties"]["value"]["value"] == "#" * 16
    assert features["heating.configuration.houseLocation"]["properties"]["latitude"] == {"type": "number", "value": None, "unit": "degree"}
    assert features["heating.power.consumption.summary.heating"]["properties"]["lastYear"]["value"] > 0
    text = json.dumps(said)
    assert not any(secret in text for secret in ("7571381000000001", "2012616", "access-", "14.42"))


async def test_a_value_that_went_away_is_said_to_have_gone(made: Made) -> None:
    connected = True

    def told(now: float) -> list[dict[str, Any]]:
        gone = {"status": {"value": "notConnected"}}
        name = "heating.sensors.temperature.outside"
        return [one if connected or one["feature"] != name else {**one, "properties": gone} for one in heat_pump(now)]

    house = made([home()[0]._replace(features=told)])
    first = await house.reader.read()
    assert "outside_temperature" in by_device(first)[HEATING]
    assert not any(snapshot.gone for snapshot in first)
    connected = False
    second = await house.reader.read()
    assert "outside_temperature" not in by_device(second)[HEATING]
    of_circuits = {f"circuit_{number}_target_supply_temperature" for number in (0, 1)}  # follows from it
    assert {point for snapshot in second for point in snapshot.gone} == {"outside_temperature", *of_circuits}
    assert {snapshot.device for snapshot in second if snapshot.gone} == {HEATING}
    assert not any(snapshot.gone for snapshot in await house.reader.read())
    house.restart()
    house.reader.start()
    later = await house.reader.read()
    assert "outside_temperature" in {point for snapshot in later for point in snapshot.gone}, "its topic may have it from before"


async def test_a_device_that_has_gone_is_not_there_after_a_restart(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.equipment = [one for one in house.cloud.equipment if one.kind != "zigbee"]
    house.clock.now += 86_400
    await house.values()
    house.members.clear()
    house.restart()
    house.reader.start()
    assert HEATING in house.members
    assert STAT not in house.members
