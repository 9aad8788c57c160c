"""Memory may run out anywhere: what the guard was at is gone on with, and nothing counts as done or kept that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.unit.guard_rig import DISCHARGE, LIMIT, POWER, House, charge, house, limit, raw

SECOND = 400  # where another control's value is


@contextmanager
def short(node: House, wanted: Callable[[str, dict[str, Any]], bool]) -> Iterator[None]:
    """The first event that is `wanted` finds no memory; whoever tells it gets no further."""
    box = node.box
    whole = box.event
    hits: list[str] = []

    def event(name: str, kind: str, detail: dict[str, Any]) -> None:
        if not hits and wanted(kind, detail):
            hits.append(kind)
            raise MemoryError
        whole(name, kind, detail)

    box.event = event  # type: ignore[method-assign] # one outbox only
    with suppress(MemoryError):
        yield
    box.event = whole  # type: ignore[method-assign] # and its own again
    assert hits


@contextmanager
def unkept(node: House) -> Iterator[None]:
    """The state file finds no memory; whoever keeps it gets no further."""
    whole = node.world.write
    hits: list[str] = []

    def write(name: str, content: bytes) -> None:
        if name == "control.state":
            hits.append(name)
            raise MemoryError
        whole(name, content)

    node.world.write = write  # type: ignore[method-assign] # one flash only
    with suppress(MemoryError):
        yield
    node.world.write = whole  # type: ignore[method-assign] # and its own again
    assert hits


def two() -> House:
    node = House([charge(), charge(name="second", blocks=[[16, SECOND, 2]]), limit(reversion=raw(1000))])
    node.inverter.registers |= {SECOND: 0, SECOND + 1: 0}
    node.run(1500)
    return node


def test_a_latch_that_was_interrupted_makes_everything_safe_and_is_kept() -> None:
    node = two()
    assert node.obey(DISCHARGE, control="second", lease=3_600_000) == ("done", "")
    assert node.obey(raw(500), control="limit", lease=3_600_000) == ("done", "")
    node.send(DISCHARGE, lease=3_600_000)
    waiting = node.send(raw(400), control="limit", lease=3_600_000)
    with short(node, lambda kind, _: kind == "result"):
        node.stop(1)
    node.run(3000)
    assert (node.inverter.registers[POWER], node.inverter.registers[SECOND], node.inverter.registers[LIMIT]) == (0, 0, 1000)
    assert node.result(waiting) == ("rejected", "latched")
    node.boot()
    assert node.guard.cause == "stop"


def test_a_latch_that_was_interrupted_is_kept_by_itself() -> None:
    node = house()
    node.send(DISCHARGE)
    with short(node, lambda kind, _: kind == "result"):
        node.stop(1)
    node.run(2000)
    node.boot()
    assert node.guard.cause == "stop"


def test_a_latch_whose_record_finds_no_memory_is_kept_later() -> None:
    node = house()
    node.obey(DISCHARGE)
    with unkept(node):
        node.stop(1)
    node.run(500)
    assert node.inverter.registers[POWER] == 0
    node.run(11_000)
    node.boot()
    assert node.guard.cause == "stop"


def test_a_record_that_finds_no_memory_again_is_tried_again() -> None:
    node = house()
    node.world.full = True
    node.stop(1)
    node.world.full = False
    with unkept(node):
        node.run(12_000)
    node.run(12_000)
    node.boot()
    assert node.guard.cause == "stop"


def test_a_reset_that_finds_no_memory_releases_nothing() -> None:
    node = house()
    node.stop(1)
    node.stop(0)
    node.run(500)
    with unkept(node):
        node.send(b"", control="reset", device="", lease=0)
    assert node.guard.cause == "stop"
    assert node.result(node.send(DISCHARGE)) == ("rejected", "latched")
    assert node.reset() == ("done", "")
    node.boot()
    assert node.guard.cause == ""


def test_nothing_is_written_under_a_lease_that_is_on_no_record() -> None:
    node = House([limit(reversion=raw(1000))])
    node.run(1500)
    identity = node.send(raw(500), control="limit", lease=60_000)
    with unkept(node):
        node.run(2000)
    assert node.inverter.writes == []
    node.run(2000)
    assert (node.result(identity), node.inverter.registers[LIMIT]) == (("done", ""), 500)
    node.boot()
    node.run(2000)
    assert node.inverter.registers[LIMIT] == 1000, "whoever wanted it is gone"


@pytest.mark.parametrize("lease", [0, 3_600_000])
def test_a_command_that_has_expired_is_not_written_whoever_is_told(lease: int) -> None:
    node = House([limit(reversion=raw(1000))])
    node.run(1500)
    node.send(raw(500), control="limit", lease=lease, ttl=50)
    node.guard.next(node.bus.devices)
    node.world.now += 100
    with short(node, lambda kind, detail: kind == "result" and detail["reason"] == "expired"):
        node.run(2000)
    node.run(60_000)
    assert node.inverter.writes == []


def test_a_lease_ends_whoever_is_told() -> None:
    node = house()
    node.obey(DISCHARGE, lease=5000)
    with short(node, lambda kind, detail: detail.get("stage") == "lapsed"):
        node.run(5000)
    node.box.event = lambda name, kind, detail: None  # type: ignore[method-assign] # nobody is told anything more
    node.run(500)
    assert node.inverter.registers[POWER] == 0


def test_a_control_that_was_given_back_is_free_whoever_is_told() -> None:
    node = house()
    node.obey(DISCHARGE, lease=5000)
    with short(node, lambda kind, detail: detail.get("stage") == "reverted"):
        node.run(5000)
    node.run(15_000)
    assert node.told("reverted")[-1] == ("lease", 0)
    reads = node.inverter.reads
    node.inverter.registers[POWER] = 700
    node.run(60_000)
    assert (node.inverter.registers[POWER], node.inverter.reads > reads) == (700, True), "nobody looks at it any more"
