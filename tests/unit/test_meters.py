"""Meters over Modbus: register words as the makers describe them, and each profile read from a meter that behaves like one."""

from __future__ import annotations

import asyncio
import math
import struct
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from ohmstead.config import load as load_config
from ohmstead.nodes.compile import node_config, read_node_config
from ohmstead.profiles import library
from ohmstead.profiles.compiler import line_cost, poll_groups
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sim.cli import simulate
from ohmstead.sim.faults import Faults
from ohmstead.sim.meter import Meter, words_of
from ohmstead.sim.registers import READ_HOLDING, READ_INPUT, WRITE_SINGLE, RefusalError
from ohmstead.sim.station import Station
from ohmstead.sim.tcp import TcpServer
from ohmstead.sources.modbus import Endpoint, ModbusSource
from ohmstead.tasks import end

EASTRON = ["eastron-sdm630", "eastron-sdm120", "eastron-sdm72d", "eastron-sdm72d-v2"]
CARLO_GAVAZZI = ["carlo-gavazzi-em24", "carlo-gavazzi-em340"]
METERS = EASTRON + CARLO_GAVAZZI


def decoded(profile: Profile, address: int, *words: int) -> dict[str, Value]:
    return Decoder(profile).decode(READ_INPUT, address, struct.pack(f">{len(words)}H", *words))


@pytest.mark.parametrize("name", ["eastron-sdm630", "eastron-sdm72d-v2"])
@pytest.mark.parametrize(
    ("address", "words", "point", "value"),
    [
        (0x00, (0x4366, 0x3334), "voltage_l1", 230.2),  # the example of Eastron's protocol
        (0x08, (0x4000, 0x0000), "current_l2", 2.0),
        (0x10, (0xC2C8, 0x0000), "power_l3", -100.0),
        (0x34, (0xC4BB, 0x8000), "power", -1500.0),
        (0x38, (0x44BB, 0x8000), "apparent_power", 1500.0),
        (0x3E, (0xBF80, 0x0000), "power_factor", -1.0),
        (0x46, (0x4248, 0x0000), "frequency", 50.0),
        (0x48, (0x449A, 0x5000), "energy_import", 1234.5),
        (0x4A, (0x3F00, 0x0000), "energy_export", 0.5),
        (0x156, (0x449A, 0x6000), "energy_sum", 1235.0),
    ],
)
def test_an_eastron_s_registers_are_floats(name: str, address: int, words: tuple[int, int], point: str, value: float) -> None:
    values = decoded(library.load(name), address, *words)
    assert values == {point: pytest.approx(value, rel=1e-6)}


def test_the_smaller_eastrons_have_their_own_places() -> None:
    one_phase, first = library.load("eastron-sdm120"), library.load("eastron-sdm72d")
    assert decoded(one_phase, 0x0C, 0x42C8, 0) == {"power": 100.0}
    assert decoded(one_phase, 0x12, 0x42C8, 0) == {"apparent_power": 100.0}
    assert decoded(one_phase, 0x18, 0x42C8, 0) == {"reactive_power": 100.0}
    assert decoded(one_phase, 0x1E, 0x3F80, 0) == {"power_factor": 1.0}
    assert decoded(first, 0x34, 0xC2C8, 0) == {"power": -100.0}
    assert decoded(first, 0x500, 0, 0, 0x42C8, 0) == {"power_import": 0.0, "power_export": 100.0}


@pytest.mark.parametrize("name", CARLO_GAVAZZI)
def test_a_carlo_gavazzi_sends_the_lower_word_first(name: str) -> None:
    profile = library.load(name)
    assert decoded(profile, 0x28, 0xC568, 0xFFFF) == {"power": -1500.0}
    assert decoded(profile, 0x28, 0x86A0, 0x0001) == {"power": 10000.0}
    assert decoded(profile, 0x00, 2302, 0, 2299, 0) == {"voltage_l1": 230.2, "voltage_l2": 229.9}
    assert decoded(profile, 0x0C, 0x3039, 0) == {"current_l1": 12.345}


def test_the_two_carlo_gavazzis_differ_in_where_energy_is() -> None:
    em24, em340 = (library.load(name) for name in CARLO_GAVAZZI)
    assert decoded(em24, 0x42, 0x3039, 0) == decoded(em340, 0x34, 0x3039, 0) == {"energy_import": 1234.5}
    assert decoded(em24, 0x5C, 5, 0) == decoded(em340, 0x4E, 5, 0) == {"energy_export": 0.5}
    assert decoded(em24, 0x35, 0xFC18) == decoded(em340, 0x31, 0xFC18) == {"power_factor": -1.0}
    assert decoded(em24, 0x37, 500) == decoded(em340, 0x33, 500) == {"frequency": 50.0}


def test_what_overflows_or_is_no_number_is_absent() -> None:
    em24, sdm = library.load("carlo-gavazzi-em24"), library.load("eastron-sdm630")
    assert decoded(em24, 0x28, 0xFFFF, 0x7FFF) == {}
    assert decoded(em24, 0x35, 0x7FFF) == {}
    assert decoded(em24, 0x42, 0xFFFF, 0x7FFF) == {}
    assert decoded(sdm, 0x34, 0x7FC0, 0) == decoded(sdm, 0x34, 0x7F80, 0) == {}


@pytest.mark.parametrize("name", METERS)
def test_a_meter_is_asked_for_no_more_than_it_answers(name: str) -> None:
    profile = library.load(name)
    reads = [read for group in poll_groups(profile, line_cost(profile.line)) for read in group.reads]
    assert all(read.function == READ_INPUT and read.count <= profile.line.max_read for read in reads)
    if name in EASTRON:
        assert all(read.address % 2 == 0 and read.count % 2 == 0 for read in reads)
    assert profile.line.max_read == (80 if name in EASTRON else 11)


@pytest.mark.parametrize("name", METERS)
def test_every_power_says_its_sign_and_every_counter_counts(name: str) -> None:
    profile = library.load(name)
    assert profile.points["power"].sign == "import positive"
    assert {"energy_import", "energy_export"} <= {point.id for point in profile.points.values() if point.state_class == "total_increasing"}
    assert profile.points["power"].vital
    assert not profile.controls


def said(profile: Profile) -> dict[str, float]:
    """A value for each point that it can hold exactly."""
    return {
        point.id: (8 * number * point.scale if point.device_class != "power_factor" else 0.5)
        for number, point in enumerate(profile.points.values(), start=1)
    }


async def polled(meter: Meter, faults: Faults, *, until: int = 2) -> list[Snapshot]:
    """What a source makes of a meter on Modbus TCP, until there are so many snapshots."""
    profile, snapshots, enough = meter.profile, list[Snapshot](), asyncio.Event()

    def take(snapshot: Snapshot) -> None:
        snapshots.append(snapshot)
        if len(snapshots) >= until:
            enough.set()

    groups = poll_groups(profile, line_cost(profile.line), every={"live": 0.2})
    async with TcpServer({1: Station(meter, faults, 0.0)}) as server:
        endpoint = Endpoint("127.0.0.1", server.port, timeout_s=0.5)
        source = ModbusSource("meter", endpoint, groups, Decoder(profile, scans=groups), take)
        task = asyncio.create_task(source.run())
        try:
            async with asyncio.timeout(30):
                await enough.wait()
        finally:
            await end([task])
    return snapshots


@pytest.mark.parametrize("name", METERS)
async def test_each_meter_s_values_are_read_as_it_says_them(name: str) -> None:
    profile = library.load(name)
    values = said(profile)
    snapshots = await polled(Meter(profile, values), Faults())
    read = {point: value for snapshot in snapshots for point, value in snapshot.values.items()}
    assert read == {point: pytest.approx(value) for point, value in values.items()}
    assert all(snapshot.quality is Quality.GOOD for snapshot in snapshots)


async def test_a_range_that_a_meter_refuses_is_absent_and_the_rest_goes_on() -> None:
    profile = library.load("eastron-sdm630")
    snapshots = await polled(Meter(profile, said(profile)), Faults("exception=2@342"), until=3)
    energy = next(snapshot for snapshot in snapshots if "energy_import" in snapshot.values)
    assert energy.quality is Quality.PARTIAL
    assert "energy_sum" not in energy.values
    assert "energy_import_l1" in energy.values


def test_a_meter_refuses_what_meters_refuse() -> None:
    meter = Meter(library.load("eastron-sdm630"))
    for function, address, count, code in ((4, 0, 82, 3), (4, 1, 2, 3), (4, 0, 3, 3), (4, 80, 2, 2), (1, 0, 2, 1)):
        with pytest.raises(RefusalError) as refused:
            meter.read(function, address, count)
        assert refused.value.code == code
    with pytest.raises(RefusalError):
        meter.write(WRITE_SINGLE, 0, [1])
    assert meter.read(READ_INPUT, 0x2A, 2) == [0, 0], "a readable register that belongs to no point"


def test_a_meter_counts_what_passes_it() -> None:
    now = 0.0
    meter = Meter(
        library.load("carlo-gavazzi-em24"), watts=lambda moment: (1000.0, 500.0, -300.0 if moment < 3600 else -3500.0), clock=lambda: now
    )
    meter.counts(100.0, 7.0)
    now = 1800.0
    assert decoded(meter.profile, 0x42, *meter.read(4, 0x42, 2)) == {"energy_import": 100.6}
    now = 5400.0
    assert decoded(meter.profile, 0x5C, *meter.read(4, 0x5C, 2)) == {"energy_export": 9.0}
    assert decoded(meter.profile, 0x28, *meter.read(4, 0x28, 2)) == {"power": -2000.0}


def test_what_a_register_cannot_hold_is_said() -> None:
    profile = library.load("carlo-gavazzi-em24")
    with pytest.raises(ValueError, match="power: 1e\\+12 W does not fit i32"):
        words_of(profile.points["power"], 1e12)
    assert words_of(library.load("eastron-sdm630").points["power"], math.nan) == [0x7FC0, 0]


@pytest.mark.parametrize("name", METERS)
def test_a_node_reads_a_meter_and_decodes_its_power_by_itself(name: str, tmp_path: Path) -> None:
    home = tmp_path / "ohmstead.yaml"
    home.write_text(
        textwrap.dedent(f"""
            site: home
            mqtt: {{url: mqtt://localhost}}
            nodes: {{cellar: {{bus: {{port: /dev/ttyUSB0}}}}}}
            devices: {{house: {{profile: {name}, via: cellar, unit: 5}}}}
        """)
    )
    device = read_node_config(node_config(load_config(home), "cellar"))["buses"][0]["devices"][0]
    (vital,) = device["vitals"]
    point = library.load(name).points["power"]
    assert (vital["point"], vital["kind"], vital["order"], vital["words"]) == ("power", point.kind, point.order, 2)
    function, address, count = next(group for group in device["groups"] if group["name"] == vital["group"])["reads"][vital["read"]]
    assert (function, address + vital["offset"]) == (READ_INPUT, point.address)
    assert vital["offset"] + vital["words"] <= count
    assert READ_HOLDING not in {read[0] for group in device["groups"] for read in group["reads"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "nothing to serve"),
        (("--tcp", "0", "--profile", "eastron-sdm6300"), "did you mean"),
        (("--tcp", "0", "--set", "powr=1"), "has no point"),
        (("--tcp", "0", "--set", "power"), "POINT=VALUE"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(simulate, ["meter", *arguments])
    assert result.exit_code == 2
    assert says in result.output
