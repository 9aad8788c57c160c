"""kill -9 of the arbiter at any moment: nothing was written that the audit does not know, and the audit replays to the same decisions."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from ohmstead.control.carrier import WRITES
from ohmstead.control.replay import replay, same_end
from ohmstead.store.sqlite import SqliteStore

KILLS = 4


def test_whenever_it_is_killed_the_audit_knows_every_write_and_replays_the_same(tmp_path: Path) -> None:
    chance = random.Random(7)
    records = 0
    for kill in range(KILLS):
        command = [sys.executable, "-m", "tests.unit.arbiter_life", str(tmp_path), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as life:
            assert life.stdout is not None
            assert life.stdout.readline() == b"lives\n"
            time.sleep(0.1 + 0.6 * chance.random())  # not waited for: the moment of the kill
            life.kill()
        store = SqliteStore(tmp_path / "ohm.db")
        try:
            said = replay(store.trail, "growatt")
            assert said.difference is None, said.difference
            assert same_end(store.trail, said)
            decided: Counter[str] = Counter()
            held: set[str] = set()
            for stored in store.trail.records("growatt", 0, 1 << 62):
                for decision in json.loads(stored.record.decisions):
                    if decision[0] in WRITES:
                        decided[f"{decision[1]} {decision[2]}"] += 1
                    elif decision[0] == "hold":  # what is there already is kept by renewals
                        held.add(f"{decision[1]} {decision[2]}")
        finally:
            store.close()
        written = Counter((tmp_path / "writes").read_text().splitlines())
        assert [line for line in written if not decided[line] and line not in held] == [], "nobody decided that"
        home = ("charge 0", "discharge 0", "export_limit 1000")  # is not renewed
        assert [line for line in home if written[line] > decided[line]] == [], "written more often than decided"
        assert said.records > records, "it went on after the kill before"
        records = said.records
    assert records > 200
