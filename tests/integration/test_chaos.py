"""The campaigns with real processes, a few faults of each; `just chaos` does hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import clock_jumps, kills, soak
from tests.chaos.house import House

ROOMY = "400k"
"""The heap of the node here: what is tried is what becomes of faults, not how little memory is enough for that."""

SHORT = ("inverter unplugged", "checksum errors", "broker restarted", "100 commands a second", "garbage from the broker", "emergency stop")
"""Faults that are over when they are over."""


@pytest.mark.usefixtures("micropython", "broker")
def test_each_is_killed_and_nothing_acknowledged_is_lost_or_stored_twice(tmp_path: Path) -> None:
    done, ledger, acknowledged = kills.campaign(tmp_path, 1, 1)
    assert done.findings == []
    assert done.killed == dict.fromkeys(kills.KINDS, 1)
    assert sum(acknowledged.values()) > 10
    assert ledger.lost(acknowledged) == ledger.twice() == []


@pytest.mark.usefixtures("micropython", "broker")
async def test_the_gateways_clock_jumps_by_years(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        story = clock_jumps.Jumps(house, 1)
        await story.run(3, lambda _: None)
        ledger = kills.Ledger(house.database)
    assert story.findings == []
    assert story.obeyed == 3
    assert ledger.lost(house.relay.acknowledged) == ledger.twice() == []


@pytest.mark.usefixtures("micropython", "broker")
def test_a_node_lives_through_random_faults(tmp_path: Path) -> None:
    story = soak.campaign(tmp_path, ROOMY, 1, 0.15, longest_s=2.0, only=SHORT)
    assert story.findings == []
    assert story.memory() == []
    assert story.restarts() == []
    assert sum(story.done.values()) >= 2
    assert story.free() is not None
