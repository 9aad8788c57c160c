"""The gateway's wall clock is set, by years: what comes after that is news, what was told before stays as old as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ohmstead.errors import Reason
from tests.unit import test_control, test_leases
from tests.unit.ingest_rig import ORIGIN, Gateway, data, event, packed

YEAR_S = 365 * 86_400.0


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    rig = Gateway(tmp_path)
    yield rig
    rig.stop()


def hello(boot: int) -> bytes:
    return packed(1, "test", boot, 100, bytes(8), "-", "power-on", [], 1)


@pytest.mark.parametrize("years", [-30, -1, 1, 30])
async def test_readings_of_a_node_that_restarts_after_it_are_published(gateway: Gateway, years: int) -> None:
    gateway.send(hello(7), kind="hello")
    gateway.send(data(1, 0.1, boot=7))
    gateway.set_by(years * YEAR_S)
    gateway.now += 1
    gateway.send(hello(8), kind="hello")
    gateway.send(data(1, 0.1, boot=8))
    assert [snapshot.time for snapshot in gateway.snapshots] == [ORIGIN + 1000.0, ORIGIN + 1001.0 + years * YEAR_S]


@pytest.mark.parametrize("years", [-30, -1, 1, 30])
async def test_a_node_that_latches_after_it_is_known_to_be_latched(gateway: Gateway, years: int) -> None:
    gateway.send(event(1, "reset", 0.1, by=1), event(2, "online", 0.2, "mtec"), kind="event")
    assert gateway.fleet.nodes["cellar"].latched == ""
    gateway.set_by(years * YEAR_S)
    gateway.now += 60
    gateway.send(event(3, "latch", 60.1, cause="stop"), event(4, "offline", 60.2, "mtec"), kind="event")
    assert gateway.fleet.nodes["cellar"].latched == "stop"
    assert gateway.fleet.nodes["cellar"].devices["mtec"].online is False
    gateway.send(event(5, "online", 0.3, "mtec"), kind="event")
    assert gateway.fleet.nodes["cellar"].devices["mtec"].online is False, "what was said before that is still older"


@pytest.mark.parametrize("years", [-30, -1, 1, 30])
async def test_it_gives_nobody_another_budget(years: int) -> None:
    story = test_control.Story()
    budget = test_control.TARGETS["mode"].budget
    for number in range(budget):
        story.now += 61
        assert (await story.ask("mode", ("512", "257")[number % 2], f"author {number}")).kind == "done"
    now = story.now
    story.desk._wall = lambda: now + years * YEAR_S
    outcome = await story.ask("mode", "512", "another")
    assert (outcome.kind, outcome.reason) == ("rejected", Reason.RATE_LIMIT)


@pytest.mark.parametrize("years", [-30, -1, 1, 30])
async def test_what_a_node_ends_after_it_is_ended(years: int) -> None:
    story = test_leases.Story()
    assert (await story.ask("60", wanted_s=300)).kind == "done"
    story.desk._wall = lambda: story.now + years * YEAR_S
    story.now += 5
    story.desk.ended("growatt", "charge", "link lost", story.now + years * YEAR_S - 10)
    assert story.answers[-1].outcome.kind == "done", "what was before it is old news"
    story.desk.ended("growatt", "charge", "soc ceiling", story.now + years * YEAR_S - 1)
    assert story.answers[-1].outcome.kind == "ended"
