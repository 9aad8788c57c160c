"""Days with prices for tests: the recorded ones, and made-up ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from ohmstead.control.plan.model import Forecast, Situation, Telemetry
from ohmstead.prices import QUARTER_S, DayPrices, Tariff, midnight, quarters, whole_day
from ohmstead.sources import prices_formats

PRAGUE = ZoneInfo("Europe/Prague")
CZK_EUR = 24.315
"""The Czech National Bank's rate of 2025-10-22, as recorded."""
MARKET = Tariff("CZK", CZK_EUR)
"""No surcharge and no tax: what the market says, in CZK."""
FIRST_DAY, DEAR_DAY, DAY = date(2025, 10, 21), date(2025, 10, 22), date(2025, 10, 23)
CLOCKS_FORWARD, CLOCKS_BACK = date(2026, 3, 29), date(2026, 10, 25)


def recorded(goldens: Path, day: date) -> DayPrices:
    """A day as OTE's service told it."""
    name = "ote-electricity-2025-10-22-today.xml" if day == FIRST_DAY else "ote-electricity-2025-10-22.xml"
    body = (goldens / "prices" / "raw" / name).read_bytes()
    return whole_day(day, PRAGUE, prices_formats.ote(body, PRAGUE), prices_formats.OTE)


def made(prices: Sequence[float] | None = None, day: date = DAY) -> DayPrices:
    """A day with these prices (EUR/MWh) for its quarter hours; without any 1, 2, 3, …"""
    count = quarters(day, PRAGUE)
    chosen = tuple(float(price) for price in (range(1, count + 1) if prices is None else prices))
    assert len(chosen) == count
    return DayPrices(day, midnight(day, PRAGUE), chosen, "test")


def at(day: DayPrices, clock: str) -> int:
    """The UTC second of `14:45` on a day of 24 hours."""
    hour, minute = clock.split(":")
    return day.start + int(hour) * 3600 + int(minute) * 60


def spread(count: int, **kwh: float) -> list[float]:
    """kWh for each quarter hour from spans such as `h10_14=4.0`: 4 kWh evenly from 10:00 to 14:00, 0 elsewhere."""
    column = [0.0] * count
    for span, energy in kwh.items():
        first, last = (int(hour) * 4 for hour in span.removeprefix("h").split("_"))
        for quarter in range(first, last):
            column[quarter] += energy / (last - first)
    return column


def situation(
    *days: DayPrices,
    now: float | None = None,
    soc: float | None = 50.0,
    sun: Sequence[float] | None = None,
    house: Sequence[float] | None = None,
    tariff: Tariff | None = MARKET,
    outside: float | None = None,
    trouble: str = "",
    forecast: bool = True,
) -> Situation:
    """The beginning of the first day unless told otherwise; a forecast of nothing for sun and house unless they are given."""
    start = days[0].start if days else 0
    count = (days[-1].end - start) // QUARTER_S if days else 0
    none = [0.0] * count
    foreseen = Forecast(start, sun or none, house or none, "test") if forecast and days else None
    return Situation(start if now is None else now, PRAGUE, days, tariff, foreseen, Telemetry(soc, outside), trouble)
