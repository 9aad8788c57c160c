"""The store in one SQLite file: write-ahead log, one writing connection, prepared statements.

Durability: `synchronous=FULL`. In WAL mode NORMAL survives a killed process but not a power cut, because a commit is not
flushed before it returns; FULL flushes the log with every commit, so what `commit` acknowledged is on the medium. That
costs one flush per group commit, not per frame. A check-point flushes by itself before it re-uses the log, and a disk that
is too full for it leaves the commit standing in the log.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from ohmstead.store.batches import WRITE_META, Batches, insert_event
from ohmstead.store.changes import Standing, steps
from ohmstead.store.plans import SqlitePlans
from ohmstead.store.protocol import (
    Acknowledgements,
    Anchor,
    AuditEntry,
    Batch,
    Boot,
    Bucket,
    Latest,
    NodeEvent,
    StoredEvent,
    StoreError,
)
from ohmstead.store.samples import SqliteSamples
from ohmstead.store.schema import migrate
from ohmstead.store.trail import SqliteTrail
from ohmstead.store.trouble import REOPEN, UNFIT, as_store_error, code_of

log = structlog.get_logger(service="store")

_BUSY_S = 5.0
_PRUNE_ROWS = 10_000
_BOOTS_LISTED = 200
_OFTEN = ("bus",)  # kinds of events that come every minute: forgotten with the raw frames


class SqliteStore:
    """A `Store` in the file `path`, which is made, with its folder, if it is not there.

    `units`: per device each point's unit, kept beside the series. `transient`: per device the points that are not worth keeping
    (a clock); names with a dot, a decoder's own, never are. `standing`: the devices of which only changes are recorded. `keep_raw_s`: how
    long raw bodies are kept, in seconds.
    Raises `StoreError` if the file cannot be used, also when a newer version of the program wrote it.
    """

    def __init__(
        self,
        path: Path,
        *,
        units: Mapping[str, Mapping[str, str]] | None = None,
        transient: Mapping[str, Collection[str]] | None = None,
        standing: Mapping[str, Standing] | None = None,
        keep_raw_s: float = 7 * 86_400.0,
    ) -> None:
        self.path = path
        self.duplicates = 0
        self._standing = standing or {}
        self._keep_raw_ms = int(keep_raw_s * 1000)
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._batches = Batches(units or {}, transient or {})
        self._broken = False
        self.plans = SqlitePlans(self._transaction, self._read)
        """Prices, the exchange rate and plans."""
        self.trail = SqliteTrail(self._transaction, self._read)
        """What the arbiter was told and decided."""
        self.samples = SqliteSamples(self._read)
        """What was measured, as it was."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; give another store.path, or make its folder", try_again=False) from error
        with self._translated():
            self._connection = self._open()
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only = ON")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            version = migrate(connection, str(self.path))
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("PRAGMA journal_size_limit = 16777216")
        except BaseException:
            connection.close()
            raise
        log.debug("open", path=str(self.path), schema=version)
        return connection

    def close(self) -> None:
        with self._writing, self._reading:
            self._reader.close()
            self._connection.close()

    # Writing

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._broken = self._broken or code_of(error) in REOPEN
            raise as_store_error(self.path, error) from error
        except UNFIT as error:
            raise as_store_error(self.path, error) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, durable at the end. What was remembered of the rows is forgotten when nothing came of it."""
        with self._writing, self._translated():
            if self._broken:
                self._connection.close()
                self._connection = self._open()
                self._broken = False
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._batches.forget()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def commit(self, batch: Batch) -> Acknowledgements:
        with self._transaction() as connection:
            acknowledged, duplicates = self._batches.write(connection, batch)
        self.duplicates += duplicates
        return acknowledged

    def prune(self, now_ms: int) -> int:
        before = now_ms - self._keep_raw_ms
        pruned = 0
        with self._transaction() as connection:
            for boot_id, contiguous in connection.execute("SELECT id, contiguous FROM boots").fetchall():
                kept = connection.execute(
                    "SELECT seq FROM frames WHERE boot_id = ? AND (received >= ? OR seq > ?) ORDER BY seq LIMIT 1",
                    (boot_id, before, contiguous),
                ).fetchone()
                end = contiguous + 1 if kept is None else kept[0]
                pruned += connection.execute(
                    "DELETE FROM frames WHERE boot_id = ? AND seq < ? AND seq IN"
                    " (SELECT seq FROM frames WHERE boot_id = ? ORDER BY seq LIMIT ?)",
                    (boot_id, end, boot_id, _PRUNE_ROWS),
                ).rowcount
            for kind in _OFTEN:
                connection.execute("DELETE FROM events WHERE kind = ? AND time < ?", (kind, before))
        return pruned

    def append_audit(self, *, time: float, author: str, device: str, control: str, requested: str, reason: str = "") -> int:
        with self._transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO audit (time, author, device, control, requested, reason) VALUES (?, ?, ?, ?, ?, ?)",
                (round(time * 1000), author, device, control, requested, reason),
            )
            return int(cursor.lastrowid or 0)

    def finish_audit(self, entry: int, *, time: float, outcome: str, reason: str = "") -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO audit_outcome (audit_id, outcome, time, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (entry, outcome, round(time * 1000), reason),
            )

    def write_meta(self, key: str, value: str) -> None:
        with self._transaction() as connection:
            connection.execute(WRITE_META, (key, value))

    def append_event(self, event: StoredEvent) -> None:
        with self._transaction() as connection:
            insert_event(connection, round(event.time * 1000), event.node, event.device, NodeEvent(event.kind, event.detail))

    # Reading

    def _read(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._reading, self._translated():
            return self._reader.execute(query, parameters).fetchall()

    def boots(self) -> list[Boot]:
        found = self._read(
            "SELECT node, boot, contiguous, anchor, anchored FROM boots ORDER BY coalesce(anchored, 0) DESC, id DESC LIMIT ?",
            (_BOOTS_LISTED,),
        )
        return [
            Boot(node, boot, contiguous, None if anchor is None else Anchor(anchor, anchored))
            for node, boot, contiguous, anchor, anchored in found
        ]

    def read_meta(self, key: str) -> str | None:
        found = self._read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(found[0][0]) if found else None

    def latest(self) -> list[Latest]:
        found = self._read(
            "SELECT device, point, unit, ts, value FROM series JOIN samples ON series_id = series.id"
            " AND ts = (SELECT max(ts) FROM samples WHERE series_id = series.id) ORDER BY series.id"
        )
        return [Latest(device, point, unit, ts / 1000, value) for device, point, unit, ts, value in found]

    def history(self, device: str, point: str, start: float, end: float, bucket: float) -> list[Bucket]:
        width = max(1, round(bucket * 1000))
        standing = self._standing.get(device)
        if standing is not None:
            return self._steps(device, point, round(start * 1000), round(end * 1000), width, round(standing.seconds(point) * 1000))
        where = (
            " FROM samples WHERE series_id = (SELECT id FROM series WHERE device = ? AND point = ?) AND ts >= ? AND ts < ?"
            " AND (typeof(value) = 'text') = ? GROUP BY span ORDER BY span"
        )
        span = (width, width, device, point, round(start * 1000), round(end * 1000))
        found = self._read(f"SELECT ts / ? * ? AS span, avg(value), min(value), max(value), count(*){where}", (*span, False))
        if not found:  # of the rows of a group SQLite takes the one where max() was found
            found = [
                (ts, value, value, value, count)
                for ts, _, value, count in self._read(f"SELECT ts / ? * ? AS span, max(ts), value, count(*){where}", (*span, True))
            ]
        return [Bucket(ts / 1000, *row) for ts, *row in found]

    def _steps(self, device: str, point: str, first: int, last: int, width: int, stands: int) -> list[Bucket]:
        query = (
            "SELECT ts, value FROM samples WHERE series_id = (SELECT id FROM series WHERE device = ? AND point = ?)"
            " AND ts >= ? AND ts < ? ORDER BY ts"
        )
        return steps(self._read(query, (device, point, first - stands, last)), first, last, width, stands)

    def events(self, limit: int = 100) -> list[StoredEvent]:
        found = self._read("SELECT time, node, device, kind, detail FROM events ORDER BY id DESC LIMIT ?", (limit,))
        return [StoredEvent(time / 1000, node, device, kind, json.loads(detail)) for time, node, device, kind, detail in found]

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        found = self._read(
            "SELECT id, a.time / 1000.0, author, device, control, requested, a.reason,"
            " coalesce(o.outcome, ''), coalesce(o.reason, ''), o.time / 1000.0 FROM audit a"
            " LEFT JOIN audit_outcome o ON o.rowid = (SELECT max(rowid) FROM audit_outcome WHERE audit_id = a.id) ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [AuditEntry._make(entry) for entry in found]
