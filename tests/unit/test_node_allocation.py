"""What the guard's evaluation takes from the node's heap, and what texts leave there: nothing. Only MicroPython can tell."""

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


TEXTS = """
import micropython
from ohmcore.pack import Packer, unpack
micropython.qstr_info()
packer = Packer(bytearray(64))
for i in range(4096):
    packer.reset()
    body = b"\\xa7text" + bytes((0xE4, 0x80 | i >> 6, 0x80 | i & 63))
    packer.value(unpack(body, 4, 8, 100))
    assert packer.message() == body, body
for i in range(32, 127):
    packer.reset()
    packer.value(unpack(b"\\xa2" + bytes((i, i)), 4, 8, 100))
micropython.qstr_info()
"""


def test_texts_with_ever_new_characters_leave_nothing_behind(micropython: list[str]) -> None:
    """MicroPython never forgets a character that was looked at by itself: whoever sends many different ones would fill the heap."""
    answer = subprocess.run(
        [*micropython, "-c", TEXTS],
        env={**os.environ, "MICROPYPATH": str(REPOSITORY / "shared")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    before, after = answer.stdout.splitlines()
    assert before.startswith("qstr pool")
    assert before == after
