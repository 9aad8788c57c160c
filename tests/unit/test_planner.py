"""The planner finds the cheapest reads: held against every possible way to read a handful of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.profiles.planner import COILS, HOLDING, INPUT, LineCost, PlanError, Read, Span, TcpCost, plan, seconds

LINE = LineCost.of_line(9600, turnaround_s=0.020)


def holding(address: int, words: int = 1) -> Span:
    return Span(HOLDING, address, words)


# The cost of a read


def test_sixty_words_at_9600_baud_take_their_characters_the_turnaround_and_the_silences() -> None:
    characters = (8 + 5 + 2 * 60) * 10 / 9600
    assert LINE.read_s(Read(HOLDING, 0, 60)) == pytest.approx(characters + 0.020 + 2 * 3.5 * 10 / 9600)


@pytest.mark.parametrize(("parity", "stop", "bits"), [("N", 1, 10), ("E", 1, 11), ("O", 1, 11), ("N", 2, 11), ("E", 2, 12)])
def test_parity_and_a_second_stop_bit_lengthen_a_character(parity: str, stop: int, bits: int) -> None:
    assert LineCost.of_line(9600, parity, stop).char_s == pytest.approx(bits / 9600)


def test_above_19200_baud_the_silence_is_fixed() -> None:
    assert LineCost(19200).silence_s == pytest.approx(35 / 19200)
    assert LineCost(38400).silence_s == pytest.approx(0.00175)
    assert LineCost(115200).silence_s == pytest.approx(0.00175)


def test_no_pause_is_shorter_than_the_silence_and_a_longer_one_counts() -> None:
    silent = LineCost(9600)
    read = Read(HOLDING, 0, 1)
    assert LineCost(9600, pause_s=silent.silence_s / 2).read_s(read) == silent.read_s(read)
    assert LineCost(9600, pause_s=0.25).read_s(read) == pytest.approx(silent.read_s(read) - silent.silence_s + 0.25)


def test_coils_travel_as_bits() -> None:
    assert Read(COILS, 0, 9).reply_bytes == 2
    assert Read(INPUT, 0, 9).reply_bytes == 18


def test_on_tcp_the_round_trip_counts_most() -> None:
    cost = TcpCost(round_trip_s=0.05, bytes_per_s=1e5)
    assert cost.read_s(Read(HOLDING, 0, 10)) == pytest.approx(0.05 + (12 + 9 + 20) / 1e5)


def test_the_time_of_a_plan_is_the_sum_of_its_reads() -> None:
    reads = [Read(HOLDING, 0, 1), Read(INPUT, 0, 3)]
    assert seconds(reads, LINE) == pytest.approx(LINE.read_s(reads[0]) + LINE.read_s(reads[1]))


# What may be read together


def test_neighbours_are_read_at_once() -> None:
    assert plan([holding(10), holding(11, 2), holding(13)], 100, [], LINE) == [Read(HOLDING, 10, 4)]


def test_a_gap_is_read_over_only_inside_one_readable_range() -> None:
    points = [holding(10), holding(13)]
    apart = [Read(HOLDING, 10, 1), Read(HOLDING, 13, 1)]
    assert plan(points, 100, [], LINE) == apart
    assert plan(points, 100, [(11, 12)], LINE) == [Read(HOLDING, 10, 4)]
    assert plan(points, 100, [(0, 11), (12, 20)], LINE) == apart, "two ranges that touch are two"
    assert plan(points, 100, [(0, 11)], LINE) == apart


def test_a_wide_gap_costs_more_than_a_second_request() -> None:
    assert len(plan([holding(0), holding(10)], 100, [(0, 1000)], LINE)) == 1
    assert len(plan([holding(0), holding(90)], 100, [(0, 1000)], LINE)) == 2


def test_a_slow_round_trip_makes_wide_gaps_worth_reading() -> None:
    points = [holding(0), holding(90)]
    assert plan(points, 100, [(0, 1000)], TcpCost(round_trip_s=0.05)) == [Read(HOLDING, 0, 91)]


def test_a_point_is_never_split() -> None:
    points = [holding(address, 2) for address in range(0, 20, 2)]
    reads = plan(points, 7, [], LINE)
    assert sum(read.count for read in reads) == 20
    assert all(read.count <= 6 and read.address % 2 == 0 for read in reads)
    assert len(reads) == 4


def test_greedy_filling_would_cost_more() -> None:
    """The first read could be filled over the gap up to 12; the cheapest plan cuts at the gap."""
    points = [holding(0, 2), holding(9, 3), holding(12, 9)]
    assert plan(points, 12, [(0, 100)], LINE) == [Read(HOLDING, 0, 2), Read(HOLDING, 9, 12)]


def test_tables_are_planned_apart() -> None:
    assert plan([holding(5), Span(INPUT, 5, 1), holding(6)], 100, [], LINE) == [Read(HOLDING, 5, 2), Read(INPUT, 5, 1)]


def test_overlapping_and_repeated_points_are_read_once() -> None:
    assert plan([holding(0, 8), holding(2), holding(2), holding(7, 4)], 100, [], LINE) == [Read(HOLDING, 0, 11)]


def test_nothing_asked_for_nothing_read() -> None:
    assert plan([], 100, [(0, 10)], LINE) == []


def test_a_point_longer_than_the_largest_read_is_refused() -> None:
    with pytest.raises(PlanError, match="8 registers at 100 is longer than the largest read"):
        plan([holding(100, 8)], 7, [], LINE)


@pytest.mark.parametrize("span", [holding(65535, 2), holding(-1), holding(3, 0)])
def test_a_span_outside_the_address_space_is_refused(span: Span) -> None:
    with pytest.raises(PlanError):
        plan([span], 100, [], LINE)


# The proof: every set partition of the points, judged register by register


def every_partition(items: Sequence[Span]) -> Iterator[list[list[Span]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in every_partition(rest):
        yield [[first], *smaller]
        for index, part in enumerate(smaller):
            yield [*smaller[:index], [first, *part], *smaller[index + 1 :]]


def allowed(first: int, last: int, wanted: set[int], readable: Sequence[tuple[int, int]], max_read: int) -> bool:
    if last - first + 1 > max_read:
        return False
    gap: list[int] = []
    for register in range(first, last + 1):
        if register not in wanted:
            gap.append(register)
        if gap and (register in wanted or register == last):
            if not any(all(low <= inside <= high for inside in gap) for low, high in readable):
                return False
            gap = []
    return True


def cheapest_of_all(points: Sequence[Span], max_read: int, readable: Sequence[tuple[int, int]], cost: LineCost | TcpCost) -> float:
    wanted = {register for point in points for register in range(point.address, point.address + point.words)}

    @cache
    def price(first: int, last: int) -> float:
        if not allowed(first, last, wanted, readable, max_read):
            return float("inf")
        return cost.read_s(Read(HOLDING, first, last - first + 1))

    return min(
        sum(price(min(p.address for p in part), max(p.address + p.words - 1 for p in part)) for part in partition)
        for partition in every_partition(list(points))
    )


spans = st.builds(Span, st.just(HOLDING), st.integers(0, 60), st.integers(1, 4))
ranges = st.tuples(st.integers(0, 60), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))
costs = st.one_of(
    st.builds(
        LineCost.of_line,
        st.sampled_from([1200, 9600, 19200, 115200]),
        st.sampled_from("NEO"),
        st.sampled_from([1, 2]),
        st.floats(0, 0.05),
        st.floats(0, 0.3),
    ),
    st.builds(TcpCost, st.floats(0, 0.1), st.floats(1e3, 1e7)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(spans, max_size=7), st.integers(4, 40), st.lists(ranges, max_size=4), costs)
def test_no_way_to_read_the_points_is_cheaper(
    points: list[Span], max_read: int, readable: list[tuple[int, int]], cost: LineCost | TcpCost
) -> None:
    reads = plan(points, max_read, readable, cost)
    assert seconds(reads, cost) == pytest.approx(cheapest_of_all(points, max_read, readable, cost))


@settings(max_examples=5, deadline=None)
@given(st.lists(spans, min_size=9, max_size=9), st.integers(4, 40), st.lists(ranges, max_size=4), costs)
def test_nor_is_it_for_nine_points(points: list[Span], max_read: int, readable: list[tuple[int, int]], cost: LineCost | TcpCost) -> None:
    reads = plan(points, max_read, readable, cost)
    assert seconds(reads, cost) == pytest.approx(cheapest_of_all(points, max_read, readable, cost))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.builds(Span, st.sampled_from([HOLDING, INPUT]), st.integers(0, 300), st.integers(1, 8))), st.lists(ranges))
def test_every_point_is_held_whole_and_nothing_unknown_is_read(points: list[Span], readable: list[tuple[int, int]]) -> None:
    reads = plan(points, 20, readable, LINE)
    assert reads == sorted(reads)
    for point in points:
        assert any(read.function == point.function and read.address <= point.address and point.last <= read.last for read in reads)
    for read in reads:
        wanted = {r for p in points if p.function == read.function for r in range(p.address, p.last + 1)}
        assert allowed(read.address, read.last, wanted, readable, 20)


@given(st.lists(spans), st.randoms())
def test_the_order_of_the_points_does_not_matter(points: list[Span], random: Random) -> None:
    shuffled = list(points)
    random.shuffle(shuffled)
    assert plan(shuffled, 20, [(0, 100)], LINE) == plan(points, 20, [(0, 100)], LINE)
