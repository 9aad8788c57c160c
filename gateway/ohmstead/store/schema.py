"""The tables of the SQLite store and the steps that lead from each version of them to the next.

`PRAGMA user_version` is the number of steps taken. A step is never changed once it is released; a new one is added below it.

- `series` gives each (device, point) a number; `samples` holds what was measured, 23 bytes a row without a rowid.
  A value has the type it has: number or text.
- `boots` is one row per boot of a node: how far it is settled (`contiguous`), when it began (`anchor`, UTC s, as known at `anchored`).
- `frames` is the exactly-once key and the raw body; rows that are settled and past their time are deleted.
- `dropped` are ranges of numbers that a node gave up itself.
- `audit` and `audit_outcome` are append-only; triggers refuse anything else.
- `prices` is a day's prices (a JSON list, EUR/MWh), `plans` a published plan (compressed JSON) with the ms it was made at.
- `decided`, `standing` and `checkpoints` are the arbiter's: events with their decisions, the state after the last, where replays begin
  and which program decided from there on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from ohmstead.store.protocol import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database

Step = Callable[["Database"], None]


def _first(db: Database) -> None:
    db.execute(
        "CREATE TABLE samples (series_id INTEGER NOT NULL, ts INTEGER NOT NULL, value NOT NULL, PRIMARY KEY (series_id, ts)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE frames (boot_id INTEGER NOT NULL, seq INTEGER NOT NULL, received INTEGER NOT NULL, time INTEGER NOT NULL,"
        " body BLOB NOT NULL, PRIMARY KEY (boot_id, seq)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE dropped (boot_id INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
        " PRIMARY KEY (boot_id, first, last)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE audit_outcome (audit_id INTEGER NOT NULL REFERENCES audit (id), outcome TEXT NOT NULL, time INTEGER NOT NULL,"
        " reason TEXT NOT NULL, PRIMARY KEY (audit_id, outcome))"
    )
    series = db.table("series").create({"id": int, "device": str, "point": str, "unit": str}, pk="id", not_null={"device", "point", "unit"})
    series.create_index(["device", "point"], unique=True)
    boots = db.table("boots").create(
        {"id": int, "node": str, "boot": int, "first_heard": int, "contiguous": int, "anchor": float, "anchored": float},
        pk="id",
        not_null={"node", "boot", "first_heard", "contiguous"},
    )
    boots.create_index(["node", "boot"], unique=True)
    events = db.table("events").create(
        {"id": int, "time": int, "node": str, "device": str, "kind": str, "detail": str},
        pk="id",
        not_null={"time", "node", "device", "kind", "detail"},
    )
    events.create_index(["kind", "time"])
    db.table("audit").create(
        {"id": int, "time": int, "author": str, "device": str, "control": str, "requested": str, "reason": str},
        pk="id",
        not_null={"time", "author", "device", "control", "requested", "reason"},
    )
    db.table("meta").create({"key": str, "value": str}, pk="key", not_null={"value"})
    for table in ("audit", "audit_outcome"):
        for change in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
            )


def _prices_and_plans(db: Database) -> None:
    db.execute(
        "CREATE TABLE prices (day TEXT PRIMARY KEY, start INTEGER NOT NULL, seconds INTEGER NOT NULL, source TEXT NOT NULL,"
        " eur_mwh TEXT NOT NULL) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE plans (id INTEGER PRIMARY KEY, device TEXT NOT NULL, made INTEGER NOT NULL, body BLOB NOT NULL)")
    db.execute("CREATE INDEX plans_by_device ON plans (device, made)")
    db.execute("CREATE INDEX plans_by_age ON plans (made)")


def _decisions(db: Database) -> None:
    db.execute(
        "CREATE TABLE decided (id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, at INTEGER NOT NULL, time INTEGER NOT NULL,"
        " event TEXT NOT NULL, decisions TEXT NOT NULL)"
    )
    db.execute("CREATE INDEX decided_by_device ON decided (device, id)")
    db.execute("CREATE INDEX decided_spoken ON decided (time) WHERE decisions <> '[]'")
    db.execute("CREATE TRIGGER decided_no_update BEFORE UPDATE ON decided BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END")
    db.execute(
        "CREATE TABLE standing (device TEXT PRIMARY KEY, boot TEXT NOT NULL, time INTEGER NOT NULL, state TEXT NOT NULL) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE checkpoints (id INTEGER PRIMARY KEY, device TEXT NOT NULL, time INTEGER NOT NULL, setup TEXT NOT NULL,"
        " state TEXT NOT NULL, after INTEGER NOT NULL)"
    )
    db.execute("CREATE INDEX checkpoints_by_device ON checkpoints (device, id)")


def _who_decided(db: Database) -> None:
    db.execute("ALTER TABLE checkpoints ADD COLUMN program TEXT NOT NULL DEFAULT ''")


STEPS: tuple[Step, ...] = (_first, _prices_and_plans, _decisions, _who_decided)
VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection, name: str) -> int:
    """Brings a database to `VERSION`, each step whole or not at all; returns the version it had.

    `name` is for the error. Raises `StoreError` for a database of a newer version: an older program would not know what it breaks.
    """
    version = _version(connection)
    if version > VERSION:
        raise StoreError(
            f"{name} was written by a newer ohmstead (schema {version}, this one knows {VERSION}):"
            " install that version again, or give another store.path",
            try_again=False,
        )
    if version < VERSION:
        from sqlite_utils import Database  # a fifth of a second that only a new or an older database costs

        db = Database(connection, execute_plugins=False)
        for number, step in enumerate(STEPS[version:], version + 1):
            connection.execute("BEGIN IMMEDIATE")
            try:
                if _version(connection) < number:  # else somebody else, the gateway or a command, has taken it meanwhile
                    step(db)
                    connection.execute(f"PRAGMA user_version = {number}")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
