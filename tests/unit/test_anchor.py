"""When things happened, told by a node without a clock over a link that holds frames back."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.nodes.anchor import BUCKET_S, SLACK, WINDOW_S, Anchors
from ohmstead.store.protocol import Anchor, Boot

KEY = ("cellar", 7)
EPOCH = 1_750_000_000.0
DRIFTS = st.floats(-40e-6, 40e-6)
"""By how much a crystal is fast (its uptime grows by 1 + drift a second)."""

DICE = st.integers(0, 2**32).map(random.Random)


@dataclass
class House:
    """A node that booted when the gateway's monotonic clock stood at `boot`, and the gateway that listens to it."""

    drift: float = 0.0
    boot: float = 500.0
    wall_offset: float = EPOCH
    remembered: tuple[Boot, ...] = ()
    anchors: Anchors = field(init=False)
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.anchors = Anchors(self.remembered, mono=self.now, wall=self.wall_offset + self.now)

    def uptime(self, moment: float) -> float:
        return (moment - self.boot) * (1 + self.drift)

    def receive(self, made: float, received: float) -> float:
        """A frame made at one moment is received at another; returns by how much its time is late (seconds)."""
        self.now = max(self.now, received)
        self.anchors.heard(KEY, self.uptime(made), received)
        return self.error(made)

    def error(self, made: float) -> float:
        return self.anchors.anchor(KEY, self.now, self.wall_offset + self.now).offset + self.uptime(made) - (self.wall_offset + made)

    def save(self) -> None:
        self.remembered = (Boot("cellar", 7, 0, self.anchors.anchor(KEY, self.now, self.wall_offset + self.now)),)


@settings(max_examples=30)
@given(drift=DRIFTS, dice=DICE)
def test_over_a_day_of_jitter_and_drift_frames_land_where_they_happened(drift: float, dice: random.Random) -> None:
    house = House(drift)
    errors = []
    for number in range(8640):
        made = 1000.0 + 10 * number
        errors.append(house.receive(made, made + dice.uniform(0, 5) * dice.random()))
    settled = errors[360:]
    assert max(settled) < 0.25, "after an hour a frame is at most a quarter of a second late"
    assert min(settled) > -0.25
    assert max(abs(errors[0]), abs(errors[10])) <= 5


@given(drift=DRIFTS)
def test_without_delays_a_day_of_drift_costs_no_more_than_the_drift_of_an_hour(drift: float) -> None:
    house = House(drift)
    for number in range(8640):
        made = 1000.0 + 10 * number
        assert abs(house.receive(made, made)) <= WINDOW_S * 40e-6 + 0.01


@settings(max_examples=30)
@given(drift=DRIFTS, away=st.floats(600, 8 * 3600), dice=DICE)
def test_after_hours_without_a_broker_what_is_replayed_among_live_frames_lands_where_it_happened(
    drift: float, away: float, dice: random.Random
) -> None:
    house = House(drift)
    for number in range(360):
        house.receive(1000.0 + 10 * number, 1000.0 + 10 * number + dice.uniform(0, 0.5))
    back = house.now + away
    house.receive(back, back + 0.05)  # the hello of the reconnection
    spool = [house.now - away * share / 200 for share in range(200, 0, -1)]
    for number, made in enumerate(spool):
        received = back + 0.1 + 0.05 * number
        error = house.receive(made, received)
        assert abs(error) < 0.25 + (back - made) * 2 * 40e-6, f"{back - made:.0f} s old"
        if number % 20 == 0:
            assert abs(house.receive(received, received + dice.uniform(0, 0.5))) < 0.7


@given(drift=DRIFTS, away=st.floats(2, 86_400))
def test_a_restart_of_the_gateway_keeps_the_anchor_also_when_a_replay_comes_first(drift: float, away: float) -> None:
    house = House(drift)
    for number in range(100):
        house.receive(1000.0 + 10 * number, 1000.0 + 10 * number + 0.02)
    house.save()
    stopped = house.now
    house.now += away
    house.boot -= 1e6  # the gateway's machine restarted as well: another monotonic clock
    house.wall_offset += 1e6
    house.now -= 1e6
    house.restart()
    error = house.receive(stopped - 1e6 + 1, house.now + 0.05)
    assert abs(error) < 0.1 + (SLACK + 40e-6) * away


def test_an_hour_in_which_only_old_frames_come_does_not_move_the_anchor_until_it_is_over() -> None:
    house = House()
    house.receive(1000.0, 1000.0)
    house.now = 1000.0 + 3 * 3600
    begin = house.now
    for second in range(0, int(WINDOW_S - BUCKET_S), 10):
        assert house.receive(1000.0 + second, begin + second) < 1.2 + SLACK * WINDOW_S


def test_an_uptime_that_was_once_far_too_high_is_forgotten_after_the_window() -> None:
    house = House()
    house.receive(1000.0, 1000.0)
    house.anchors.heard(KEY, 1e6, 1001.0)
    assert house.error(1001.0) < -1000
    for number in range(int(2 * WINDOW_S / 10)):
        house.receive(1010.0 + 10 * number, 1010.0 + 10 * number)
    assert abs(house.error(house.now)) < 0.5


@given(jump=st.floats(-1e9, 1e9))
def test_a_jump_of_the_wall_clock_moves_only_what_comes_after_it(jump: float) -> None:
    house = House()
    for number in range(50):
        house.receive(1000.0 + 10 * number, 1000.0 + 10 * number + 0.3)
    house.wall_offset += jump
    assert house.receive(1500.0, 1500.0) == pytest.approx(0, abs=0.31)
    assert house.error(1200.0) == pytest.approx(0, abs=0.31), "what was still under way comes out right in the new time"


@given(steps=st.lists(st.tuples(st.floats(0, 100), st.floats(-1e6, 1e6)), min_size=1, max_size=30), age=st.floats(-3600, 3600))
def test_no_frame_comes_from_the_future_whatever_a_node_says(steps: list[tuple[float, float]], age: float) -> None:
    house = House(remembered=(Boot("cellar", 7, 0, Anchor(EPOCH, EPOCH + 1000 + age)),))
    now = 1000.0
    for pause, uptime in steps:
        now += pause
        house.anchors.heard(KEY, abs(uptime), now)
        assert house.anchors.anchor(KEY, now, EPOCH + now).offset + abs(uptime) <= EPOCH + now + 1e-3


@pytest.mark.parametrize("at", [0.0, EPOCH - 40 * 86_400, EPOCH + 90_000.0], ids=["1970", "weeks ago", "tomorrow"])
def test_an_anchor_made_with_a_wrong_clock_is_not_believed(at: float) -> None:
    house = House(remembered=(Boot("cellar", 7, 0, Anchor(at - 500, at)),))
    assert abs(house.receive(1000.0, 1000.1)) < 0.11


def test_each_boot_has_its_own_anchor() -> None:
    anchors = Anchors((), mono=0, wall=EPOCH)
    anchors.heard(("cellar", 1), 100, 1000)
    anchors.heard(("cellar", 2), 5, 1000)
    assert anchors.anchor(("cellar", 1), 1000, EPOCH + 1000).offset == pytest.approx(EPOCH + 900)
    assert anchors.anchor(("cellar", 2), 1000, EPOCH + 1000).offset == pytest.approx(EPOCH + 995)


def test_ever_new_boots_do_not_fill_the_memory() -> None:
    anchors = Anchors((), mono=0, wall=EPOCH)
    for boot in range(2000):
        anchors.heard(("cellar", boot), 1, boot)
    assert len(anchors._envelopes) <= 500
