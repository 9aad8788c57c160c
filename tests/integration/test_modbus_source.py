"""The gateway's own Modbus TCP polling against a simulated device, over the real network, with everything that goes wrong."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from ohmcore.errors import ModbusError, ModbusException
from ohmstead.profiles.compiler import PollGroup
from ohmstead.profiles.planner import Read
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sim.faults import Faults
from ohmstead.sim.registers import RegisterImage, Writable
from ohmstead.sim.station import Answer, Station
from ohmstead.sim.tcp import TcpServer
from ohmstead.sources.modbus import Endpoint, ModbusSource
from ohmstead.tasks import end
from tests.conftest import free_port

UNIT = 255
FAST = PollGroup("100ms", 0.1, 0, (Read(3, 100, 4), Read(3, 200, 2)), ("fast",))
SLOW = PollGroup("1h", 3600.0, 1, (Read(3, 300, 1),), ("slow",))


class Registers:
    """A decoder that says each register's number and value."""

    def decode(self, function: int, address: int, registers: bytes, scan: str) -> Mapping[str, Value]:
        words = struct.unpack(f">{len(registers) // 2}H", registers)
        return {f"r{address + offset}": word for offset, word in enumerate(words)}

    def missing(self, values: Mapping[str, Value], scan: str) -> tuple[str, ...]:
        return ()

    def calculate(self, values: dict[str, Value], time: float) -> None:
        if "r100" in values and "r200" in values:
            values["sum"] = int(values["r100"]) + int(values["r200"])


class Rig:
    """A source, its device and what came of it."""

    def __init__(self, port: int, *groups: PollGroup, timeout_s: float = 0.3, retries: int = 1) -> None:
        self.snapshots: list[Snapshot] = []
        self.source = ModbusSource(
            "meter",
            Endpoint("127.0.0.1", port, UNIT, timeout_s, retries),
            groups or (FAST, SLOW),
            Registers(),
            self._take,
            wall=lambda: 1234.5,
        )

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ModbusSource]:
        task = asyncio.create_task(self.source.run())
        try:
            yield self.source
            assert not task.done(), task
        finally:
            await end([task])

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - any condition can be waited for
                await asyncio.sleep(0.005)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def station(faults: Faults) -> Station:
    image = {100: 1, 101: 2, 102: 3, 103: 4, 200: 10, 201: 11, 300: 30, 400: 700}
    return Station(RegisterImage(image, {400: Writable(0, 1000)}), faults=faults, turnaround=0.0)


async def test_groups_come_whole_the_fast_one_often_and_the_slow_one_once(station: Station) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port)
        async with rig.running():
            await rig.until(lambda: len(rig.snapshots) >= 6)
    fast = [snapshot for snapshot in rig.snapshots if snapshot.group == "100ms"]
    slow = [snapshot for snapshot in rig.snapshots if snapshot.group == "1h"]
    assert len(slow) == 1
    assert slow[0].values == {"r300": 30}
    assert fast[0] == Snapshot(
        "meter", "100ms", 1234.5, Quality.GOOD, {"r100": 1, "r101": 2, "r102": 3, "r103": 4, "r200": 10, "r201": 11, "sum": 11}
    )


async def test_a_range_that_is_refused_is_absent_and_the_group_says_so(station: Station, faults: Faults) -> None:
    faults.on("exception=2@200..201")
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port)
        async with rig.running() as source:
            await rig.until(lambda: len(rig.snapshots) >= 3)
            assert source.online
            faults.clear()
            await rig.until(lambda: rig.snapshots[-1].quality is Quality.GOOD)
    assert rig.snapshots[0].quality is Quality.PARTIAL
    assert rig.snapshots[0].values == {"r100": 1, "r101": 2, "r102": 3, "r103": 4}
    assert rig.source.counters["exception"] >= 2


async def test_a_range_that_is_met_with_silence_does_not_take_the_others_with_it(station: Station, faults: Faults) -> None:
    faults.on("no-answer@200..201")
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, timeout_s=0.05)
        async with rig.running() as source:
            await rig.until(lambda: len(rig.snapshots) >= 4)
            assert source.online
    assert rig.snapshots[0].values == {"r100": 1, "r101": 2, "r102": 3, "r103": 4}
    assert any(snapshot.values == {"r300": 30} for snapshot in rig.snapshots)


@pytest.mark.parametrize("fault", ["no-answer@100..103x2", "no-answer@200..201x2", "no-answerx2"], ids=["first", "last", "any"])
async def test_a_range_that_was_silent_for_a_moment_is_asked_again_before_its_group_goes_out(
    station: Station, faults: Faults, fault: str
) -> None:
    faults.on(fault)  # the first attempt and its retry: as when the plug is back before the scan is over
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, timeout_s=0.05)
        async with rig.running():
            await rig.until(lambda: len(rig.snapshots) >= 3)
    assert rig.snapshots[0].values == {"r100": 1, "r101": 2, "r102": 3, "r103": 4, "r200": 10, "r201": 11, "sum": 11}
    assert {snapshot.quality for snapshot in rig.snapshots} == {Quality.GOOD}
    assert rig.source.counters["no_answer"] == 2


class Mortal(Station):
    """Answers for register 100 and is silent from then on, until `alive` is set to two."""

    alive = 1

    def answer(self, unit: int, request: bytes) -> Answer | None:
        if not self.alive:
            return None
        if self.alive == 1 and int.from_bytes(request[1:3], "big") == 100:
            self.alive = 0
        return super().answer(unit, request)


async def test_of_a_device_that_goes_away_in_the_middle_of_a_scan_no_part_of_the_group_goes_out(station: Station) -> None:
    mortal = Mortal(station.registers, turnaround=0.0)
    async with TcpServer({UNIT: mortal}) as server:
        rig = Rig(server.port, timeout_s=0.05)
        async with rig.running() as source:
            await rig.until(lambda: source.online is False)
            assert rig.snapshots == []
            mortal.alive = 2
            await rig.until(lambda: {snapshot.group for snapshot in rig.snapshots} == {"100ms", "1h"})
    assert {snapshot.quality for snapshot in rig.snapshots} == {Quality.GOOD}


async def test_a_group_of_one_range_that_is_never_answered_does_not_make_the_device_away(station: Station, faults: Faults) -> None:
    faults.on("no-answer@300")
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, timeout_s=0.05)
        async with rig.running() as source:
            await rig.until(lambda: source.counters["no_answer"] >= 3)
            count = len(rig.snapshots)
            await rig.until(lambda: len(rig.snapshots) >= count + 3)
            assert source.online
            assert source.counters["connections"] == 1
    assert {(snapshot.group, snapshot.quality) for snapshot in rig.snapshots} == {("100ms", Quality.GOOD)}


async def test_400_ms_of_latency_give_no_time_out_however_many_reads_are_due(station: Station) -> None:
    async with TcpServer({UNIT: station}, latency=0.4) as server:
        rig = Rig(server.port, timeout_s=0.6, retries=0)
        async with rig.running() as source:
            await rig.until(lambda: len(rig.snapshots) >= 3)
            assert source.counters["no_answer"] == 0
            await asyncio.wait_for(source.read(Read(3, 100, 1)), 2)  # and one that waits behind the poll
            assert source.counters["no_answer"] == 0


async def test_a_device_that_is_absent_at_the_start_is_heard_when_it_comes(station: Station) -> None:
    port = free_port()
    rig = Rig(port)
    async with rig.running() as source:
        await rig.until(lambda: source.online is False)
        async with TcpServer({UNIT: station}, port=port):
            await rig.until(lambda: {snapshot.group for snapshot in rig.snapshots} == {"100ms", "1h"})


async def test_a_device_that_restarts_is_back_with_its_first_answer_in_every_group(station: Station) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port)
        async with rig.running() as source:
            await rig.until(lambda: len(rig.snapshots) >= 2)
            await server.stop()
            await rig.until(lambda: source.online is False)
            rig.snapshots.clear()
            await server.start()
            await rig.until(lambda: {snapshot.group for snapshot in rig.snapshots} == {"100ms", "1h"})
            assert source.trouble == ""


async def test_a_connection_that_the_device_closes_between_two_polls_costs_no_reading(station: Station) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, PollGroup("500ms", 0.5, 0, FAST.reads, ("fast",)))
        async with rig.running() as source:
            await rig.until(lambda: rig.snapshots)
            server.disconnect()
            await rig.until(lambda: len(rig.snapshots) >= 3)
            assert source.counters["connections"] == 2
            assert source.counters["no_answer"] == 0
    assert {snapshot.quality for snapshot in rig.snapshots} == {Quality.GOOD}


async def test_a_black_hole_is_away_within_a_few_time_outs_and_back_at_once(station: Station, faults: Faults) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, timeout_s=0.1)
        async with rig.running() as source:
            await rig.until(lambda: rig.snapshots)
            faults.on("no-answer")
            before = source.counters["no_answer"]
            source.poll_soon(300)  # both groups are due: the slow one does not wait its hour to find out
            await rig.until(lambda: source.online is False)
            assert source.counters["no_answer"] - before <= 4, "one read with its retry, one without, perhaps one more by now"
            faults.clear()
            await rig.until(lambda: source.online is True)


async def test_late_answers_are_never_taken_for_the_answer_to_a_later_request(station: Station, faults: Faults) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, timeout_s=0.1, retries=1)
        async with rig.running() as source:
            await rig.until(lambda: rig.snapshots)
            faults.on("late=150msx3")
            before = source.counters["no_answer"]
            await rig.until(lambda: source.counters["no_answer"] > before)
            count = len(rig.snapshots)
            await rig.until(lambda: len(rig.snapshots) >= count + 5)
    expected = {"r100": 1, "r101": 2, "r102": 3, "r103": 4, "r200": 10, "r201": 11, "r300": 30, "sum": 11}
    for snapshot in rig.snapshots:
        assert snapshot.values.items() <= expected.items()


@pytest.mark.parametrize("fault", ["wrong-unit", "wrong-function", "half", "noise=5"])
async def test_answers_that_answer_something_else_give_no_values(station: Station, faults: Faults, fault: str) -> None:
    faults.on(fault)
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, timeout_s=0.05)
        async with rig.running() as source:
            await rig.until(lambda: source.counters["requests"] >= 3)
            assert rig.snapshots == []
            faults.clear()
            await rig.until(lambda: rig.snapshots, 5)
    assert rig.snapshots[0].values["r100"] == 1


async def test_a_write_reads_back_what_the_device_took(station: Station) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port)
        async with rig.running() as source:
            assert await source.write(6, 400, [555]) == [555]
            assert await source.write(16, 400, [556]) == [556]
            with pytest.raises(ModbusException) as refused:
                await source.write(6, 100, [1])
            assert refused.value.function == 6
            await server.stop()
            with pytest.raises(ModbusError):
                await source.write(6, 400, [1])


async def test_after_a_write_the_group_is_read_without_waiting_for_its_time(station: Station) -> None:
    async with TcpServer({UNIT: station}) as server:
        rig = Rig(server.port, PollGroup("1h", 3600.0, 0, (Read(3, 400, 1),), ("settings",)))
        async with rig.running() as source:
            await rig.until(lambda: rig.snapshots)
            await source.write(6, 400, [555])
            source.poll_soon(400)
            await rig.until(lambda: len(rig.snapshots) == 2, 1)
    assert rig.snapshots[-1].values == {"r400": 555}
