"""What electricity costs and when: the quarter hours of a local day, the prices of a day as they were checked, and one exchange rate.

The market trades days of the home's calendar in quarters of an hour: 96 of them, 92 on the day that clocks go forward, 100 on the
day that they go back. All of them are counted from the UTC instant at which the local day begins, so none is lost or stands twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ohmstead.errors import OhmsteadError

QUARTER_S = 900
"""One trading period of the day-ahead market since 2025-10-01, in seconds."""

LOWEST_EUR_MWH, HIGHEST_EUR_MWH = -1000.0, 10_000.0
"""No price beyond these is believed. The market's own limits are -500 and 4000 EUR/MWh, and it raises the upper one at need."""

HIGHEST_MEAN_EUR_MWH = 1500.0
"""No day whose mean is above this is believed (August 2022 had 700): so a price in another currency or unit is found."""

RATES_CZK_EUR = (15.0, 40.0)
"""An exchange rate beyond these is not believed."""


class PriceError(OhmsteadError):
    """Prices could not be had. The text says of whom, for what, and why; nothing of the answer is used.

    All of them may be asked for again: a service that sends nonsense today is mended by somebody.
    """

    try_again = True


class NotYet(PriceError):  # noqa: N818 - says when, not what broke
    """The service answers as it should; it has no prices of that day so far."""


class WrongPrices(PriceError):  # noqa: N818 - says what is wrong with them
    """The service sent prices that cannot be those of the day that was asked for."""


class Period(NamedTuple):
    """A price as a service told it: from `start` (UTC s) for `seconds`, in EUR/MWh."""

    start: int
    seconds: int
    eur_mwh: float


class DayPrices(NamedTuple):
    """The prices of one local day: one for each quarter hour, from `start` (UTC s), in EUR/MWh. `source` names the service.

    `seconds` is how long the service's own periods were: 900, or 3600 where each price stands four times.
    """

    day: date
    start: int
    eur_mwh: tuple[float, ...]
    source: str
    seconds: int = QUARTER_S

    @property
    def end(self) -> int:
        return self.start + QUARTER_S * len(self.eur_mwh)


class ExchangeRate(NamedTuple):
    """CZK for one EUR, the day it is valid for, and who says so."""

    czk_eur: float
    day: date
    source: str


class Tariff(NamedTuple):
    """What a kWh costs this home and what it brings, from the market's price; all money in `currency`.

    Buying: (market + `buy_add`) · (1 + `vat`). Selling: market · `sell_share` + `sell_add`. `rate` is how much of the currency one EUR is.
    """

    currency: str = "EUR"
    rate: float = 1.0
    buy_add: float = 0.0
    vat: float = 0.0
    sell_share: float = 1.0
    sell_add: float = 0.0

    def market(self, eur_mwh: float) -> float:
        """The market's price per kWh: EUR/MWh · rate / 1000."""
        return eur_mwh * self.rate / 1000

    def buy(self, eur_mwh: float) -> float:
        """What a kWh from the grid costs."""
        return (self.market(eur_mwh) + self.buy_add) * (1 + self.vat)

    def sell(self, eur_mwh: float) -> float:
        """What a kWh into the grid brings."""
        return self.market(eur_mwh) * self.sell_share + self.sell_add


def midnight(day: date, zone: ZoneInfo) -> int:
    """The UTC second at which a local day begins."""
    return round(datetime.combine(day, time(), zone).timestamp())


def quarters(day: date, zone: ZoneInfo) -> int:
    """How many quarter hours a local day has: 92, 96 or 100 in Europe."""
    return (midnight(day + timedelta(days=1), zone) - midnight(day, zone)) // QUARTER_S


def local_day(moment: float, zone: ZoneInfo) -> date:
    """The day it is at home at a UTC second."""
    return datetime.fromtimestamp(moment, zone).date()


def clock(moment: float, zone: ZoneInfo) -> str:
    """`14:45` at home; within an hour that the day has twice with its offset, `02:45+01:00`."""
    local = datetime.fromtimestamp(moment, zone)
    ambiguous = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return local.strftime("%H:%M") + (local.isoformat()[-6:] if ambiguous else "")


def whole_day(day: date, zone: ZoneInfo, told: Sequence[Period], source: str) -> DayPrices:
    """The prices of `day`, when `told` has each of its quarter hours exactly once; longer periods count for each quarter in them.

    Raises NotYet when nothing is told of that day, WrongPrices for prices of another day only, for gaps, for two prices of one quarter,
    and for prices that no market has. What lies outside the day is none of this day's business.
    """
    start, count = midnight(day, zone), quarters(day, zone)
    prices: list[float | None] = [None] * count
    longest = 0
    for period in told:
        if period.seconds <= 0 or period.seconds % QUARTER_S or (period.start - start) % QUARTER_S:
            raise WrongPrices(f"{source}: a price from {clock(period.start, zone)} for {period.seconds} s, which is no quarter of an hour")
        first = (period.start - start) // QUARTER_S
        for at in range(max(first, 0), min(first + period.seconds // QUARTER_S, count)):
            if prices[at] is not None:
                raise WrongPrices(f"{source}: two prices for {day} {clock(start + at * QUARTER_S, zone)}")
            prices[at] = _believed(period.eur_mwh, source, day, clock(start + at * QUARTER_S, zone))
            longest = max(longest, period.seconds)
    known = [price for price in prices if price is not None]
    if not known:
        if told:
            raise WrongPrices(f"{source}: asked for {day}, it sent {local_day(told[0].start, zone)}")
        raise NotYet(f"{source}: no prices of {day} yet")
    if len(known) < count:
        gap = clock(start + prices.index(None) * QUARTER_S, zone)
        raise WrongPrices(f"{source}: {len(known)} of the {count} quarter hours of {day}, none for {gap}")
    if len(set(known)) == 1:
        raise WrongPrices(f"{source}: {known[0]:g} EUR/MWh all day of {day}, which no market has")
    mean = sum(known) / count
    if abs(mean) > HIGHEST_MEAN_EUR_MWH:
        raise WrongPrices(f"{source}: {mean:.0f} EUR/MWh on average on {day}; is that another currency?")
    return DayPrices(day, start, tuple(known), source, longest)


def _believed(price: float, source: str, day: date, at: str) -> float:
    if not math.isfinite(price) or not LOWEST_EUR_MWH <= price <= HIGHEST_EUR_MWH:
        raise WrongPrices(f"{source}: {price:g} EUR/MWh for {day} {at} is no price of this market")
    return price


def believed_rate(rate: float, day: date, source: str) -> ExchangeRate:
    """The rate. Raises WrongPrices when no such rate can be."""
    low, high = RATES_CZK_EUR
    if not low <= rate <= high:
        raise WrongPrices(f"{source}: {rate:g} CZK for one EUR is not believed ({low:g} to {high:g} is)")
    return ExchangeRate(rate, day, source)
