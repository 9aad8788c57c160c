"""What a port has produced: never less than before, over nights, restarts, false readings and two kinds of clock change."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.sources.hoymiles_production import Produced, Production
from ohmstead.sources.hoymiles_records import Record
from tests.hoymiles_rig import NOON, PRAGUE

SERIAL = "114182a0b1c2"
MINUTE, HOUR = 60.0, 3600.0


def at(text: str, fold: int = 0) -> float:
    """UTC seconds of a local time in Prague."""
    return datetime.fromisoformat(text).replace(tzinfo=PRAGUE, fold=fold).timestamp()


def port(today: int, total: int, *, number: int = 1, serial: str = SERIAL, status: int = 3) -> Record:
    return Record(serial, number, 350, 550, 2300, 5000, 1900, today, total, 300, status, 0, 0, 1)


def asleep(number: int = 1, serial: str = SERIAL, total: int = 0) -> Record:
    return Record(serial, number, 0, 0, 0, 0, 0, 0, total, 0, 0, 0, 0, 0)


class Story:
    """One port, read at moments that the test says."""

    def __init__(self, reset_hour: int = 0) -> None:
        self.production = Production(PRAGUE, reset_hour)

    def __call__(self, now: float, *records: Record, complete: bool = True) -> Produced:
        self.production.take(records, now, complete=complete)
        return self.production.of(SERIAL, 1)

    def restarted(self) -> Story:
        other = Story()
        other.production = Production(PRAGUE)
        other.production.restore(self.production.text())
        return other


def test_a_port_that_sleeps_keeps_what_it_had() -> None:
    read = Story()
    read(NOON, port(1200, 500_000))

    assert read(NOON + MINUTE, asleep()) == Produced(1200, 500_000)


def test_what_was_never_seen_awake_is_unknown_and_not_zero() -> None:
    read = Story()

    assert read(NOON, asleep()) == Produced(None, None)
    assert read.production.plant() == Produced(None, None)


def test_a_sleeping_port_whose_total_is_there_has_a_total_and_no_day() -> None:
    assert Story()(NOON, asleep(total=500_000)) == Produced(None, 500_000)


def test_a_lower_reading_is_not_believed() -> None:
    read = Story()
    read(NOON, port(1200, 500_000))

    assert read(NOON + MINUTE, port(1100, 400_000)) == Produced(1200, 500_000)
    assert read(NOON + 2 * MINUTE, port(1201, 500_001)) == Produced(1201, 500_001)


def test_one_reading_of_all_ones_is_no_production() -> None:
    read = Story()
    read(NOON, port(1200, 500_000))

    assert read(NOON + MINUTE, port(0xFFFF, 0xFFFFFFFF)) == Produced(1200, 500_000)
    assert read(NOON + 2 * MINUTE, port(1203, 500_003)) == Produced(1203, 500_003)


def test_a_leap_that_stays_is_believed_in_the_end() -> None:
    read = Story()
    read(NOON, port(1200, 500_000))
    for minute in range(1, 3):
        assert read(NOON + minute * MINUTE, port(9000, 600_000)) == Produced(1200, 500_000)

    assert read(NOON + 3 * MINUTE, port(9000, 600_000)) == Produced(9000, 600_000)


def test_a_dtu_that_was_away_for_hours_brings_its_news_at_once() -> None:
    read = Story()
    read(NOON, port(1200, 500_000))

    assert read(NOON + 6 * HOUR, port(10_200, 509_000)) == Produced(10_200, 509_000)


def test_a_counter_that_begins_anew_is_counted_on_from_where_it_was() -> None:
    read = Story()
    read(NOON, port(1200, 500_000))
    totals = [read(NOON + minute * MINUTE, port(1200 + minute, minute)).total for minute in range(1, 30)]

    assert totals[0] == 500_000
    assert totals[-1] is not None
    assert 500_010 < totals[-1] < 500_030
    assert all(one is not None and other is not None and one <= other for one, other in pairwise(totals))


def test_the_day_begins_anew_at_midnight_and_the_total_goes_on() -> None:
    read = Story()
    read(at("2026-06-20 21:00"), port(4000, 500_000))
    read(at("2026-06-20 23:59"), asleep())

    assert read(at("2026-06-21 00:00"), asleep()) == Produced(0, 500_000)
    assert read(at("2026-06-21 05:30"), port(2, 500_002)) == Produced(2, 500_002)


def test_the_day_begins_anew_at_the_configured_hour_and_only_then() -> None:
    read = Story(reset_hour=6)
    read(at("2026-06-20 21:00"), port(4000, 500_000))
    todays = [read(at(f"2026-06-21 {hour:02}:00"), asleep()).today for hour in range(9)]

    assert todays == [4000] * 6 + [0] * 3


def test_what_an_inverter_at_work_has_on_its_register_at_that_hour_is_not_counted_twice() -> None:
    read = Story(reset_hour=20)
    read(at("2026-06-20 19:59"), port(4000, 500_000))

    assert read(at("2026-06-20 20:00"), port(4001, 500_001)).today == 1
    assert read(at("2026-06-20 20:30"), port(4050, 500_050)).today == 50
    assert read(at("2026-06-21 05:30"), port(3, 500_053)).today == 50  # until the register has passed what the day has had
    assert read(at("2026-06-21 12:00"), port(2000, 502_050)).today == 2000


def test_an_inverter_that_was_ahead_of_the_hour_loses_nothing() -> None:
    read = Story(reset_hour=6)
    read(at("2026-06-20 21:00"), port(4000, 500_000))
    read(at("2026-06-21 05:00"), port(5, 500_005))

    assert read(at("2026-06-21 05:59"), port(40, 500_040)).today == 4000
    assert read(at("2026-06-21 06:00"), port(41, 500_041)).today == 41


def test_a_morning_that_nobody_saw_is_all_counted() -> None:
    read = Story()
    read(at("2026-06-20 21:00"), port(1240, 500_000))
    read(at("2026-06-21 00:30"), asleep())

    assert read(at("2026-06-21 12:00"), port(1500, 501_499)) == Produced(1500, 501_499)


def test_after_a_gap_over_the_hour_a_sleeping_port_has_no_day() -> None:
    read = Story()
    read(at("2026-06-20 12:00"), port(2000, 500_000))

    assert read(at("2026-06-21 22:30"), asleep()) == Produced(None, 500_000)


@pytest.mark.parametrize(
    ("hour", "first", "moments"),
    [
        (2, "2026-10-24 12:00", "25 01:59, 25 02:00, 25 02:30, 25 02:00/1, 25 02:30/1, 25 03:30"),
        (2, "2026-03-28 12:00", "29 01:59, 29 03:00, 29 03:30, 29 04:00"),
        (0, "2026-10-24 12:00", "24 23:59, 25 00:00, 25 02:30, 25 02:30/1, 25 23:30"),
    ],
)
def test_on_the_days_that_the_clock_is_changed_there_is_one_reset(hour: int, first: str, moments: str) -> None:
    read = Story(reset_hour=hour)
    read(at(first), port(900, 500_000))
    begun = 0
    for moment in moments.split(", "):
        local, _, fold = moment.partition("/")
        now = at(f"{first[:8]}{local}", int(fold or 0))
        read.production.take([], now, complete=False)
        if read.production.of(SERIAL, 1).today != 900:
            begun += 1
            read(now, port(900, 500_900))  # the inverter has produced as much again

    assert begun == 1


def test_a_clock_that_was_a_year_ahead_does_not_hold_the_day_for_a_year() -> None:
    read = Story()
    read(NOON + 365 * 86400, port(1200, 500_000))
    read(NOON, port(1200, 500_000))
    read(at("2026-06-20 23:59"), asleep())

    assert read(at("2026-06-21 00:01"), asleep()).today == 0


def test_a_restart_at_night_knows_what_the_evening_knew() -> None:
    read = Story()
    read(at("2026-06-20 21:00"), port(4000, 500_000))
    again = read.restarted()

    assert again(at("2026-06-20 22:00"), asleep()) == Produced(4000, 500_000)
    assert again.production.plant() == Produced(4000, 500_000)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", '{"day": 5, "ports": {}}', '{"day": null, "complete": true, "ports": {"a": {}}}',
        '{"day": null, "complete": true, "ports": {"a/1": {"today": "much"}}}',
        '{"day": null, "complete": true, "ports": {"a/1": {"power": 1}}}',
    ],
)  # fmt: skip
def test_a_memory_that_means_nothing_is_none(text: str) -> None:
    production = Production(PRAGUE)
    production.restore(text)

    assert production.plant() == Produced(None, None)
    assert not production.ports


def test_the_plant_has_a_sum_when_each_port_is_known() -> None:
    read = Story()
    read(NOON, port(100, 1000), asleep(2))
    assert read.production.plant() == Produced(None, None)

    read(NOON + MINUTE, port(101, 1001), port(50, 2000, number=2))
    assert read.production.plant() == Produced(151, 3001)


def test_a_list_that_was_cut_short_from_the_start_gives_no_sum() -> None:
    read = Story()
    read(NOON, port(100, 1000), complete=False)
    assert read.production.plant() == Produced(None, None)

    read(NOON + MINUTE, port(100, 1000))
    read(NOON + 2 * MINUTE, complete=False)
    assert read.production.plant() == Produced(100, 1000)


def test_what_the_owner_leaves_out_is_in_no_sum() -> None:
    read = Story()
    read(NOON, port(100, 1000), port(7, 70, serial="112174000007"))
    read.production.forget(["112174000007"])

    assert read.production.plant() == Produced(100, 1000)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 3]), st.integers(1, 7200)), max_size=60))
def test_whatever_is_read_nothing_falls_but_the_day_at_its_end(readings: list[tuple[int, int, int, int]]) -> None:
    read = Story()
    now, day = NOON, datetime.fromtimestamp(NOON, PRAGUE).date()
    last = Produced(None, None)
    for today, total, status, later in readings:
        now += later
        produced = read(now, port(today, total, status=status))
        if datetime.fromtimestamp(now, PRAGUE).date() == day and last.today is not None:
            assert produced.today is not None
            assert produced.today >= last.today
        if last.total is not None:
            assert produced.total is not None
            assert produced.total >= last.total
        last, day = produced, datetime.fromtimestamp(now, PRAGUE).date()
