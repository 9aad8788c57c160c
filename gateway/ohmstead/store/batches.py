"""What a batch becomes in the rows of the SQLite store: frames exactly once, samples, events, how far each boot is settled."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

from ohmstead.readings import Value
from ohmstead.store.protocol import OF_SOURCES, Acknowledgements, Batch, BootKey, Frame, NodeEvent

_CROWD_MS = 1_000
_BOOTS_CACHED = 1_000

WRITE_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_INSERT_SAMPLE = "INSERT INTO samples (series_id, ts, value) VALUES (?, ?, ?)"
_INSERT_SAMPLE_IF_FREE = _INSERT_SAMPLE.replace("INSERT", "INSERT OR IGNORE")
_INSERT_FRAME = "INSERT OR IGNORE INTO frames (boot_id, seq, received, time, body) VALUES (?, ?, ?, ?, ?)"

Row = tuple[int, int, Value]


class _Settled:
    """How far one boot is settled, as the committed rows say."""

    __slots__ = ("contiguous", "id")

    def __init__(self, row_id: int, contiguous: int) -> None:
        self.id = row_id
        self.contiguous = contiguous


class Batches:
    """Writes batches over the connection that it is given, and remembers the numbers of series and boots. `units` and `transient` as in
    `SqliteStore`."""

    def __init__(self, units: Mapping[str, Mapping[str, str]], transient: Mapping[str, Collection[str]]) -> None:
        self._units = units
        self._transient = transient
        self._series: dict[str, dict[str, int]] = {}
        self._boots: dict[BootKey, _Settled] = {}

    def forget(self) -> None:
        """Nothing came of what was written last: what was remembered of the rows is read again."""
        self._series.clear()
        self._boots.clear()

    def write(self, connection: sqlite3.Connection, batch: Batch) -> tuple[Acknowledgements, int]:
        """Writes it, within a transaction of the caller's; how far each boot is settled, and how many frames were there already."""
        if len(self._boots) > _BOOTS_CACHED:
            self._boots.clear()
        touched: dict[BootKey, _Settled] = {}
        rows: list[Row] = []
        duplicates = self._add_frames(connection, batch.frames, touched, rows)
        for snapshot in batch.snapshots:
            rows.extend(self._rows(connection, snapshot.device, round(snapshot.time * 1000), snapshot.values))
        _add_samples(connection, rows)
        kept = {key: text for snapshot in batch.snapshots for key, text in snapshot.kept.items()}
        connection.executemany(WRITE_META, [(OF_SOURCES + key, text) for key, text in kept.items()])
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
        return {key: boot.contiguous for key, boot in touched.items()}, duplicates

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
                insert_event(connection, time, node, device, event)
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


def insert_event(connection: sqlite3.Connection, time_ms: int, node: str, device: str, event: NodeEvent) -> None:
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
