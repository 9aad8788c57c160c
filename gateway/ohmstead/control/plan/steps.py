"""From quarter hours to what is wanted of the controls: runs of equal wishes, each with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ohmstead.control.plan import rules
from ohmstead.control.plan.model import CHARGE, DISCHARGE, EXPORT_LIMIT, Action, Quarter, Step
from ohmstead.prices import QUARTER_S

_WORDS = {
    rules.CHEAPEST_HOURS: "among the cheapest hours of the day",
    rules.CHEAPEST_QUARTER: "in the lowest quarter of the day's prices",
    rules.CHEAPEST_WINDOW: "in the cheapest stretch of the day",
}


def steps(quarters: Sequence[Quarter], currency: str, clock: Callable[[float], str]) -> tuple[Step, ...]:
    """What is wanted, in the order of time. `clock` says a UTC second as the home's time of day."""
    wanted = [*_battery(quarters, currency, clock), *_export(quarters, currency, clock)]
    return tuple(sorted(wanted, key=lambda step: (step.start, step.control)))


def _battery(quarters: Sequence[Quarter], currency: str, clock: Callable[[float], str]) -> Iterator[Step]:
    for (action, watts, rule), run in _runs(quarters, lambda quarter: (quarter.action, round(quarter.power_w), quarter.rule)):
        if action is Action.SELF_USE:
            continue
        start, end, last = run[0].start, run[-1].start + QUARTER_S, run[-1].soc
        until = f" until {clock(end)}"
        if action is Action.CHARGE:
            price = _span_of([quarter.buy for quarter in run])
            why = f"{price} {currency}/kWh is {_WORDS.get(str(rule), 'cheap')}, and the sun will not need the room{until}"
            if last is None:
                why = f"{price} {currency}/kWh is {_WORDS.get(str(rule), 'cheap')}{until}"
            yield Step(start, end, CHARGE, float(watts), "W", rule, why, None if last is None else float(math.ceil(last)))
        else:
            why = f"selling brings {_span_of([quarter.sell for quarter in run])} {currency}/kWh, above the threshold{until}"
            yield Step(start, end, DISCHARGE, float(watts), "W", rule, why, None if last is None else float(math.floor(last)))


def _export(quarters: Sequence[Quarter], currency: str, clock: Callable[[float], str]) -> Iterator[Step]:
    for (no_export,), run in _runs(quarters, lambda quarter: (quarter.no_export,)):
        if no_export:
            end = run[-1].start + QUARTER_S
            brings = _span_of([quarter.sell for quarter in run])
            why = f"export brings {brings} {currency}/kWh, below the threshold, until {clock(end)}"
            yield Step(run[0].start, end, EXPORT_LIMIT, 0.0, "%", rules.EXPORT_ABOVE, why)


def _runs(quarters: Sequence[Quarter], key: Callable[[Quarter], tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], list[Quarter]]]:
    return ((wanted, list(run)) for wanted, run in groupby(quarters, key))


def _span_of(prices: Sequence[float]) -> str:
    low, high = f"{min(prices):.2f}", f"{max(prices):.2f}"
    return low if low == high else f"{low} to {high}"
