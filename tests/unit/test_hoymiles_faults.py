"""Whatever a DTU does wrong over a real socket: no reading is false, what is wrong is told once, and it is back with its first answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from ohmstead.errors import NoAnswer, Refused, SourceError, Unreachable, WrongAnswer
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.hoymiles import Mood
from ohmstead.sim.hoymiles_plant import Roof, moment
from ohmstead.sources.hoymiles_plant import Wishes
from ohmstead.sources.polling import FieldWriter, PolledSource
from ohmstead.store.protocol import StoreError
from tests.hoymiles_rig import NOON, PRAGUE, Remembered, roof, until

HM4, MI2, HM2, HM1 = (serial for serial, _ in Roof().inverters)
FRAME = 9 + 40
"""Bytes of an answer with a record."""


@pytest.mark.parametrize("said", [0, 1, 20, 41, 80, 255])
async def test_a_wrong_byte_count_before_right_registers_does_not_matter(said: int) -> None:
    async with roof() as (dtu, house):
        dtu.mood.byte_count = said
        read = await house.poll()

    assert len(read) == 5
    assert read["roof"].quality is Quality.GOOD


@pytest.mark.parametrize("more", [-20, -1, 1, 20])
async def test_another_number_of_registers_is_a_wrong_answer(more: int) -> None:
    async with roof() as (dtu, house):
        dtu.mood.registers = more
        with pytest.raises(WrongAnswer, match="registers"):
            await house.poll()


@pytest.mark.parametrize("fault", ["other_transaction", "other_unit", "other_function"])
async def test_what_answers_somebody_else_is_no_answer_to_us(fault: str) -> None:
    async with roof(timeout_s=0.2) as (dtu, house):
        setattr(dtu.mood, fault, True)
        with pytest.raises(SourceError):
            await house.poll()


async def test_an_answer_that_ends_at_any_byte_gives_no_reading() -> None:
    async with roof() as (dtu, house):
        await house.poll()
        dtu.mood.cut_closes = True
        for length in range(FRAME):
            dtu.mood.cut = length
            with pytest.raises(SourceError):
                await house.poll()
        dtu.mood = Mood()
        read = await house.poll()

    assert read["roof"].quality is Quality.GOOD


@pytest.mark.parametrize("fault", [{"silent": True}, {"cut": 0}, {"cut": 20}])
async def test_silence_is_no_answer_and_names_the_dtu(fault: dict[str, Any]) -> None:
    async with roof(timeout_s=0.2) as (dtu, house):
        dtu.mood = Mood(**fault)
        with pytest.raises(NoAnswer, match=f"127.0.0.1:{dtu.port}"):
            await house.poll()


async def test_nobody_there_is_unreachable() -> None:
    async with roof() as (dtu, house):
        await dtu.stop()
        with pytest.raises(Unreachable, match=f"no connection to 127.0.0.1:{dtu.port}"):
            await house.poll()


async def test_an_exception_to_all_is_a_refusal() -> None:
    async with roof() as (dtu, house):
        dtu.mood.refuse_at = {0: 6}
        with pytest.raises(Refused, match="busy") as refused:
            await house.poll()

    assert refused.value.status == 6


async def test_without_its_serial_number_the_dtu_is_read_all_the_same() -> None:
    async with roof() as (dtu, house):
        dtu.mood.no_serial = True
        read = await house.poll()
        dtu.mood.no_serial = False
        again = await house.poll()

    assert "serial_no" not in read["roof"].values
    assert read["roof"].quality is Quality.PARTIAL
    assert float(read["roof"].values["pv_power"]) > 0
    assert again["roof"].values["serial_no"] == "10f8a1b2c3d4"


async def test_a_record_that_was_met_with_silence_once_is_asked_for_again() -> None:
    async with roof(timeout_s=0.5, retries=1) as (dtu, house):
        await house.poll()
        dtu.mood.silent_at = frozenset({3})
        asked = dtu.requests
        polling = asyncio.create_task(house.poll())
        await until(lambda: dtu.requests >= asked + 4)
        dtu.mood = Mood()
        read = await polling

    assert read["roof"].quality is Quality.GOOD
    assert dtu.most_at_once <= 2  # the one that was given up may not have been noticed by the other end


async def test_a_poll_that_is_cancelled_leaves_nothing_for_the_next_one() -> None:
    async with roof(period_s=1.0) as (dtu, house):
        await house.poll()
        dtu.mood.silent_at = frozenset({2})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await house.poll()
        dtu.mood = Mood()
        read = await house.poll()

    assert read["roof"].quality is Quality.GOOD


async def test_a_dtu_that_hangs_is_back_with_the_first_poll_after_it_was_switched_off_and_on() -> None:
    async with roof(timeout_s=0.2) as (dtu, house):
        dtu.mood.hangs_below_s = 3600.0
        await house.poll()
        with pytest.raises(NoAnswer):
            await house.poll()
        dtu.mood.hangs_below_s = 0.0
        with pytest.raises(NoAnswer):
            await house.poll()
        dtu.restart()
        read = await house.poll()

    assert len(read) == 5


async def test_a_fault_is_told_once_and_its_end_once() -> None:
    with structlog.testing.capture_logs() as logs:
        async with roof() as (dtu, house):
            await house.poll()
            dtu.mood.leave_out = frozenset({(HM1, 1)})
            for _ in range(3):
                await house.poll()
            dtu.mood = Mood()
            for _ in range(2):
                await house.poll()

    told = [line["event"] for line in logs if line.get("device") == "roof"]
    assert told == ["not all of it was read", "all of it is read again"]


async def test_a_hot_inverter_is_told_once_and_again_after_it_has_cooled_down() -> None:
    with structlog.testing.capture_logs() as logs:
        async with roof(now=moment("2026-06-20", 7.0, PRAGUE), wishes=Wishes(hot=30.0)) as (_, house):
            for hour in (7.0, 12.0, 12.5, 19.5):
                house.now = moment("2026-06-20", hour, PRAGUE)
                await house.poll()

    told = [line["event"] for line in logs if line.get("inverter") == HM4]
    assert told == ["hot", "cool again"]


async def test_limit_and_switch_reach_the_inverters_and_are_said_as_they_were_taken() -> None:
    async with roof() as (dtu, house):
        before = await house.poll()
        assert not {"power_limit", "production"} & set(before["roof"].values)
        assert await house.reader.write("power_limit", 30) == 30
        limited = await house.poll()
        assert await house.reader.write("production", 0) == 0
        off = await house.poll()
        assert await house.reader.write("production", 1) == 1

    assert dtu.writes == [(0xC001, 30), (0xC000, 0), (0xC000, 0xFF00)]
    assert limited["roof"].values["power_limit"] == 30
    assert 0 < float(limited["roof"].values["pv_power"]) < float(before["roof"].values["pv_power"])
    assert (off["roof"].values["production"], off["roof"].values["pv_power"]) == (0, 0.0)


async def test_a_write_that_is_refused_changes_nothing_and_says_so() -> None:
    async with roof() as (dtu, house):
        await house.poll()
        dtu.mood.refuse_writes = True
        with pytest.raises(Refused):
            await house.reader.write("power_limit", 50)
        with pytest.raises(Refused, match="10 %"):
            await house.reader.write("power_limit", 5)  # an MI inverter is among them
        read = await house.poll()

    assert "power_limit" not in read["roof"].values
    assert dtu.writes == []


async def test_a_polled_dtu_that_was_cut_off_is_back_and_its_writes_go_through_the_source() -> None:
    heard: list[Snapshot] = []
    async with roof(period_s=0.2, timeout_s=5.0) as (dtu, house):
        source = PolledSource("roof", house.reader, heard.append, period_s=0.2, timeout_s=house.reader.longest_s)
        assert isinstance(house.reader, FieldWriter)
        running = asyncio.create_task(source.run())
        try:
            await until(lambda: source.online is True)
            assert await source.write("power_limit", 60) == 60
            await dtu.stop()
            await until(lambda: source.online is False)
            heard.clear()
            await dtu.start()
            await until(lambda: source.online is True and len(heard) >= 5)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert source.trouble == ""
    assert {snapshot.device for snapshot in heard} == {"roof", *(f"roof-{serial}" for serial in (HM4, MI2, HM2, HM1))}


async def test_the_figures_of_polls_count_successes_and_failures_by_kind() -> None:
    async with roof() as (dtu, house):
        await house.poll()
        dtu.mood.refuse_at = {0: 6}
        with pytest.raises(Refused):
            await house.poll()

    figures = house.reader.figures
    assert (figures.queries, figures.errors) == (2, {"Refused": 1})
    assert figures.last_success == NOON
    assert figures.last_error_time == NOON + 60.0
    assert sum(figures.durations) == 1


class FullDisk(Remembered):
    """A store whose disk is full, or that cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.full = self.broken = False

    def read(self, key: str) -> str | None:
        if self.broken:
            raise StoreError("disk I/O error")
        return super().read(key)

    def write(self, key: str, value: str) -> None:
        if self.full:
            raise StoreError("no space left on device")
        super().write(key, value)


async def test_a_full_disk_costs_no_reading_and_is_told_once() -> None:
    disk = FullDisk()
    with structlog.testing.capture_logs() as logs:
        async with roof(memory=disk) as (_, house):
            await house.poll()
            disk.full = True
            for _poll in range(3):
                assert len(await house.poll()) == 5
            disk.full = False
            await house.poll()

    told = [line["event"] for line in logs if line.get("device") == "roof"]
    assert told == ["what was produced is not kept", "what was produced is kept again"]


async def test_who_cannot_remember_at_the_start_does_not_begin_anew() -> None:
    disk = FullDisk()
    async with roof(now=moment("2026-06-20", 18.0, PRAGUE), memory=disk) as (_, house):
        before = await house.poll()
    disk.broken = True
    async with roof(now=moment("2026-06-20", 23.0, PRAGUE), memory=disk) as (_, house):
        with pytest.raises(SourceError, match="what was produced so far cannot be read"):
            await house.poll()
        disk.broken = False
        read = await house.poll()

    assert read["roof"].values["total_production"] == before["roof"].values["total_production"]
