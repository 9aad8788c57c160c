"""A bus task that finds no memory on the way: it costs what it was at, and nothing that comes after."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable, Container
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.unit.node_world import Answer, Rig, device, group, holding, on_line

overlay = importlib.import_module("ohmnode.overlay")

TWO = ((3, 150, 5), (3, 220, 7))


class House:
    """A device that is read each second, each other second and each fourth, and memory that runs out once, at what `fails` names.

    `silent`: at which addresses the device does not answer any more.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reserve: bool) -> None:
        self.silent: Container[int] = ()
        self.offset = 0
        groups = [group(f"{n}s", 1000 * n, *reads) for n, reads in ((1, ((3, 100, 4),)), (2, TWO), (4, ((3, 150, 6), (3, 230, 3))))]
        self.rig = Rig([device("mtec", 1, *groups, retries=5)], self._answer)
        self.postponed = self.ended = 0
        self.rig.outbox.spool = SimpleNamespace(put_off=self._put_off)  # type: ignore[attr-defined] # a real one has it
        monkeypatch.setattr(overlay, "reserve", lambda keep: reserve)

    def _answer(self, request: bytes) -> Answer:
        address = int.from_bytes(request[2:4], "big")
        return [] if address in self.silent else on_line({1: holding(lambda at: at + self.offset)})(request)

    def _put_off(self) -> None:
        self.postponed += 1

    def fails(self, name: str, wanted: Callable[..., bool]) -> None:
        """The first call of that method of the outbox with arguments that are `wanted` finds no memory."""
        outbox = self.rig.outbox
        whole = getattr(outbox, name)

        def short(*given: Any) -> Any:
            if wanted(*given):
                setattr(outbox, name, whole)
                raise MemoryError
            return whole(*given)

        setattr(outbox, name, short)

    def run(self, ms: int) -> None:
        """As the supervisor does it: a task that ended is started again."""
        until = self.rig.world.now + ms
        while self.rig.world.now < until:
            try:
                self.rig.run(until - self.rig.world.now)
            except MemoryError:
                self.ended += 1
                assert self.ended < 3, "it comes no further"

    def seconds(self) -> list[int]:
        """In which the snapshots of the first group were made."""
        return [at // 1000 for at, _, name, *_ in self.rig.outbox.snapshots if name == "1s"]


@pytest.fixture(params=[True, False], ids=["with a reserve", "without"])
def house(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(monkeypatch, request.param)


def test_a_snapshot_that_finds_no_memory_costs_itself(house: House) -> None:
    house.run(3500)
    house.fails("snapshot", lambda *_: True)
    house.run(6500)
    assert house.seconds() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert house.postponed + house.ended == 1


def test_a_device_that_is_back_is_polled_whoever_is_told(house: House) -> None:
    house.silent = range(1000)
    house.run(10_000)
    house.fails("event", lambda name, kind, detail: kind == "online")
    house.silent = ()
    house.run(50_000)
    assert house.postponed + house.ended == 1
    assert house.seconds()[-10:] == list(range(50, 60))


@pytest.mark.parametrize("told", [True, False])
def test_a_snapshot_that_a_device_left_behind_is_not_gone_on_with(house: House, told: bool) -> None:
    """What was read before is not published as read with what comes minutes later, also where there was no memory to publish it then."""
    house.run(3500)
    house.silent = range(200, 1000)
    house.run(700)
    house.silent = range(1000)
    if told:
        house.fails("snapshot", lambda *_: True)
    else:
        house.fails("event", lambda name, kind, detail: kind == "offline")
    house.run(600_000)
    assert len(house.rig.outbox.heard("offline")) == told
    assert house.postponed + house.ended == 1
    before = len(house.rig.outbox.snapshots)
    house.silent, house.offset = (), 1000
    house.run(60_000)
    fresh = house.rig.outbox.snapshots[before:]
    assert len(fresh) > 40
    assert all(word == address + 1000 for *_, words in fresh for address, word in words.items())


SCRIPT = """
import sys
sys.path[:0] = ["{firmware}", "{shared}", ".frozen"]
import asyncio, time
from asyncio import core
from ohmnode import overlay
from ohmnode.bus import Bus

short = 1

def queue_read(stream):  # nothing ever comes on that line
    global short
    if short:
        short = 0
        raise MemoryError
    core.cur_task.data = core._io_queue

core._io_queue.queue_read = queue_read
overlay.reserve = lambda keep: True

class Uart:
    stream = None
    def readinto(self, buffer): return 0
    def clear(self): return 0
    def write(self, buffer, size): return True
    def sent(self): return True
    def close(self): pass

class Hal:
    def uart(self, spec): return Uart()

class Spool:
    postponed = 0
    def put_off(self): self.postponed += 1

class Outbox:
    spool = Spool()
    def log(self, *_): pass
    def snapshot(self, *_): return False

class Ward:
    turns = 0
    def beat(self): self.turns += 1

hal, outbox, ward = Hal(), Outbox(), Ward()
hal.ticks_ms, hal.ticks_diff, hal.ticks_add = time.ticks_ms, time.ticks_diff, time.ticks_add
group = dict(name="1h", period_ms=3600000, priority=0, reads=[[3, 0, 1]])
device = dict(name="mtec", unit=1, timeout_ms=20, retries=0, turnaround_ms=0, groups=[group], vitals=[], controls=[])
bus = Bus(hal, dict(name="rs485-1", port=1, baud=9600, devices=[device]), outbox, None, None)

async def main():
    asyncio.create_task(bus.run(ward))
    while not outbox.spool.postponed:
        await asyncio.sleep_ms(1)
    for _ in range(20):
        await asyncio.sleep_ms(0)
    turns = ward.turns
    bus.wake()
    for _ in range(500):
        await asyncio.sleep_ms(0)
    print(outbox.spool.postponed, ward.turns - turns)

asyncio.run(main())
"""


def test_a_request_that_finds_no_memory_leaves_nobody_deaf(micropython: list[str]) -> None:
    """On the real MicroPython: once deaf, a bus that is woken would never rest again."""
    script = SCRIPT.format(firmware=REPOSITORY / "firmware", shared=REPOSITORY / "shared")
    run = subprocess.run([*micropython, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    postponed, turns = run.stdout.split()
    assert postponed == "1"
    assert 1 <= int(turns) < 20
