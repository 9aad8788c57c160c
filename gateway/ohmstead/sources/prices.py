"""Prices of today and tomorrow: asked for when they should be out, again with growing pauses when they are not, kept over a restart.

Tomorrow's are out from about 13:00 at the home of the market. What is not known is said (`trouble`); nothing is ever guessed,
and yesterday's prices are nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog

from ohmstead.prices import DayPrices, ExchangeRate, NotYet, PriceError, local_day, midnight, quarters
from ohmstead.sources.prices_rate import ExchangeRates
from ohmstead.sources.prices_services import Service

log = structlog.get_logger(service="prices")

TOMORROW_FROM = time(13, 0)
PAUSES_S = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
"""After the first, second, … failure in a row; the last one repeats. Up to a tenth more by chance: not all homes ask at once."""

NOT_YET_PAUSES_S = (120.0, 300.0, 300.0, 600.0, 900.0)
_LONGEST_SLEEP_S = 300.0
"""The wall clock may be set meanwhile: it is looked at this often."""


class PriceSource:
    """Keeps the prices of today and tomorrow. `run` until cancelled, or `attend` by hand.

    `days` are those that are known, today's first. `trouble` says what is missing and why; it is empty when all that should be there
    is. `known`: what the store has. `changed` is told of each new day.
    """

    def __init__(
        self,
        service: Service,
        zone: ZoneInfo,
        rates: ExchangeRates | None = None,
        *,
        wall: Callable[[], float],
        known: Iterable[DayPrices] = (),
        changed: Callable[[DayPrices], Awaitable[None]] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.trouble = ""
        self.asked = 0
        self.rates = rates
        self._service = service
        self._zone = zone
        self._wall = wall
        self._changed = changed
        self._chance = chance
        self._days = {day.day: day for day in known if self._is_whole(day)}
        self._failures: dict[date, int] = {}
        self._due: dict[date, float] = {}
        self._why: dict[date, str] = {}
        self._hurry = asyncio.Event()

    def days(self, now: float | None = None) -> Sequence[DayPrices]:
        """The known days from today on, at a UTC second (now unless given)."""
        today = local_day(self._wall() if now is None else now, self._zone)
        return [self._days[day] for day in (today, today + timedelta(days=1)) if day in self._days]

    def rate(self, now: float | None = None) -> ExchangeRate | None:
        """The one exchange rate, None where none is known or none is needed."""
        return None if self.rates is None else self.rates.current(self._wall() if now is None else now)

    async def run(self) -> None:
        """For ever; looks at the clock every five minutes, because it may be set."""
        while True:
            again = await self.attend()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(again - self._wall(), 1.0), _LONGEST_SLEEP_S)):
                    await self._hurry.wait()
            self._hurry.clear()

    def ask_now(self) -> None:
        """Ends every pause: what is missing is asked for at once."""
        self._due.clear()
        if self.rates is not None:
            self.rates.ask_now()
        self._hurry.set()

    async def attend(self) -> float:
        """Asks for what is due; the UTC second at which to come again."""
        now = self._wall()
        again = await self.rates.attend(now) if self.rates is not None else float("inf")
        today = local_day(now, self._zone)
        tomorrow = today + timedelta(days=1)
        out = datetime.combine(today, TOMORROW_FROM, self._zone).timestamp()
        self._forget(today, tomorrow)
        troubles = []
        for day, due in ((today, float("-inf")), (tomorrow, out)):
            if day in self._days:
                continue
            if now >= due:
                trouble = await self._ask(day, now)
                if trouble:
                    troubles.append(trouble)
                    again = min(again, self._due[day])
            else:
                again = min(again, due)
        self._say("; ".join(dict.fromkeys(troubles)))
        return min(again, midnight(tomorrow, self._zone))

    async def _ask(self, day: date, now: float) -> str:
        """Asks for a day if its pause is over; what is the trouble, empty if none."""
        due = self._due.get(day, now)
        if now < due <= now + 2 * PAUSES_S[-1]:
            return self._why[day]
        self.asked += 1
        try:
            prices = await self._service.prices(day, self.rate(now))
        except PriceError as error:
            failures = self._failures.get(day, 0)
            pauses = NOT_YET_PAUSES_S if isinstance(error, NotYet) else PAUSES_S
            self._due[day] = now + pauses[min(failures, len(pauses) - 1)] * (1 + self._chance() / 10)
            self._failures[day] = failures + 1
            self._why[day] = str(error)
            return self._why[day]
        self._days[day] = prices
        log.info("prices", day=str(day), source=prices.source, periods=len(prices.eur_mwh), seconds=prices.seconds)
        if self._changed is not None:
            await self._changed(prices)
        return ""

    def _is_whole(self, day: DayPrices) -> bool:
        """Whether a day from the store still is one at this home's zone."""
        return day.start == midnight(day.day, self._zone) and len(day.eur_mwh) == quarters(day.day, self._zone)

    def _forget(self, *wanted: date) -> None:
        self._days = {day: prices for day, prices in self._days.items() if day in wanted}
        self._failures = {day: count for day, count in self._failures.items() if day in wanted}
        self._due = {day: due for day, due in self._due.items() if day in wanted}

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("prices are missing", reason=trouble)
        self.trouble = trouble
