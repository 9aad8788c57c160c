"""Who may write what: the checks of the node, one after the other."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped] # it comes without types
import pytest

from tests.integration.node_harness import seal
from tests.unit.node_modules import FakeHal, commands, outbox, schedule, spool

KEY, CONTEXT = b"k" * 32, b"home/cellar/command"
LIMIT = {"name": "limit", "function": 6, "address": 25103, "words": 1, "min": 0, "max": 1000, "step": 10, "allowed": None}
MODE = {"name": "mode", "function": 6, "address": 50000, "words": 1, "min": 257, "max": 512, "step": 1, "allowed": [257, 258, 512]}


class Desk:
    def __init__(self, hal: FakeHal | None = None, key: bytes = KEY) -> None:
        self.hal = hal or FakeHal()
        self.device = schedule.Device("mtec", 252, 500, 1, 20, [])
        box = outbox.Outbox(self.hal, spool.Spool(100, 16384))
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        box.event = lambda device, kind, detail: self.events.append((device, kind, dict(detail)))
        self.commands = commands.Commands(self.hal, box, key, CONTEXT)
        self.woken = 0
        for described in (LIMIT, MODE):
            self.commands.add(self.device, described, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def send(
        self, counter: int, value: int | bytes, *, name: str = "limit", identity: int | str | None = None, key: bytes = KEY, ttl: int = 5000
    ) -> None:
        words = value if isinstance(value, bytes) else value.to_bytes(2, "big")
        body = msgpack.packb([1, counter if identity is None else identity, counter, "mtec", name, words, ttl])
        self.commands.accept(seal(key, CONTEXT, body))

    def take(self) -> Any:
        return self.commands.take([self.device])

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(kind, detail["reason"]) for _, kind, detail in self.events]


def test_an_authentic_command_within_its_limits_waits_for_its_bus() -> None:
    desk = Desk()
    desk.send(1, 550)
    command = desk.take()
    assert (command.control.address, command.raw) == (25103, b"\x02\x26")
    assert desk.woken == 1
    assert desk.take() is None
    assert desk.events == []


def test_a_forged_or_broken_command_is_refused() -> None:
    desk = Desk()
    desk.send(1, 550, key=b"x" * 32)
    desk.commands.accept(b"\xc1garbage")
    desk.hal.now += 20_000
    desk.commands.accept(seal(KEY, CONTEXT, b"\x93\x01\x02\x03"))
    assert desk.take() is None
    assert desk.said == [("rejected", "unauthorised"), ("rejected", "malformed")]


def test_a_flood_of_forgeries_makes_few_events() -> None:
    desk = Desk()
    for _ in range(1000):
        desk.send(1, 550, key=b"x" * 32)
        desk.hal.now += 100
    assert 9 <= len(desk.events) <= 11
    assert sum(detail["count"] for _, _, detail in desk.events) > 850


def test_a_replayed_command_is_refused_over_a_restart_too() -> None:
    desk = Desk()
    desk.send(70, 550)
    desk.send(70, 550)
    desk.send(69, 560, identity=1)
    restarted = Desk(desk.hal)
    restarted.send(70, 550)
    assert desk.said == [("rejected", "duplicate"), ("result", "replayed")]
    assert restarted.said == [("result", "replayed")]
    assert restarted.events[0][2]["counter"] == 70
    assert restarted.take() is None
    restarted.send(71, 550)
    assert restarted.take() is not None


def test_many_commands_cost_few_writes_of_the_flash() -> None:
    hal = FakeHal()
    writes = []
    hal.write = lambda name, content: writes.append(content)  # type: ignore[method-assign] # the test counts
    desk = Desk(hal)
    for counter in range(1, 129):
        hal.now += 500
        desk.send(counter, 550)
    assert len(writes) <= 4


def test_without_storage_nothing_is_written() -> None:
    desk = Desk()
    desk.hal.full = True
    desk.send(1, 550)
    assert desk.take() is None
    assert desk.said == [("result", "no storage")]


def test_a_damaged_counter_refuses_everything() -> None:
    hal = FakeHal()
    hal.files["command.counter"] = b"\xff\xfe"
    desk = Desk(hal)
    desk.send(10**9, 550)
    assert desk.take() is None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("limit", 1010, "out of range"),
        ("limit", 555, "off step"),
        ("limit", b"\0\0\0\1", "malformed"),
        ("mode", 259, "not allowed"),
        ("mode", 600, "out of range"),
        ("nothing", 1, "unknown control"),
    ],
)
def test_what_a_control_does_not_take_is_refused(name: str, value: int | bytes, reason: str) -> None:
    desk = Desk()
    desk.send(1, value, name=name)
    assert desk.take() is None
    assert [(detail["stage"], detail["reason"]) for _, _, detail in desk.events] == [("rejected", reason)]


def test_a_newer_command_replaces_one_that_waits() -> None:
    desk = Desk()
    desk.send(1, 500)
    desk.send(2, 600)
    assert desk.events[0][2] == {"id": 1, "control": "limit", "stage": "rejected", "reason": "replaced"}
    assert desk.take().identity == 2
    assert desk.take() is None


def test_a_command_whose_time_is_over_is_not_written() -> None:
    desk = Desk()
    desk.send(1, 500, ttl=1000)
    desk.hal.now += 1001
    assert desk.take() is None
    assert desk.events[0][2]["reason"] == "expired"
