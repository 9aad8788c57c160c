"""What SunSpec models say: values, scale factors, names and signs of points."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from ohmstead.config import load
from ohmstead.errors import ConfigurationError
from ohmstead.profiles import library
from ohmstead.profiles.sunspec import Model, profile_of, rows
from ohmstead.readings import Quality
from ohmstead.sim.cli import simulate
from ohmstead.sim.sunspec import SunSpec, grid_meter, inverter, storage
from ohmstead.sim.sunspec_cli import KINDS, day
from ohmstead.sources.lasting import LastingMemory
from ohmstead.sources.polling import Dumper
from ohmstead.sources.sunspec import SunSpecReader
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine
from tests.unit.sunspec_rig import NOON, rig_of
from tests.unit.vicare_account import Kept as Disk

HYBRID = (1, 103, 120, 123, 124)


@pytest.mark.parametrize("base", [40000, 0, 50000])
async def test_the_chain_is_found_at_each_of_its_bases(base: int) -> None:
    async with rig_of(SunSpec((1, 103), inverter(), base=base)) as (rig, reader):
        (snapshot,) = await reader.read()
    values = snapshot.values
    assert (snapshot.device, snapshot.group, snapshot.time, snapshot.quality) == ("roof", "live", NOON, Quality.GOOD)
    assert (values["inverter_power"], values["inverter_current_l1"], values["inverter_voltage_l3"]) == (2830.0, 4.1, 230.3)
    assert (values["inverter_energy"], values["cabinet_temperature"]) == (1234.5, 41.5)
    assert (values["inverter_status"], values["inverter_events"]) == ("running", "OK")
    assert (values["manufacturer"], values["device_model"], values["serial_no"]) == ("Acme", "Sun 10", "A-0042")
    (member,) = rig.members
    assert (member.device, member.name, member.serial) == ("roof", "Acme Sun 10", "A-0042")
    assert member.profile.flow is not None
    assert (member.profile.flow.pv, member.profile.flow.grid) == ("inverter_power", None)


async def test_what_a_device_has_not_implemented_is_no_point_and_no_value() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        values = await rig.poll(reader)
    assert values.keys() == rig.points
    assert not {"inverter_voltage_l1_l2", "dc_voltage", "other_temperature", "inverter_power_factor", "options"} & rig.points


async def test_a_point_joins_when_it_is_said_for_the_first_time_and_stays() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        await reader.read()
        rig.device["103.1.DCV"] = 640.0
        assert (await rig.poll(reader))["dc_voltage"] == 640.0
        rig.device["103.1.DCV"] = None
        rig.device["103.1.W"] = None
        (snapshot,) = await reader.read()
    assert not {"dc_voltage", "inverter_power"} & snapshot.values.keys(), "asleep: absent, not zero"
    assert set(snapshot.gone) == {"dc_voltage", "inverter_power"}, "nor what it was before"
    assert snapshot.quality is Quality.PARTIAL
    assert {"dc_voltage", "inverter_power"} <= rig.points
    assert len(rig.members) == 2


async def test_after_a_restart_its_points_are_there_before_it_answers() -> None:
    async with rig_of(SunSpec((1, 103, 124), inverter() | storage(55.0))) as (rig, reader):
        await reader.read()
        points = rig.points
        rig.faults.on("unplugged")
        rig.reader()
        assert len(rig.members) == 2
        assert rig.members[-1] == rig.members[0]
        assert rig.points == points


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"chain":[[1]],"said":{},"known":[]}', '{"chain":[["x",1,1,1]],"said":{},"known":[]}'])
async def test_an_unreadable_memory_is_no_reason_to_stop(kept: str) -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, _):
        rig.memory["sunspec/roof/chain"] = kept
        assert (await rig.poll(rig.reader()))["inverter_power"] == 2830.0


async def test_a_store_that_cannot_be_read_at_the_start_costs_no_point() -> None:
    disk = Disk()
    async with rig_of(SunSpec((1, 103), inverter() | {"103.1.DCV": 640.0})) as (rig, _):

        def started() -> SunSpecReader:
            line = RegisterLine(Endpoint("127.0.0.1", rig.port, 1, 20.0, 0))
            reader = SunSpecReader("roof", line, rig.base, rig.members.append, LastingMemory(disk, "roof"))
            reader.start()
            return reader

        first = started()
        await first.read()
        await first.close()
        points = rig.points
        rig.device["103.1.DCV"] = None
        disk.broken = True
        with capture_logs() as logs:
            reader = started()
            assert len(rig.members) == 1
            for _ in range(2):
                assert (await rig.poll(reader))["inverter_power"] == 2830.0
            assert rig.points < points
            disk.broken = False
            await reader.read()
        assert rig.points == points
        await reader.close()
        rig.members.clear()
        started()
        assert rig.points == points, "and it is kept"
    assert [line["log_level"] for line in logs if line.get("key")] == ["error", "info"]


# Scale factors


async def test_scale_factors_are_read_with_each_poll() -> None:
    async with rig_of(SunSpec((1, 103), inverter(), factors={"W_SF": -1})) as (rig, reader):
        assert (await rig.poll(reader))["inverter_power"] == 2830.0
        rig.device.factor(103, "W_SF", 0)
        assert (await rig.poll(reader))["inverter_power"] == 28300.0
        rig.device.factor(103, "W_SF", 2)
        assert (await rig.poll(reader))["inverter_power"] == 2830000.0
        for nonsense in (None, 11, -11, 3000):
            rig.device.factor(103, "W_SF", nonsense)
            values = await rig.poll(reader)
            assert "inverter_power" not in values, nonsense
            assert values["inverter_current"] == 12.3


async def test_a_value_and_its_scale_factor_travel_in_one_request() -> None:
    """A device that changes both between any two requests is still read right."""
    power = 0

    def changes(device: SunSpec) -> None:
        nonlocal power
        power += 1
        for model in (101, 203, 701):
            device.factor(model, "W_SF", 1 if power % 2 else -1)
            device[f"{model}.1.W"] = 1000.0

    device = SunSpec((1, 101, 203, 701), {"1.1.Mn": "Acme", "203.1.TotWhImp": 5000.0}, before=changes)
    async with rig_of(device) as (rig, reader):
        for _ in range(4):
            values = await rig.poll(reader)
            assert (values["inverter_power"], values["grid_power"], values["inverter_power_2"]) == (1000.0, 1000.0, 1000.0)


async def test_modules_that_take_several_requests_are_not_believed_when_their_factors_change_meanwhile() -> None:
    modules = 9
    device = SunSpec((1, 103, (160, 8 + 20 * modules)), inverter(), factors={"DCW_SF": 0})
    for number in range(1, modules + 1):
        device[f"160.1.{number}.DCW"] = 100.0 * number
        device[f"160.1.{number}.IDStr"] = f"String {number}"
    async with rig_of(device) as (rig, reader):
        values = await rig.poll(reader)
        assert [values[f"mppt_power_{number}"] for number in range(1, modules + 1)] == [100.0 * number for number in range(1, modules + 1)]
        assert values["mppt_name_9"] == "String 9"
        assert max(count for _, count in device.reads) <= 125
        exponent = 0

        def changes(changed: SunSpec) -> None:
            nonlocal exponent
            exponent = (exponent + 1) % 3
            changed.factor(160, "DCW_SF", exponent)

        device.before = changes
        (snapshot,) = await reader.read()
        assert not [point for point in snapshot.values if point.startswith("mppt")]
        assert snapshot.values["inverter_power"] == 2830.0
        assert snapshot.quality is Quality.PARTIAL


async def test_a_device_that_answers_few_registers_at_once_is_asked_for_so_many() -> None:
    async with rig_of(SunSpec((1, 103, 203), inverter() | grid_meter(-300.0))) as (rig, _):
        rig.base = rig.base.model_copy(update={"line": rig.base.line.model_copy(update={"max_read": 20})})
        reader = rig.reader()
        values = await rig.poll(reader)
        await reader.close()
    assert (values["inverter_power"], values["grid_power"], values["serial_no"]) == (2830.0, -300.0, "A-0042")
    assert max(count for _, count in rig.device.reads) <= 20


# Kinds of values


async def test_models_with_floats() -> None:
    said = {"111.1.W": 1234.5, "111.1.WH": 98765.0, "111.1.PF": None, "213.1.W": -250.25, "213.1.TotWhExp": 1000.0, "111.1.St": 2}
    async with rig_of(SunSpec((1, 111, 213), said)) as (rig, reader):
        values = await rig.poll(reader)
        assert rig.points == values.keys(), "what is no number is no point"
    assert values == pytest.approx(
        {
            "inverter_power": 1234.5,
            "inverter_energy": 98.765,
            "grid_power": -250.25,
            "grid_energy_export": 1.0,
            "inverter_status": "sleeping",
        }
    )


async def test_a_battery_its_limits_and_its_states() -> None:
    said = inverter() | storage(62.5, **{"124.1.StorCtl_Mod": 3, "124.1.InWRte": -20.0, "124.1.ChaGriSet": 1}) | {"120.1.WHRtg": 5120.0}
    async with rig_of(SunSpec(HYBRID, said, factors={"WHRtg_SF": 1})) as (rig, reader):
        values = await rig.poll(reader)
        profile = rig.members[-1].profile
    assert (values["battery_soc"], values["battery_status"], values["battery_limits_enabled"]) == (62.5, "charging", "charge, discharge")
    assert (values["battery_charge_limit"], values["battery_grid_charging"], values["battery_capacity"]) == (-20.0, "grid", 5.12)
    assert profile.points["battery_capacity"].state_class is None
    assert profile.flow is not None
    assert (profile.flow.soc, profile.flow.pv) == ("battery_soc", None), "an inverter with storage delivers more than the sun"


@pytest.mark.parametrize(("soc", "valid"), [(100.0, True), (0.0, True), (100.1, False), (655.3, False)])
async def test_an_soc_is_between_0_and_100(soc: float, valid: bool) -> None:
    async with rig_of(SunSpec((1, 103, 124), inverter() | storage(soc))) as (rig, reader):
        assert ("battery_soc" in await rig.poll(reader)) is valid


async def test_no_set_bit_is_nothing_wrong_of_events_and_none_of_the_rest() -> None:
    async with rig_of(SunSpec((1, 103, 124), inverter() | storage(50.0))) as (rig, reader):
        values = await rig.poll(reader)
    assert (values["inverter_events"], values["battery_limits_enabled"]) == ("OK", "none")


async def test_unknown_states_and_bits_are_told_to_be_that() -> None:
    async with rig_of(SunSpec((1, 103), inverter(**{"103.1.St": 77, "103.1.Evt1": 1 << 31}))) as (rig, reader):
        values = await rig.poll(reader)
    assert (values["inverter_status"], values["inverter_events"]) == ("Unknown", "other")


async def test_several_models_of_a_kind_have_names_of_their_own() -> None:
    device = SunSpec((1, 103, 1, 203, 1, 203), inverter() | grid_meter(-1500.0) | {"203.2.W": 700.0, "1.2.Mn": "Meters", "1.3.SN": "M-2"})
    async with rig_of(device) as (rig, reader):
        values = await rig.poll(reader)
    assert (values["grid_power"], values["grid_power_2"]) == (-1500.0, 700.0)
    assert (values["manufacturer_2"], values["serial_no_3"]) == ("Meters", "M-2")
    assert len({point.name for point in rig.members[-1].profile.points.values()}) == len(rig.points)


async def test_a_name_does_not_depend_on_what_is_known_first() -> None:
    device = SunSpec((1, 103, 203, 203), inverter() | {"203.2.W": 700.0})
    async with rig_of(device) as (rig, reader):
        assert (await rig.poll(reader))["grid_power_2"] == 700.0
        rig.device["203.1.W"] = 100.0
        values = await rig.poll(reader)
    assert (values["grid_power"], values["grid_power_2"]) == (100.0, 700.0)


@pytest.mark.parametrize(
    ("maker", "sign", "grid"), [("Fronius", "import positive", "grid_power"), ("SolarEdge ", "export positive", "-grid_power")]
)
async def test_the_sign_of_a_meter_is_that_of_its_maker(maker: str, sign: str, grid: str) -> None:
    async with rig_of(SunSpec((1, 103, 203), inverter(**{"1.1.Mn": maker}) | grid_meter(-1500.0))) as (rig, reader):
        await reader.read()
    profile = rig.members[-1].profile
    assert profile.points["grid_power"].sign == profile.points["grid_power_l2"].sign == sign
    assert profile.flow is not None
    assert profile.flow.grid == grid


async def test_a_meter_of_a_production_is_not_the_grid_s() -> None:
    said = inverter() | grid_meter(900.0) | {"1.2.Opt": "Production"}
    async with rig_of(SunSpec((1, 103, 1, 203), said)) as (rig, reader):
        assert (await rig.poll(reader))["production_power"] == 900.0
    assert not [point for point in rig.points if point.startswith("grid")]


async def test_its_registers_can_be_shown_to_whoever_helps() -> None:
    async with rig_of(SunSpec((1, 103, (160, 8 + 20 * 9)), inverter())) as (rig, reader):
        assert isinstance(reader, Dumper)
        dumped = await reader.dump()
    models = [
        {
            "model": model.id,
            "address": model.address,
            "length": model.length,
            "registers": "".join(f"{rig.device.words[at]:04x}" for at in range(model.address, model.end)),
        }
        for model in rig.device.chain
    ]
    assert dumped == {"models": models}


def test_modules_are_as_many_as_fit() -> None:
    for length, modules in ((8, 0), (27, 0), (28, 1), (88, 4), (90, 4), (60_000, 48)):
        assert len({row.field.split(".")[2] for row in rows(Model(160, 0, length))}) == modules


def test_every_point_of_every_model_makes_a_profile() -> None:
    lengths = {
        101: 50,
        113: 60,
        203: 105,
        213: 124,
        120: 26,
        121: 30,
        122: 44,
        123: 24,
        124: 24,
        160: 48,
        701: 153,
        704: 65,
        713: 7,
        802: 62,
    }
    for number, length in lengths.items():
        model = Model(number, 40070, length)
        listed = list(rows(model))
        assert listed
        profile = profile_of(library.load("sunspec"), [Model(1, 40002, 66), model], {}, {row.field for row in listed})
        assert len(profile.points) == len(listed)


def test_the_profile_is_for_the_gateway_itself_and_any_of_its_points_may_be_wanted(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.yaml"
    head = "site: home\nmqtt: {url: mqtt://localhost}\nnodes: {cellar: {bus: {port: /dev/ttyUSB0}}}\ndevices:\n"
    path.write_text(
        head + "  roof: {profile: sunspec, via: tcp://192.0.2.20, unit: 3, points: {grid_power: {name: Grid}}}\n", encoding="utf-8"
    )
    assert load(path).profile("roof").reader == "sunspec"
    path.write_text(head + "  roof: {profile: sunspec, via: cellar}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="only the gateway itself reads SunSpec device"):
        load(path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((), "Missing option '--tcp'"), (("--tcp", "0", "--base", "7"), "40000"), (("--tcp", "0", "--fault", "rude"), "no fault")],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(simulate, ["sunspec", *arguments])
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("kind", KINDS)
async def test_the_simulated_device_is_read(kind: str) -> None:
    async with rig_of(day(kind, 40000)) as (_, reader):
        (snapshot,) = await reader.read()
    assert snapshot.quality is Quality.GOOD
    assert ("grid_power" in snapshot.values, "inverter_power" in snapshot.values) == (kind != "inverter", kind != "meter")
    assert ("battery_soc" in snapshot.values) == (kind == "hybrid")
