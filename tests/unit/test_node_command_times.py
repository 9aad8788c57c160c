"""Commands that come late, and commands that come faster than they can be carried out."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.unit.guard_rig import DISCHARGE, LIMIT, POWER, SOC, House, charge, floor, house, limit, raw


@pytest.mark.parametrize(("control", "value", "lease"), [("limit", raw(500), 0), ("charge", DISCHARGE, 60_000)])
def test_a_command_begun_in_time_is_not_written_after_its_end(control: str, value: bytes, lease: int) -> None:
    """It is read before it is written; the inverter answers that only when the time is over."""
    node = house()
    answering = node.wire.peer

    def slow(request: bytes) -> list[tuple[int, bytes]]:
        delay = 85 if request[1] == 3 and request[2:4] != b"\0\x64" else 0
        return [(ms + delay, frame) for ms, frame in answering(request)]

    node.wire.peer = slow
    identity = node.send(value, control=control, lease=lease, ttl=80)
    node.run(3000)
    assert node.result(identity) == ("failed", "expired")
    assert node.inverter.writes == []
    node.wire.peer = answering
    assert node.obey(value, control=control, lease=lease) == ("done", "")


def test_a_device_that_answers_again_too_late_is_not_written_to() -> None:
    node = house()
    node.inverter.silent = True
    identity = node.send(DISCHARGE, ttl=150)
    node.run(150)
    node.inverter.silent = False
    node.run(3000)
    assert node.result(identity) == ("failed", "no answer")
    assert node.inverter.wrote(POWER) == []


def test_what_was_begun_in_time_is_written_to_its_end() -> None:
    node = House([charge(ramp=500)])
    node.run(1000)
    identity = node.send(raw(2200, 1), ttl=200)
    node.run(8000)
    assert node.result(identity) == ("done", "")
    assert node.inverter.wrote(POWER) == [500, 1000, 1500, 2000, 2200]


# Floods

EVERY_MS = 10


def flood(node: House, value: Callable[[int], bytes], ms: int, control: str = "charge", lease: int = 60_000) -> list[int]:
    """A command each 10 ms, whatever becomes of them: the bus is busy meanwhile. Their ids."""
    sent: list[int] = []
    began = node.world.now
    answering = node.wire.peer

    def interrupted(request: bytes) -> list[tuple[int, bytes]]:
        while node.world.now - began < ms and len(sent) * EVERY_MS <= node.world.now - began:
            sent.append(node.send(value(len(sent)), control=control, lease=lease))
        return answering(request)

    node.wire.peer = interrupted
    node.run(ms)
    node.wire.peer = answering
    assert len(sent) >= 0.9 * ms / EVERY_MS
    return sent


def outcomes(node: House, sent: list[int]) -> dict[tuple[str, str], int]:
    """How often what became of them, each of which is told once."""
    found: dict[tuple[str, str], int] = {}
    for identity in sent:
        found[node.result(identity)] = found.get(node.result(identity), 0) + 1
    return found


def test_of_a_flood_of_commands_some_are_carried_out_and_the_newest_at_last() -> None:
    node = house()
    sent = flood(node, lambda number: raw(10 * (number % 100)), 4000, "limit", 0)
    node.run(1000)
    became = outcomes(node, sent)
    assert set(became) <= {("done", ""), ("unchanged", ""), ("rejected", "replaced")}
    assert became["done", ""] >= 20
    assert node.result(sent[-1])[0] in ("done", "unchanged")
    assert node.inverter.registers[LIMIT] == 10 * ((len(sent) - 1) % 100)


@pytest.mark.parametrize("value", [DISCHARGE, raw(0, 0)], ids=["forced", "safe"])
def test_a_flood_of_the_same_is_carried_out_at_once(value: bytes) -> None:
    node = house()
    node.obey(raw(500, 1))
    began = node.world.now
    sent = flood(node, lambda _: value, 1000)
    node.run(1000)
    assert node.inverter.registers[POWER] == int.from_bytes(value[:2], "big")
    assert node.inverter.writes[-1].at - began <= 200
    assert ("done", "") in outcomes(node, sent)


def test_what_is_safe_waits_for_nobody_else() -> None:
    """It takes the place of what is in hand, and is written as soon as it has been looked at."""
    node = house()
    node.obey(DISCHARGE)
    node.send(raw(3000, 1))
    began = node.world.now
    node.watch = lambda: None if node.guard.controls[0].work.phase == 0 else stop.append(node.send(raw(0, 0))) if not stop else None
    stop: list[int] = []
    node.run(2000)
    assert node.result(stop[0])[0] in ("done", "unchanged")
    assert 3000 not in node.inverter.wrote(POWER)
    assert node.inverter.registers[POWER] == 0
    assert node.inverter.writes[-1].at - began <= 200


def test_a_flood_does_not_outrun_the_ramp() -> None:
    node = House([charge(ramp=500)])
    node.run(1000)
    flood(node, lambda number: raw(2200 + number % 2, 1), 3500)
    node.run(5000)
    moments = [write.at for write in node.inverter.writes]
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 1000
    assert node.inverter.wrote(POWER)[:4] == [500, 1000, 1500, 2000]
    assert node.inverter.registers[POWER] in (2200, 2201)


def test_polls_go_on_in_a_flood_of_commands() -> None:
    node = House([charge(), limit()], [floor()])
    node.run(1500)
    polled: list[int] = []
    answering = node.wire.peer

    def counting(request: bytes) -> list[tuple[int, bytes]]:
        if request[1] == 3 and request[2:4] == SOC.to_bytes(2, "big"):
            polled.append(node.world.now)
        return answering(request)

    node.wire.peer = counting
    flood(node, lambda number: raw(10 * (number % 100)), 8000, "limit", 0)
    assert len(polled) >= 4
    assert max(later - earlier for earlier, later in itertools.pairwise(polled)) <= 3000
    assert node.told("safe") == [], "no limit had to take what it did not see for stale"


def test_the_end_of_a_lease_is_not_put_off_by_a_flood_that_is_refused() -> None:
    node = house()
    node.obey(DISCHARGE, lease=3000)
    flood(node, lambda _: raw(3001, 1), 3000)
    assert node.inverter.registers[POWER] == 0
