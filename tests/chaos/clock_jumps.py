"""The gateway's wall clock jumps by years, back and forth, while a node sends and commands go out: `just chaos clocks`.

The whole gateway in this process, with a clock of ours; broker and node are real. Readings have to go on being published and stored,
commands to be obeyed, a day's budget to be kept, and at the end each number is where it belongs, once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

import structlog

from ohmstead.app import Gateway
from ohmstead.clock import Clock
from ohmstead.config import load
from ohmstead.control.desk import Answer
from ohmstead.readings import Snapshot
from tests.chaos.house import House
from tests.chaos.kills import Ledger
from tests.chaos.rows import Plan, Row, Tell, bar

YEAR_S = 365.25 * 86_400
_PATIENCE_S = 20.0
_EVERY_RESTART = 6


class Jumps:
    """`findings`: what did not go on after a jump. `obeyed`: commands that were carried out."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.findings: list[str] = []
        self.obeyed = 0
        self.jumps = 0
        self._dice = random.Random(seed)
        self._offset = 0.0
        self._published = 0
        self._answers: list[Answer] = []
        self._gateway: Gateway | None = None

    async def run(self, jumps: int, tell: Tell) -> None:
        self.house.broker.start()
        stop = asyncio.Event()
        clock = Clock(wall=lambda: time.time() + self._offset)
        gateway = self._gateway = Gateway(load(self.house.folder / "ohmstead.yaml", {}), clock)
        gateway.stream.subscribe(self._count)
        say = gateway.desk._answer

        def answered(answer: Answer) -> None:
            self._answers.append(answer)
            say(answer)

        gateway.desk._answer = answered
        running = asyncio.create_task(gateway.run(stop))
        self.house.node.start()
        await self._until(lambda: self._published, "the first reading")
        for _ in range(jumps):
            await self._jump(gateway)
            tell(1)
        await asyncio.sleep(1)
        self.house.node.kill()
        stop.set()
        code = await running
        if code:
            self.findings.append(f"the gateway ended with {code}")

    def _count(self, _: Snapshot) -> None:
        self._published += 1

    async def _jump(self, gateway: Gateway) -> None:
        self.jumps += 1
        years = self._dice.choice((-1, 1)) * self._dice.uniform(0.5, 40)
        self._offset = years * YEAR_S if self._dice.random() < 0.8 else 0.0
        what = f"after jump {self.jumps}, to {self._offset / YEAR_S:+.1f} years"
        if self.jumps % _EVERY_RESTART == 0:
            self.house.node.kill()
            self.house.node.start()
            what += ", and a restart of the node"
        await asyncio.sleep(self._dice.uniform(0, 0.4))
        before, acknowledged = self._published, self.house.relay.acknowledgements
        await self._until(lambda: self._published > before + 3, f"a published reading {what}")
        await self._until(lambda: self.house.relay.acknowledgements > acknowledged, f"an acknowledgement {what}")
        count = len(self._answers)
        gateway.desk.request("first", "level", str(self.jumps % 500), f"author {self.jumps % 50}")
        await self._until(lambda: len(self._answers) > count, f"the answer to a command {what}")
        if len(self._answers) > count:
            outcome = self._answers[-1].outcome
            if outcome.kind in ("done", "unchanged"):
                self.obeyed += 1
            else:
                self.findings.append(f"a command {what}: {outcome.kind}, {outcome.detail}")

    async def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                self.findings.append(f"{what} did not come")
                return
            await asyncio.sleep(0.02)


def rows(plan: Plan) -> list[Row]:
    jumps = plan.of(200, 12)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # each jump is worth a warning
    with House(plan.room("clocks")) as house, bar("clock jumps", jumps) as tell:
        story = Jumps(house, plan.seed)
        asyncio.run(story.run(jumps, tell))
        ledger = Ledger(house.database)
        findings = story.findings + ledger.lost(house.relay.acknowledged) + ledger.twice()
    note = f"{sum(ledger.values.values()):,} readings stored, {story.obeyed} commands obeyed, {len(ledger.boots)} lives of the node"
    return [Row("the gateway's clock jumps years", story.jumps, findings, "nothing stops, nothing is lost", 100, note)]
