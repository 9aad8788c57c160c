"""The physical day keeps the laws: powers balance to the watt, energy only grows, a write has its effect."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.sim import mtec
from ohmstead.sim.day import Counters, House, Settings, State, advance, begin, local, midnight, start_of, step, until_midnight
from ohmstead.sim.load import load
from ohmstead.sim.sun import clouds, on_plane, sky

HOUSE = House()
MODES = (mtec.GENERAL, mtec.ECONOMIC, mtec.UPS, mtec.OFF_GRID)
DATES = ((2026, 6, 21), (2026, 12, 21), (2026, 3, 29), (2026, 10, 25))


def whole_day(house: House, chosen: Settings, date: tuple[int, int, int], soc: float, length: int = 300) -> list[State]:
    """Every state of a local day, midnight to midnight."""
    state = begin(house, midnight(house, *date), soc)
    end = state.time + until_midnight(house, state.time)
    states = [state]
    while state.time < end:
        state = step(house, chosen, state, min(length, end - state.time))
        states.append(state)
    return states


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    mode=st.sampled_from(MODES),
    date=st.sampled_from(DATES),
    soc=st.floats(0.0, 1.0),
    switch=st.integers(0, 1),
    limit=st.integers(0, 1000),
    amperes=st.integers(0, 1000),
)
def test_powers_balance_to_the_watt_in_every_step_of_a_day(
    seed: int, mode: int, date: tuple[int, int, int], soc: float, switch: int, limit: int, amperes: int
) -> None:
    house = House(seed=seed)
    chosen = Settings(mode=mode, inject_switch=switch, inject_limit=limit, charge_limit=amperes, discharge_limit=amperes)
    for state in whole_day(house, chosen, date, soc)[1:]:
        flow = state.flow
        assert sum(flow.pv) + flow.battery == sum(flow.inverter) + sum(flow.backup) + flow.losses
        assert sum(flow.inverter) - sum(flow.grid) == sum(flow.load)
        for phase in range(3):
            assert flow.inverter[phase] - flow.grid[phase] == flow.load[phase]
            assert min(flow.backup[phase], flow.load[phase]) >= 0
        assert 0 <= flow.losses <= 35 + 0.012 * abs(sum(flow.inverter) + sum(flow.backup)) + 0.008 * abs(flow.battery)
        assert min(flow.pv) >= 0
        assert abs(flow.battery) <= house.battery_power
        assert sum(flow.inverter) <= house.rated
        assert 0.0 <= state.soc(house) <= 1.0
        if mode == mtec.OFF_GRID:
            assert flow.grid == (0, 0, 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), date=st.sampled_from(DATES), mode=st.sampled_from(MODES))
def test_counters_are_the_integral_of_the_powers_and_only_grow(seed: int, date: tuple[int, int, int], mode: int) -> None:
    states = whole_day(House(seed=seed), Settings(mode=mode), date, 0.5)
    exported = bought = charged = made = 0
    for before, after in pairwise(states):
        seconds, grid = after.time - before.time, sum(after.flow.grid)
        exported += max(0, grid) * seconds
        bought += max(0, -grid) * seconds
        charged += max(0, -after.flow.battery) * seconds
        made += sum(after.flow.pv) * seconds
        assert all(new >= old for new, old in zip(after.total, before.total, strict=True))
        if after is not states[-1]:
            assert all(new >= old for new, old in zip(after.day, before.day, strict=True))
    grown = [new - old for new, old in zip(states[-1].total, states[0].total, strict=True)]
    assert (grown[0], grown[1], grown[3], grown[5]) == (exported, bought, charged, made)
    last_before_midnight = states[-2]
    assert last_before_midnight.day.feed == last_before_midnight.total.feed - states[0].total.feed
    assert states[-1].day == Counters()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), floor=st.integers(60, 900), soc=st.floats(0.0, 1.0))
def test_the_battery_is_not_discharged_below_the_soc_limit(seed: int, floor: int, soc: float) -> None:
    house = House(seed=seed)
    states = whole_day(house, Settings(on_grid_soc_limit=floor), (2026, 12, 21), soc)
    for before, after in pairwise(states):
        assert after.soc(house) >= min(floor / 1000, before.soc(house)) - 1e-9


def test_the_same_seed_lives_the_same_day_and_another_another() -> None:
    def day(seed: int) -> State:
        return start_of(House(seed=seed), "2026-06-21", 12)

    assert day(1) == day(1)
    assert day(1).total != day(2).total


def test_the_sun_is_up_in_the_day_and_a_summer_noon_is_bright() -> None:
    noon, night = midnight(HOUSE, 2026, 6, 21) + 13 * 3600, midnight(HOUSE, 2026, 6, 21) + 3600
    assert sky(night, 50, 14.4).beam == 0
    high = sky(noon, 50, 14.4)
    assert 62 < high.elevation * 57.29578 < 64.5  # 90 - 50 + 23.4 degrees
    assert abs(high.azimuth * 57.29578 - 180) < 5
    assert 850 < on_plane(high, 35, 180, 1.0) < 1150
    low = sky(midnight(HOUSE, 2026, 12, 21) + 12 * 3600, 50, 14.4)
    assert 16 < low.elevation * 57.29578 < 17


def test_clouds_pass() -> None:
    light = [clouds(1, midnight(HOUSE, 2026, 6, 21) + minute * 60) for minute in range(1440)]
    assert min(light) < 0.7
    assert max(light) == 1.0
    assert all(0.15 <= value <= 1.0 for value in light)


def test_the_house_draws_more_when_somebody_cooks_than_at_night() -> None:
    day = local(HOUSE, midnight(HOUSE, 2026, 6, 21)).toordinal()
    watts = [sum(load(1, day, second).house) for second in range(0, 86400, 60)]
    assert 180 <= min(watts) < 300
    assert 2000 < max(watts) < 12000
    assert 5 < sum(watts) / 60 / 1000 < 25  # kWh a day


@pytest.fixture
def noon() -> State:
    """A sunny hour with the battery half full."""
    return replace(start_of(HOUSE, "2026-06-21", 14.5), stored=0.5 * HOUSE.capacity * 3600)


def after(state: State, chosen: Settings) -> State:
    return step(HOUSE, chosen, state, 1)


def test_the_injection_limit_curtails_the_roof_to_the_watt(noon: State) -> None:
    full = replace(noon, stored=HOUSE.capacity * 3600)
    free = after(full, Settings())
    assert sum(free.flow.grid) > 2400
    limited = after(full, Settings(inject_switch=1, inject_limit=200))
    assert sum(limited.flow.grid) == 2400
    assert sum(limited.flow.pv) < sum(free.flow.pv)
    assert sum(after(full, Settings(inject_switch=0, inject_limit=200)).flow.grid) == sum(free.flow.grid)
    assert sum(after(full, Settings(inject_switch=1, inject_limit=0)).flow.grid) == 0


def test_the_charge_limit_bounds_the_charging_current(noon: State) -> None:
    assert after(noon, Settings()).flow.battery < -3000
    assert -430 * 5 <= after(noon, Settings(charge_limit=50)).flow.battery <= -400 * 5
    assert after(noon, Settings(charge_limit=0)).flow.battery == 0


def test_the_discharge_limit_bounds_the_discharging_current() -> None:
    evening = start_of(HOUSE, "2026-06-21", 22.0)
    assert after(evening, Settings()).flow.battery > 0
    assert after(evening, Settings(discharge_limit=0)).flow.battery == 0
    assert after(evening, Settings(on_grid_soc_limit=1000)).flow.battery == 0


def test_the_modes_do_what_their_names_say(noon: State) -> None:
    night = start_of(HOUSE, "2026-06-21", 2.0)
    assert after(night, Settings(mode=mtec.GENERAL)).flow.battery > 0
    assert after(night, Settings(mode=mtec.ECONOMIC)).flow.battery == -3000  # the cheap hours
    assert after(night, Settings(mode=mtec.UPS)).flow.battery == -5000
    alone = after(noon, Settings(mode=mtec.OFF_GRID))
    assert alone.flow.grid == (0, 0, 0)
    assert sum(alone.flow.backup) > 0 == sum(alone.flow.load)  # only the backup output goes on
    assert alone.flow.battery < 0 < sum(alone.flow.pv)
    empty = after(replace(night, stored=0.1 * HOUSE.capacity * 3600), Settings(mode=mtec.OFF_GRID))
    assert sum(empty.flow.backup) == 0


def test_a_long_pause_is_lived_through_in_few_steps_and_days_still_end_at_midnight() -> None:
    state = start_of(HOUSE, "2026-06-21", 12)
    later = advance(HOUSE, Settings(), state, state.time + 3 * 86400)
    assert later.time == state.time + 3 * 86400
    assert later.day.pv < later.total.pv - state.total.pv
    moment: datetime = local(HOUSE, later.time)
    assert (moment.day, moment.hour) == (24, 12)
