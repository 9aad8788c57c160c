"""How long a plan takes: every rule switched on, a forecast, two days of prices at most; beside one bare pass of the simulation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from ohmstead.control.plan.author import RuleAuthor
from ohmstead.control.plan.model import Battery, Forecast, Situation, Telemetry
from ohmstead.control.plan.settings import ChargeRules, Place, Settings
from ohmstead.control.plan.simulate import SELF_USE, simulate
from ohmstead.prices import DayPrices, Tariff, midnight, quarters
from ohmstead.sim.prices import price_of
from tests.bench.figures import Figure

PRAGUE = ZoneInfo("Europe/Prague")
BUDGET_MS = 50.0
"""Of a day's plan."""

BATTERY = Battery(10.0, 5000.0, 10.0, 95.0, 0.9)
EVERY_RULE = Settings(
    "battery",
    BATTERY,
    ChargeRules(cheapest_hours=6, cheapest_quarter=True, window_s=3 * 3600, season_below=10.0, before_sunrise=False),
    export_above=0.5,
    sell_above=4.0,
    sell_floor=20.0,
    pause_above_w=6000.0,
    place=Place(50.08, 14.43),
)


def situation(first: date, days: int) -> Situation:
    """Made-up days from their first quarter hour on: a winter house with a little sun."""
    told = []
    for day in (first + timedelta(days=number) for number in range(days)):
        count = quarters(day, PRAGUE)
        told.append(DayPrices(day, midnight(day, PRAGUE), tuple(price_of(day, at + 1, count) for at in range(count)), "bench"))
    count = sum(len(day.eur_mwh) for day in told)
    sun = [max(0.0, 0.4 * math.sin(math.pi * (at % 96 - 30) / 36)) if 30 <= at % 96 < 66 else 0.0 for at in range(count)]
    house = [0.1 + 0.25 * (68 <= at % 96 < 88) + 0.1 * (24 <= at % 96 < 34) for at in range(count)]
    start = told[0].start
    return Situation(start, PRAGUE, told, Tariff("CZK", 24.3, 2.0, 0.21), Forecast(start, sun, house, "bench"), Telemetry(35.0, 2.0))


def measure(quick: bool) -> list[Figure]:
    """Times of several plans each, in ms: 19 of 20 are not slower."""
    rounds = 20 if quick else 200
    figures = []
    author = RuleAuthor(EVERY_RULE)
    for name, first, days, budget in (
        ("a day's plan, every rule", date(2026, 1, 14), 1, BUDGET_MS),
        ("  of 100 quarter hours", date(2026, 10, 25), 1, BUDGET_MS),
        ("  today's and tomorrow's", date(2026, 1, 14), 2, None),
    ):
        told = situation(first, days)
        plan = author.plan(told)
        note = f"p95 of {rounds}, {len(plan.quarters)} quarter hours, {len(plan.steps)} steps"
        figures.append(Figure(name, _p95_ms(partial(author.plan, told), rounds), "ms", budget, note=note))
    told = situation(date(2026, 1, 14), 1)
    rule = replace(EVERY_RULE, charge=ChargeRules(cheapest_hours=6), sell_above=None, export_above=None)
    figures.append(Figure("  with one rule", _p95_ms(lambda: RuleAuthor(rule).plan(told), rounds), "ms"))
    forecast = told.forecast
    assert forecast is not None
    sun, house, orders = forecast.sun_kwh, forecast.house_kwh, [SELF_USE] * len(forecast.sun_kwh)
    bare = _p95_ms(lambda: simulate(BATTERY, 35.0, sun, house, orders), rounds)
    figures.append(Figure("  one pass of the simulation", bare, "ms", note="the least that any plan costs"))
    return figures


def _p95_ms(make: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        make()
        times.append(time.perf_counter() - begun)
    return 1000 * sorted(times[1:])[int(0.95 * rounds)]
