"""A DTU is read over a real socket: what comes of a good list, of one that is cut short, and of what sleeps or is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.hoymiles import Dtu, Mood
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment, record
from ohmstead.sources.hoymiles_plant import Wishes
from tests.hoymiles_rig import NOON, PRAGUE, House, Remembered, roof

HM4, MI2, HM2, HM1 = (serial for serial, _ in Roof().inverters)


def powers(snapshot: Snapshot) -> set[str]:
    return {key for key in snapshot.values if key.endswith("pv_power")}


async def test_the_plant_first_and_then_each_inverter_in_the_order_of_the_list() -> None:
    async with roof() as (dtu, house):
        read = await house.poll()

    assert list(read) == ["roof", *(f"roof-{serial}" for serial in (HM4, MI2, HM2, HM1))]
    assert all(snapshot.quality is Quality.GOOD for snapshot in read.values())
    plant = read["roof"].values
    assert plant["serial_no"] == "10f8a1b2c3d4"
    assert plant["pv_power"] == pytest.approx(sum(float(snapshot.values["pv_power"]) for name, snapshot in read.items() if name != "roof"))
    assert plant["total_production"] == sum(int(snapshot.values["total_production"]) for name, snapshot in read.items() if name != "roof")
    assert dtu.requests == 11  # the serial number, nine ports, the end


async def test_the_current_is_right_for_mi_and_hm_alike() -> None:
    async with roof() as (_, house):
        read = await house.poll()

    for serial in (MI2, HM2):
        values = read[f"roof-{serial}"].values
        watts = float(values["port_1_pv_voltage"]) * float(values["port_1_pv_current"])
        assert watts == pytest.approx(float(values["port_1_pv_power"]), rel=0.05)


async def test_each_inverter_becomes_a_device_once_and_again_only_with_another_port() -> None:
    async with roof(wishes=Wishes(names={HM2: "Garage"})) as (dtu, house):
        dtu.mood.leave_out = frozenset({(HM4, 4)})
        await house.poll()
        await house.poll()
        assert [member.device for member in house.adopted] == [f"roof-{serial}" for serial in (HM4, MI2, HM2, HM1)]
        dtu.mood.leave_out = frozenset()
        await house.poll()
        await house.poll()

    assert house.adopted[4].device == f"roof-{HM4}"
    assert "port_4_pv_power" in house.adopted[4].profile.points
    assert (house.members[f"roof-{HM2}"].name, house.members[f"roof-{HM2}"].serial) == ("Garage", HM2)


async def test_an_excluded_inverter_is_nowhere() -> None:
    async with roof(wishes=Wishes(exclude=frozenset({HM2}))) as (_, house):
        read = await house.poll()

    assert f"roof-{HM2}" not in read
    assert f"roof-{HM2}" not in house.members
    assert read["roof"].values["total_production"] == sum(
        int(snapshot.values["total_production"]) for name, snapshot in read.items() if name != "roof"
    )


async def test_who_asks_seldom_lets_go_in_between_and_who_asks_often_stays() -> None:
    async with roof(period_s=60.0) as (dtu, house):
        for _ in range(3):
            await house.poll()
        assert (dtu.connections, dtu.most_at_once) == (3, 1)
    async with roof(period_s=1.0) as (dtu, house):
        for _ in range(3):
            await house.poll()
        assert (dtu.connections, dtu.most_at_once) == (1, 1)


@pytest.mark.parametrize("fault", [{"refuse_at": {4: 4}}, {"close_at": frozenset({4})}, {"refuse_at": {4: 6}}])
async def test_an_error_in_mid_list_keeps_what_was_read(fault: dict[str, Any]) -> None:
    async with roof() as (dtu, house):
        whole = await house.poll()
        dtu.mood = Mood(**fault)
        read = await house.poll()
        dtu.mood = Mood()
        again = await house.poll()

    assert list(read) == ["roof", f"roof-{HM4}"]
    plant = read["roof"]
    assert plant.quality is Quality.PARTIAL
    assert "pv_power" not in plant.values
    assert "alarm_flag" not in plant.values
    assert int(plant.values["total_production"]) >= int(whole["roof"].values["total_production"])
    assert len(again) == 5
    assert again["roof"].quality is Quality.GOOD


async def test_a_list_that_is_cut_short_at_first_has_no_sum_of_any_kind() -> None:
    async with roof() as (dtu, house):
        dtu.mood.refuse_at = {4: 4}
        read = await house.poll()

    assert set(read["roof"].values) == {"serial_no"}


async def test_an_address_that_is_not_mapped_is_the_end_of_the_list() -> None:
    async with roof() as (dtu, house):
        dtu.mood.refuse_at = {9: 2}
        read = await house.poll()

    assert read["roof"].quality is Quality.GOOD
    assert "pv_power" in read["roof"].values


async def test_a_list_without_end_is_read_for_a_hundred_records() -> None:
    octets = record(HM2, 1, power=100, status=3)
    words = [int.from_bytes(octets[at : at + 2], "big") for at in range(0, 40, 2)]
    image = {0x1000 + 40 * place + at: word for place in range(120) for at, word in enumerate(words)}
    async with Dtu(image=image) as dtu:
        house = House(dtu)
        read = await house.poll()

    assert dtu.requests == 101
    assert read["roof"].values["pv_power"] == 10.0


async def test_an_empty_list_says_nothing_of_the_plant() -> None:
    async with Dtu(image={0x2000: 0x10F8, 0x2001: 0xA1B2, 0x2002: 0xC3D4}) as dtu:
        house = House(dtu)
        read = await house.poll()

    assert {name: (snapshot.quality, dict(snapshot.values)) for name, snapshot in read.items()} == {
        "roof": (Quality.PARTIAL, {"serial_no": "10f8a1b2c3d4"})
    }


async def test_a_port_that_is_missing_is_absent_and_its_production_stays_in_the_sum() -> None:
    async with roof() as (dtu, house):
        before = await house.poll()
        dtu.mood.leave_out = frozenset({(HM2, 1), (HM1, 1)})
        read = await house.poll()

    assert f"roof-{HM1}" not in read
    assert not any(key.startswith("port_1_") for key in read[f"roof-{HM2}"].values)
    assert not {"pv_power", "total_production"} & set(read[f"roof-{HM2}"].values)
    assert read[f"roof-{HM2}"].quality is read["roof"].quality is Quality.PARTIAL
    assert "pv_power" not in read["roof"].values
    assert int(read["roof"].values["total_production"]) >= int(before["roof"].values["total_production"])


async def test_after_a_day_a_missing_port_no_longer_hides_the_power_of_the_others() -> None:
    async with roof() as (dtu, house):
        await house.poll()
        dtu.mood.leave_out = frozenset({(HM1, 1)})
        house.now += 86400.0
        read = await house.poll()

    assert float(read["roof"].values["pv_power"]) > 0


async def test_two_devices_with_one_serial_number_are_neither() -> None:
    async with roof() as (dtu, house):
        before = await house.poll()
        dtu.mood.double = record(HM2, 1, power=9999, voltage=100, today=60_000, total=4_000_000_000, status=3)
        read = await house.poll()

    assert not any(key.startswith("port_1_") for key in read[f"roof-{HM2}"].values)
    assert "port_2_pv_power" in read[f"roof-{HM2}"].values
    assert "pv_power" not in read["roof"].values
    gained = int(read["roof"].values["total_production"]) - int(before["roof"].values["total_production"])
    assert 0 <= gained < 100


async def test_an_inverter_that_is_not_heard_by_day_has_no_power_and_it_is_not_zero() -> None:
    async with roof() as (dtu, house):
        before = await house.poll()
        dtu.mood.asleep = frozenset({HM4})
        read = await house.poll()

    asleep, awake = read[f"roof-{HM4}"].values, before[f"roof-{HM4}"].values
    assert not powers(read[f"roof-{HM4}"])
    assert not {"temperature", "grid_voltage", "grid_frequency", "port_1_pv_voltage", "port_1_pv_current"} & set(asleep)
    assert {"temperature", "pv_power", "port_1_pv_power", "port_4_pv_current"} <= set(read[f"roof-{HM4}"].gone)
    assert not read[f"roof-{HM2}"].gone
    assert asleep["total_production"] == awake["total_production"]
    assert asleep["today_production"] == awake["today_production"]


async def test_at_night_there_is_no_power_and_the_day_is_kept() -> None:
    evening = moment("2026-06-20", 18.0, PRAGUE)
    async with roof(now=evening) as (_, house):
        before = await house.poll()
        house.now = moment("2026-06-20", 23.5, PRAGUE)
        night = await house.poll()

    assert night["roof"].values["pv_power"] == 0.0
    assert night[f"roof-{HM2}"].values["pv_power"] == 0.0
    assert night[f"roof-{HM2}"].values["operating_status"] == 0
    assert "port_1_pv_power" not in night[f"roof-{HM2}"].gone
    assert "port_1_pv_voltage" in night[f"roof-{HM2}"].gone
    assert int(night["roof"].values["today_production"]) >= int(before["roof"].values["today_production"]) > 0


async def test_a_restart_at_night_has_devices_and_sums_at_once() -> None:
    memory = Remembered()
    async with roof(now=moment("2026-06-20", 18.0, PRAGUE), memory=memory) as (_, house):
        evening = await house.poll()
    async with roof(now=moment("2026-06-20", 23.5, PRAGUE), memory=memory) as (_, house):
        night = await house.poll()
        assert len(house.members) == 4

    assert night["roof"].values["total_production"] == evening["roof"].values["total_production"]
    assert night["roof"].values["today_production"] == evening["roof"].values["today_production"]


async def test_two_dtus_each_count_their_own_over_a_restart() -> None:
    memory = Remembered()
    other = Roof(inverters=(("116199999999", (400, 400)),), serial="10f8ffffffff")
    for _ in range(2):
        async with Dtu(Plant(Roof(), NOON)) as first, Dtu(Plant(other, NOON)) as second:
            houses = [House(first, memory=memory), House(second, memory=memory, device="shed")]
            read = [await houses[0].poll(), await houses[1].poll()]
            for house in houses:
                await house.reader.close()

        sums = [(name, snapshots[name].values["total_production"]) for snapshots, name in zip(read, ("roof", "shed"), strict=True)]
        parts = [sum(int(one.values["total_production"]) for key, one in snapshots.items() if "-" in key) for snapshots in read]
        assert [total for _, total in sums] == parts


async def test_productions_are_remembered_before_they_are_told() -> None:
    async with roof() as (_, house):
        for _poll in range(3):
            read = await house.poll()
            remembered = json.loads(house.memory.kept["hoymiles/roof/production"])["ports"]
            totals = sum(port["total"] for port in remembered.values())
            assert read["roof"].values["total_production"] == totals


async def test_at_a_poll_a_second_they_are_remembered_now_and_then_and_at_the_end() -> None:
    async with roof(period_s=1.0) as (_, house):
        await house.poll()
        first = house.memory.kept["hoymiles/roof/production"]
        house.now += 600.0
        read = await house.poll()
        assert house.memory.kept["hoymiles/roof/production"] == first

    remembered = json.loads(house.memory.kept["hoymiles/roof/production"])["ports"]
    assert read["roof"].values["total_production"] == sum(port["total"] for port in remembered.values())


async def test_something_strange_in_one_list_is_neither_a_device_nor_in_any_sum() -> None:
    async with roof() as (dtu, house):
        before = await house.poll()
        dtu.mood.double = record("ffffffffffff", 255, power=60_000, today=60_000, total=4_000_000_000, status=9)
        strange = await house.poll()
        dtu.mood.double = None
        after = await house.poll()

    assert len(house.members) == 4
    assert list(strange) == list(before)
    assert "pv_power" not in strange["roof"].values
    for read in (strange, after):
        assert 0 <= int(read["roof"].values["total_production"]) - int(before["roof"].values["total_production"]) < 200
    assert after["roof"].quality is Quality.GOOD


async def test_an_inverter_that_is_added_is_there_with_the_second_list_that_has_it() -> None:
    async with roof() as (dtu, house):
        await house.poll()
        dtu.mood.double = record("114199999999", 1, power=1000, voltage=300, today=10, total=20, status=3)
        assert "roof-114199999999" not in await house.poll()
        read = await house.poll()

    assert read["roof-114199999999"].values["total_production"] == 20
    assert read["roof"].quality is Quality.GOOD


async def test_another_dtu_keeps_the_productions_of_the_inverters_that_it_takes_over() -> None:
    memory = Remembered()
    async with roof(memory=memory) as (_, house):
        old = await house.poll()
    inverters = tuple(one for one in Roof().inverters if one[0] != HM1)
    async with Dtu(Plant(Roof(inverters=inverters, serial="10f8ffffffff"), NOON)) as dtu:
        house = House(dtu, memory=memory)
        read = await house.poll()

    kept = [f"roof-{serial}" for serial in (HM4, MI2, HM2)]
    assert read["roof"].quality is Quality.GOOD
    assert read["roof"].values["total_production"] == sum(int(read[device].values["total_production"]) for device in kept)
    assert all(int(read[device].values["total_production"]) >= int(old[device].values["total_production"]) for device in kept)


async def test_another_dtu_with_other_inverters_has_none_of_the_old_one_s_production() -> None:
    memory = Remembered()
    async with roof(memory=memory) as (_, house):
        await house.poll()
    async with Dtu(Plant(Roof(inverters=(("116199999999", (400, 400)),), serial="10f8ffffffff"), NOON)) as dtu:
        house = House(dtu, memory=memory)
        dtu.mood.refuse_at = {1: 4}
        cut = await house.poll()
        dtu.mood = Mood()
        read = await house.poll()

    assert set(cut["roof"].values) == {"serial_no"}
    assert read["roof"].values["total_production"] == read["roof-116199999999"].values["total_production"]
