"""Commands that come late, and commands that come faster than they can be carried out."""

from __future__ import annotations

import pytest

from tests.unit.guard_rig import POWER, House, charge, limit, raw

DISCHARGE = raw(-2000, 1)


def house() -> House:
    """A running node: the restart's business is done, telemetry is fresh."""
    node = House([charge(), limit()])
    node.run(1500)
    return node


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
