"""A Viessmann account as devices: what is found in it, what they say, how old it may be, and what is unkind to us."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ohmstead.errors import NoAnswer, RateLimited, Refused, Unauthorised, Unreachable, WrongAnswer
from ohmstead.profiles import library
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.vicare import Kindness
from ohmstead.sim.vicare_home import Equipment, heat_pump, home, stamp
from ohmstead.sources.polling import Budgeted, PolledSource
from ohmstead.sources.vicare_answers import Expired, parsed
from ohmstead.sources.vicare_budget import Allowance
from ohmstead.sources.vicare_device import Heard, ViessmannDevice
from ohmstead.sources.vicare_features import features_of
from tests.unit.vicare_account import BOX, HEATING, NOON, STAT, Home, by_device, until

Made = Callable[..., Home]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    homes: list[Home] = []

    def make(*args: Any, **options: Any) -> Home:
        homes.append(Home(tmp_path, *args, **options))
        return homes[-1]

    yield make
    for one in homes:
        await one.close()


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


@pytest.mark.parametrize(
    ("kindness", "error"),
    [
        (Kindness.DOWN, Refused),
        (Kindness.HTML, Refused),
        (Kindness.PAGE, WrongAnswer),
        (Kindness.HALF, NoAnswer),
        (Kindness.GATEWAY_OFFLINE, NoAnswer),
        (Kindness.DEVICE_OFFLINE, NoAnswer),
        (Kindness.NOT_PAID, Unauthorised),
        (Kindness.NO_TOKEN, Unauthorised),
    ],
)
async def test_what_goes_wrong_has_its_type_and_nothing_of_before_is_said_again(made: Made, kindness: str, error: type[Exception]) -> None:
    house = made()
    before = await house.values()
    house.cloud.be(kindness)
    with pytest.raises(error) as caught:
        await house.values()
    assert "access-" not in str(caught.value)
    assert "refresh-" not in str(caught.value)
    house.cloud.be(Kindness.KIND)
    assert (await house.values())[HEATING].keys() == before[HEATING].keys()


async def test_a_cloud_that_is_not_there_is_unreachable(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.stop()
    with pytest.raises(Unreachable, match="127"):
        await house.values()


async def test_silence_ends_by_a_time_out_and_holds_up_nobody(made: Made) -> None:
    house = made()
    await house.values()
    house.restart(timeout_s=0.4)
    house.cloud.be(Kindness.LATE)
    ticks = 0
    reading = asyncio.create_task(house.reader.read())
    while not reading.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 2
    with pytest.raises(NoAnswer, match="no answer in time"):
        reading.result()
    house.cloud.be(Kindness.KIND)
    await until(lambda: not any("vicare-house" in thread.name for thread in threading.enumerate()), "the end of the thread")
    house.restart()
    assert HEATING in await house.values()


async def test_an_answer_an_octet_at_a_time_ends_as_well(made: Made) -> None:
    house = made()
    await house.values()
    house.restart(timeout_s=0.5)
    house.cloud.be(Kindness.DRIP)
    with pytest.raises(NoAnswer, match=r"still answering|no answer in time"):
        await house.values()
    house.cloud.be(Kindness.KIND)
    house.restart()
    assert HEATING in await house.values()


@pytest.mark.parametrize("cut", [0, 1, 100, 20_000])
async def test_an_answer_that_breaks_off_is_none(made: Made, cut: int) -> None:
    house = made()
    await house.values()
    house.cloud.cut = cut
    house.cloud.be(Kindness.HALF)
    with pytest.raises(NoAnswer, match="broke off"):
        await house.values()


async def test_a_poll_that_is_given_up_asks_for_nothing_more(made: Made) -> None:
    gateways = [one._replace(gateway=f"75713810000000{number:02}") for number in range(1, 4) for one in home()[:1]]
    house = made(gateways)
    await house.values()
    house.cloud.be(Kindness.LATE)
    asked = len(house.cloud.asked)
    reading = asyncio.create_task(house.reader.read())
    await until(lambda: len(house.cloud.asked) > asked, "a request")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    with pytest.raises(NoAnswer, match="has not ended yet"):
        await house.reader.read()
    house.cloud.be(Kindness.KIND)
    await until(lambda: not any("vicare-house" in thread.name for thread in threading.enumerate()), "the end of the thread")
    assert len(house.cloud.asked) == asked + 1
    assert HEATING in await house.values()


async def test_a_gateway_that_is_offline_does_not_take_the_others_with_it(made: Made) -> None:
    other = home()[0]._replace(gateway="7571381000000002", installation=77)
    house = made([*home(), other])
    assert {HEATING, "house-7571381000000002-0"} <= (await house.values()).keys()
    house.cloud.only = "7571381000000002"
    house.cloud.be(Kindness.GATEWAY_OFFLINE)
    snapshots = await house.reader.read()
    values = by_device(snapshots)
    assert HEATING in values
    assert "house-7571381000000002-0" not in values
    assert values["house-account"]["failed"] == 1
    assert [snapshot.quality for snapshot in snapshots if snapshot.device == "house-account"] == [Quality.PARTIAL]


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
    assert house.members["house-1111111111111111-0"].name == "Vitocal new"
    assert house.members[HEATING].name == "E3_Vitocal_16"


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
    assert house.members[HEATING].name == "3333"


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


async def test_our_own_budget_ends_before_that_of_the_cloud(made: Made) -> None:
    house = made(allowance=Allowance(day=40, ten_minutes=20), day_limit=40, short_limit=20)
    for _ in range(15):  # 18 requests in ten minutes, three of them for the login and the list
        await house.values()
    with pytest.raises(RateLimited) as caught:
        await house.values()
    assert 0 < caught.value.after <= 660
    asked = len(house.cloud.asked)
    with pytest.raises(RateLimited):
        await house.values()
    assert len(house.cloud.asked) == asked
    house.clock.now += caught.value.after
    assert HEATING in await house.values()


async def test_the_budget_is_there_to_be_seen(made: Made) -> None:
    house = made()
    assert house.reader.spent() == [("day", 0, 1305), ("ten minutes", 0, 108)]
    await house.values()
    house.clock.now += 1200
    assert isinstance(house.reader, Budgeted)
    assert house.reader.spent() == [("day", 4, 1305), ("ten minutes", 0, 108)]


async def test_a_refusal_for_too_many_requests_is_heeded_over_a_restart(made: Made) -> None:
    house = made()
    await house.values()
    house.cloud.limit_s = 5000.0
    house.cloud.be(Kindness.LIMIT)
    with pytest.raises(RateLimited) as caught:
        await house.values()
    assert caught.value.after == pytest.approx(5000, abs=2)
    house.restart()
    house.cloud.be(Kindness.KIND)
    asked = len(house.cloud.asked)
    with pytest.raises(RateLimited):
        await house.values()
    assert len(house.cloud.asked) == asked
    house.clock.now += 5001
    assert HEATING in await house.values()


@pytest.mark.parametrize("skew", [0.0, 7200.0, -7200.0])
async def test_the_end_of_a_refusal_is_told_by_the_clouds_clock(made: Made, skew: float) -> None:
    house = made()
    await house.values()
    house.cloud.skew = skew
    for kindness in (Kindness.LIMIT, Kindness.HTML_LIMIT):
        house.cloud.be(kindness)
        with pytest.raises(RateLimited) as caught:
            await house.values()
        assert caught.value.after == pytest.approx(600, abs=2)
        house.clock.now += 700


async def test_a_source_of_it_is_away_and_comes_back(made: Made) -> None:
    house = made()
    emitted: list[Snapshot] = []
    source = PolledSource("house", house.reader, emitted.append, period_s=0.5, timeout_s=60.0)
    running = asyncio.create_task(source.run())
    await until(lambda: source.online, "the first poll")
    house.cloud.be(Kindness.DOWN)
    await until(lambda: source.online is False, "being away")
    assert "HTTP 500" in source.trouble
    seen = len(emitted)
    house.cloud.be(Kindness.KIND)
    await until(lambda: source.online, "its return")
    assert len(emitted) > seen
    running.cancel()
    await asyncio.wait([running])


def test_an_answer_that_is_cut_off_anywhere_is_none() -> None:
    body = json.dumps({"data": heat_pump(NOON)[:3]}).encode()
    for length in range(len(body)):
        with pytest.raises(WrongAnswer):
            parsed(200, {}, body[:length], NOON)
    assert parsed(200, {}, body, NOON)["data"]


def test_recorded_errors_have_their_types(goldens: Path) -> None:
    def error(name: str, status: int) -> BaseException:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what is asked
            parsed(status, {}, (goldens / "vicare/errors" / f"{name}.json").read_bytes(), 1_584_460_000.0)
        return caught.value

    limited = error("rate_limit", 429)
    assert isinstance(limited, RateLimited)
    assert limited.after == pytest.approx(2010.106)
    assert isinstance(error("rate_limit", 200), RateLimited)  # the body says it
    assert isinstance(error("expired_token", 401), Expired)
    assert isinstance(error("device_offline", 400), NoAnswer)
    assert isinstance(error("gateway_offline", 404), NoAnswer)
    for name, status in (("error_500", 500), ("error_502", 502)):
        refused = error(name, status)
        assert isinstance(refused, Refused)
        assert refused.status == status
