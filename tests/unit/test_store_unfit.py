"""What can never be stored holds up nothing else: it is found, counted and left behind, while a medium in trouble is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ohmstead.readings import Quality, Snapshot
from ohmstead.store.protocol import Acknowledgements, Anchor, Batch, NodeEvent, StoreError, UnfitError
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer
from tests.conftest import wait_for
from tests.unit.test_store import BOOT, commit, frame, stored


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ohm.db")
    yield opened
    opened.close()


class Twice(SqliteStore):
    """Is locked at some of its commits."""

    locked_at: tuple[int, ...] = ()
    commits = 0

    def commit(self, batch: Batch) -> Acknowledgements:
        self.commits += 1
        if self.commits in self.locked_at:
            raise StoreError("database is locked")
        return super().commit(batch)


@pytest.mark.parametrize("locked_at", [(), (3,), (2, 5, 6)])
def test_an_entry_that_has_no_place_is_counted_and_holds_nobody_up(tmp_path: Path, locked_at: tuple[int, ...]) -> None:
    store = Twice(tmp_path / "ohm.db")
    store.locked_at = locked_at
    told: list[Acknowledgements] = []
    writer = Writer(store, flush=0.0)
    writer.on_commit(told.append)
    frames = [frame(seq) for seq in range(1, 21)]
    frames[6] = frames[6]._replace(time_ms=2**63, body=b"kept")
    frames[12] = frame(13, event=NodeEvent("dropped", {"ranges": [["strange"]]}))
    writer.submit(frames, {BOOT: Anchor(5.0, 6.0), ("cellar", 8): Anchor(5.0, float("nan"))}, {("cellar", 8): 2**64})
    for number in range(10):
        writer.record(Snapshot("roof", "60s", 1e300 if number == 4 else float(number), Quality.GOOD, {"pv_power": number}))
    writer.start()
    wait_for(lambda: writer.queued == 0, what="an empty queue")
    assert writer.close()
    assert (writer.healthy, writer.unfit_frames, writer.unfit_snapshots) == (True, 2, 1)
    assert told[-1] == {BOOT: 20}, "the node is told to forget the frames that were kept raw as well"
    assert stored(store) == [seq for seq in range(1, 21) if seq not in (7, 13)]
    assert [bucket.samples for bucket in store.history("roof", "pv_power", 0, 100, 1)] == [1] * 9, "each once, though some were tried twice"
    assert store._connection.execute("SELECT body FROM frames WHERE seq = 7").fetchall() == [(b"kept",)]
    assert store.boots()[0].anchor == Anchor(5.0, 6.0)
    store.close()


def test_a_frame_with_no_number_at_all_is_dropped(store: SqliteStore) -> None:
    writer = Writer(store, flush=0.0)
    writer.submit([frame(1), frame(2**63), frame(2)], {})
    writer.start()
    wait_for(lambda: writer.queued == 0, what="an empty queue")
    assert writer.close()
    assert (stored(store), writer.unfit_frames, writer.trouble) == ([1, 2], 1, "")


def test_a_batch_at_fault_and_a_medium_at_fault_are_told_apart(store: SqliteStore) -> None:
    for unfit in (frame(1)._replace(time_ms=2**63), frame(1)._replace(device="\udcff"), frame(1)._replace(body=["no", "body"])):  # type: ignore[arg-type]  # on purpose
        with pytest.raises(UnfitError):
            commit(store, unfit)
    store.close()
    with pytest.raises(StoreError) as closed:
        commit(store, frame(1))
    assert not isinstance(closed.value, UnfitError)
