"""How many decisions a second the arbiter makes, each with its audit record on the medium before anything is done of it.

Wishes of two authors arrive in bursts, as fast as they are answered; each is a decision with its record, and a command that an actuator
takes. Beside it: the core alone, with nothing written down.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import structlog

from ohmcore import events
from ohmstead.control.arbiter import Arbiter
from ohmstead.control.dispatch import Outcome
from ohmstead.control.replay import replay, same_end
from ohmstead.control.target import Target
from ohmstead.readings import Quality, Snapshot
from ohmstead.store.sqlite import SqliteStore
from tests.bench import decisions_core
from tests.bench.figures import Figure
from tests.unit.battery_house import HOME, LIVE, configuration, the_battery

BUDGET = 5000.0
"""Decisions a second on one core."""

_BURST = 200
_NO_RATE = "control: {burst: 10000, refill: 1 ms}\n"


class _Hand:
    """An actuator that takes everything at once."""

    def __init__(self) -> None:
        self.writes = 0

    async def holds(self, target: Target, raw: int) -> bool:
        return False

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        self.writes += 1
        return Outcome("done")


def measure(quick: bool) -> list[Figure]:
    """On one core; the process is bound to it where the system can."""
    with Path(os.devnull).open("w") as nowhere:  # every decision has its line in the log, as in the gateway
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(nowhere), wrapper_class=structlog.make_filtering_bound_logger(20))
        return _on_one_core(quick)


def _on_one_core(quick: bool) -> list[Figure]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(_measured(Path(folder), quick))
    finally:
        os.sched_setaffinity(0, cores)
        structlog.reset_defaults()


async def _measured(folder: Path, quick: bool) -> list[Figure]:
    wishes = 5_000 if quick else 40_000
    battery = the_battery(configuration(folder, HOME + _NO_RATE))
    for control in battery.setup.controls:
        control.budget = 0  # a day's writes would be over in a moment
    store = SqliteStore(folder / "ohm.db")
    hand = _Hand()
    arbiter = Arbiter({"growatt": battery}, {"growatt": hand}, store.trail, reachable=lambda device: True, boot="bench")
    running = asyncio.create_task(arbiter.run())
    await arbiter.start()
    arbiter.take(Snapshot("growatt", "live", time.time(), Quality.GOOD, LIVE))
    while arbiter.status("growatt").controls["discharge"].acknowledged is None:  # noqa: ASYNC110 - it only has to begin at rest
        await asyncio.sleep(0.01)
    lag = []
    begun, decided = time.perf_counter(), 0
    for burst in range(wishes // _BURST):
        if burst % 50 == 0:
            arbiter.take(Snapshot("growatt", "live", time.time(), Quality.GOOD, LIVE))
        asked = time.perf_counter()
        decided += sum(await asyncio.gather(*(_wish(arbiter, number) for number in range(_BURST))))
        lag.append((time.perf_counter() - asked) * 1000)
    seconds = time.perf_counter() - begun
    await arbiter.close()
    await running
    said = replay(store.trail, "growatt")
    same = said.difference is None and same_end(store.trail, said)
    store.close()
    size = await asyncio.to_thread(os.path.getsize, folder / "ohm.db")
    note = f"{wishes} wishes, {arbiter.audit.commits} commits, {hand.writes} writes; replayed: {'the same' if same else 'NOT the same'}"
    return [
        Figure("decisions, each durable in the audit", decided / seconds if same else 0.0, "/s", BUDGET, "at least", note),
        Figure(f"  a burst of {_BURST}, until all are answered", sorted(lag)[int(len(lag) * 0.95)], "ms", note="p95"),
        Figure("  on the disk, each", size / max(said.records, 1), "B"),
        *decisions_core.measure(quick),
    ]


async def _wish(arbiter: Arbiter, number: int) -> int:
    """How many commands came of it; notices of what else happened do not count."""
    author = ("loxone", "home_assistant")[number % 2]
    event = events.wish(author, "charge", 20 + number % 60, arbiter.next_identity("growatt", author), 600_000)
    return sum(said.kind == "command" for said in await arbiter.submit("growatt", event))
