"""kill -9 of node, gateway and broker in random order under load: `just chaos kills`.

Real processes: the flashed image on MicroPython, mosquitto as the compose file has it, `ohmstead run` with its store. Two devices give
every answer a number of its own, so each reading is known wherever it turns up; a relay between node and broker notes what was promised.
At the end each promise is looked up in the store, and each number counted.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types

from tests.chaos.house import House, until
from tests.chaos.rows import Plan, RigError, Row, Tell, bar

KINDS = ("node", "gateway", "broker")
_BREATH = 12
"""After so many kills all is left alone until the gateway has acknowledged something again."""

_PATIENCE_S = 90.0
_BODY = 7


class Part(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...


class Kills:
    """`killed`: how often each was. `findings`: what went wrong on the way."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.killed: Counter[str] = Counter()
        self.findings: list[str] = []
        self._dice = random.Random(seed)
        self._parts: dict[str, Part] = {"node": house.node, "gateway": house.gateway, "broker": house.broker}

    def run(self, each: int, tell: Tell) -> None:
        victims = [kind for kind in KINDS for _ in range(each)]
        self._dice.shuffle(victims)
        for part in ("broker", "gateway", "node"):
            self._parts[part].start()
        self._progress("at the start")
        while victims:
            together = [victims.pop()]
            if victims and victims[-1] != together[0] and self._dice.random() < 0.3:
                together.append(victims.pop())
            for kind in together:
                self._parts[kind].kill()
                self.killed[kind] += 1
            time.sleep(self._dice.uniform(0, 1.2) if self._dice.random() < 0.5 else 0)
            self._dice.shuffle(together)
            for kind in together:
                self._parts[kind].start()
            tell(len(together))
            time.sleep(min(self._dice.expovariate(1 / 1.2), 6))
            if sum(self.killed.values()) % _BREATH < len(together):
                self._progress(f"after {sum(self.killed.values())} kills")

    def _progress(self, when: str) -> None:
        before = self.house.relay.acknowledgements
        self._look_after()
        try:
            until(lambda: self.house.relay.acknowledgements > before + 3, _PATIENCE_S, f"an acknowledgement {when}")
        except RigError as stuck:
            self.findings.append(f"{stuck}; the node's last words: {self.house.node.log[-300:]!r}")

    def _look_after(self) -> None:
        """Nobody but us ends a process."""
        code = self.house.gateway.ended()
        if code is not None:
            self.findings.append(f"the gateway ended by itself with {code}")
            self.house.gateway.start()
        process = self.house.node.process
        if process is not None and process.poll() is not None:
            self.findings.append(f"the node ended by itself with {process.poll()}: {self.house.node.log[-300:]!r}")
            self.house.node.kill()
            self.house.node.start()

    def settle(self) -> None:
        """No more kills: until all that the node has kept is in the store, then an orderly end."""
        self._progress("after the last kill")
        spool = self.house.node.state / "spool"
        try:
            until(lambda: not spool.exists() or not any(spool.iterdir()), _PATIENCE_S, "the end of what the node kept on its flash")
        except RigError as left:
            self.findings.append(str(left))
        self.house.node.kill()
        code = self.house.gateway.end()
        if code:
            self.findings.append(f"the gateway's orderly end had exit code {code}")


class Ledger:
    """What is in the store at the end. `numbers`: the number in each frame → where it is."""

    def __init__(self, database: Path) -> None:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        self.boots: dict[int, tuple[int, int]] = {
            row[0]: (row[1], row[2]) for row in connection.execute("SELECT boot, id, contiguous FROM boots")
        }
        self.there: dict[int, set[int]] = {boot: set() for boot, _ in self.boots.values()}
        self.numbers: dict[int, list[tuple[int, int]]] = {}
        self.events = 0
        for boot, seq, body in connection.execute("SELECT boot_id, seq, body FROM frames"):
            self.there[boot].add(seq)
            frame = unpackb(body)
            if len(frame) > _BODY:
                self.numbers.setdefault(int.from_bytes(frame[_BODY][0][1], "big"), []).append((boot, seq))
            else:
                self.events += 1
        for boot, first, last in connection.execute("SELECT boot_id, first, last FROM dropped"):
            self.there[boot].update(range(first, last + 1))
        of_numbers = "SELECT value FROM samples WHERE series_id IN (SELECT id FROM series WHERE point = 'number')"
        self.values = Counter(value for (value,) in connection.execute(of_numbers))
        self.stored_events = connection.execute("SELECT count(*) FROM events").fetchone()[0]
        connection.close()

    def lost(self, acknowledged: dict[int, int]) -> list[str]:
        """Promises, of the wire and of the store itself, that are not in the store."""
        findings = []
        for boot, (row, contiguous) in self.boots.items():
            promised = max(contiguous, acknowledged.get(boot, 0))
            gone = set(range(1, promised + 1)) - self.there[row]
            if gone:
                findings.append(f"boot {boot}: {len(gone)} of {promised} acknowledged frames are lost, such as {min(gone)}")
        findings += [f"boot {boot}: {seq} was acknowledged, and the store does not know it" for boot, seq in acknowledged.items()
                     if seq and boot not in self.boots]  # fmt: skip
        if without := self.numbers.keys() - self.values.keys():
            findings.append(f"{len(without)} readings are in frames and in no sample, such as {min(without)}")
        if self.stored_events < self.events:
            findings.append(f"{self.events - self.stored_events} events are lost")
        return findings

    def twice(self) -> list[str]:
        findings = [f"reading {number} is in several frames: {places}" for number, places in self.numbers.items() if len(places) > 1]
        findings += [f"reading {value} is stored {count} times" for value, count in self.values.items() if count > 1]
        if self.stored_events > self.events:
            findings.append(f"{self.stored_events - self.events} events are stored twice")
        if strange := self.values.keys() - self.numbers.keys():
            findings.append(f"{len(strange)} readings are in no frame, such as {min(strange)}")
        return findings


def campaign(folder: Path, each: int, seed: int, tell: Tell = lambda _: None) -> tuple[Kills, Ledger, dict[int, int]]:
    """`each` kills of each kind. (What was done, the store at the end, what was promised by boot)."""
    with House(folder) as house:
        kills = Kills(house, seed)
        kills.run(each, tell)
        kills.settle()
        return kills, Ledger(house.database), dict(house.relay.acknowledged)


def rows(plan: Plan) -> list[Row]:
    each = plan.of(70, 6)
    with bar("kill -9", 3 * each) as tell:
        kills, ledger, acknowledged = campaign(plan.room("kills"), each, plan.seed, tell)
    promised = sum(acknowledged.values())
    done = [Row(f"kill -9: {kind}", kills.killed[kind], [], "it comes back by itself", 60) for kind in KINDS]
    done[0].findings = kills.findings
    note = f"{len(ledger.boots)} lives of the node, {promised:,} frames acknowledged to it"
    done.append(Row("after the kills: acknowledged", promised, ledger.lost(acknowledged), "0 lost", 1000, note))
    done.append(Row("after the kills: readings stored", sum(ledger.values.values()), ledger.twice(), "0 stored twice", 1000))
    return done
