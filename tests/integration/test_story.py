"""The story that a visitor is told (`ohmstead demo story`): a real broker, node and gateway, processes that die by kill -9."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ohmstead.sim.broker import find_mosquitto
from ohmstead.sim.node import why_none
from tests.conftest import free_port

pytestmark = [
    pytest.mark.xdist_group("appliance"),
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine"),
    pytest.mark.skipif(why_none() is not None, reason=f"no node here: {why_none()}"),
]

SCENES = [
    "the battery on the node's second bus is read",
    "a discharge at 40 % is commanded, the registers change",
    "with the gateway dead the node reverts at the lease's end",
    "below the SOC floor a discharge is refused, with a reason",
    "a discharge at 60 % is commanded, the registers change",
    "the emergency stop puts safe values on the bus with the gateway dead",
    "still latched after a power cut of the node",
    "an unauthenticated reset is refused",
    "what is commanded meanwhile is refused, with a reason",
    "released only by an authenticated reset, and not while the stop stands at 1",
    "a discharge at 30 % is commanded, the registers change",
    "every process ended when asked",
]


def test_the_story_holds_from_the_first_scene_to_the_last() -> None:
    command = [sys.executable, "-m", "ohmstead", "demo", "story", "--port", str(free_port())]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    said = ended.stdout
    assert ended.returncode == 0, said + ended.stderr
    assert [line.removeprefix("✓ ").split(":")[0] for line in said.splitlines() if line.startswith(("✓", "✗"))] == SCENES
    assert said.count("kill -9 of the gateway") == 2
    refused = next(line for line in said.splitlines() if line.startswith("✓ below the SOC floor"))
    assert "soc floor" in refused, "an owner has to learn why"
    before, after = said.split("Emergency stop:")
    assert re.search(r"1080\.\.1082 ← 0, 5947, 1", before), "what is on the bus is shown: the slot is enabled"
    assert re.search(r"1080\.\.1082 ← 0, 5947, 0", after), "and taken back"
    assert "the emergency stop still stands at 1" in after
