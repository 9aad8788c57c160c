"""The steps from one version of the store's tables to the next, where a file of before is opened."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ohmstead.store import schema
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.trail import Checkpoint


def test_a_file_of_an_older_version_is_opened_by_many_at_once_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a command looks into the store while the gateway starts after an update."""
    path = tmp_path / "ohm.db"
    with monkeypatch.context() as before:
        before.setattr(schema, "STEPS", schema.STEPS[:3])
        before.setattr(schema, "VERSION", 3)
        older = SqliteStore(path)
        older.write_meta("kept", "yes")
        with older._transaction() as connection:
            connection.execute("INSERT INTO checkpoints (device, time, setup, state, after) VALUES ('growatt', 1000, '[]', '{}', 0)")
        older.close()
    together = threading.Barrier(4)

    def opened(_: int) -> tuple[str | None, Checkpoint | None]:
        together.wait(30)
        store = SqliteStore(path)
        try:
            return store.read_meta("kept"), store.trail.checkpoint("growatt", 2000)
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [("yes", Checkpoint("growatt", 1000, "[]", "{}", 0, ""))] * 4
