"""Keeps the plan: makes it anew with each quarter hour and with new prices, tells it, and keeps what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

import structlog

from ohmstead.control.plan.model import Forecast, Plan, PlanAuthor, Situation, Telemetry, Wish
from ohmstead.errors import OhmsteadError
from ohmstead.prices import QUARTER_S, DayPrices, ExchangeRate, Tariff

log = structlog.get_logger(service="plan")

_LONGEST_SLEEP_S = 300.0


class Prices(Protocol):
    """The part of a price source that is needed here."""

    trouble: str

    def days(self, now: float | None = None) -> Sequence[DayPrices]: ...
    def rate(self, now: float | None = None) -> ExchangeRate | None: ...


class Outlook(NamedTuple):
    """What is foreseen, and the mean outside temperature of the last days in °C; None is unknown."""

    forecast: Forecast | None = None
    outside: float | None = None


class Planner:
    """`plan` is the newest; `run` until cancelled.

    `tariff` gives what a kWh costs at an exchange rate (None: unknown). `soc` gives the state of charge in %, None where it is unknown or
    old. `outlook` gives what is foreseen for so many quarter hours from a UTC second on; it may block and is called in a thread, as is
    `keep`, which gets each plan that wants something else than the one before. `told` gets every plan.
    """

    def __init__(
        self,
        author: PlanAuthor,
        prices: Prices,
        zone: ZoneInfo,
        *,
        tariff: Callable[[ExchangeRate | None], Tariff | None],
        soc: Callable[[], float | None],
        outlook: Callable[[int, int], Outlook],
        told: Callable[[Plan], None],
        keep: Callable[[Plan], None],
        wall: Callable[[], float],
    ) -> None:
        self.plan: Plan | None = None
        self.trouble = ""
        """Why the last plan could not be kept; empty when it was."""
        self._author = author
        self._prices = prices
        self._zone = zone
        self._tariff = tariff
        self._soc = soc
        self._outlook = outlook
        self._told = told
        self._keep = keep
        self._wall = wall
        self._kept: Plan | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something is new: a plan is made at once."""
        self._wake.set()

    def wishes(self, now: float, house_w: float | None = None) -> list[Wish]:
        """What the plan wants at a UTC second; nothing while there is none."""
        return [] if self.plan is None else self.plan.wishes(now, house_w)

    async def run(self) -> None:
        """For ever; looks at the clock every five minutes, because it may be set."""
        while True:
            self._wake.clear()
            await self.make()
            due = (self._wall() // QUARTER_S + 1) * QUARTER_S
            while (left := due - self._wall()) > 0 and not self._wake.is_set():
                try:
                    async with asyncio.timeout(min(left, _LONGEST_SLEEP_S)):  # unlike wait_for it never forgets a cancellation
                        await self._wake.wait()
                except TimeoutError:
                    if self._wall() < due - QUARTER_S:
                        break  # the clock was set back

    async def make(self) -> Plan:
        """Makes a plan of what is known now, tells it, and keeps it if it wants something else."""
        now = self._wall()
        days = self._prices.days(now)
        start = int(now // QUARTER_S) * QUARTER_S
        quarters = max((days[-1].end - start) // QUARTER_S, 0) if days else 0
        outlook = await asyncio.to_thread(self._outlook, start, quarters)
        telemetry = Telemetry(self._soc(), outlook.outside)
        tariff = self._tariff(self._prices.rate(now))
        plan = self._author.plan(Situation(now, self._zone, days, tariff, outlook.forecast, telemetry, self._prices.trouble))
        before, self.plan = self.plan, plan
        if before is None or plan.notes != before.notes:
            log.info("plan", steps=len(plan.steps), saved=None if plan.saved is None else round(plan.saved, 2), notes=list(plan.notes))
        self._told(plan)
        if not plan.wants_the_same(self._kept, now):
            await self._kept_if_possible(plan)
        return plan

    async def _kept_if_possible(self, plan: Plan) -> None:
        try:
            await asyncio.to_thread(self._keep, plan)
        except OhmsteadError as error:
            if str(error) != self.trouble:
                log.warning("the plan is not kept", reason=str(error))
            self.trouble = str(error)
        else:
            self._kept, self.trouble = plan, ""
