"""The SQLite store: once and only once, durable, honest when the disk is full, readable afterwards."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.store.batches import settled
from ohmstead.store.protocol import Acknowledgements, Anchor, Batch, Frame, NodeEvent, StoreError
from ohmstead.store.schema import VERSION
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer
from tests.conftest import wait_for

BOOT = ("cellar", 7)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ohm.db", units={"mtec": {"grid_power": "W"}})
    yield opened
    opened.close()


def frame(
    seq: int, values: dict[str, Value] | None = None, *, boot: int = 7, event: NodeEvent | None = None, body: bytes = b"raw"
) -> Frame:
    if event is None and values is None:
        values = {"grid_power": seq}
    return Frame("cellar", boot, seq, seq * 1000, seq * 1000, "mtec", values or {}, body, event)


def dropped(seq: int, *ranges: tuple[int, int]) -> Frame:
    return frame(seq, event=NodeEvent("dropped", {"ranges": [list(span) for span in ranges]}))


def commit(store: SqliteStore, *frames: Frame) -> int:
    return store.commit(Batch(frames))[BOOT]


def stored(store: SqliteStore, point: str = "grid_power") -> list[Value]:
    return [bucket.mean for bucket in store.history("mtec", point, 0, 1e9, 1)]


# Once, and what is acknowledged


def test_a_frame_that_comes_twice_is_stored_once_with_its_first_values(store: SqliteStore) -> None:
    commit(store, frame(1, {"grid_power": 5}))
    commit(store, frame(1, {"grid_power": 6, "battery_soc": 50}), frame(1, {"grid_power": 7}))
    assert stored(store) == [5]
    assert stored(store, "battery_soc") == []
    assert store.duplicates == 2


def test_a_duplicate_is_acknowledged_again(store: SqliteStore) -> None:
    commit(store, frame(1), frame(2))
    assert commit(store, frame(1)) == 2


def test_only_what_is_contiguous_is_acknowledged(store: SqliteStore) -> None:
    assert commit(store, frame(2), frame(3)) == 0
    assert commit(store, frame(5)) == 0
    assert commit(store, frame(1)) == 3
    assert commit(store, frame(4)) == 5


def test_each_boot_is_counted_for_itself(store: SqliteStore) -> None:
    acknowledged = store.commit(Batch([frame(1), frame(2), frame(1, boot=8), frame(3, boot=9)]))
    assert acknowledged == {("cellar", 7): 2, ("cellar", 8): 1, ("cellar", 9): 0}


def test_what_the_node_says_it_dropped_closes_the_gap(store: SqliteStore) -> None:
    assert commit(store, frame(1), frame(4), frame(9)) == 1
    assert commit(store, dropped(10, (2, 3), (5, 7))) == 7
    assert commit(store, dropped(11, (8, 8))) == 11


def test_a_node_cannot_drop_what_it_has_not_numbered_yet(store: SqliteStore) -> None:
    assert commit(store, frame(1), dropped(3, (2, 2_000_000))) == 3
    commit(store, frame(4))
    assert stored(store) == [1, 4]


def test_what_lies_below_the_first_frame_a_node_still_holds_is_settled(store: SqliteStore) -> None:
    assert commit(store, frame(500), frame(501)) == 0
    assert store.commit(Batch(first_seqs={BOOT: 500})) == {BOOT: 501}
    assert store.commit(Batch(first_seqs={BOOT: 100})) == {BOOT: 501}, "an old hello takes nothing back"


def test_the_answers_are_the_same_after_a_restart(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "ohm.db")
    commit(first, frame(1), frame(2), frame(4), dropped(9, (3, 3)))
    first.commit(Batch(anchors={BOOT: Anchor(1_000.5, 2_000.25)}))
    first.close()
    second = SqliteStore(tmp_path / "ohm.db")
    assert [(boot.node, boot.boot, boot.contiguous, boot.anchor) for boot in second.boots()] == [
        ("cellar", 7, 4, Anchor(1_000.5, 2_000.25))
    ]
    assert commit(second, frame(2), frame(5)) == 5
    assert second.duplicates == 1
    second.close()


@given(
    stored=st.sets(st.integers(1, 40)),
    ranges=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10)), max_size=6),
    begin=st.integers(0, 10),
)
def test_settled_is_what_counting_one_by_one_gives(stored: set[int], ranges: list[tuple[int, int]], begin: int) -> None:
    spans = sorted((first, first + more) for first, more in ranges)
    highest = max(stored, default=0)
    expected = begin
    while expected < highest and (expected + 1 in stored or any(first <= expected + 1 <= last for first, last in spans)):
        expected += 1
    above = sorted(seq for seq in stored if seq > begin)
    assert settled(begin, above, [span for span in spans if span[1] > begin]) == expected


@given(st.randoms(use_true_random=False))
def test_in_whatever_order_and_batches_frames_come_each_is_stored_once(dice: random.Random) -> None:
    sent = [*range(1, 31), *(dice.randint(1, 30) for _ in range(30))]
    dice.shuffle(sent)
    store = SqliteStore(Path(":memory:"))
    acknowledged = 0
    while sent:
        size = dice.randint(1, 10)
        batch, sent = sent[:size], sent[size:]
        now = commit(store, *(frame(seq) for seq in batch))
        assert now >= acknowledged
        acknowledged = now
    assert acknowledged == 30
    assert store._connection.execute("SELECT count(*), count(DISTINCT ts) FROM samples").fetchone() == (30, 30)
    store.close()


# Forgetting


def test_forgotten_raw_frames_stay_duplicates(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db", keep_raw_s=10)
    commit(store, *(frame(seq) for seq in range(1, 21)), frame(30))
    assert store.prune(now_ms=25_000) == 14, "received before 15 s: 1 to 14"
    assert commit(store, frame(3, {"grid_power": 99})) == 20
    assert stored(store) == [*range(1, 21), 30]
    assert store.duplicates == 1
    store.close()


def test_a_frame_beyond_a_gap_is_never_forgotten_before_it_is_settled(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db", keep_raw_s=1)
    commit(store, frame(1), frame(3))
    assert store.prune(now_ms=1_000_000) == 1
    assert commit(store, frame(2)) == 3
    store.close()


# What it holds


def test_values_keep_their_type(store: SqliteStore) -> None:
    commit(store, frame(1, {"grid_power": -12, "battery_soc": 55.5, "mode": "General mode", "serial_no": "007"}))
    values = {latest.point: latest.value for latest in store.latest()}
    assert values == {"grid_power": -12, "battery_soc": 55.5, "mode": "General mode", "serial_no": "007"}
    assert {type(value) for value in values.values()} == {int, float, str}


def test_what_cannot_be_stored_is_left_out_and_costs_nobody_else_a_sample(store: SqliteStore) -> None:
    strange: dict[str, Value] = {"nan": float("nan"), "huge": 2**64, "broken": "\udcff", "grid_power": 7}
    assert commit(store, frame(1, strange), frame(2)) == 2
    assert stored(store) == [7, 2]
    assert {latest.point for latest in store.latest()} == {"grid_power"}


def test_readings_of_one_point_in_one_millisecond_are_all_kept(store: SqliteStore) -> None:
    commit(store, *(frame(seq)._replace(time_ms=5000) for seq in range(1, 101)))
    store.commit(Batch(snapshots=[Snapshot("mtec", "10s", 5.0, Quality.GOOD, {"grid_power": 101})]))
    assert store.history("mtec", "grid_power", 5, 5.101, 60) == [(0, 51, 1, 101, 101)]


def test_a_decoders_own_values_and_clocks_are_not_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db", transient={"mtec": ["api_date"]})
    commit(store, frame(1, {"equipment_info": "12K", "equipment_info.raw": "30 07", "api_date": "2025-07-01"}))
    assert [latest.point for latest in store.latest()] == ["equipment_info"]
    store.close()


def test_snapshots_of_sources_without_a_node_are_stored_beside_frames(store: SqliteStore) -> None:
    store.commit(Batch([frame(1)], [Snapshot("roof", "60s", 12.3456, Quality.GOOD, {"pv_power": 800})]))
    assert [(latest.device, latest.point, latest.time, latest.value) for latest in store.latest()] == [
        ("mtec", "grid_power", 1.0, 1),
        ("roof", "pv_power", 12.346, 800),
    ]


def test_a_series_carries_the_unit_of_its_profile_also_after_the_profile_changed(tmp_path: Path) -> None:
    for seq, unit in enumerate(("W", "kW"), 1):
        store = SqliteStore(tmp_path / "ohm.db", units={"mtec": {"grid_power": unit}})
        commit(store, frame(seq))
        assert store.latest()[0].unit == unit
        store.close()


def test_history_is_cut_in_spans_of_mean_lowest_and_highest(store: SqliteStore) -> None:
    commit(store, *(frame(seq, {"grid_power": seq, "mode": f"mode {seq}"}) for seq in range(1, 31)))
    assert store.history("mtec", "grid_power", 5, 25, 10) == [(0, 7, 5, 9, 5), (10, 14.5, 10, 19, 10), (20, 22, 20, 24, 5)]
    texts = store.history("mtec", "mode", 10, 30, 10)
    assert [(span.time, span.mean, span.samples) for span in texts] == [(10, "mode 19", 10), (20, "mode 29", 10)]
    assert store.history("mtec", "no such point", 0, 100, 10) == []


def test_events_are_kept_with_their_details(store: SqliteStore) -> None:
    commit(store, frame(1, event=NodeEvent("result", {"id": 4, "stage": "read back", "value": b"\x01\x02"})), dropped(2, (5, 6)))
    commit(store, frame(1, event=NodeEvent("result", {"id": 4})))
    assert [(event.kind, event.detail) for event in store.events()] == [
        ("dropped", {"ranges": [[5, 6]]}),
        ("result", {"id": 4, "stage": "read back", "value": "0102"}),
    ]


# The audit


def test_the_audit_tells_who_asked_for_what_and_what_became_of_it(store: SqliteStore) -> None:
    entry = store.append_audit(time=1.5, author="mqtt", device="mtec", control="grid_inject_limit", requested="30", reason="set")
    other = store.append_audit(time=2.5, author="page", device="mtec", control="mode", requested="Off-grid")
    store.finish_audit(entry, time=3, outcome="sent")
    store.finish_audit(entry, time=4, outcome="confirmed", reason="reads 30")
    store.finish_audit(entry, time=5, outcome="sent")
    newest, oldest = store.audit()
    assert (newest.id, newest.outcome, newest.outcome_time) == (other, "", None)
    assert oldest == (entry, 1.5, "mqtt", "mtec", "grid_inject_limit", "30", "set", "confirmed", "reads 30", 4.0)


@pytest.mark.parametrize("change", ["UPDATE audit SET author = 'nobody'", "DELETE FROM audit", "DELETE FROM audit_outcome"])
def test_nobody_edits_the_audit(store: SqliteStore, tmp_path: Path, change: str) -> None:
    store.finish_audit(store.append_audit(time=1, author="mqtt", device="d", control="c", requested="1"), time=2, outcome="sent")
    with sqlite3.connect(tmp_path / "ohm.db") as stranger, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        stranger.execute(change)
    stranger.close()


def test_an_outcome_of_nothing_is_refused(store: SqliteStore) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.finish_audit(12345, time=1, outcome="sent")


def test_what_the_gateway_keeps_for_itself_survives(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db")
    assert store.read_meta("counter/cellar") is None
    store.write_meta("counter/cellar", "41")
    store.write_meta("counter/cellar", "42")
    store.close()
    again = SqliteStore(tmp_path / "ohm.db")
    assert again.read_meta("counter/cellar") == "42"
    again.close()


# The file


def test_every_commit_is_flushed_to_the_medium(store: SqliteStore) -> None:
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "ohm.db").close()
    with sqlite3.connect(tmp_path / "ohm.db") as future:
        future.execute(f"PRAGMA user_version = {VERSION + 1}")
    future.close()
    with pytest.raises(StoreError, match="newer ohmstead") as refusal:
        SqliteStore(tmp_path / "ohm.db")
    assert not refusal.value.try_again


def test_a_file_that_is_no_database_and_a_folder_that_cannot_be_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to look like one " * 10)
    with pytest.raises(StoreError, match=r"text: file is not a database; .* move it away together with its -wal and -shm files"):
        SqliteStore(tmp_path / "text")
    with pytest.raises(StoreError, match=r"text/below/ohm\.db: .*; give another store\.path, or make its folder"):
        SqliteStore(tmp_path / "text" / "below" / "ohm.db")
    with pytest.raises(StoreError, match=r"unable to open database file; the user that runs ohmstead must be able to write"):
        SqliteStore(tmp_path)


def test_a_damaged_file_is_said_to_be_one_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "ohm.db"
    store = SqliteStore(path)
    commit(store, *(frame(seq) for seq in range(1, 200)))
    store.close()
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'samples'").fetchone()
    connection.close()
    page, content = 4096, path.read_bytes()
    path.write_bytes(content[: page * (root - 1)] + b"\xa5" * page + content[page * root :])
    damaged = SqliteStore(path)
    with pytest.raises(StoreError, match=r"ohm\.db: .*malformed; the file is damaged\. End ohmstead and keep a copy; .* a backup") as told:
        damaged.latest()
    assert not told.value.try_again
    damaged.close()


# The disk is full


def _fill(store: SqliteStore) -> None:
    """From now on the file must not grow, as on a full disk."""
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")


def _make_space(store: SqliteStore) -> None:
    store._connection.execute("PRAGMA max_page_count = 1000000")


def test_on_a_full_disk_a_commit_fails_whole_and_succeeds_later(store: SqliteStore) -> None:
    commit(store, frame(1))
    _fill(store)
    with pytest.raises(StoreError, match="full") as trouble:
        commit(store, frame(2, {"grid_power": 2, "new_point": 1}), frame(3, body=b"x" * 100_000))
    assert trouble.value.try_again
    assert stored(store) == [1]
    assert store.boots()[0].contiguous == 1
    _make_space(store)
    assert commit(store, frame(2, {"grid_power": 2, "new_point": 1}), frame(3)) == 3
    assert stored(store, "new_point") == [1]


def test_the_writer_stops_acknowledging_on_a_full_disk_says_so_and_goes_on_when_there_is_room(store: SqliteStore) -> None:
    told: list[Acknowledgements] = []
    writer = Writer(store, flush=0.0)
    writer.on_commit(told.append)
    writer.start()
    writer.submit([frame(1)], {})
    wait_for(lambda: told == [{BOOT: 1}], what="the first acknowledgement")
    _fill(store)
    writer.submit([frame(2, body=b"x" * 100_000)], {})
    wait_for(lambda: not writer.healthy, what="trouble")
    assert "full" in writer.trouble
    writer.submit([frame(3)], {})
    assert told == [{BOOT: 1}]
    _make_space(store)
    wait_for(lambda: len(told) > 1, what="the next acknowledgement")
    assert told[1:] in ([{BOOT: 3}], [{BOOT: 2}, {BOOT: 3}])
    assert writer.healthy
    assert writer.close()
    assert stored(store) == [1, 2, 3]


def test_when_nothing_can_be_stored_the_oldest_make_room_and_are_counted(store: SqliteStore) -> None:
    commit(store, frame(1))
    _fill(store)
    writer = Writer(store, flush=0.0, capacity=10)
    writer.start()
    writer.record(Snapshot("roof", "60s", 5.0, Quality.GOOD, {"pv_power": 1}))
    writer.submit([frame(seq, body=b"x" * 10_000) for seq in range(2, 10)], {})
    wait_for(lambda: not writer.healthy, what="trouble")
    writer.submit([frame(seq, body=b"x" * 10_000) for seq in range(10, 40)], {})
    wait_for(lambda: writer.dropped_frames == 28, what="the drops")
    assert writer.lost_snapshots == 1
    _make_space(store)
    wait_for(lambda: writer.queued == 0 and writer.healthy, what="recovery")
    writer.close()
    assert commit(store, frame(1)) == 1, "the gap is not acknowledged: the node sends again"
    assert stored(store) == [1, *range(30, 40)]


def test_closing_stores_what_is_queued(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db")
    writer = Writer(store, flush=3600.0)
    writer.start()
    writer.submit([frame(1), frame(2)], {BOOT: Anchor(5.0, 6.0)})
    writer.record(Snapshot("roof", "60s", 5.0, Quality.GOOD, {"pv_power": 1}))
    assert writer.close()
    assert stored(store) == [1, 2]
    assert {latest.point for latest in store.latest()} == {"grid_power", "pv_power"}
    assert store.boots()[0].anchor == (5.0, 6.0)
    store.close()


def test_closing_ends_also_when_the_disk_stays_full(store: SqliteStore) -> None:
    commit(store, frame(1))
    _fill(store)
    writer = Writer(store, flush=0.0)
    writer.start()
    writer.submit([frame(2, body=b"x" * 100_000)], {})
    wait_for(lambda: not writer.healthy, what="trouble")
    assert not writer.close(5)
    assert writer.queued == 1


def test_an_acknowledgement_comes_after_the_commit_never_before(store: SqliteStore, tmp_path: Path) -> None:
    seen: list[int] = []

    def look(settled: Acknowledgements) -> None:
        with sqlite3.connect(tmp_path / "ohm.db") as stranger:
            seen.append(stranger.execute("SELECT count(*) FROM frames").fetchone()[0] - settled[BOOT])
        stranger.close()

    writer = Writer(store, flush=0.0)
    writer.on_commit(look)
    writer.start()
    for seq in range(1, 51):
        writer.submit([frame(seq)], {})
    writer.close()
    assert seen
    assert set(seen) == {0}


def test_commands_are_noted_while_frames_are_committed(store: SqliteStore) -> None:
    def note() -> None:
        for number in range(20):
            store.append_audit(time=number, author="mqtt", device="mtec", control="mode", requested=str(number))

    threads = [threading.Thread(target=note) for _ in range(2)]
    for thread in threads:
        thread.start()
    for seq in range(1, 41):
        commit(store, frame(seq))
    for thread in threads:
        thread.join(10)
    assert len(store.audit()) == 40
    assert commit(store, frame(40)) == 40
