"""Both families of Growatt inverters: the profile's controls on an inverter that behaves like one, and on an unkind one."""

from __future__ import annotations

from datetime import date

import pytest

from ohmcore.limits import refusal
from ohmstead.control.target import targets
from ohmstead.profiles import library
from ohmstead.profiles.compiler import line_cost, poll_groups
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.layout import layout, limit_ends
from ohmstead.sim.faults import Faults
from ohmstead.sim.growatt import BATTERY_FIRST, GRID_FIRST, LOAD_FIRST, MIN, SPH, Family, Growatt, Hardware, morning
from ohmstead.sim.registers import READ_HOLDING, WRITE_MULTIPLE, WRITE_SINGLE, RefusalError
from ohmstead.sim.station import Station

NOON = morning(date(2026, 6, 21), 12.0, Hardware().zone)
FAMILIES = {"growatt-sph": SPH, "growatt-min": MIN}
THREE = ["charge", "discharge", "export_limit"]


class Plant:
    """An inverter of a profile's family with a clock to be moved on; the home allows 15..95 %."""

    def __init__(self, profile: str, soc: float = 50.0, pv: float = 0.0, house: float = 800.0) -> None:
        self.now = 0.0
        self.profile = library.load(profile)
        self.ends = limit_ends(self.profile, {"soc": "15..95 %"})
        self.inverter = Growatt(
            family=FAMILIES[profile], soc=soc, start=NOON, clock=lambda: self.now, sun=lambda _: pv, demand=lambda _: house
        )

    def command(self, control: str, raw: int) -> None:
        """As a node writes it: block after block."""
        chosen = layout(self.profile, control, self.ends)
        words = chosen.registers(raw)
        for function, address, count in chosen.blocks:
            self.inverter.write(function, address, words[:count])
            words = words[count:]

    def held(self, control: str, raw: int) -> bool:
        """Whether all the blocks of a control read back as they were written."""
        chosen = layout(self.profile, control, self.ends)
        found = [word for _, address, count in chosen.blocks for word in self.inverter.read(READ_HOLDING, address, count)]
        return found == chosen.registers(raw)

    def values(self) -> dict[str, object]:
        """What the gateway makes of its poll groups."""
        found: dict[str, object] = {}
        groups = poll_groups(self.profile, line_cost(self.profile.line))
        decoder = Decoder(self.profile, scans=groups)
        for group in groups:
            values = {}
            for read in group.reads:
                words = self.inverter.read(read.function, read.address, read.count)
                octets = b"".join(word.to_bytes(2, "big") for word in words)
                values.update(decoder.decode(read.function, read.address, octets, group.name))
            decoder.calculate(values)
            found.update(values)
        return found


@pytest.fixture(params=FAMILIES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_three_controls_are_the_same_for_whoever_commands(profile: str) -> None:
    model = library.load(profile)
    found = targets("growatt", model, {name: model.raw_limits(name) for name in model.controls}, periods=model.groups)
    assert list(found) == THREE
    assert {name: control.effect for name, control in model.controls.items()} == dict(
        zip(THREE, ["charge", "discharge", "export"], strict=True)
    )
    said = {
        name: (target.unit, target.limits, target.returns_to, target.lease_required, target.budget, target.kind)
        for name, target in found.items()
    }
    assert said == {
        "charge": ("%", (0, 100, 1, None), 0, True, 50, "number"),
        "discharge": ("%", (0, 100, 1, None), 0, True, 50, "number"),
        "export_limit": ("%", (0, 1000, 1, None), 1000, False, 50, "number"),
    }


def test_every_battery_inverter_says_which_of_its_controls_charge_discharge_and_export() -> None:
    found = {
        name: {control.effect: id_ for id_, control in library.load(name).controls.items() if control.effect != "none"}
        for name in ("growatt-sph", "growatt-min", "mtec-energybutler")
    }
    growatt = {"charge": "charge", "discharge": "discharge", "export": "export_limit"}
    mtec = {"charge": "charge_limit", "discharge": "discharge_limit", "export": "grid_inject_limit"}
    assert found == {"growatt-sph": growatt, "growatt-min": growatt, "mtec-energybutler": mtec}


def test_every_block_is_one_that_a_node_takes_in_force_and_at_rest(profile: str) -> None:
    model = library.load(profile)
    for control in model.controls:
        chosen = layout(model, control)
        fields = [tuple(field) for field in chosen.fields(model.raw_limits(control))]
        safe = chosen.octets(chosen.safe) if chosen.safe is not None else None
        for raw in (1, 50, 100, *([0] if safe else [])):
            words = chosen.octets(raw)
            assert refusal(words, len(words) // 2, fields, safe) == "", (control, raw)


def test_no_two_controls_write_one_register(profile: str) -> None:
    model = library.load(profile)
    written = [address + n for control in model.controls for _, address, count in layout(model, control).blocks for n in range(count)]
    assert len(written) == len(set(written)), "or the end of one would change the other"


def test_charging_fills_the_battery_from_the_grid_to_the_home_s_end(profile: str) -> None:
    plant = Plant(profile, soc=90)
    plant.command("charge", 60)
    assert plant.held("charge", 60)
    plant.now = 60
    values = plant.values()
    assert (values["charge_power"], values["grid_import"], values["battery"], values["grid"]) == (3000, 3800, -3000, 3800)
    assert (values["priority"], values["charge"], values["discharge"]) == ("battery first", 60, 0)
    plant.now = 3600
    assert plant.values()["battery_soc"] == 95
    plant.command("charge", 0)
    assert (plant.values()["charge"], plant.inverter.priority) == (0, LOAD_FIRST)


def test_discharging_gives_power_to_the_grid_down_to_the_home_s_end(profile: str) -> None:
    plant = Plant(profile, soc=50)
    plant.command("discharge", 40)
    plant.now = 3600
    values = plant.values()
    assert (values["discharge_power"], values["grid_export"], values["battery_soc"]) == (2000, 1200, 30)
    assert (values["priority"], values["charge"], values["discharge"]) == ("grid first", 0, 40)
    plant.now = 4 * 3600
    assert plant.values()["battery_soc"] == 15
    plant.command("discharge", 0)
    assert plant.inverter.priority == LOAD_FIRST


def test_the_end_of_one_leaves_the_other_alone(profile: str) -> None:
    plant = Plant(profile)
    plant.command("charge", 30)
    plant.command("discharge", 40)
    plant.command("charge", 0)
    assert plant.inverter.priority == GRID_FIRST
    plant.command("discharge", 0)
    plant.command("charge", 30)
    plant.command("discharge", 0)
    assert plant.inverter.priority == BATTERY_FIRST


def test_the_export_limit_curtails_the_sun(profile: str) -> None:
    plant = Plant(profile, soc=100, pv=4000, house=500)
    assert plant.values()["grid_export"] == 3500
    plant.command("export_limit", 0)
    values = plant.values()
    assert (values["grid_export"], values["pv"], values["export_limit"], values["export_limit_mode"]) == (0, 500, 0, "CT")


def test_what_a_node_holds_by_itself_names_points_that_it_reads(profile: str) -> None:
    model = library.load(profile)
    assert {"soc", "grid_import", "grid_export", "inverter_temperature"} <= set(model.limits)
    assert model.stopped(model.limits["soc"].low) == ["discharge"]
    assert model.stopped(model.limits["soc"].high) == ["charge"]
    assert model.points["battery_soc"].vital
    assert model.doubt
    assert all(control.source and control.doubt for control in model.controls.values())


# The particulars of the MIN


@pytest.mark.parametrize("address", [1071, 1091, 1100])
def test_registers_that_a_min_does_not_have_take_a_write_and_forget_it(address: int) -> None:
    inverter = Plant("growatt-min").inverter
    inverter.write(WRITE_SINGLE, address, [77])
    assert inverter[address] == 0


def test_a_lone_stop_is_refused_and_a_lone_start_is_taken_back() -> None:
    plant = Plant("growatt-min")
    with pytest.raises(RefusalError):
        plant.inverter.write(WRITE_SINGLE, 3039, [5947])
    plant.inverter.write(WRITE_SINGLE, 3038, [0xA000])
    assert plant.inverter[3038] == 0xA000
    plant.now = 6.1
    assert plant.inverter[3038] == 0
    plant.inverter.write(WRITE_MULTIPLE, 3038, [0xA000, 5947])
    plant.now = 20
    assert plant.inverter[3038] == 0xA000


@pytest.mark.parametrize(("address", "word"), [(3036, 0), (3047, 101), (3082, 12), (3040, 0xE000), (3040, 0xA000 | 24 << 8)])
def test_a_min_refuses_what_its_registers_do_not_take(address: int, word: int) -> None:
    with pytest.raises(RefusalError) as refused:
        Plant("growatt-min").inverter.write(WRITE_MULTIPLE, address, [word])
    assert refused.value.code == 3


# Unkind ones


def request(function: int, address: int, words: list[int]) -> bytes:
    head = bytes([function]) + address.to_bytes(2, "big")
    body = b"".join(word.to_bytes(2, "big") for word in words)
    return head + body if function == WRITE_SINGLE else head + len(words).to_bytes(2, "big") + bytes([2 * len(words)]) + body


@pytest.mark.parametrize(("family", "function", "address", "words"), [(SPH, 6, 1090, [40]), (MIN, 16, 3038, [0xA000, 5947])])
def test_a_write_that_is_ignored_is_answered_like_any_other(family: Family, function: int, address: int, words: list[int]) -> None:
    kind, deaf = Growatt(family=family, start=NOON), Growatt(family=family, start=NOON)
    answers = [
        Station(inverter, faults).answer(1, request(function, address, words))
        for inverter, faults in ((kind, Faults()), (deaf, Faults("ignored-write")))
    ]
    assert answers[0] == answers[1]
    assert (kind[address], deaf[address] == kind[address]) == (words[0], False)


def test_a_write_that_is_refused_says_so_and_reads_go_on() -> None:
    station = Station(Growatt(start=NOON), Faults("refused-write=4"))
    answer = station.answer(1, request(6, 1090, [40]))
    assert answer is not None
    assert answer.pdu == bytes([0x86, 4])
    answer = station.answer(1, bytes([3, 1090 >> 8, 1090 & 0xFF, 0, 1]))
    assert answer is not None
    assert answer.pdu == bytes([3, 2, 0, 100])


def test_a_rival_writes_again_and_again() -> None:
    plant = Plant("growatt-sph")
    plant.inverter.rival(1102, 0, every=20)
    plant.command("charge", 50)
    plant.now = 19
    assert plant.held("charge", 50)
    plant.now = 20.5
    assert not plant.held("charge", 50)
    plant.command("charge", 50)
    plant.now = 41
    assert not plant.held("charge", 50)
