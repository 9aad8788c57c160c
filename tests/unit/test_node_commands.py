"""Who may command: what is authentic, new and on record, before anything else is asked."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped] # it comes without types

from tests.integration.node_harness import seal
from tests.unit.node_modules import FakeHal, commands, outbox, spool

KEY, CONTEXT = b"k" * 32, b"home/cellar/command"


class Guard:
    """Takes whatever is handed to it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, Any]] = []
        self.answer: Any = None

    def command(self, device: str, name: str, command: Any) -> str:
        self.taken.append((device, name, command))
        return ""

    def reset(self, identity: int | str, words: bytes) -> str:
        return "stop"


class Desk:
    def __init__(self, hal: FakeHal | None = None, guarded: bool = True) -> None:
        self.hal = hal or FakeHal()
        box = outbox.Outbox(self.hal, spool.Spool(100, 16384))
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        box.event = lambda device, kind, detail: self.events.append((device, kind, dict(detail)))
        self.guard = Guard()
        self.commands = commands.Commands(self.hal, box, KEY, CONTEXT, self.guard if guarded else None, ["meter"])

    def send(
        self, counter: int, *, name: str = "limit", device: str = "mtec", words: bytes = b"\x02\x26", key: bytes = KEY, identity: Any = None
    ) -> None:
        body = msgpack.packb([1, counter if identity is None else identity, counter, device, name, words, 5000, 60_000])
        self.commands.accept(seal(key, CONTEXT, body))

    @property
    def taken(self) -> int:
        return len(self.guard.taken)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(kind, detail["reason"]) for _, kind, detail in self.events]


def test_an_authentic_command_is_handed_on_as_it_is() -> None:
    desk = Desk()
    desk.send(1)
    ((device, name, command),) = desk.guard.taken
    assert (device, name) == ("mtec", "limit")
    assert (command.identity, command.raw, command.ttl_ms, command.lease_ms) == (1, b"\x02\x26", 5000, 60_000)
    assert desk.events == []


def test_a_forged_or_broken_command_is_refused() -> None:
    desk = Desk()
    desk.send(1, key=b"x" * 32)
    desk.commands.accept(b"\xc1garbage")
    desk.hal.now += 20_000
    desk.commands.accept(seal(KEY, CONTEXT, b"\x93\x01\x02\x03"))
    assert desk.taken == 0
    assert desk.said == [("rejected", "unauthorised"), ("rejected", "malformed")]


def test_a_flood_of_forgeries_makes_few_events() -> None:
    desk = Desk()
    for _ in range(1000):
        desk.send(1, key=b"x" * 32)
        desk.hal.now += 100
    assert 9 <= len(desk.events) <= 11
    assert sum(detail["count"] for _, _, detail in desk.events) > 850


def test_a_replayed_command_is_refused_over_a_restart_too() -> None:
    desk = Desk()
    desk.send(70)
    desk.send(70)
    desk.send(69, identity=1)
    restarted = Desk(desk.hal)
    restarted.send(70)
    assert desk.said == [("rejected", "duplicate"), ("result", "replayed")]
    assert restarted.said == [("result", "replayed")]
    assert restarted.events[0][2]["counter"] == 70
    assert restarted.taken == 0
    restarted.send(71)
    assert restarted.taken == 1


def test_many_commands_cost_few_writes_of_the_flash() -> None:
    hal = FakeHal()
    writes = []
    hal.write = lambda name, content: writes.append(content)  # type: ignore[method-assign] # the test counts
    desk = Desk(hal)
    for counter in range(1, 129):
        hal.now += 500
        desk.send(counter)
    assert desk.taken == 128
    assert len(writes) <= 4


def test_without_storage_nothing_is_handed_on() -> None:
    desk = Desk()
    desk.hal.full = True
    desk.send(1)
    assert desk.taken == 0
    assert desk.said == [("result", "no storage")]


def test_a_damaged_counter_refuses_everything() -> None:
    hal = FakeHal()
    hal.files["command.counter"] = b"\xff\xfe"
    desk = Desk(hal)
    desk.send(10**9)
    assert desk.taken == 0


def test_a_device_that_is_only_read_is_named_as_such() -> None:
    for guarded in (True, False):
        desk = Desk(guarded=guarded)
        desk.send(1, device="meter")
        assert desk.said == [("result", "read-only")]
        assert desk.taken == 0


def test_a_node_without_controls_knows_none() -> None:
    desk = Desk(guarded=False)
    desk.send(1)
    desk.send(2, device="", name="reset", words=b"")
    assert desk.said == [("result", "unknown control")] * 2


def test_a_command_to_the_node_itself_goes_to_whoever_does_it() -> None:
    desk = Desk()
    asked: list[tuple[int | str, bytes]] = []

    def scan(identity: int | str, words: bytes) -> str:
        asked.append((identity, words))
        return ""

    desk.commands.system["scan"] = scan
    desk.send(1, device="", name="scan", words=b"\0\1\0\7\0\0")
    desk.send(2, device="", name="reset", words=b"")
    assert asked == [(1, b"\0\1\0\7\0\0")]
    assert [(detail["id"], detail["stage"], detail["reason"]) for _, _, detail in desk.events] == [(1, "done", ""), (2, "rejected", "stop")]
