"""SunSpec: chains of models, values and scale factors, against devices that behave and devices that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from ohmstead.config import load
from ohmstead.errors import ConfigurationError, NoAnswer, Refused, SourceError, Unreachable, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.sunspec import Model, profile_of, rows
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sim.cli import simulate
from ohmstead.sim.faults import Faults
from ohmstead.sim.station import Station
from ohmstead.sim.sunspec import SunSpec, grid_meter, inverter, storage
from ohmstead.sim.sunspec_cli import KINDS, day
from ohmstead.sim.tcp import TcpServer
from ohmstead.sources.polling import Member, PolledSource
from ohmstead.sources.sunspec import SunSpecReader
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine
from ohmstead.tasks import end
from tests.conftest import free_port

NOON = 1_790_000_000.0
HYBRID = (1, 103, 120, 123, 124)


class Kept(dict[str, str]):
    """A memory."""

    def read(self, key: str) -> str | None:
        return self.get(key)

    def write(self, key: str, value: str) -> None:
        self[key] = value


class Rig:
    """A device, its reader, and what came of it."""

    def __init__(self, device: SunSpec, *, timeout_s: float = 20.0, retries: int = 0) -> None:
        self.device = device
        self.faults = Faults()
        self.station = Station(device, self.faults, turnaround=0.0)
        self.members: list[Member] = []
        self.memory = Kept()
        self.now = 0.0
        self.port = 0
        self._patience = timeout_s, retries

    def reader(self) -> SunSpecReader:
        line = RegisterLine(Endpoint("127.0.0.1", self.port, 1, *self._patience))
        base = library.load("sunspec")
        reader = SunSpecReader("roof", line, base, self.members.append, self.memory, wall=lambda: NOON, mono=lambda: self.now)
        reader.start()
        return reader

    async def poll(self, reader: SunSpecReader) -> dict[str, Value]:
        (snapshot,) = await reader.read()
        return dict(snapshot.values)

    @property
    def points(self) -> set[str]:
        return set(self.members[-1].profile.points)


@asynccontextmanager
async def rig_of(device: SunSpec, *, timeout_s: float = 20.0, retries: int = 0) -> AsyncIterator[tuple[Rig, SunSpecReader]]:
    rig = Rig(device, timeout_s=timeout_s, retries=retries)
    async with TcpServer({1: rig.station}) as server:
        rig.port = server.port
        reader = rig.reader()
        try:
            yield rig, reader
        finally:
            await reader.close()


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.005)


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


# Kinds of values


async def test_models_with_floats() -> None:
    said = {"111.1.W": 1234.5, "111.1.WH": 98765.0, "111.1.PF": None, "213.1.W": -250.25, "213.1.TotWhExp": 1000.0, "111.1.St": 2}
    async with rig_of(SunSpec((1, 111, 213), said)) as (rig, reader):
        values = await rig.poll(reader)
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


# What a chain may be like


async def test_models_that_nobody_knows_are_passed_over() -> None:
    async with rig_of(SunSpec((1, (64000, 300), 103, (11, 13), (203, 10)), inverter())) as (rig, reader):
        values = await rig.poll(reader)
        polled = rig.device.reads[-2:]
    assert values["inverter_power"] == 2830.0
    assert "grid_power" not in values, "a model shorter than the standard's ends where it ends"
    unknown = rig.device.chain[1]
    assert not [address for address, _ in polled if unknown.address <= address < unknown.end]


async def test_a_device_that_is_silent_where_it_has_nothing_is_found_all_the_same() -> None:
    async with rig_of(SunSpec((1, 103), inverter(), base=50000), timeout_s=0.5) as (rig, reader):
        rig.faults.on("no-answer@0..45000")
        assert (await until_read(rig, reader))["inverter_power"] == 2830.0


async def test_a_chain_without_an_end_is_taken_as_far_as_it_goes() -> None:
    device = SunSpec((1, 103), inverter())
    for address in (device.chain[-1].end, device.chain[-1].end + 1):
        del device.words[address]
    async with rig_of(device) as (rig, reader):
        assert (await rig.poll(reader))["inverter_power"] == 2830.0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({40001: 0}, "there is no mark at 40000, 0, 50000"),
        ({40002: 0xFFFF}, "has no model that is known"),
        ({40003: 0xFFFF}, "no chain of models"),
        ({40002: 7}, "has no model that is known here (it has 7)"),
    ],
)
async def test_what_is_no_chain_is_told(spoil: Mapping[int, int], says: str) -> None:
    device = SunSpec((1,), {"1.1.Mn": "Acme"})
    device.words |= spoil
    async with rig_of(device) as (rig, reader):
        with pytest.raises(WrongAnswer) as wrong:
            await reader.read()
    assert says in str(wrong.value)
    assert rig.members == []


async def test_a_chain_that_goes_on_for_ever_ends() -> None:
    device = SunSpec([1, 103, *[(9999, 0)] * 500], inverter())
    async with rig_of(device) as (rig, reader):
        assert (await rig.poll(reader))["inverter_power"] == 2830.0
    assert len(device.reads) < 80


async def test_a_model_that_moved_is_not_believed_and_the_chain_is_walked_anew() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        await reader.read()
        rig.station.registers = SunSpec((1, 120, 103), inverter())
        with pytest.raises(WrongAnswer, match="looked for anew"):
            await reader.read()
        assert (await rig.poll(reader))["inverter_power"] == 2830.0


async def test_the_common_model_is_read_once_an_hour() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        await reader.read()
        rig.device["1.1.Vr"] = "2.2"
        rig.now = 3599.0
        assert (await rig.poll(reader))["firmware_version"] == "2.1"
        rig.now = 3600.0
        assert (await rig.poll(reader))["firmware_version"] == "2.2"


# Unkind devices


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("no-answer", NoAnswer),
        ("half", NoAnswer),
        ("late=9s", NoAnswer),
        ("wrong-function", SourceError),
        ("exception=11", Refused),
        ("exception=4", Refused),
        ("exception=6", Refused),
    ],
)
async def test_each_fault_is_its_own_error_and_gives_no_reading(fault: str, error: type[SourceError]) -> None:
    async with rig_of(SunSpec((1, 103), inverter()), timeout_s=0.2) as (rig, reader):
        rig.faults.on(fault)
        with pytest.raises(error):
            await reader.read()
        rig.faults.clear()
        await until_read(rig, reader)
        rig.faults.on(fault)
        with pytest.raises(error):
            await reader.read()
        rig.faults.clear()
        assert (await until_read(rig, reader))["inverter_power"] == 2830.0


async def until_read(rig: Rig, reader: SunSpecReader) -> dict[str, Value]:
    """Polls until it succeeds: with 0.2 s for an answer a busy machine may need more than one."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await rig.poll(reader)
            except SourceError:
                await asyncio.sleep(0.05)


async def test_a_model_that_is_refused_is_absent_and_the_others_stay() -> None:
    async with rig_of(SunSpec((1, 103, 203), inverter() | grid_meter(5.0))) as (rig, reader):
        await reader.read()
        meter = rig.device.chain[2]
        rig.faults.on(f"exception=4@{meter.address}..{meter.end - 1}")
        (snapshot,) = await reader.read()
    assert snapshot.quality is Quality.PARTIAL
    assert snapshot.values["inverter_power"] == 2830.0
    assert "grid_power" not in snapshot.values


async def test_one_lost_answer_is_asked_for_again() -> None:
    async with rig_of(SunSpec((1, 103), inverter()), timeout_s=0.5, retries=20) as (rig, reader):
        rig.faults.on("no-answerx1")
        assert (await rig.poll(reader))["inverter_power"] == 2830.0


async def test_nobody_there_is_unreachable() -> None:
    rig = Rig(SunSpec((1, 103)))
    rig.port = free_port()
    with pytest.raises(Unreachable, match="no connection to 127"):
        await rig.reader().read()


async def test_a_poll_that_is_cancelled_leaves_no_answer_for_the_next() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        await reader.read()
        rig.faults.on("no-answer")
        asked = rig.station.requests
        task = asyncio.create_task(reader.read())
        await until(lambda: rig.station.requests > asked)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        rig.faults.clear()
        assert (await rig.poll(reader))["inverter_power"] == 2830.0


async def test_through_the_common_source_it_goes_away_and_comes_back() -> None:
    snapshots: list[Snapshot] = []
    rig = Rig(SunSpec((1, 103), inverter()))
    async with TcpServer({1: rig.station}) as server:
        rig.port = server.port
        source = PolledSource("roof", rig.reader(), snapshots.append, period_s=0.1, timeout_s=20.0)
        task = asyncio.create_task(source.run())
        try:
            await until(lambda: snapshots)
            await server.stop()
            await until(lambda: source.online is False)
            seen = len(snapshots)
            await server.start()
            await until(lambda: source.online is True and len(snapshots) > seen)
        finally:
            await end([task])
    assert {snapshot.values["inverter_power"] for snapshot in snapshots} == {2830.0}


def test_modules_are_as_many_as_fit() -> None:
    for length, modules in ((8, 0), (27, 0), (28, 1), (88, 4), (90, 4)):
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
