"""A node's connection: packets that find no memory, and clocks that have run for longer than the tick counter."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit.node_modules import mailbox, packets, spool

overlay = importlib.import_module("ohmnode.overlay")

ROOT = b"ohm/home/node/cellar/"
STOP = ROOT + b"stop"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`ohmnode.session` with nobody's MQTT client: each test has its own."""
    simple = ModuleType("umqtt.simple")
    vars(simple).update(MQTTClient=object, MQTTException=OSError)
    monkeypatch.setitem(sys.modules, "umqtt", ModuleType("umqtt"))
    monkeypatch.setitem(sys.modules, "umqtt.simple", simple)
    vars(sys.modules["umqtt"])["simple"] = simple
    sys.modules.pop("ohmnode.session", None)
    yield importlib.import_module("ohmnode.session")
    sys.modules.pop("ohmnode.session", None)


class Ticks:
    """The tick counter of an ESP32: it wraps every 2**30 ms, and differences of more than half of that have the wrong sign."""

    now = 0

    def ticks_ms(self) -> int:
        return self.now & 0x3FFFFFFF

    def ticks_diff(self, later: int, earlier: int) -> int:
        return ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000


class Received:
    """A connection on which these bytes have come."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def readinto(self, buffer: memoryview) -> int | None:
        n = min(len(buffer), len(self._content))
        buffer[:n] = self._content[:n]
        self._content = self._content[n:]
        return n or None


def publish(topic: bytes, body: bytes) -> bytes:
    return bytes([packets.PUBLISH, 2 + len(topic) + len(body)]) + len(topic).to_bytes(2, "big") + topic + body


class Client:
    """Reads as umqtt does, in small steps, of which so many find no memory."""

    def __init__(self, pipe: Any, take: Callable[[bytes, bytes], None], failing: int) -> None:
        self._pipe, self._take, self.failing = pipe, take, failing

    def wait_msg(self) -> None:
        self._pipe.read(1)
        size = self._pipe.read(1)[0]
        if self.failing:
            self.failing -= 1
            raise MemoryError
        topic = self._pipe.read(int.from_bytes(self._pipe.read(2), "big"))
        self._take(bytes(topic), bytes(self._pipe.read(size - 2 - len(topic))))


def session(module: ModuleType, box: Any, content: bytes, failing: int) -> Any:
    link = SimpleNamespace(mailbox=box, node=SimpleNamespace(pause=lambda: None), outbox=SimpleNamespace(spool=spool.Spool(40, 4096)))
    link.log = lambda _: None
    made = module.Session.__new__(module.Session)
    made._hal, made._link, made._pipe, made._connection = Ticks(), link, packets.Pipe(), Received(content)
    made._pipe.reset()
    made._client = Client(made._pipe, box.take, failing)
    made._heard, made._pinged = 0, None
    return made


class Switch:
    """A guard's ear for the emergency stop."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def level(self, level: int) -> None:
        self.heard.append(level)


def box(switch: Switch) -> Any:
    said = SimpleNamespace(log=lambda *_: None, event=lambda *_: None)
    return mailbox.Mailbox(ROOT, said, None, switch)


def test_an_emergency_stop_that_found_no_memory_is_read_once_more(module: ModuleType) -> None:
    switch = Switch()
    connection = session(module, box(switch), publish(STOP, b"1") + publish(STOP, b"0"), failing=1)
    assert connection._receive()
    assert switch.heard == [1, 0], "and what comes behind it is in step"
    assert connection._link.outbox.spool.postponed == 1


def test_where_there_is_no_memory_at_all_it_comes_again_with_a_new_connection(module: ModuleType) -> None:
    switch = Switch()
    with pytest.raises(MemoryError):
        session(module, box(switch), publish(STOP, b"1"), failing=2)._receive()
    assert switch.heard == []


def test_a_packet_that_makes_no_sense_still_costs_only_itself(module: ModuleType) -> None:
    switch = Switch()
    connection = session(module, box(switch), publish(STOP, b"1"), failing=0)
    connection._client.wait_msg = lambda: bytes([300])
    assert connection._receive()
    assert connection._link.mailbox.refused == {"broken packet": 1}


def test_what_is_not_acknowledged_is_sent_again_also_after_weeks_on_one_connection(module: ModuleType) -> None:
    day = 86_400_000
    ticks, kept, sent = Ticks(), spool.Spool(40, 4096), []
    link = SimpleNamespace(
        outbox=SimpleNamespace(spool=kept, uptime_ms=lambda: ticks.now, replay=lambda _: 0), vitals=SimpleNamespace(take=lambda: None)
    )
    made = module.Session.__new__(module.Session)
    made._hal, made._link, made._backlog, made._more = ticks, link, ticks.ticks_ms(), False
    made._publish = lambda _topic, body, _retain: sent.append(bytes(body))
    kept.connected()
    while ticks.now < 7 * day:  # all goes well: nothing is ever sent twice
        kept.add(memoryview(b"reading"), False)
        made._next()
        kept.acknowledge(kept.next_seq - 1)
        ticks.now += 3_600_000
    kept.add(memoryview(b"the last one"), False)
    made._next()
    before = len(sent)
    for _ in range(10):
        ticks.now += 60_000
        made._next()
    assert sent[before:].count(b"the last one") > 2


class Commands:
    """Takes a command, and finds no memory before or after its counter is spent."""

    def __init__(self, spent: bool) -> None:
        self.last, self.spent = 5, spent

    def wake(self, _early: bool) -> bool:
        return True

    def accept(self, _body: bytes) -> None:
        self.last += self.spent
        raise MemoryError


def test_a_command_is_read_once_more_only_while_its_counter_is_not_spent() -> None:
    untouched = mailbox.Mailbox(ROOT, None, Commands(False))
    with pytest.raises(MemoryError):
        untouched.take(ROOT + b"down/command", b"sealed")
    spent = mailbox.Mailbox(ROOT, None, Commands(True))
    spent.take(ROOT + b"down/command", b"sealed")
    assert spent.refused == {"no memory": 1}


def test_the_reserve_is_given_up_once_and_kept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "LINKED", True)
    monkeypatch.setattr(overlay, "_reserve", b"")
    with pytest.raises(MemoryError):
        overlay.room(overlay.SPARE)
    assert overlay.reserve(True)
    assert not overlay.reserve(True)
    overlay.room(overlay.SPARE)
    assert overlay.reserve(False)
    assert not overlay.reserve(False)
    overlay.room(overlay.FEW)
    with pytest.raises(MemoryError):
        overlay.room(overlay.SPARE)
