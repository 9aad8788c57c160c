"""What is foreseen from the last days, and what is known of the battery."""

from __future__ import annotations

import pytest

from ohmstead.control.plan.outlook import Measured, as_before, mean_outside
from ohmstead.control.plan.soc import StateOfCharge
from ohmstead.prices import QUARTER_S, clock, midnight, quarters
from ohmstead.readings import Quality, Snapshot, Value
from tests.unit.price_days import CLOCKS_BACK, CLOCKS_FORWARD, DAY, PRAGUE

DAY_S = 86_400


def days_of(start: int, count: int, watts: float) -> list[Measured]:
    """`count` days before `start`, each with `watts` at noon (the quarter hour after it) and nothing else."""
    return [
        Measured(moment, watts if clock(moment, PRAGUE) == "12:00" else 0.0) for moment in range(start - count * DAY_S, start, QUARTER_S)
    ]


def test_the_mean_of_the_last_days_at_the_same_time_of_day() -> None:
    start = midnight(DAY, PRAGUE)
    sun = [*days_of(start - DAY_S, 1, 1000.0), *days_of(start, 1, 3000.0)]
    forecast = as_before(sun, days_of(start, 7, 400.0), start, 96, PRAGUE)
    assert forecast is not None
    assert forecast.sun_kwh[48] == pytest.approx(0.5), "2 kW for a quarter of an hour"
    assert forecast.house_kwh[48] == pytest.approx(0.1)
    assert sum(forecast.sun_kwh) == pytest.approx(0.5)
    assert forecast.covers(start, 96)
    assert not forecast.covers(start, 97)
    assert not forecast.covers(start - QUARTER_S, 1)


def test_on_the_days_of_a_clock_change_noon_stays_noon() -> None:
    for day in (CLOCKS_FORWARD, CLOCKS_BACK):
        start, count = midnight(day, PRAGUE), quarters(day, PRAGUE)
        forecast = as_before(days_of(start, 3, 1000.0), days_of(start, 7, 400.0), start, count, PRAGUE)
        assert forecast is not None
        assert clock(start + forecast.sun_kwh.index(0.25) * QUARTER_S, PRAGUE) == "12:00"
        assert len(forecast.sun_kwh) == count


def test_a_time_of_day_that_nobody_has_seen_makes_the_whole_unknown() -> None:
    start = midnight(DAY, PRAGUE)
    seen = days_of(start, 1, 1000.0)
    assert as_before(seen[1:], seen, start, 96, PRAGUE) is None
    assert as_before(seen, [], start, 96, PRAGUE) is None
    assert as_before([], [], start, 96, PRAGUE) is None


def test_an_outside_temperature_of_too_few_hours_is_unknown() -> None:
    assert mean_outside([Measured(hour * 3600, -2.0 + hour % 2) for hour in range(72)]) == pytest.approx(-1.5)
    assert mean_outside([Measured(hour * 3600, 5.0) for hour in range(53)]) is None
    assert mean_outside([]) is None


def read(soc: Value, age: float = 0.0, device: str = "growatt") -> Snapshot:
    return Snapshot(device, "live", 1e9, Quality.GOOD, {"battery_soc": soc}, age=age)


def test_a_state_of_charge_is_unknown_before_it_is_read_and_when_it_is_old() -> None:
    now = 1000.0
    soc = StateOfCharge("growatt", "battery_soc", 120.0, lambda: now)
    assert soc.percent() is None
    soc.take(read(61))
    soc.take(read(12, device="mtec"))
    assert soc.percent() == 61.0
    now += 121.0
    assert soc.percent() is None
    soc.take(read(55, age=130.0))
    assert soc.percent() is None, "a late reading is as old as it says"
    soc.take(read(50))
    soc.take(read(49, age=60.0))
    assert soc.percent() == 50.0, "the newer one"


@pytest.mark.parametrize("nonsense", [101, -1, float("nan"), "full"])
def test_a_state_of_charge_that_cannot_be_is_not_taken(nonsense: Value) -> None:
    soc = StateOfCharge("growatt", "battery_soc", 120.0, lambda: 0.0)
    soc.take(read(nonsense))
    assert soc.percent() is None
