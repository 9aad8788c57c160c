"""Chains of SunSpec models as they should not be, and devices that answer wrong, late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from ohmstead.errors import NoAnswer, Refused, SourceError, Unreachable, WrongAnswer
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.registers import READ_HOLDING
from ohmstead.sim.sunspec import SunSpec, grid_meter, inverter, storage
from ohmstead.sim.tcp import TcpServer
from ohmstead.sources.polling import PolledSource
from ohmstead.sources.sunspec import SunSpecReader
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine
from ohmstead.tasks import end
from tests.conftest import free_port
from tests.unit.sunspec_rig import NOON, Rig, rig_of, until, until_read

# What a chain may be like


async def test_models_that_nobody_knows_are_passed_over() -> None:
    async with rig_of(SunSpec((1, (64000, 300), 103, (11, 13), (203, 10)), inverter())) as (rig, reader):
        values = await rig.poll(reader)
        polled = rig.device.reads[-2:]
    assert values["inverter_power"] == 2830.0
    assert "grid_power" not in values, "a model shorter than the standard's ends where it ends"
    unknown = rig.device.chain[1]
    assert not [address for address, _ in polled if unknown.address <= address < unknown.end]


async def test_what_follows_a_model_that_is_shorter_than_the_standard_s_is_not_taken_for_its_end() -> None:
    async with rig_of(SunSpec((1, (203, 10), 103, 103, 103), inverter())) as (rig, reader):
        await reader.read()
    fields = {point.field for point in rig.members[-1].profile.points.values() if point.field is not None}
    currents = {"203.1.A", "203.1.AphA", "203.1.AphB", "203.1.AphC"}  # what there is in ten registers, with its scale factor
    assert {field for field in fields if field.startswith("203.")} <= currents
    assert "103.1.W" in fields


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
    async with rig_of(SunSpec((1, 103), inverter()), timeout_s=20.0 if error is Refused else 0.2) as (rig, reader):
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


async def test_a_model_that_is_refused_is_absent_and_the_others_stay() -> None:
    async with rig_of(SunSpec((1, 103, 203), inverter() | grid_meter(5.0))) as (rig, reader):
        await reader.read()
        meter = rig.device.chain[2]
        rig.faults.on(f"exception=4@{meter.address}..{meter.end - 1}")
        (snapshot,) = await reader.read()
    assert snapshot.quality is Quality.PARTIAL
    assert snapshot.values["inverter_power"] == 2830.0
    assert "grid_power" not in snapshot.values
    assert not snapshot.gone, "it has not said that there is nothing"


class Registers(RegisterLine):
    """A line to a device in memory, which says nothing where it is `mute`."""

    def __init__(self, device: SunSpec) -> None:
        super().__init__(Endpoint("192.0.2.20"))
        self.device = device
        self.mute = range(0)

    async def read(self, address: int, count: int) -> bytes:
        if address in self.mute:
            raise NoAnswer("no answer")
        return b"".join(word.to_bytes(2, "big") for word in self.device.read(READ_HOLDING, address, count))


async def test_a_model_that_is_met_with_silence_keeps_nothing_else_away() -> None:
    rig = Rig(SunSpec((1, 103, 203), inverter() | grid_meter(5.0)))
    line = Registers(rig.device)
    reader = SunSpecReader("roof", line, rig.base, rig.members.append, rig.memory, wall=lambda: NOON, mono=lambda: rig.now)
    assert (await rig.poll(reader))["grid_power"] == 5.0
    meter = rig.device.chain[2]
    line.mute = range(meter.address, meter.end)
    for _ in range(2):
        (snapshot,) = await reader.read()
        assert snapshot.quality is Quality.PARTIAL
        assert (snapshot.values["inverter_power"], "grid_power" in snapshot.values) == (2830.0, False)
        assert not snapshot.gone
    line.mute = range(0)
    rig.device.reads.clear()
    assert "grid_power" not in await rig.poll(reader)
    assert not [address for address, _ in rig.device.reads if address in range(meter.address, meter.end)], "it is left alone for a while"
    rig.now += 600.0
    assert (await rig.poll(reader))["grid_power"] == 5.0
    line.mute = range(0x10000)
    with pytest.raises(NoAnswer):
        await reader.read()
    line.mute = range(0)
    assert (await rig.poll(reader))["grid_power"] == 5.0, "an outage is nobody's silence"


async def test_a_common_model_that_is_refused_keeps_nothing_else_away() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        common = rig.device.chain[0]
        rig.faults.on(f"exception=6@{common.address + 4}..{common.end - 1}")
        values = await rig.poll(reader)
        assert (values["inverter_power"], "serial_no" in values) == (2830.0, False)
        rig.faults.clear()
        rig.now += 60.0
        assert (await rig.poll(reader))["serial_no"] == "A-0042"


async def test_a_device_that_is_busy_while_its_chain_is_walked_has_not_become_another() -> None:
    async with rig_of(SunSpec((1, 103, 203), inverter() | grid_meter(5.0))) as (rig, reader):
        meter = rig.device.chain[2]
        rig.faults.on(f"exception=6@{meter.address}..{meter.address + 1}x1")
        with pytest.raises(Refused):
            await reader.read()
        assert (await rig.poll(reader))["grid_power"] == 5.0


async def test_after_an_outage_it_is_asked_anew_who_it_is_and_what_it_has() -> None:
    async with rig_of(SunSpec((1, 103), inverter())) as (rig, reader):
        await reader.read()
        rig.faults.on("exception=11")
        with pytest.raises(Refused):
            await reader.read()
        rig.station.registers = SunSpec((1, 103, 124), inverter(**{"1.1.SN": "B-0001"}) | storage(55.0))
        rig.faults.clear()
        values = await rig.poll(reader)
    assert (values["serial_no"], values["battery_soc"]) == ("B-0001", 55.0)
    assert [member.serial for member in rig.members] == ["A-0042", "B-0001"]


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
