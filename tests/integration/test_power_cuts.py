"""The node's files under power cuts, a few of each kind; `just chaos power` does hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.power_cuts import OPERATIONS, Rig, campaign

CUTS = 3


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whenever_the_power_goes_the_next_start_finds_what_was_done(micropython: list[str], tmp_path: Path, operation: str) -> None:
    outcome = campaign(micropython[0], tmp_path / "cuts", operation, CUTS, 1)
    assert outcome.inconsistent == []
    assert outcome.cuts == CUTS
    assert outcome.moments > 50, "there were moments enough to choose from"


def test_the_judge_of_the_spool_sees_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    rig = Rig("micropython", tmp_path / "rig")
    did = [["event", "70001", "2"], ["stored", "70001", "3", "0"]]
    table = ["table", "0", "1", "100"]
    frame = "9701ce00011171"  # an event's head: protocol, boot 70001, and the number
    held = [["frame", f"{frame}{seq:02x}00a0a17480"] for seq in (1, 2, 3)]
    assert OPERATIONS["spool"](rig, [], did, [*held, table]) == ""
    assert "events are lost" in OPERATIONS["spool"](rig, [], did, [held[0], held[2], table])
    assert "frames are lost" in OPERATIONS["spool"](rig, [], did, [*held[:2], table])
    assert "refused" in OPERATIONS["spool"](rig, [], did, [*held, ["table", "2", "1", "100"]])
