"""The physical inverter's registers say what its house does, and a write changes the house."""

from __future__ import annotations

import pytest

from ohmcore.registers import decode
from ohmstead.profiles import library
from ohmstead.profiles.model import Profile
from ohmstead.sim import mtec
from ohmstead.sim.day import House, Settings, start_of
from ohmstead.sim.inverter import HOLE, SERIAL, PhysicalInverter, encode, values_of
from ohmstead.sim.registers import RefusalError, respond

HOUSE = House()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def profile() -> Profile:
    return library.load("mtec-energybutler")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inverter(profile: Profile, clock: Clock) -> PhysicalInverter:
    return PhysicalInverter(profile, HOUSE, start_of(HOUSE, "2026-06-21", 11), speed=60, clock=clock, wall=lambda: 1e9)


def value(inverter: PhysicalInverter, profile: Profile, name: str) -> float | str:
    """A point as the gateway's side decodes it."""
    point = profile.points[name]
    words = inverter.read(3, point.address, point.words)
    raw = decode(str(point.kind), b"".join(word.to_bytes(2, "big") for word in words), 0, point.words, point.order)
    return raw if isinstance(raw, str) else raw / point.divisor


def test_every_register_of_the_profile_has_a_value_and_no_other(profile: Profile) -> None:
    values = values_of(HOUSE, Settings(), start_of(HOUSE, "2026-06-21", 11))
    assert set(values) == {name for name, point in profile.points.items() if point.table}
    registers = encode(profile, values)
    assert set(registers) == {at for first, last in profile.line.readable for at in range(first, last + 1)}
    assert registers[11002] == HOLE
    assert all(0 <= word <= 0xFFFF for word in registers.values())


def test_the_registers_say_what_the_house_does(inverter: PhysicalInverter, profile: Profile) -> None:
    flow = inverter.state.flow
    assert value(inverter, profile, "grid_power") == sum(flow.grid)
    assert value(inverter, profile, "inverter") == sum(flow.inverter)
    assert value(inverter, profile, "battery") == flow.battery
    assert value(inverter, profile, "grid_c") == flow.grid[2]
    assert value(inverter, profile, "battery_soc") == pytest.approx(100 * inverter.state.soc(HOUSE), abs=0.006)
    assert value(inverter, profile, "serial_no") == SERIAL
    assert value(inverter, profile, "equipment_info") == "30 07"
    assert value(inverter, profile, "firmware_version") == "27 52 04 00  20 01 10 03"
    assert value(inverter, profile, "inverter_date") == "26-06-21 11:00:00"
    assert 400 < float(value(inverter, profile, "battery_voltage")) < 450
    assert 225 < float(value(inverter, profile, "ac_voltage_a")) < 236
    assert 390 < float(value(inverter, profile, "ac_voltage_c_a")) < 408


def test_phases_and_strings_add_up_in_the_registers(inverter: PhysicalInverter, profile: Profile, clock: Clock) -> None:
    for _ in range(50):
        clock.now += 13
        sums = {
            "grid_power": ("grid_a", "grid_b", "grid_c"),
            "inverter": ("inverter_a", "inverter_b", "inverter_c"),
            "backup": ("backup_a", "backup_b", "backup_c"),
            "pv": ("pv_1", "pv_2"),
        }
        for total, parts in sums.items():
            assert value(inverter, profile, total) == sum(float(value(inverter, profile, part)) for part in parts)


def test_the_day_goes_on_with_the_clock_times_the_speed(inverter: PhysicalInverter, profile: Profile, clock: Clock) -> None:
    before = inverter.state.time
    clock.now += 10
    assert inverter.state.time == before + 600
    assert value(inverter, profile, "inverter_date") == "26-06-21 11:10:00"


def test_a_write_has_its_effect_and_is_recorded(inverter: PhysicalInverter, profile: Profile, clock: Clock) -> None:
    assert respond(inverter, bytes([6]) + mtec.CHARGE_LIMIT.to_bytes(2, "big") + b"\0\0") != b"\x86\x03"
    clock.now += 1
    assert value(inverter, profile, "charge_limit") == 0
    assert value(inverter, profile, "battery") == 0
    assert value(inverter, profile, "mode") == mtec.GENERAL
    assert inverter.writes == [(1e9, 6, mtec.CHARGE_LIMIT, (0,))]


def test_every_control_of_the_profile_can_be_written_and_nothing_else(inverter: PhysicalInverter, profile: Profile) -> None:
    controlled = {profile.points[control.point].address for control in profile.controls.values()}
    assert controlled == set(mtec.WRITABLE)
    with pytest.raises(RefusalError, match="2"):
        inverter.write(6, 11000, [0])
    with pytest.raises(RefusalError, match="3"):
        inverter.write(6, mtec.MODE, [1])
