"""The end of the arbiter at any moment: nothing was written that the audit does not know, and the audit replays to the same decisions."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ohmstead.control.carrier import WRITES
from ohmstead.control.replay import replay, same_end
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.trail import Checkpoint, Record, Standing
from tests.unit.arbiter_life import happens
from tests.unit.battery_house import House

KILLS = 20
EVENTS = 70
HOME = ("charge 0", "discharge 0", "export_limit 1000")
"""What is not renewed."""


def decided(store: SqliteStore) -> tuple[Counter[str], set[str]]:
    """By control and value: how often the audit says that it was to be written, and what is there already and kept by renewals."""
    written: Counter[str] = Counter()
    held: set[str] = set()
    for stored in store.trail.records("growatt", 0, 1 << 62):
        for decision in json.loads(stored.record.decisions):
            if decision[0] in WRITES:
                written[f"{decision[1]} {decision[2]}"] += 1
            elif decision[0] == "hold":
                held.add(f"{decision[1]} {decision[2]}")
    return written, held


def nothing_unknown(store: SqliteStore, writes: Iterable[str]) -> None:
    known, held = decided(store)
    written = Counter(writes)
    assert [line for line in written if not known[line] and line not in held] == [], "nobody decided that"
    assert [line for line in HOME if written[line] > known[line]] == [], "written more often than decided"


def test_whenever_it_is_killed_the_audit_knows_every_write_and_replays_the_same(tmp_path: Path) -> None:
    chance = random.Random(7)
    records = 0
    command = [sys.executable, "-m", "tests.unit.arbiter_life", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as lives:
        assert lives.stdin is not None
        assert lives.stdout is not None
        for kill in range(KILLS):
            lives.stdin.write(f"{kill}\n".encode())
            lives.stdin.flush()
            life = int(lives.stdout.readline())
            time.sleep(0.1 * chance.random())  # not waited for: the moment of the kill
            os.kill(life, signal.SIGKILL)
            assert lives.stdout.readline() == b"ended\n"
            store = SqliteStore(tmp_path / "ohm.db")
            try:
                since = round(time.time() * 1000)  # from the last checkpoint on: the whole is replayed after the last kill
                said = replay(store.trail, "growatt", 0 if kill == KILLS - 1 else since)
                assert said.difference is None, (kill, said.difference)
                assert same_end(store.trail, said), kill
                nothing_unknown(store, (tmp_path / "writes").read_text().splitlines())
            finally:
                store.close()
            records = max(records, said.records)
        lives.stdin.close()
    assert records > KILLS * 5, "they lived"


def test_whichever_write_of_the_audit_is_the_last_it_replays_and_goes_on(tmp_path: Path) -> None:
    """The store as it was just before and just after each of its writes: that is what a kill at that moment leaves."""
    chance, moments = random.Random(11), tmp_path / "moments"
    writes: list[list[str]] = []

    async def life() -> None:
        async with House(tmp_path) as house:
            trail = house.store.trail
            commit: Callable[..., int] = trail.commit

            def keep() -> None:
                folder = moments / str(len(writes))
                folder.mkdir(parents=True)
                for file in tmp_path.glob("ohm.db*"):
                    shutil.copy(file, folder)
                writes.append([f"{control} {raw}" for control, raw, _ in house.hand.writes])

            def watched(records: Sequence[Record], standing: Sequence[Standing], checkpoints: Sequence[Checkpoint] = ()) -> int:
                keep()
                number = commit(records, standing, checkpoints)
                keep()
                return number

            trail.commit = watched  # type: ignore[method-assign]  # the eye of this test
            for _ in range(EVENTS):
                house.mono += chance.choice((0.0, 0.1, 5.0, 40.0))
                happens(house, chance)
                while house.arbiter.audit.waiting and chance.random() < 0.95:  # noqa: ASYNC110 - now and then two are written together
                    await asyncio.sleep(0.001)
            await house.settled()

    async def goes_on(folder: Path, mono: float) -> None:
        async with House(folder, now=mono) as house:
            assert {control for control, _, _ in house.hand.writes} == {"charge", "discharge", "export_limit"}, "off is sent anew"
            said = replay(house.store.trail, "growatt")
            assert said.difference is None
            assert same_end(house.store.trail, said)

    asyncio.run(life())
    assert len(writes) >= 40
    for number in range(len(writes)):
        store = SqliteStore(moments / str(number) / "ohm.db")
        try:
            said = replay(store.trail, "growatt")
            assert said.difference is None, (number, said.difference)
            assert same_end(store.trail, said), number
            nothing_unknown(store, writes[number])
        finally:
            store.close()
        if number % 8 == 0:
            asyncio.run(goes_on(moments / str(number), 2_000_000.0))
