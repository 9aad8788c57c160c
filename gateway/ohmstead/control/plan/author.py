"""Makes a plan by rules. Plain self-use is what is left wherever no rule wants anything, and whenever too little is known.

A rule charges from the grid only into room that neither the sun nor what already lies in the battery will need, as far as the
forecast goes. Each rule is shown with what it alone would save against plain self-use: measured on real prices the usual rules
lose against it except in winter, and an owner should see that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from ohmstead.control.plan import rules
from ohmstead.control.plan.model import Action, Plan, Quarter, Saving, Situation
from ohmstead.control.plan.settings import Settings
from ohmstead.control.plan.simulate import SELF_USE, Course, Flow, Order, cost, fit_charge, fit_sale, simulate
from ohmstead.control.plan.steps import steps
from ohmstead.control.plan.sun import daylight
from ohmstead.prices import QUARTER_S, DayPrices, Tariff, clock, local_day

_HOURS = 0.25
_HOW_WELL_KNOWN = "plain self-use: nothing is charged from the grid, nothing is forced out"


class _Span(NamedTuple):
    """The quarter hours that a plan is about, column by column; `sun` and `house` are None where the forecast does not reach."""

    currency: str
    starts: Sequence[int]
    market: Sequence[float]
    buy: Sequence[float]
    sell: Sequence[float]
    sun: Sequence[float] | None
    house: Sequence[float] | None


@dataclass
class _Draft:
    """What some of the rules make of a span."""

    orders: list[Order]
    owners: list[str]
    flows: list[Flow] | None = None
    cost: float | None = None


class RuleAuthor:
    """A `PlanAuthor` of rules."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        charge = settings.charge
        choices: dict[str, Callable[[DayPrices], set[int]]] = {}
        if charge.cheapest_hours:
            choose = rules.cheapest_quarters if charge.by_quarters else rules.cheapest_hours
            choices[rules.CHEAPEST_HOURS] = lambda day: choose(day, charge.cheapest_hours)
        if charge.cheapest_quarter:
            choices[rules.CHEAPEST_QUARTER] = rules.cheapest_quarter_of_range
        if charge.window_s:
            choices[rules.CHEAPEST_WINDOW] = lambda day: rules.cheapest_window(day, charge.window_s)
        self._charging = choices
        self.rules = [
            *choices,
            *([rules.SELL_ABOVE] if settings.sell_above is not None else []),
            *([rules.EXPORT_ABOVE] if settings.export_above is not None else []),
        ]
        """The rules that are switched on."""

    def plan(self, situation: Situation) -> Plan:
        """The plan from the quarter hour of `situation.now` to the end of the known prices."""
        start = int(situation.now // QUARTER_S) * QUARTER_S
        days = _days_from(start, situation.days)
        if not days or situation.tariff is None:
            why = situation.trouble or "no prices of today are known"
            if days:
                why = "no exchange rate is known for the prices"
            return self._nothing(situation, start, f"No price: {why}; {_HOW_WELL_KNOWN}.")
        span = _span(situation, start, days, situation.tariff)
        if not self.rules:
            return self._plan(situation, span, self._simulated(situation, span, _plain(span)), ("No rule is switched on: plain self-use.",))
        if situation.telemetry.soc is None:
            note = f"The battery's state of charge is unknown or old; {_HOW_WELL_KNOWN}."
            draft = self._drafted(situation, span, days, [rules.EXPORT_ABOVE] if rules.EXPORT_ABOVE in self.rules else [])[0]
            return self._plan(situation, span, draft, (note,))
        return self._by_rules(situation, span, days)

    def _by_rules(self, situation: Situation, span: _Span, days: Sequence[DayPrices]) -> Plan:
        self_use = self._simulated(situation, span, _plain(span))
        savings = []
        for rule in self.rules:
            alone, why = self._drafted(situation, span, days, [rule])
            known = alone.cost is not None and self_use.cost is not None
            money = (self_use.cost or 0.0) - (alone.cost or 0.0) if known else None
            moved = [at for at, owner in enumerate(alone.owners) if owner]
            said = why or (f"{len(moved)} quarter hours" if moved else "nothing fits it")
            savings.append(Saving(rule, money, _moved_kwh(alone, moved), said))
        draft, why = self._drafted(situation, span, days, self.rules)
        notes = [f"Nothing is charged from the grid: {why}."] if why else []
        if span.sun is None:
            notes.append("No forecast of sun and house: what the rules save is not known.")
        if not any(draft.owners):
            notes.append("No rule wants anything: plain self-use.")
        return self._plan(situation, span, draft, tuple(notes), tuple(savings), self_use.cost)

    def _drafted(self, situation: Situation, span: _Span, days: Sequence[DayPrices], wanted: Collection[str]) -> tuple[_Draft, str]:
        """What `wanted` rules make of the span, and why nothing is charged where a charging rule may not."""
        settings = self.settings
        draft = _plain(span)
        why = ""
        if settings.export_above is not None and rules.EXPORT_ABOVE in wanted:
            for at, brings in enumerate(span.sell):
                if brings < settings.export_above:
                    draft.orders[at] = draft.orders[at]._replace(no_export=True)
                    draft.owners[at] = rules.EXPORT_ABOVE
        if rules.SELL_ABOVE in wanted:
            self._sell(situation, span, draft)
        if any(rule in wanted for rule in self._charging):
            why = self._may_not_charge(situation, span)
            if not why:
                self._charge(situation, span, days, wanted, draft)
        return self._simulated(situation, span, draft), why

    def _sell(self, situation: Situation, span: _Span, draft: _Draft) -> None:
        """Out of the battery into the grid where that brings most, down to the floor."""
        settings, soc = self.settings, situation.telemetry.soc
        battery, above = settings.battery, settings.sell_above
        if battery is None or above is None or soc is None:
            return
        power = min(settings.sell_power_w or math.inf, battery.power_w)
        order = Order(Action.DISCHARGE, power, floor=settings.sell_floor)
        dear = [
            at for at, brings in enumerate(span.sell) if brings >= above and not draft.orders[at].no_export and not self._busy(span, at)
        ]
        dear.sort(key=lambda at: (-span.sell[at], at))
        if span.sun is not None and span.house is not None:
            course = Course(battery, soc, span.sun, span.house, draft.orders)
            fit_sale(course, dear, order)
            draft.orders = course.orders
        else:
            there = battery.capacity_kwh * max(soc - max(settings.sell_floor, battery.floor), 0.0) / 100 * math.sqrt(battery.efficiency)
            for at in dear[: math.ceil(there / (power / 1000 * _HOURS) - 1e-9)]:
                draft.orders[at] = order
        for at, put in enumerate(draft.orders):
            if put.action is Action.DISCHARGE:
                draft.owners[at] = rules.SELL_ABOVE

    def _may_not_charge(self, situation: Situation, span: _Span) -> str:
        """Why nothing is charged from the grid at all; empty if it may be."""
        charge, telemetry = self.settings.charge, situation.telemetry
        if self.settings.battery is None:
            return "how large the battery is has not been said"
        if charge.season_below is not None and telemetry.outside is None:
            return "the outside temperature of the last days, which tells the season, is not known"
        if charge.season_below is not None and telemetry.outside is not None and telemetry.outside >= charge.season_below:
            return f"{telemetry.outside:.1f} °C outside over three days is not below {charge.season_below:g} °C"
        if span.sun is None and not charge.without_forecast:
            return "no forecast says how much room the sun will need"
        return ""

    def _charge(self, situation: Situation, span: _Span, days: Sequence[DayPrices], wanted: Collection[str], draft: _Draft) -> None:
        battery, charge, soc = self.settings.battery, self.settings.charge, situation.telemetry.soc
        if battery is None or soc is None:
            return
        chosen: dict[int, str] = {}
        for rule, choose in self._charging.items():
            if rule in wanted:
                for day in days:
                    for moment in choose(day):
                        chosen.setdefault(moment, rule)
        light = self._daylight(situation, span) if charge.before_sunrise else []
        candidates = [
            at
            for at, moment in enumerate(span.starts)
            if moment in chosen and not any(rise <= moment < sets for rise, sets in light) and not self._busy(span, at)
        ]
        candidates.sort(key=lambda at: (span.buy[at], at))
        power = min(charge.power_w or math.inf, battery.power_w)
        if span.sun is not None and span.house is not None:
            course = Course(battery, soc, span.sun, span.house, draft.orders)
            got = fit_charge(course, candidates, power_w=power, fill_to=charge.fill_to)
            draft.orders = course.orders
        else:
            missing = battery.capacity_kwh * max(min(charge.fill_to, battery.ceiling) - soc, 0.0) / 100 / math.sqrt(battery.efficiency)
            count = math.ceil(missing / (power / 1000 * _HOURS) - 1e-9)
            got = [at for at in candidates if draft.orders[at].action is Action.SELF_USE][:count]
            for at in got:
                draft.orders[at] = draft.orders[at]._replace(action=Action.CHARGE, power_w=power, charge_kwh=power / 1000 * _HOURS)
        for at in got:
            draft.owners[at] = chosen[span.starts[at]]

    def _busy(self, span: _Span, at: int) -> bool:
        """Whether the house is expected to draw more than the load at which the plan pauses."""
        pause = self.settings.pause_above_w
        return pause is not None and span.house is not None and span.house[at] / _HOURS * 1000 > pause

    def _daylight(self, situation: Situation, span: _Span) -> list[tuple[float, float]]:
        place = self.settings.place
        if place is None:
            return []
        dates = sorted({local_day(moment, situation.zone) for moment in (*span.starts[:1], *span.starts[-1:])})
        return [light for day in dates if (light := daylight(day, place)) is not None]

    def _simulated(self, situation: Situation, span: _Span, draft: _Draft) -> _Draft:
        """The draft with its flows and its cost, where battery, state of charge and forecast are known."""
        battery, soc = self.settings.battery, situation.telemetry.soc
        if battery is None or soc is None or span.sun is None or span.house is None:
            return draft
        draft.flows = simulate(battery, soc, span.sun, span.house, draft.orders)
        kwh_value = fmean(span.buy) * math.sqrt(battery.efficiency)
        draft.cost = cost(draft.flows, span.buy, span.sell, kwh_value, battery.capacity_kwh * soc / 100)
        return draft

    def _plan(
        self,
        situation: Situation,
        span: _Span,
        draft: _Draft,
        notes: tuple[str, ...],
        savings: tuple[Saving, ...] = (),
        self_use_cost: float | None = None,
    ) -> Plan:
        quarters = tuple(self._quarter(span, draft, at) for at in range(len(span.starts)))
        if situation.trouble:
            notes = (*notes, f"Prices are missing: {situation.trouble}.")
        return Plan(
            made=situation.now,
            device=self.settings.device,
            start=span.starts[0],
            end=span.starts[-1] + QUARTER_S,
            currency=span.currency,
            steps=steps(quarters, span.currency, lambda moment: clock(moment, situation.zone)),
            notes=notes,
            savings=savings,
            quarters=quarters,
            cost=draft.cost,
            self_use_cost=draft.cost if self_use_cost is None else self_use_cost,
            pause_above_w=self.settings.pause_above_w,
        )

    def _quarter(self, span: _Span, draft: _Draft, at: int) -> Quarter:
        order, battery = draft.orders[at], self.settings.battery
        flow = draft.flows[at] if draft.flows is not None else None
        return Quarter(
            start=span.starts[at],
            market=span.market[at],
            buy=span.buy[at],
            sell=span.sell[at],
            action=order.action,
            power_w=order.power_w,
            no_export=order.no_export,
            rule=draft.owners[at],
            soc=None if flow is None or battery is None else 100 * flow.stored / battery.capacity_kwh,
            sun_kwh=None if span.sun is None else span.sun[at],
            house_kwh=None if span.house is None else span.house[at],
            grid_kwh=None if flow is None else flow.bought - flow.sold,
        )

    def _nothing(self, situation: Situation, start: int, note: str) -> Plan:
        currency = situation.tariff.currency if situation.tariff else ""
        return Plan(made=situation.now, device=self.settings.device, start=start, end=start, currency=currency, notes=(note,))


def _days_from(start: int, days: Sequence[DayPrices]) -> list[DayPrices]:
    """The known days without a gap from the one of `start` on; none when that one is not known."""
    following: list[DayPrices] = []
    for day in sorted(days, key=lambda day: day.start):
        if day.start <= start < day.end or (following and day.start == following[-1].end):
            following.append(day)
    return following


def _span(situation: Situation, start: int, days: Sequence[DayPrices], tariff: Tariff) -> _Span:
    told = [(day.start + at * QUARTER_S, price) for day in days for at, price in enumerate(day.eur_mwh)]
    starts = [moment for moment, _ in told if moment >= start]
    prices = [price for moment, price in told if moment >= start]
    forecast = situation.forecast
    sun = house = None
    if forecast is not None and forecast.covers(start, len(starts)):
        first = (start - forecast.start) // QUARTER_S
        sun, house = (list(column[first : first + len(starts)]) for column in (forecast.sun_kwh, forecast.house_kwh))
    market, buy, sell = ([price_of(price) for price in prices] for price_of in (tariff.market, tariff.buy, tariff.sell))
    return _Span(tariff.currency, starts, market, buy, sell, sun, house)


def _plain(span: _Span) -> _Draft:
    return _Draft([SELF_USE] * len(span.starts), [""] * len(span.starts))


def _moved_kwh(draft: _Draft, quarters: Sequence[int]) -> float:
    """What was charged from the grid and forced out, in kWh, by order where nothing could be simulated."""
    if draft.flows is None:
        return sum(draft.orders[at].charge_kwh for at in quarters)
    moved = 0.0
    for at in quarters:
        flow, action = draft.flows[at], draft.orders[at].action
        moved += flow.from_grid if action is Action.CHARGE else flow.discharged if action is Action.DISCHARGE else 0.0
    return moved
