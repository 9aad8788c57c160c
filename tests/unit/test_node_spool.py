"""What the node keeps until the gateway has it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.node_modules import spool

Spool, Ring = spool.Spool, spool.Ring


def frame(seq: int, size: int = 20) -> memoryview:
    return memoryview(bytes([seq % 256]) * size)


def filled(count: int, *, frames: int = 40, size: int = 4096, events: tuple[int, ...] = ()) -> Spool:
    kept = Spool(frames, size)
    for seq in range(1, count + 1):
        assert kept.add(frame(seq), seq in events) == seq
    return kept


def send_all(kept: Spool, now_s: int, live: bool) -> list[int]:
    sent = []
    while (found := kept.due(now_s, live)) is not None:
        sent.append(found[0].seq(found[1]))
        kept.sent(found, now_s)
    return sent


def test_a_frame_leaves_only_when_an_acknowledgement_covers_it() -> None:
    kept = filled(5, events=(3,))
    assert send_all(kept, 1, True) == [1, 2, 3, 4, 5]
    assert kept.acknowledge(3)
    assert (len(kept), kept.first_seq()) == (2, 4)
    assert kept.acknowledge(5)
    assert (len(kept), kept.first_seq()) == (0, 6)


def test_an_acknowledgement_of_what_was_never_sent_is_refused() -> None:
    kept = filled(5)
    kept.sent(kept.due(1, True), 1)
    assert not kept.acknowledge(2)
    assert len(kept) == 5


def test_after_a_reconnection_all_is_sent_again_and_what_is_new_goes_first() -> None:
    kept = filled(3)
    send_all(kept, 1, True)
    kept.connected()
    kept.add(frame(4), False)
    assert kept.due(2, True)[0].seq(kept.due(2, True)[1]) == 4
    assert send_all(kept, 2, True) == [4]
    assert send_all(kept, 2, False) == [1, 2, 3]


def test_what_is_not_acknowledged_in_time_is_sent_again_ever_more_rarely() -> None:
    kept = filled(2)
    send_all(kept, 1, True)
    assert kept.due(15, False) is None
    assert send_all(kept, 16, False) == [1, 2]
    assert kept.due(45, False) is None, "the second time takes twice as long"
    assert send_all(kept, 46, False) == [1, 2]


def test_a_full_spool_gives_up_the_oldest_readings_and_keeps_events() -> None:
    kept = filled(100, events=(1, 2, 50))
    assert kept.events.count == 3
    assert kept.data.count == 30
    assert kept.first_seq() == 1
    dropped = kept.take_dropped()
    gone = {seq for first, last in dropped for seq in range(first, last + 1)}
    held = {kept.data.seq(i) for i in range(kept.data.count)} | {1, 2, 50}
    assert gone | held == set(range(1, 101))
    assert not gone & held
    assert kept.take_dropped() == []


def test_the_bytes_of_every_frame_survive_any_order_of_sizes() -> None:
    chance = random.Random(7)
    ring = Ring(16, 1000)
    held: list[tuple[int, bytes]] = []
    for seq in range(1, 3000):
        octets = chance.randbytes(chance.randint(1, 300))
        while not ring.add(seq, memoryview(octets)):
            assert ring.drop_oldest() == held.pop(0)[0]
        held.append((seq, octets))
        assert [(ring.seq(i), bytes(ring.frame(i))) for i in range(ring.count)] == held


def test_a_frame_larger_than_the_ring_is_reported_and_harms_nothing() -> None:
    kept = Spool(40, 400)
    kept.add(frame(1), False)
    kept.add(memoryview(bytes(5000)), False)
    kept.add(frame(3), False)
    assert kept.take_dropped() == [[1, 2]]
    assert kept.first_seq() == 3


def test_what_could_not_be_told_is_told_later() -> None:
    kept = Spool(40, 4000)
    for seq in (*range(1, 4), 7, 9, 10):
        kept.gap(seq, seq)
    runs = kept.take_dropped()
    assert runs == [[1, 3], [7, 7], [9, 10]]
    kept.gap(8, 8)
    kept.gap(12, 12)
    for first, last in runs:
        kept.gap(first, last)
    assert {seq for first, last in kept.take_dropped() for seq in range(first, last + 1)} == {1, 2, 3, 7, 8, 9, 10, 12}


@given(st.permutations(range(1, 60)).flatmap(lambda all_: st.integers(0, 16).map(lambda n: all_[:n])))
def test_gaps_in_any_order_are_told_each_once(numbers: list[int]) -> None:
    kept = Spool(40, 4000)
    for seq in numbers:
        kept.gap(seq, seq)
    told: list[int] = []
    while runs := kept.take_dropped():
        told += [seq for first, last in runs for seq in range(first, last + 1)]
    assert told == sorted(numbers)


def test_the_list_of_gaps_stays_short_at_the_cost_of_the_oldest_events() -> None:
    kept = Spool(400, 200_000)
    for seq in range(1, 2001):
        kept.add(frame(seq), seq % 4 == 0 and seq < 400)
    dropped = []
    while runs := kept.take_dropped():
        assert len(runs) <= 8, "an event has room for no more"
        dropped += runs
    assert len(dropped) <= 16
    assert dropped == sorted(dropped)
    gone = {seq for first, last in dropped for seq in range(first, last + 1)}
    held = {ring.seq(i) for ring in (kept.data, kept.events) for i in range(ring.count)}
    assert not gone & held
    assert gone | held == set(range(1, 2001))


def test_runs_that_are_joined_take_along_the_readings_between_them_too() -> None:
    """Of two rings each loses its oldest, in turns: every run is one number, and what lies between two of them is held by the other."""
    kept = Spool(200, 20_000)
    for seq in range(1, 361):
        kept.add(frame(seq), seq % 2 == 0)
    gone: set[int] = set()
    while runs := kept.take_dropped():
        gone |= {seq for first, last in runs for seq in range(first, last + 1)}
    held = {ring.seq(i) for ring in (kept.data, kept.events) for i in range(ring.count)}
    assert kept.data.count
    assert not gone & held
    assert gone | held == set(range(1, 361))
    assert kept.dropped_count == len(gone)
