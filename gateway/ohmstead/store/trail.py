"""The arbiter's audit in the store: every event that it was given, with what it decided, and from where a replay can begin.

`decided` is append-only but for its old end. `standing` has each device's state after its last record, written with it: after a kill both
are of the same moment. `checkpoints` have a state and its setup, as they were after a record; a replay begins there, and nothing is
forgotten but what lies before one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

Read = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]

_PAGE = 2000
_PRUNE_ROWS = 20_000
_ALL = 1 << 62
_CHECKPOINTS = "SELECT device, time, setup, state, after, program FROM checkpoints WHERE device = ?"


class Record(NamedTuple):
    """What the arbiter was told, and what it decided, both as JSON. `at`: ms of the monotonic clock, `time`: UTC ms."""

    device: str
    at: int
    time: int
    event: str
    decisions: str


class StoredRecord(NamedTuple):
    """A record with its number: they grow in the order in which it was decided."""

    id: int
    record: Record


class Standing(NamedTuple):
    """A device's state after a record. `boot` names the run of the machine that the clock in it belongs to."""

    device: str
    boot: str
    time: int
    state: str


class Checkpoint(NamedTuple):
    """A device's setup and its state after the record `after`, both as JSON. `program` is who decided what follows, until the next one;
    empty where an older version did, which kept no such thing."""

    device: str
    time: int
    setup: str
    state: str
    after: int = 0
    program: str = ""


class Trail(Protocol):
    """Everything may block and raises StoreError when the medium fails; then nothing was written."""

    def commit(self, records: Sequence[Record], standing: Sequence[Standing], checkpoints: Sequence[Checkpoint] = ()) -> int:
        """Makes records durable, in one transaction with the states that follow from them; returns the number of the first one.
        `checkpoints` are states before the records; their `after` is found here."""
        ...

    def standing(self, device: str) -> Standing | None:
        """The state that was kept last."""
        ...

    def checkpoint(self, device: str, before: int) -> Checkpoint | None:
        """The last checkpoint that was made up to a UTC ms; the first one there is when all are later."""
        ...

    def checkpoints(self, device: str, after: int) -> list[Checkpoint]:
        """The checkpoints beyond a record's number, in their order."""
        ...

    def records(self, device: str, after: int, until: int) -> Iterator[StoredRecord]:
        """The records beyond a number and before a UTC ms, in their order; read page by page."""
        ...

    def last(
        self, limit: int = 100, *, device: str = "", silent: bool = False, before: int | None = None, since: int = 0, until: int = _ALL
    ) -> list[StoredRecord]:
        """The newest records, newest first; `silent`: readings and heartbeats as well that decided nothing. `before`: a number; from
        `since` to before `until`: UTC ms."""
        ...

    def prune(self, before: int) -> int:
        """Forgets what is older than a UTC ms and not needed to begin a replay after it; returns how many records."""
        ...


class SqliteTrail:
    """A `Trail` in the tables `decided`, `standing` and `checkpoints`, over a store's own connections."""

    def __init__(self, transaction: Transaction, read: Read) -> None:
        self._transaction = transaction
        self._read = read

    def commit(self, records: Sequence[Record], standing: Sequence[Standing], checkpoints: Sequence[Checkpoint] = ()) -> int:
        with self._transaction() as connection:
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'decided'").fetchone()
            last = int(found[0]) if found else 0
            connection.executemany(
                "INSERT INTO checkpoints (device, time, setup, state, after, program) VALUES (?, ?, ?, ?, ?, ?)",
                [checkpoint._replace(after=last) for checkpoint in checkpoints],
            )
            connection.executemany("INSERT INTO decided (device, at, time, event, decisions) VALUES (?, ?, ?, ?, ?)", records)
            connection.executemany("INSERT OR REPLACE INTO standing (device, boot, time, state) VALUES (?, ?, ?, ?)", standing)
        return last + 1

    def standing(self, device: str) -> Standing | None:
        found = self._read("SELECT device, boot, time, state FROM standing WHERE device = ?", (device,))
        return Standing._make(found[0]) if found else None

    def checkpoint(self, device: str, before: int) -> Checkpoint | None:
        found = self._read(f"{_CHECKPOINTS} AND time <= ? ORDER BY id DESC LIMIT 1", (device, before))
        found = found or self._read(f"{_CHECKPOINTS} ORDER BY id LIMIT 1", (device,))
        return Checkpoint._make(found[0]) if found else None

    def checkpoints(self, device: str, after: int) -> list[Checkpoint]:
        found = self._read(f"{_CHECKPOINTS} AND after > ? ORDER BY id", (device, after))
        return [Checkpoint._make(row) for row in found]

    def records(self, device: str, after: int, until: int) -> Iterator[StoredRecord]:
        while True:
            found = self._read(
                "SELECT id, device, at, time, event, decisions FROM decided WHERE device = ? AND id > ? ORDER BY id LIMIT ?",
                (device, after, _PAGE),
            )
            for number, *row in found:
                if row[2] >= until:
                    return
                yield StoredRecord(number, Record._make(row))
            if len(found) < _PAGE:
                return
            after = found[-1][0]

    def last(
        self, limit: int = 100, *, device: str = "", silent: bool = False, before: int | None = None, since: int = 0, until: int = _ALL
    ) -> list[StoredRecord]:
        found = self._read(
            "SELECT id, device, at, time, event, decisions FROM decided WHERE time >= ? AND time < ?"
            " AND (? OR decisions <> '[]' OR substr(event, 3, 4) NOT IN ('tele', 'read', 'hear', 'tick'))"
            " AND (device = ? OR ? = '') AND id < ? ORDER BY id DESC LIMIT ?",
            (since, until, silent, device, device, _ALL if before is None else before, limit),
        )
        return [StoredRecord(number, Record._make(row)) for number, *row in found]

    def prune(self, before: int) -> int:
        pruned = 0
        with self._transaction() as connection:
            for device, kept in connection.execute(
                "SELECT device, max(id) FROM checkpoints WHERE time <= ? GROUP BY device", (before,)
            ).fetchall():
                after = connection.execute("SELECT after FROM checkpoints WHERE id = ?", (kept,)).fetchone()[0]
                pruned += connection.execute(
                    "DELETE FROM decided WHERE id IN (SELECT id FROM decided WHERE device = ? AND id <= ? ORDER BY id LIMIT ?)",
                    (device, after, _PRUNE_ROWS),
                ).rowcount
                connection.execute("DELETE FROM checkpoints WHERE device = ? AND id < ?", (device, kept))
        return pruned
