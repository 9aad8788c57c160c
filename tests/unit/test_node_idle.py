"""A board without a configuration stays up, idle; the watchdog that its root started does not bite. On the real MicroPython."""

from __future__ import annotations

import subprocess

from tests.conftest import REPOSITORY

SCRIPT = """
import sys
sys.path[:0] = ["{firmware}", "{shared}", "{library}", ".frozen"]
import asyncio

class Hal:
    waits = longest_ms = since_ms = 0
    period_ms = 120000
    def read(self, name, most=0): return None
    def remove(self, name): return False
    def watchdog_start(self, ms): self.period_ms = ms
    def watchdog_feed(self): self.since_ms = 0
    def give_up(self, code): return self.waits == 300

hal = Hal()

async def sleep_ms(ms):
    hal.waits += 1
    hal.since_ms += ms
    hal.longest_ms = max(hal.longest_ms, hal.since_ms)

asyncio.sleep_ms = sleep_ms
from ohmnode import start
print(asyncio.run(start.run(hal)), hal.longest_ms < hal.period_ms)
"""


def test_an_idle_board_feeds_the_watchdog_that_runs_already(micropython: list[str]) -> None:
    script = SCRIPT.format(firmware=REPOSITORY / "firmware", shared=REPOSITORY / "shared", library=REPOSITORY / "build/micropython-lib")
    run = subprocess.run([*micropython, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    assert run.stdout.splitlines()[-1] == "78 True"
