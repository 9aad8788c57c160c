"""A node's report task and its end, on a flash that takes nothing and with memory that runs out."""

from __future__ import annotations

import contextlib
import errno
import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos import virtual
from tests.unit import node_world
from tests.unit.node_world import Ended
from tests.unit.test_node_flash import Life

FILE = b"OHM1" + bytes(range(32))  # a configuration, as far as its proof looks


class World(virtual.World):
    """`copy`: what happens when the configuration is to be kept as the last good one."""

    def __init__(self) -> None:
        super().__init__()
        self.files["config.ohm"] = FILE
        self.copies = 0
        self.copy: Callable[[str, str], None] = lambda name, new: None

    def read(self, name: str, most: int = 1 << 20) -> bytes | None:
        content = self.files.get(name)
        return None if content is None else content[:most]

    def setting(self, name: str, default: int) -> int:
        return default


class Reporting:
    """A connected node that reports once a minute: when it did, what it said, what was put off."""

    def __init__(self) -> None:
        assert node_world  # it puts the firmware on the path, and the virtual waiter in place of the node's
        module = importlib.import_module("ohmnode.node")
        self.world = World()
        virtual.adopt(self.world, module)
        self.reports: list[int] = []
        self.said: list[str] = []
        self.postponed = 0
        self.fails: Callable[[], None] = lambda: None
        outbox = SimpleNamespace(
            spool=SimpleNamespace(put_off=self._put_off),
            uptime_ms=self.world.ticks_ms,
            tend=lambda: None,
            log=lambda task, words: self.said.append(words),
            event=lambda *_: None,
        )
        node = self._node = module.Node.__new__(module.Node)
        node._hal, node._outbox, node._report_ms = self.world, outbox, 60_000
        node._transfers = node._commands = None
        node._life = SimpleNamespace(slot="", source="config.ohm", fingerprint=FILE[4:12], outbox=outbox)
        node._link = SimpleNamespace(connected=True)
        node._supervisor = SimpleNamespace(restarts=lambda: 0)
        node._report_counters = self._count

    def _put_off(self) -> None:
        self.postponed += 1

    def _count(self) -> None:
        self.fails()
        self.reports.append(self.world.now // 1000)

    def beat(self) -> None:
        if self.world.now >= self._until:
            raise Ended

    def run(self, minutes: int) -> None:
        self._until = minutes * 60_000
        with contextlib.suppress(Ended):
            self.world.run(self._node._report(self))


def test_reports_go_on_while_the_flash_takes_nothing_and_it_is_said_once() -> None:
    node = Reporting()

    def full(name: str, new: str) -> None:
        node.world.copies += 1
        raise OSError(errno.ENOSPC, "full")

    node.world.copy = full
    node.run(10)
    assert node.reports == [60 * minute for minute in range(1, 11)]
    assert len(node.said) == 1
    assert "proven" in node.said[0]
    assert (node.world.copies > 10, node.postponed) == (True, 0)


def test_what_could_not_be_proven_is_proven_when_the_flash_takes_it_and_another_reason_is_said() -> None:
    node = Reporting()

    def refuse(name: str, new: str) -> None:
        node.world.copies += 1
        if node.world.now < 300_000:
            raise OSError(errno.ENOSPC if node.world.now < 120_000 else errno.EIO, "refused")

    node.world.copy = refuse
    node.run(10)
    assert [words.partition(":")[0] for words in node.said] == ["nothing can be proven"] * 2 + ["this configuration works"]
    assert len(node.reports) == 10


def test_a_report_that_finds_no_memory_is_made_a_little_later() -> None:
    node = Reporting()

    def short() -> None:
        if len(node.reports) == 1 and node.postponed < 2:
            raise MemoryError

    node.fails = short
    node.run(6)
    assert node.postponed == 2
    assert len(node.reports) >= 5
    assert 122 < node.reports[1] < 130, "not at every turn"


# The end of a node


def leave(life: Life, outcome: str) -> None:
    """As `Node.run` does it, of a node with neither buses nor controls."""

    async def end() -> None: ...

    module = importlib.import_module("ohmnode.node")
    node = module.Node.__new__(module.Node)
    node._outbox, node._guard, node._buses, node._supervisor = life.outbox, None, [], SimpleNamespace(end=end)
    virtual.World().run(node._end(outcome))


def waiting(folder: Path) -> Life:
    """Twenty readings of together 10 kB, which nobody has taken; the connection is there."""
    life = Life(folder, frames=64, size=16_384)
    life.spool.away = False
    for _ in range(20):
        life.reading(500)
    assert life.hal.written == 0
    return life


def test_before_a_restart_all_that_waits_goes_to_flash(tmp_path: Path) -> None:
    life = waiting(tmp_path)
    leave(life, "")
    assert life.spool.fresh == 0
    assert life.spool.stored == life.spool.next_seq - 1 == 20
    assert life.hal.written > 1, "more than goes there at once"


@pytest.mark.parametrize("outcome", ["config.next", "config.ohm"])
def test_for_another_configuration_nothing_is_written(tmp_path: Path, outcome: str) -> None:
    life = waiting(tmp_path)
    leave(life, outcome)
    assert (life.hal.written, life.spool.stored, len(life.spool)) == (0, 0, 20)


def test_a_flash_that_was_given_a_pause_is_asked_once_more(tmp_path: Path) -> None:
    life = waiting(tmp_path)
    life.spool.put_off(True)
    leave(life, "")
    assert life.spool.stored == 20


@pytest.mark.parametrize("failure", [MemoryError(), OSError(errno.ENOSPC, "full")])
def test_a_flash_that_takes_nothing_does_not_keep_the_node_from_its_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    life, tries = waiting(tmp_path), 0

    def begin(_settled: int) -> Any:
        nonlocal tries
        tries += 1
        assert tries < 10
        raise failure

    life.outbox.open_flash()
    monkeypatch.setattr(life.spool.flash, "begin", begin)
    leave(life, "")
    assert tries
    assert life.spool.stored == 0
