"""The recorded OTE prices give the plan that a calculation by hand gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ohmstead.control.plan import rules
from ohmstead.control.plan.author import RuleAuthor
from ohmstead.control.plan.model import CHARGE, DISCHARGE, EXPORT_LIMIT, Action, Battery, Step
from ohmstead.control.plan.settings import ChargeRules, Settings
from ohmstead.control.plan.simulate import SELF_USE, Order, cost, simulate
from ohmstead.prices import QUARTER_S, DayPrices, Tariff
from tests.unit.price_days import CZK_EUR, DAY, DEAR_DAY, FIRST_DAY, at, recorded, situation, spread

LOSSLESS = Battery(capacity_kwh=10, power_w=5000, floor=10, ceiling=95, efficiency=1.0)
SIX_HOURS = Settings("growatt", LOSSLESS, ChargeRules(cheapest_hours=6, power_w=3000))


def hours_of(day: DayPrices, chosen: set[int]) -> list[int]:
    return sorted({(moment - day.start) // 3600 for moment in chosen})


def spans(day: DayPrices, steps: tuple[Step, ...], control: str = CHARGE) -> list[tuple[str, str, float]]:
    def clock(moment: int) -> str:
        return f"{(moment - day.start) // 3600:02}:{(moment - day.start) // 60 % 60:02}"

    return [(clock(step.start), clock(step.end), step.value) for step in steps if step.control == control]


def test_the_six_cheapest_hours(goldens: Path) -> None:
    """From OTE's own hourly prices (`HourlyPrice`, EUR/MWh):

    2025-10-21: 03 46.12, 04 51.19, 02 53.26, 01 56.22, 05 65.08, 00 70.02 | next would be 15 72.71
    2025-10-22: 13 85.05, 12 86.16, 11 90.41, 02 91.57, 01 92.04, 00 92.42 | next would be 04 92.57
    2025-10-23: 13 67.05, 12 68.80, 23 70.74, 11 71.54, 14 75.55, 22 82.75 | next would be 04 82.86
    """
    expected = {FIRST_DAY: [0, 1, 2, 3, 4, 5], DEAR_DAY: [0, 1, 2, 11, 12, 13], DAY: [11, 12, 13, 14, 22, 23]}
    for date, hours in expected.items():
        day = recorded(goldens, date)
        chosen = rules.cheapest_hours(day, 6)
        assert hours_of(day, chosen) == hours
        assert len(chosen) == 24


def test_the_cheapest_quarter_of_the_range(goldens: Path) -> None:
    """2025-10-22: 78.73 to 345.58 EUR/MWh, so up to 78.73 + 266.85 / 4 = 145.4425. That takes 76 quarter hours of this day with its
    dear evening; 145.50 (17:00) is just above. 2025-10-23: 61.36 to 140.67, up to 81.1875: 25 quarter hours, 81.22 (04:30) is above."""
    dear, day = recorded(goldens, DEAR_DAY), recorded(goldens, DAY)
    chosen = rules.cheapest_quarter_of_range(dear)
    assert len(chosen) == 76
    assert at(dear, "17:00") not in chosen
    chosen = rules.cheapest_quarter_of_range(day)
    assert len(chosen) == 25
    assert at(day, "04:30") not in chosen
    assert at(day, "03:45") in chosen  # 78.15


def test_the_cheapest_stretch_of_three_hours(goldens: Path) -> None:
    """2025-10-23: the twelve prices from 11:30 (71.08 69.44 70.87 68.99 68.42 66.93 68.96 66.93 66.48 65.83 61.55 65.99) sum up to 811.47;
    from 11:15 it is + 73.20 - 65.99 = 818.68, from 11:45 it is - 71.08 + 84.43 = 824.82."""
    day = recorded(goldens, DAY)
    assert rules.cheapest_window(day, 3 * 3600) == {at(day, "11:30") + number * QUARTER_S for number in range(12)}


def test_an_empty_house_fills_its_battery_in_the_cheapest_quarters_of_the_cheapest_hours(goldens: Path) -> None:
    """2025-10-23, 10 kWh at 20 %, up to 95 %, 3 kW, no losses, neither sun nor house.

    75 % of 10 kWh are missing: 7.5 kWh, 0.75 kWh in a quarter hour at 3 kW: ten quarter hours. Of those in the hours 11 to 14, 22 and 23
    the ten cheapest are 23:45 61.36, 14:00 61.55, 22:45 62.43, 13:45 65.83, 14:15 65.99, 13:30 66.48, 12:45 66.93, 13:15 66.93, 12:30 68.42
    and 13:00 68.96 (next: 12:15 68.99): 654.88 EUR/MWh together.

    They cost 654.88 · 0.75 kWh / 1000 · 24.315 CZK/EUR = 11.94 CZK. What lies in the battery in the end, 7.5 kWh more than with
    self-use, is worth the day's mean of 96.04125 EUR/MWh: 17.51 CZK. Saved: 5.57 CZK.
    """
    day = recorded(goldens, DAY)
    plan = RuleAuthor(SIX_HOURS).plan(situation(day, soc=20))
    assert spans(day, plan.steps) == [("12:30", "14:30", 3000.0), ("22:45", "23:00", 3000.0), ("23:45", "24:00", 3000.0)]
    paid = 654.88 * 0.75 / 1000 * CZK_EUR
    worth = 7.5 * 96.04125 / 1000 * CZK_EUR
    assert plan.saved == pytest.approx(worth - paid, abs=0.001)
    assert plan.saved == pytest.approx(5.572, abs=0.001)
    assert [(saving.rule, saving.money) for saving in plan.savings] == [("cheapest-hours", pytest.approx(plan.saved))]
    assert plan.quarters[-1].soc == pytest.approx(95.0)


def test_the_room_that_the_sun_needs_is_left_to_it(goldens: Path) -> None:
    """2025-10-22, 10 kWh at 50 %, up to 95 %: 4.5 kWh of room. The sun will bring 4 kWh from 10 to 14, and nobody draws anything.

    0.5 kWh are left for the grid before the sun is over. Of the six cheapest hours (0, 1, 2, 11, 12, 13) only one quarter hour with
    0.5 kWh (2 kW) is bought, the cheapest: 13:45 at 78.73. After the sun the battery is full.
    """
    day = recorded(goldens, DEAR_DAY)
    plan = RuleAuthor(SIX_HOURS).plan(situation(day, soc=50, sun=spread(96, h10_14=4.0)))
    assert spans(day, plan.steps) == [("13:45", "14:00", pytest.approx(2000))]
    assert sum(max(-(quarter.grid_kwh or 0.0), 0.0) for quarter in plan.quarters) == pytest.approx(0.0), "the sun found the battery full"


def test_what_the_house_draws_before_the_sun_makes_room_for_the_night(goldens: Path) -> None:
    """2025-10-22 at 10 % (empty) with 8.5 kWh of sun from 10 to 14 that just fill it. The house draws 2 kWh from 6 to 8.

    In the night (00 to 03) 2 kWh may be bought, because the house takes them out again before the sun comes. The cheapest of the chosen
    hours then are 00:45 86.19, 01:45 87.57 and 00:30 87.66: 0.75 + 0.75 + 0.5 kWh. The hours 11 to 13 are cheaper (78.73 …) and have
    no room at all.

    Bought at 86.19, 87.57 and 87.66 instead of 112.83 on average from 6 to 8 (96.47 106.00 112.86 136.00 110.89 126.99 142.85 138.84).
    """
    day = recorded(goldens, DEAR_DAY)
    plan = RuleAuthor(SIX_HOURS).plan(situation(day, soc=10, sun=spread(96, h10_14=8.5), house=spread(96, h6_8=2.0)))
    assert spans(day, plan.steps) == [
        ("00:30", "00:45", pytest.approx(2000)), ("00:45", "01:00", 3000.0), ("01:45", "02:00", 3000.0),
    ]  # fmt: skip
    morning = (96.47 + 106.00 + 112.86 + 136.00 + 110.89 + 126.99 + 142.85 + 138.84) * 0.25
    night = 86.19 * 0.75 + 87.57 * 0.75 + 87.66 * 0.5
    assert plan.saved == pytest.approx((morning - night) / 1000 * CZK_EUR, abs=0.001)


def test_why_the_suns_room_is_left_to_it(goldens: Path) -> None:
    """2025-10-23, a sunny autumn day: 12 kWh of sun, 10 kWh of house, a battery of 10 kWh at 30 %, 2 CZK/kWh of grid fees.

    Charging in the six cheapest hours whatever the sun does fills the battery that the sun would have filled, and costs money against
    plain self-use. The same rule with the guard does not.
    """
    day = recorded(goldens, DAY)
    fees = Tariff("CZK", CZK_EUR, buy_add=2.0)
    sun, house = spread(96, h9_16=12.0), spread(96, h6_9=2.0, h9_16=2.0, h16_23=6.0)
    battery = LOSSLESS._replace(efficiency=0.9)
    chosen = rules.cheapest_hours(day, 6)
    blindly = [Order(Action.CHARGE, 3000, 0.75) if day.start + number * QUARTER_S in chosen else SELF_USE for number in range(96)]

    def cost_of(orders: list[Order]) -> float:
        buy, sell = [fees.buy(price) for price in day.eur_mwh], [fees.sell(price) for price in day.eur_mwh]
        return cost(simulate(battery, 30, sun, house, orders), buy, sell, sum(buy) / 96 * 0.9**0.5, 3.0)

    assert cost_of(blindly) > cost_of([SELF_USE] * 96) + 5, "more than 5 CZK dearer on one day"
    plan = RuleAuthor(replace(SIX_HOURS, battery=battery)).plan(situation(day, soc=30, sun=sun, house=house, tariff=fees))
    assert plan.saved is not None
    assert plan.saved > -0.5


def test_the_dear_evening_is_sold_down_to_the_floor(goldens: Path) -> None:
    """2025-10-22: 7.50 CZK/kWh are 308.45 EUR/MWh at 24.315. Above are 18:30 334.57, 18:45 345.58 and 19:00 324.05; 19:15 (299.18) is not.

    From 90 % down to 50 % 4 kWh may go, at 5 kW 1.25 kWh in a quarter hour: 1.25 in each of the three, 3.75 kWh.
    They bring (334.57 + 345.58 + 324.05) · 1.25 / 1000 · 24.315 = 30.52 CZK; kept they are worth the day's mean of 129.463 EUR/MWh:
    3.75 kWh, 11.80 CZK. Saved: 18.72 CZK.
    """
    day = recorded(goldens, DEAR_DAY)
    plan = RuleAuthor(Settings("growatt", LOSSLESS, sell_above=7.5, sell_floor=50)).plan(situation(day, soc=90))
    assert spans(day, plan.steps, DISCHARGE) == [("18:30", "19:15", 5000.0)]
    assert plan.saved == pytest.approx(18.715, abs=0.005)


def test_nothing_flows_out_while_it_brings_too_little(goldens: Path) -> None:
    """2025-10-23: 1.60 CZK/kWh are 65.80 EUR/MWh; below lie 14:00 61.55 and 22:45 62.43, 23:45 61.36 (13:45 65.83 is just above)."""
    day = recorded(goldens, DAY)
    plan = RuleAuthor(Settings("growatt", LOSSLESS, export_above=1.6)).plan(situation(day))
    assert spans(day, plan.steps, EXPORT_LIMIT) == [("14:00", "14:15", 0.0), ("22:45", "23:00", 0.0), ("23:45", "24:00", 0.0)]
