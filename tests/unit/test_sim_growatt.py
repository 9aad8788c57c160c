"""The simulated Growatt SPH: a battery that follows its slots, and the particulars of its registers."""

from __future__ import annotations

from datetime import date

import pytest

from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.layout import layout, limit_ends
from ohmstead.sim.growatt import BATTERY_FIRST, GRID_FIRST, LOAD_FIRST, MOST_AT_ONCE, Growatt, Hardware, PacedStation, morning
from ohmstead.sim.registers import READ_HOLDING, READ_INPUT, WRITE_MULTIPLE, WRITE_SINGLE, RefusalError

PROFILE = library.load("growatt-sph")
ENDS = limit_ends(PROFILE, {"soc": "15..95 %"})
NOON = morning(date(2026, 6, 21), 12.0, Hardware().zone)


class Plant:
    """An inverter with a clock to be moved on."""

    def __init__(self, soc: float = 50.0, pv: float = 0.0, house: float = 800.0) -> None:
        self.now = 0.0
        self.inverter = Growatt(soc=soc, start=NOON, clock=lambda: self.now, sun=lambda _: pv, demand=lambda _: house)

    def command(self, control: str, raw: int) -> None:
        """As a node writes it: block after block."""
        chosen = layout(PROFILE, control, ENDS)
        words = chosen.registers(raw)
        for function, address, count in chosen.blocks:
            self.inverter.write(function, address, words[:count])
            words = words[count:]

    def values(self) -> dict[str, object]:
        """What the gateway decodes of it."""
        found: dict[str, object] = {}
        for point in PROFILE.points.values():
            if point.table is not None:
                words = self.inverter.read(point.function, point.address, point.words)
                octets = b"".join(word.to_bytes(2, "big") for word in words)
                found.update(Decoder(PROFILE).decode(point.function, point.address, octets))
        return found


def test_charging_takes_power_from_the_grid_and_fills_the_battery_to_the_home_s_end() -> None:
    plant = Plant(soc=90)
    plant.command("charge", 60)
    plant.now = 60
    values = plant.values()
    assert (values["charge_power"], values["discharge_power"], values["grid_import"]) == (3000, 0, 3800)
    assert (values["priority"], plant.inverter.priority) == ("battery first", BATTERY_FIRST)
    plant.now = 3600
    assert plant.values()["battery_soc"] == 95, "the block carries the home's own stop SOC"
    assert plant.values()["charge_power"] == 0


def test_discharging_gives_power_down_to_the_home_s_end_and_off_serves_the_load_first() -> None:
    plant = Plant(soc=50)
    plant.command("discharge", 40)
    plant.now = 3600
    values = plant.values()
    assert (values["discharge_power"], values["grid_export"], values["battery_soc"]) == (2000, 1200, 30)
    assert plant.inverter.priority == GRID_FIRST
    plant.command("discharge", 0)
    plant.now = 3660
    assert plant.values()["discharge_power"] == 800
    assert plant.inverter.priority == LOAD_FIRST
    plant.command("discharge", 100)
    plant.now = 4 * 3600
    assert plant.values()["battery_soc"] == 15


def test_the_export_limit_curtails_the_sun() -> None:
    plant = Plant(soc=100, pv=4000, house=500)
    assert plant.values()["grid_export"] == 3500
    plant.command("export_limit", 100)
    values = plant.values()
    assert (values["grid_export"], values["pv"]) == (500, 1000)


@pytest.mark.parametrize(("first", "words", "sticks"), [(1102, [1], False), (1100, [0, 5947, 1], True), (1101, [5632, 1], False)])
def test_a_slot_sticks_only_when_it_is_written_whole(first: int, words: list[int], sticks: bool) -> None:
    plant = Plant()
    plant.inverter.write(WRITE_SINGLE if len(words) == 1 else WRITE_MULTIPLE, first, words)
    assert plant.inverter[1102] == 1
    plant.now = 5.9
    assert plant.inverter[1102] == 1
    plant.now = 6.1
    assert plant.inverter[1102] == (1 if sticks else 0)


def test_the_two_tables_are_two_and_long_reads_are_refused() -> None:
    plant = Plant()
    plant.command("charge", 50)
    plant.now = 3600
    assert plant.inverter.read(READ_INPUT, 1044, 2) != plant.inverter.read(READ_HOLDING, 1044, 2), "energy here, the priority there"
    assert len(plant.inverter.read(READ_INPUT, 1000, MOST_AT_ONCE)) == MOST_AT_ONCE
    for function, address, count, code in (
        (READ_INPUT, 1000, MOST_AT_ONCE + 1, 3),
        (READ_HOLDING, 120, 10, 2),
        (READ_HOLDING, 3000, 1, 2),
    ):
        with pytest.raises(RefusalError) as refused:
            plant.inverter.read(function, address, count)
        assert refused.value.code == code
    assert plant.inverter[600 + 450] == 0, "a dead register answers 0"


@pytest.mark.parametrize(("address", "word", "code"), [(1044, 1, 2), (1090, 101, 3), (1100, 24 << 8, 3), (1102, 2, 3), (608, 10, 2)])
def test_what_it_does_not_take_is_refused(address: int, word: int, code: int) -> None:
    plant = Plant()
    with pytest.raises(RefusalError) as refused:
        plant.inverter.write(WRITE_SINGLE, address, [word])
    assert refused.value.code == code
    assert plant.inverter.writes == []


def test_whoever_asks_too_soon_is_not_heard() -> None:
    plant = Plant()
    station = PacedStation(plant.inverter, clock=lambda: plant.now)
    request = bytes((READ_INPUT, 1014 >> 8, 1014 & 0xFF, 0, 1))
    assert station.answer(1, request) is not None
    plant.now = 0.2
    assert station.answer(1, request) is None
    plant.now = 0.46
    assert station.answer(1, request) is not None
    assert station.unheard == 1


def test_a_day_goes_by_with_sun_and_appliances() -> None:
    now = [0.0]
    inverter = Growatt(start=NOON, speed=3600, clock=lambda: now[0])
    socs = set()
    for hour in range(24):
        now[0] = float(hour)
        socs.add(inverter.input(1014))
        powers = inverter.powers
        assert powers.pv + powers.battery + powers.grid == pytest.approx(powers.house)
    assert len(socs) > 3
    assert all(0 <= soc <= 100 for soc in socs)
