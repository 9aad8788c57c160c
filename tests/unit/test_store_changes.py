"""Of a talkative device the changes are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.store.changes import Changes, Standing, steps
from ohmstead.store.protocol import Batch
from ohmstead.store.sqlite import SqliteStore


def told(time: float, device: str = "pump", **values: Value) -> Snapshot:
    return Snapshot(device, "live", time, Quality.GOOD, values)


def kept(*snapshots: Snapshot, again_s: float = 300.0) -> list[tuple[float, dict[str, Value]]]:
    found: list[tuple[float, dict[str, Value]]] = []
    changes = Changes(lambda snapshot: found.append((snapshot.time, dict(snapshot.values))), {"pump"}, again_s)
    for snapshot in snapshots:
        changes.record(snapshot)
    return found


def test_what_changed_is_kept_and_the_rest_is_not() -> None:
    assert kept(told(0, flow=30.1, mode="heating"), told(30, flow=30.2, mode="heating"), told(60, flow=30.2, mode="heating")) == [
        (0, {"flow": 30.1, "mode": "heating"}),
        (30, {"flow": 30.2}),
    ]


def test_what_stays_is_kept_again_after_a_while() -> None:
    assert kept(told(0, flow=30.1), told(299, flow=30.1), told(300, flow=30.1), told(301, flow=30.1)) == [
        (0, {"flow": 30.1}),
        (300, {"flow": 30.1}),
    ]


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    assert len(kept(told(10_000, flow=30.1), told(0, flow=30.1))) == 2


def test_other_devices_are_kept_whole() -> None:
    assert len(kept(told(0, "mtec", grid=5), told(1, "mtec", grid=5))) == 2


# What changes mean over a span


MINUTE = 60_000
DAY = 86_400_000


def test_a_mean_is_that_of_the_time_and_not_of_the_changes() -> None:
    """Off for 14 minutes, then on for one in which the power changes all the time."""
    rows: list[tuple[int, Value]] = [(0, 0), (5 * MINUTE, 0), (10 * MINUTE, 0)]
    rows += [(14 * MINUTE + at * 6_000, 2000 + at % 2) for at in range(10)]
    (bucket,) = steps(rows, 0, 15 * MINUTE, 15 * MINUTE, 6 * MINUTE)
    assert bucket.mean == pytest.approx(2000.5 / 15)
    assert (bucket.low, bucket.high, bucket.samples) == (0, 2001, 13)


def test_what_did_not_change_is_no_gap_and_what_was_not_heard_is_one() -> None:
    rows: list[tuple[int, Value]] = [(-4 * MINUTE, 7.5), (20 * MINUTE, 8.5)]
    told = [(bucket.time, bucket.mean) for bucket in steps(rows, 0, 24 * MINUTE, MINUTE, 6 * MINUTE)]
    assert told == [(0, 7.5), (60, 7.5)] + [(60 * minute, 8.5) for minute in range(20, 24)]


def test_a_text_stands_as_well_and_beside_numbers_it_does_not_count() -> None:
    rows: list[tuple[int, Value]] = [(0, "heating"), (3 * MINUTE, "hot water"), (4 * MINUTE, "heating")]
    told = [bucket.mean for bucket in steps(rows, 0, 6 * MINUTE, 2 * MINUTE, 5 * MINUTE)]
    assert told == ["heating", "hot water", "heating"]
    assert [bucket.mean for bucket in steps([*rows, (5 * MINUTE, 4)], 0, 6 * MINUTE, 6 * MINUTE, 5 * MINUTE)] == [4]


@settings(max_examples=50)
@given(st.dictionaries(st.integers(-30, 60), st.integers(-5, 5), max_size=20), st.integers(1, 40), st.integers(1, 20), st.integers(0, 20))
def test_spans_are_what_each_millisecond_was(changes: dict[int, int], width: int, stands: int, first: int) -> None:
    last = first + 40
    rows = sorted((at, value) for at, value in changes.items() if first - stands <= at < last)
    each: dict[int, list[int]] = {}
    for moment in range(first, last):
        before = [(at, value) for at, value in rows if at <= moment < at + stands]
        if before:
            each.setdefault(moment // width * width, []).append(before[-1][1])
    told = steps(rows, first, last, width, stands)
    assert [round(bucket.time * 1000) for bucket in told] == list(each)
    for bucket, values in zip(told, each.values(), strict=True):
        assert bucket.mean == pytest.approx(sum(values) / len(values))
        assert (bucket.low, bucket.high) == (min(values), max(values))


def test_the_store_knows_of_which_devices_it_has_only_changes(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db", standing={"pump": Standing.of({"power"}, 30.0)})
    for device in ("pump", "meter"):
        store.commit(
            Batch(
                snapshots=[Snapshot(device, "live", at, Quality.GOOD, {"power": power, "einst_hz": 5}) for at, power in ((0, 0), (270, 90))]
            )
        )
    assert [bucket.mean for bucket in store.history("pump", "power", 0, 300, 300)] == [9]
    assert [bucket.mean for bucket in store.history("meter", "power", 0, 300, 300)] == [45]
    assert len(store.history("pump", "power", 0, 3600, 60)) == 11  # until 270 s, and for 375 s after that
    assert len(store.history("pump", "einst_hz", 0, 7200, 60)) == 120
    assert store.history("pump", "cheese", 0, 3600, 60) == []
    store.close()
