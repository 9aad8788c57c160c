"""The guard's evaluation takes nothing from the node's heap: only MicroPython can tell."""

from __future__ import annotations

import os
import subprocess

from tests.conftest import REPOSITORY


def test_a_thousand_evaluations_take_nothing(micropython: list[str]) -> None:
    """Ten rules, nine controls under lease, fresh telemetry each time; nothing happens, and nothing is allocated."""
    path = os.pathsep.join(str(REPOSITORY / folder) for folder in (".", "firmware", "shared"))
    answer = subprocess.run(
        [*micropython, "-m", "tests.unit.node_allocation"],
        env={**os.environ, "MICROPYPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout.split() == ["0", "0", "-"], answer.stdout + answer.stderr
