"""Requests to Viessmann's cloud are counted, in two windows, over restarts and whatever the clock does."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.errors import RateLimited
from ohmstead.sources.vicare_budget import Allowance, Budget
from tests.unit.vicare_account import Clock, Kept


def budget(clock: Clock, kept: Kept | None = None, day: int = 100, ten_minutes: int = 20) -> Budget:
    return Budget(Allowance(day, ten_minutes, 0.1), kept if kept is not None else Kept(), "requests", clock)


def spend_all(of: Budget) -> tuple[int, RateLimited]:
    spent = 0
    while True:
        try:
            of.spend()
        except RateLimited as error:
            return spent, error
        spent += 1


def test_ten_minutes_hold_their_number_less_the_margin_and_then_there_is_room_again() -> None:
    clock = Clock()
    one = budget(clock)
    spent, error = spend_all(one)
    assert spent == 18
    assert 600 < error.after <= 660
    clock.now += error.after - 1
    with pytest.raises(RateLimited):
        one.spend()
    clock.now += 1
    assert spend_all(one)[0] == 18


def test_a_day_holds_its_number_less_the_margin() -> None:
    clock = Clock()
    one = budget(clock)
    spent = 0
    for _ in range(8):
        spent += spend_all(one)[0]
        clock.now += 700
    assert spent == 90
    after = spend_all(one)[1].after
    assert after > 80_000
    clock.now += after
    one.spend()


def test_a_restart_forgets_nothing() -> None:
    clock, kept = Clock(), Kept()
    assert spend_all(budget(clock, kept))[0] == 18
    assert spend_all(budget(clock, kept))[0] == 0
    assert budget(clock, kept).used() == (18, 18)


def test_what_the_other_side_refuses_holds_over_a_restart_and_at_most_a_day() -> None:
    clock, kept = Clock(), Kept()
    assert budget(clock, kept).ban(1e9) == 86_400
    one = budget(clock, kept)
    with pytest.raises(RateLimited) as caught:
        one.spend()
    assert caught.value.after == pytest.approx(86_400, abs=1)
    clock.now += 86_401
    one.spend()


def test_a_clock_that_was_set_back_makes_no_room_and_none_is_lost_for_ever() -> None:
    clock, kept = Clock(), Kept()
    clock.now += 5 * 365 * 86_400
    spend_all(budget(clock, kept))
    clock.now -= 5 * 365 * 86_400
    one = budget(clock, kept)
    with pytest.raises(RateLimited) as caught:
        one.spend()
    assert caught.value.after <= 660
    clock.now += caught.value.after
    one.spend()


@pytest.mark.parametrize("kept", ["", "nonsense", "1:2:3", "0 5", "0 5:x", "inf"])
def test_a_memory_that_cannot_be_read_counts_from_now(kept: str) -> None:
    memory = Kept()
    memory.values["requests"] = kept
    one = budget(Clock(), memory)
    one.spend()
    assert one.used() == (1, 1)


@given(st.lists(st.integers(0, 900), max_size=200))
def test_no_window_ever_holds_more_than_is_usable(pauses: list[int]) -> None:
    clock = Clock()
    one = budget(clock, day=60, ten_minutes=20)
    spent: list[float] = []
    for pause in pauses:
        clock.now += pause
        try:
            one.spend()
        except RateLimited:
            continue
        spent.append(clock.now)
        for window, most in ((600, 18), (86_400, 54)):
            assert sum(moment > clock.now - window for moment in spent) <= most


class Slow(Kept):
    """A disk that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def write(self, key: str, value: str) -> None:
        self.begun.set()
        assert self.goes_on.wait(60)
        super().write(key, value)


def test_who_only_looks_does_not_wait_for_the_disk() -> None:
    disk = Slow()
    one = budget(Clock(), disk)
    thread = threading.Thread(target=one.spend)
    thread.start()
    assert disk.begun.wait(60)
    assert one.used() == (1, 1)
    disk.goes_on.set()
    thread.join(60)
    assert disk.values["requests"].endswith(":1")
