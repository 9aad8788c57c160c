"""Hostile bus answers and messages on both interpreters; `just chaos fuzz` tries a million."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos import fuzz
from tests.unit import node_world


def test_hostile_answers_and_messages_raise_nothing_and_write_nothing_unauthorised() -> None:
    assert node_world  # it puts the firmware on the path, and the virtual waiter in its place
    found = fuzz.on_this_interpreter(20_000, 1)
    assert found["bus answers"] + found["messages"] >= 12_000
    assert lively(found)


def test_the_same_on_micropython(micropython: list[str]) -> None:
    assert lively(fuzz.on_micropython(micropython[0], 6000, 2))


def lively(found: Counter[str]) -> bool:
    """The house is not dead for all that hostility: what is authorised is written, and much is read."""
    return found["writes on the bus"] > 20 and found["snapshots"] > 20 and found["authentic commands"] > 20


def test_a_write_that_nobody_authorised_is_found() -> None:
    from tests.chaos import fuzz_house

    house = fuzz_house.House(3)
    house.guard.controls[0].safe = b"\x00\x07"
    house.guard.latch("stop")
    with pytest.raises(fuzz_house.Broken, match="0007 was never authorised"):
        house.run(2000)
