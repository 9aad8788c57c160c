"""A task that finds no memory, start after start: the node starts anew, with memory in one piece. On the real MicroPython, time made up."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import REPOSITORY

SCRIPT = """
import sys
sys.path[:0] = ["{firmware}", "{shared}"]
import asyncio

class Hal:
    now = 0
    def ticks_ms(self): return self.now
    def ticks_diff(self, later, earlier): return later - earlier
    def ticks_add(self, ticks, ms): return ticks + ms
    def watchdog_start(self, ms): pass
    def watchdog_feed(self): pass
    def give_up(self, code): return True

class Outbox:
    said = 0
    def uptime_ms(self): return hal.now
    def log(self, *_): self.said += 1
    def event(self, *_): pass

hal, outbox = Hal(), Outbox()

async def sleep_ms(ms):
    until = hal.now + ms
    while hal.now < until:
        hal.now += 5
        await asyncio.sleep(0)

asyncio.sleep_ms = sleep_ms
from ohmnode.supervisor import Supervisor

async def short(ward):
    {before}
    raise {failure}

async def main():
    supervisor = Supervisor(hal, outbox)
    supervisor.add("bus", short, {limit})
    async def end():
        await sleep_ms({longest})
        supervisor.leave = "the end of the test"
    asyncio.create_task(end())
    print(repr(await supervisor.run()), outbox.said)

asyncio.run(main())
"""


def outcome(micropython: list[str], failure: str, *, before: str = "pass", longest: int = 600_000, limit: int = 60_000) -> tuple[str, int]:
    """What the supervisor's `run` returned, and how often the task had failed by then."""
    script = SCRIPT.format(
        firmware=REPOSITORY / "firmware", shared=REPOSITORY / "shared", failure=failure, before=before, longest=longest, limit=limit
    )
    run = subprocess.run([*micropython, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    said, _, count = run.stdout.strip().rpartition(" ")
    return said, int(count)


def test_a_task_without_memory_again_and_again_makes_the_node_start_anew(micropython: list[str]) -> None:
    assert outcome(micropython, "MemoryError()") == ("''", 6)


@pytest.mark.parametrize(
    ("failure", "before"),
    [("OSError(5)", "pass"), ("MemoryError()", "await sleep_ms(61000)")],
    ids=["another reason", "a minute of work between"],
)
def test_nothing_else_does(micropython: list[str], failure: str, before: str) -> None:
    said, failed = outcome(micropython, failure, before=before)
    assert said == "'the end of the test'"
    assert failed > 6


def test_who_guards_is_back_after_a_second_however_often_it_failed(micropython: list[str]) -> None:
    _, failed = outcome(micropython, "OSError(5)", longest=120_000, limit=5000)
    assert failed >= 100
    _, others = outcome(micropython, "OSError(5)", longest=120_000)
    assert others < 10
