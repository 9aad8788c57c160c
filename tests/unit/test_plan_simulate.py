"""A battery and a house: the energy adds up, the limits hold, and the grid never takes the sun's room."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.control.plan.model import Action, Battery
from ohmstead.control.plan.settings import Place
from ohmstead.control.plan.simulate import SELF_USE, Course, Order, cost, fit_charge, simulate
from ohmstead.control.plan.sun import daylight

KWH = st.lists(st.floats(0, 3), min_size=24, max_size=24)
BATTERIES = st.builds(
    Battery,
    capacity_kwh=st.floats(1, 20),
    power_w=st.floats(500, 10_000),
    floor=st.floats(0, 30),
    ceiling=st.floats(70, 100),
    efficiency=st.floats(0.6, 1.0),
)
ORDERS = st.lists(
    st.builds(
        Order,
        action=st.sampled_from(list(Action)),
        power_w=st.floats(0, 8000),
        charge_kwh=st.floats(0, 2),
        floor=st.floats(0, 80),
        no_export=st.booleans(),
    ),
    min_size=24,
    max_size=24,
)


def test_a_quarter_hour_of_each_kind_by_hand() -> None:
    """10 kWh, 4 kW, 81 % there and back: 90 % each way. 50 % at first: 5 kWh."""
    battery = Battery(10, 4000, 10, 100, 0.81)
    sun, house = [2.0, 0.0, 0.5, 0.0, 3.0], [0.4, 0.9, 0.0, 0.1, 0.0]
    orders = [SELF_USE, SELF_USE, Order(Action.CHARGE, 2000, 0.5), Order(Action.DISCHARGE, 2000, floor=20), Order(no_export=True)]
    first, second, third, fourth, fifth = simulate(battery, 50, sun, house, orders)
    assert (first.charged, first.sold, first.stored) == (1.0, pytest.approx(0.6), pytest.approx(5.9))
    assert (second.discharged, second.bought, second.stored) == (pytest.approx(0.9), 0.0, pytest.approx(4.9))
    assert (third.charged, third.from_grid, third.bought) == (1.0, 0.5, pytest.approx(0.5))
    assert (fourth.discharged, fourth.sold) == (0.5, pytest.approx(0.4))
    assert (fifth.charged, fifth.sold, fifth.lost) == (1.0, 0.0, pytest.approx(2.0))


def test_a_cost_counts_what_is_left_in_the_battery() -> None:
    flows = simulate(Battery(10, 4000, 10, 100, 1.0), 50, [0.0, 2.0], [1.0, 0.0], [Order(Action.CHARGE, 4000, 1.0), SELF_USE])
    assert cost(flows, [3.0, 3.0], [1.0, 1.0], 2.0, 5.0) == pytest.approx(2 * 3.0 - 1.0 * 1.0 - 2 * 2.0)


@given(battery=BATTERIES, soc=st.floats(0, 100), sun=KWH, house=KWH, orders=ORDERS)
def test_energy_is_neither_made_nor_lost_and_limits_hold(
    battery: Battery, soc: float, sun: list[float], house: list[float], orders: list[Order]
) -> None:
    way = math.sqrt(battery.efficiency)
    before = battery.capacity_kwh * soc / 100
    for flow, pv, load in zip(simulate(battery, soc, sun, house, orders), sun, house, strict=True):
        assert pv + flow.bought + flow.discharged == pytest.approx(load + flow.charged + flow.sold + flow.lost)
        assert flow.stored == pytest.approx(before + flow.charged * way - flow.discharged / way)
        assert max(flow.charged, flow.discharged) <= battery.power_w / 4000 + 1e-9
        assert not (flow.charged and flow.discharged)
        assert not (flow.bought > 1e-9 and flow.sold > 1e-9)
        low, high = (battery.capacity_kwh * limit / 100 for limit in (battery.floor, battery.ceiling))
        assert min(before, low) - 1e-6 <= flow.stored <= max(before, high) + 1e-6
        before = flow.stored


@given(battery=BATTERIES, soc=st.floats(0, 100), sun=KWH, house=KWH, candidates=st.permutations(range(24)), power=st.floats(200, 9000))
def test_charging_from_the_grid_never_drives_the_sun_out(
    battery: Battery, soc: float, sun: list[float], house: list[float], candidates: list[int], power: float
) -> None:
    plain = simulate(battery, soc, sun, house, [SELF_USE] * 24)
    course = Course(battery, soc, sun, house, [SELF_USE] * 24)
    got = fit_charge(course, candidates[:12], power_w=power, fill_to=100)
    assert sum(flow.sold for flow in course.flows) <= sum(flow.sold for flow in plain) + 1e-6
    assert set(got) <= set(candidates[:12])
    assert {at for at, order in enumerate(course.orders) if order.action is Action.CHARGE} == set(got)


@given(battery=BATTERIES, soc=st.floats(0, 100), sun=KWH, house=KWH, orders=ORDERS, changes=st.lists(st.integers(0, 23), max_size=6))
def test_a_changed_order_gives_what_a_simulation_from_the_begin_gives(
    battery: Battery, soc: float, sun: list[float], house: list[float], orders: list[Order], changes: list[int]
) -> None:
    course = Course(battery, soc, sun, house, [SELF_USE] * 24)
    for at in changes:
        course.put(at, orders[at])
    assert course.flows == simulate(battery, soc, sun, house, course.orders)
    was, flows = course.orders[5], list(course.flows)
    before = course.put(5, orders[5])
    course.take_back(5, was, before)
    assert course.flows == flows


def test_the_sun_rises_in_prague_when_the_almanac_says() -> None:
    """2026-06-21: 04:52 to 21:15 CEST; 2025-12-21: 07:58 to 16:02 CET."""
    for day, rise, sets in (
        (date(2026, 6, 21), datetime(2026, 6, 21, 2, 52, tzinfo=UTC), datetime(2026, 6, 21, 19, 15, tzinfo=UTC)),
        (date(2025, 12, 21), datetime(2025, 12, 21, 6, 58, tzinfo=UTC), datetime(2025, 12, 21, 15, 2, tzinfo=UTC)),
    ):
        light = daylight(day, Place(50.08, 14.43))
        assert light is not None
        assert light[0] == pytest.approx(rise.timestamp(), abs=180)
        assert light[1] == pytest.approx(sets.timestamp(), abs=180)
    assert daylight(date(2026, 6, 21), Place(70.0, 20.0)) is None


def test_on_the_third_of_november_the_sun_is_sixteen_minutes_ahead_of_the_clock() -> None:
    """The equation of time has its largest value then, 16 min 26 s; 14.43° east are 57 min 43 s before Greenwich: noon at 10:45:51 UTC."""
    light = daylight(date(2025, 11, 3), Place(50.08, 14.43))
    assert light is not None
    assert sum(light) / 2 == pytest.approx(datetime(2025, 11, 3, 10, 45, 51, tzinfo=UTC).timestamp(), abs=60)
