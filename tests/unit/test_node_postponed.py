"""What can wait finds no memory: it is counted, tried again, and nothing is lost or told twice."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.unit.node_modules import mailbox
from tests.unit.test_node_flash import Gateway, Life

overlay = importlib.import_module("ohmnode.overlay")


class Memory:
    """Overlays of these names find no room."""

    def __init__(self) -> None:
        self.short: set[str] = set()
        self.laid: list[str] = []

    def lay(self, name: str, spare: int = 0) -> None:
        if name in self.short:
            raise MemoryError
        self.laid.append(name)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    short = Memory()
    monkeypatch.setattr(overlay, "lay", short.lay)
    return short


def test_the_flash_is_opened_when_there_is_memory_again(memory: Memory, tmp_path: Path) -> None:
    memory.short = {"flash"}
    life = Life(tmp_path)
    assert life.flash is None
    life.outage(6)
    assert life.spool.postponed > 1
    assert life.spool.flash is None
    memory.short = set()
    life.wait(5)
    assert life.spool.flash is not None
    assert life.spool.stored == life.spool.next_seq - 1


@pytest.mark.parametrize("part", ["shelve", "fetch"])
def test_what_goes_to_flash_and_comes_from_there_waits_for_memory(memory: Memory, tmp_path: Path, part: str) -> None:
    gateway, life = Gateway(), Life(tmp_path, frames=8, size=1024)
    life.outage(4)
    memory.short = {part}
    life.outage(4)
    life.spool.away = False
    life.send(gateway)
    assert life.spool.postponed
    memory.short = set()
    life.outage(20)
    for _ in range(20):
        life.spool.away = False
        life.send(gateway)
        life.wait(31)
    stored = set(gateway.numbers(life.outbox.boot))
    assert stored | gateway.gone.get(life.outbox.boot, set()) == set(range(1, life.spool.next_seq)), "all has arrived or is told to be gone"
    assert len(stored) == life.spool.next_seq - 1


@pytest.mark.parametrize("early", [True, False])
def test_a_command_with_too_little_memory_makes_a_transfer_pause(early: bool) -> None:
    did: list[object] = []

    class Commands:
        last = 0

        def wake(self, first: bool) -> bool:
            did.append(first)
            return early or not first

        def accept(self, body: bytes) -> None:
            did.append(body)

    box = mailbox.Mailbox(b"ohm/", None, Commands())
    box.pause = lambda: did.append("pause")
    box.take(b"ohm/down/command", b"sealed")
    assert did == ([True, b"sealed"] if early else [True, "pause", False, b"sealed"])
