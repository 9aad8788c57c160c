"""The store in one SQLite file: write-ahead log, one writing connection, prepared statements.

Durability: `synchronous=FULL`. In WAL mode NORMAL survives a killed process but not a power cut, because a commit is not
flushed before it returns; FULL flushes the log with every commit, so what `commit` acknowledged is on the medium. That
costs one flush per group commit, not per frame. A check-point flushes by itself before it re-uses the log, and a disk that
is too full for it leaves the commit standing in the log.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from ohmstead.readings import Value
from ohmstead.store.changes import Standing, steps
from ohmstead.store.plans import SqlitePlans
from ohmstead.store.protocol import (
    OF_SOURCES,
    Acknowledgements,
    Anchor,
    AuditEntry,
    Batch,
    Boot,
    BootKey,
    Bucket,
    Frame,
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
_CROWD_MS = 1_000
_BOOTS_LISTED = 200
_BOOTS_CACHED = 1_000
_OFTEN = ("bus",)  # kinds of events that come every minute: forgotten with the raw frames

_INSERT_SAMPLE = "INSERT INTO samples (series_id, ts, value) VALUES (?, ?, ?)"
_INSERT_SAMPLE_IF_FREE = _INSERT_SAMPLE.replace("INSERT", "INSERT OR IGNORE")
_WRITE_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_INSERT_FRAME = "INSERT OR IGNORE INTO frames (boot_id, seq, received, time, body) VALUES (?, ?, ?, ?, ?)"

Row = tuple[int, int, Value]


class _Settled:
    """How far one boot is settled, as the committed rows say."""

    __slots__ = ("contiguous", "id")

    def __init__(self, row_id: int, contiguous: int) -> None:
        self.id = row_id
        self.contiguous = contiguous


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
        self._units = units or {}
        self._transient = transient or {}
        self._standing = standing or {}
        self._keep_raw_ms = int(keep_raw_s * 1000)
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._series: dict[str, dict[str, int]] = {}
        self._boots: dict[BootKey, _Settled] = {}
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
                self._series.clear()
                self._boots.clear()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def commit(self, batch: Batch) -> Acknowledgements:
        with self._transaction() as connection:
            if len(self._boots) > _BOOTS_CACHED:
                self._boots.clear()
            touched: dict[BootKey, _Settled] = {}
            rows: list[Row] = []
            duplicates = self._add_frames(connection, batch.frames, touched, rows)
            for snapshot in batch.snapshots:
                rows.extend(self._rows(connection, snapshot.device, round(snapshot.time * 1000), snapshot.values))
            _add_samples(connection, rows)
            kept = {key: text for snapshot in batch.snapshots for key, text in snapshot.kept.items()}
            connection.executemany(_WRITE_META, [(OF_SOURCES + key, text) for key, text in kept.items()])
            for key, first_seq in batch.first_seqs.items():
                boot = touched[key] = self._boot(connection, key, round(batch.anchors[key].at * 1000) if key in batch.anchors else 0)
                boot.contiguous = max(boot.contiguous, first_seq - 1)
            for boot in touched.values():
                boot.contiguous = _advance(connection, boot)
                connection.execute("UPDATE boots SET contiguous = ? WHERE id = ?", (boot.contiguous, boot.id))
            for key, anchor in batch.anchors.items():
                connection.execute(
                    "UPDATE boots SET anchor = ?, anchored = ? WHERE id = ?", (anchor.offset, anchor.at, self._boot(connection, key).id)
                )
        self.duplicates += duplicates
        return {key: boot.contiguous for key, boot in touched.items()}

    def _add_frames(
        self, connection: sqlite3.Connection, frames: Sequence[Frame], touched: dict[BootKey, _Settled], rows: list[Row]
    ) -> int:
        """Inserts the frames that are new, collects their samples in `rows`; returns how many were there already."""
        duplicates = 0
        insert = connection.cursor().execute
        for frame in frames:
            node, number, seq, received, time, device, values, body, event, behind = frame
            key = (node, number)
            boot = touched.get(key)
            if boot is None:
                boot = touched[key] = self._boot(connection, key, received)
            if seq <= boot.contiguous or not insert(_INSERT_FRAME, (boot.id, seq, received, time, body)).rowcount:
                duplicates += 1
            elif event is None:
                rows.extend(self._rows(connection, device, time, values))
                for member, said in behind.items():
                    rows.extend(self._rows(connection, member, time, said))
            else:
                _insert_event(connection, time, node, device, event)
                if event.kind == "dropped":
                    key = (node, event.detail.get("boot", number))  # what is gone may be of an earlier boot
                    boot = touched[key] = self._boot(connection, key, received)
                    _add_dropped(connection, boot.id, event.detail.get("ranges", ()))
        return duplicates

    def _rows(self, connection: sqlite3.Connection, device: str, time: int, values: Mapping[str, Value]) -> list[Row]:
        series = self._series.get(device)
        if series is None:
            found = connection.execute("SELECT point, id FROM series WHERE device = ?", (device,))
            series = self._series[device] = dict(found.fetchall())
            units = self._units.get(device, {})
            for point, unit in units.items():
                if point in series:
                    connection.execute("UPDATE series SET unit = ? WHERE id = ? AND unit <> ?", (unit, series[point], unit))
        try:
            return [(number, time, value) for point, value in values.items() if (number := series[point])]
        except KeyError:
            self._new_series(connection, device, values.keys() - series.keys())
            return [(number, time, value) for point, value in values.items() if (number := series[point])]

    def _new_series(self, connection: sqlite3.Connection, device: str, points: Iterable[str]) -> None:
        """Gives points their numbers; 0 is the number of what is not kept."""
        units, transient = self._units.get(device, {}), self._transient.get(device, ())
        for point in sorted(points):
            if "." in point or point in transient:
                self._series[device][point] = 0
                continue
            row = (device, point, units.get(point, ""))
            cursor = connection.execute("INSERT INTO series (device, point, unit) VALUES (?, ?, ?)", row)
            self._series[device][point] = int(cursor.lastrowid or 0)

    def _boot(self, connection: sqlite3.Connection, key: BootKey, heard_ms: int = 0) -> _Settled:
        boot = self._boots.get(key)
        if boot is None:
            row = connection.execute("SELECT id, contiguous FROM boots WHERE node = ? AND boot = ?", key).fetchone()
            if row is None:
                cursor = connection.execute("INSERT INTO boots (node, boot, first_heard, contiguous) VALUES (?, ?, ?, 0)", (*key, heard_ms))
                row = (int(cursor.lastrowid or 0), 0)
            boot = self._boots[key] = _Settled(*row)
        return boot

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
            connection.execute(_WRITE_META, (key, value))

    def append_event(self, event: StoredEvent) -> None:
        with self._transaction() as connection:
            _insert_event(connection, round(event.time * 1000), event.node, event.device, NodeEvent(event.kind, event.detail))

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


def _add_samples(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """All at once; row by row in the rare case that one of them has no place or no meaning to SQLite."""
    connection.execute("SAVEPOINT samples")
    try:
        connection.executemany(_INSERT_SAMPLE, rows)
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError):
        connection.execute("ROLLBACK TO samples")
        for row in rows:
            if _fits(row[2]):
                _add_sample(connection, row)
    connection.execute("RELEASE samples")


def _add_sample(connection: sqlite3.Connection, row: Row) -> None:
    """In the next free millisecond: a frame is here once, so whatever has its place is another reading of the point."""
    series, time, value = row
    for moment in range(time, time + _CROWD_MS):
        if connection.execute(_INSERT_SAMPLE_IF_FREE, (series, moment, value)).rowcount:
            return


def _fits(value: Value) -> bool:
    """Whether SQLite can hold a value: 64-bit integers, numbers but NaN, text in valid Unicode."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return not math.isnan(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _insert_event(connection: sqlite3.Connection, time_ms: int, node: str, device: str, event: NodeEvent) -> None:
    detail = json.dumps(event.detail, default=_plain)
    connection.execute(
        "INSERT INTO events (time, node, device, kind, detail) VALUES (?, ?, ?, ?, ?)", (time_ms, node, device, event.kind, detail)
    )


def _add_dropped(connection: sqlite3.Connection, boot_id: int, ranges: Iterable[tuple[int, int]]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO dropped (boot_id, first, last) VALUES (?, ?, ?)", [(boot_id, first, last) for first, last in ranges]
    )


def _plain(thing: object) -> str:
    return thing.hex() if isinstance(thing, bytes) else repr(thing)


def _advance(connection: sqlite3.Connection, boot: _Settled) -> int:
    above = connection.execute("SELECT seq FROM frames WHERE boot_id = ? AND seq > ? ORDER BY seq", (boot.id, boot.contiguous))
    gaps = connection.execute("SELECT first, last FROM dropped WHERE boot_id = ? AND last > ? ORDER BY first", (boot.id, boot.contiguous))
    return settled(boot.contiguous, (seq for (seq,) in above), gaps.fetchall())


def settled(contiguous: int, above: Iterable[int], dropped: Iterable[tuple[int, int]]) -> int:
    """The highest number up to which each one is stored or dropped, beginning at `contiguous`.

    `above`: the stored numbers beyond it, ascending; read only up to the first gap. `dropped`: ranges (first, last) by their
    first. A range closes a gap only below a stored number, so that a node cannot give up numbers it has not used yet.
    """
    ranges = iter(dropped)
    given_up = 0  # highest number reached by the ranges that begin at or before contiguous + 1
    waiting = next(ranges, None)
    for seq in above:
        while contiguous < seq - 1:
            while waiting is not None and waiting[0] <= contiguous + 1:
                given_up = max(given_up, waiting[1])
                waiting = next(ranges, None)
            if given_up <= contiguous:
                return contiguous
            contiguous = min(given_up, seq - 1)
        contiguous = max(contiguous, seq)
    return contiguous
