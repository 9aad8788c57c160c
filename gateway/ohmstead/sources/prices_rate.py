"""The exchange rate between CZK and EUR: one for the whole system, held here and nowhere else.

Asked of the Czech National Bank once a day, after it has set the day's rate (about 14:30); on a day without one the last working
day's counts, a week back at most. An owner's own rate is never asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog

from ohmstead.prices import ExchangeRate, NotYet, PriceError, believed_rate, local_day
from ohmstead.sources import prices_formats as formats
from ohmstead.sources.prices_http import Ask, Question

log = structlog.get_logger(service="prices")

CNB = "the Czech National Bank"
CNB_URL = "https://api.cnb.cz/cnbapi/exrates/daily"
DAYS_BACK = 7
OLDEST_DAYS = 14
"""A rate that is older than this many days is not used any more."""

_SET_AT = time(14, 45)
_PRAGUE = ZoneInfo("Europe/Prague")
_AGAIN_S = (60.0, 300.0, 900.0, 3600.0)


async def cnb_rate(ask: Ask, day: date, url: str = "") -> ExchangeRate:
    """The bank's rate of a day, or the last one before it. Raises PriceError."""
    for back in range(DAYS_BACK + 1):
        asked = day - timedelta(days=back)
        try:
            answer = await ask(Question(CNB, f"{url or CNB_URL}?date={asked}"))
        except NotYet:
            continue
        found = formats.cnb_rate(answer, asked)
        if found is not None:
            return believed_rate(*found, CNB)
    raise PriceError(f"{CNB}: no rate from {day - timedelta(days=DAYS_BACK)} to {day}")


class ExchangeRates:
    """`current` is the rate that everything uses; None while none is known, or only one that is too old. `trouble` says why none is newer.

    `fixed`: the owner's own rate. `known`: the last one, from the store. `changed` is told of each new one.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        url: str = "",
        fixed: float | None = None,
        known: ExchangeRate | None = None,
        changed: Callable[[ExchangeRate], Awaitable[None]] | None = None,
    ) -> None:
        self.trouble = ""
        self._ask = ask
        self._url = url
        self._fixed = fixed
        self._last = known
        self._changed = changed
        self._failures = 0
        self._due = float("-inf")

    def current(self, now: float) -> ExchangeRate | None:
        """The rate at a UTC second."""
        today = local_day(now, _PRAGUE)
        if self._fixed is not None:
            return ExchangeRate(self._fixed, today, "the configuration")
        if self._last is None or self._last.day < today - timedelta(days=OLDEST_DAYS):
            return None
        return self._last

    def ask_now(self) -> None:
        """The pause is over."""
        self._due = float("-inf")

    async def attend(self, now: float) -> float:
        """Asks if it is time to; the UTC second at which to come again."""
        if self._fixed is not None:
            return now + 86_400.0
        wanted = _latest_set(now)
        if now < self._due - 86_400.0:
            self._due = now  # the clock was set back by more than any pause
        if now < self._due:
            return self._due
        try:
            rate = await cnb_rate(self._ask, wanted, self._url)
        except PriceError as error:
            self._due = now + _AGAIN_S[min(self._failures, len(_AGAIN_S) - 1)]
            self._failures += 1
            if str(error) != self.trouble:
                log.warning("no exchange rate", reason=str(error), last=str(self._last.day) if self._last else "none")
            self.trouble = str(error)
            return self._due
        self.trouble = ""
        self._failures = 0
        self._due = _next_setting(now)
        if rate != self._last:
            log.info("exchange rate", czk_eur=rate.czk_eur, of=str(rate.day))
            self._last = rate
            if self._changed is not None:
                await self._changed(rate)
        return self._due


def _latest_set(now: float) -> date:
    """The last day whose rate should be out."""
    local = datetime.fromtimestamp(now, _PRAGUE)
    return local.date() if local.time() >= _SET_AT else local.date() - timedelta(days=1)


def _next_setting(now: float) -> float:
    local = datetime.fromtimestamp(now, _PRAGUE)
    day = local.date() if local.time() < _SET_AT else local.date() + timedelta(days=1)
    return datetime.combine(day, _SET_AT, _PRAGUE).timestamp()
