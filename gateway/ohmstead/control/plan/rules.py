"""The rules that owners know, each a pure choice among the quarter hours of one local day.

A rule is given the whole day, also what is over of it, so that its choice does not wander while the day passes. Of equal prices
the earlier one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import fmean

from ohmstead.prices import QUARTER_S, DayPrices

_QUARTERS_OF_HOUR = 4

CHEAPEST_HOURS, CHEAPEST_QUARTER, CHEAPEST_WINDOW = "cheapest-hours", "cheapest-quarter", "cheapest-window"
EXPORT_ABOVE, SELL_ABOVE = "export-above", "sell-above"


def cheapest_hours(day: DayPrices, hours: int) -> set[int]:
    """The begins (UTC s) of the quarter hours of the `hours` cheapest whole hours, by the mean of their four prices."""
    prices = day.eur_mwh
    firsts = range(0, len(prices) - _QUARTERS_OF_HOUR + 1, _QUARTERS_OF_HOUR)
    chosen = sorted(firsts, key=lambda first: (fmean(prices[first : first + _QUARTERS_OF_HOUR]), first))[:hours]
    return {day.start + (first + at) * QUARTER_S for first in chosen for at in range(_QUARTERS_OF_HOUR)}


def cheapest_quarters(day: DayPrices, hours: int) -> set[int]:
    """The begins of the 4 · `hours` cheapest quarter hours, wherever they lie."""
    chosen = sorted(range(len(day.eur_mwh)), key=lambda at: (day.eur_mwh[at], at))[: hours * _QUARTERS_OF_HOUR]
    return {day.start + at * QUARTER_S for at in chosen}


def cheapest_quarter_of_range(day: DayPrices) -> set[int]:
    """The begins of all whose price is in the lowest quarter of the day's range: at most lowest + (highest - lowest) / 4."""
    lowest, highest = min(day.eur_mwh), max(day.eur_mwh)
    limit = lowest + (highest - lowest) / 4
    return {day.start + at * QUARTER_S for at, price in enumerate(day.eur_mwh) if price <= limit}


def cheapest_window(day: DayPrices, seconds: float) -> set[int]:
    """The begins of the consecutive quarter hours, `seconds` long together (rounded up to a whole one), that cost least on average."""
    length = min(max(ceil(seconds / QUARTER_S), 1), len(day.eur_mwh))
    sums = _sums(day.eur_mwh, length)
    first = min(range(len(sums)), key=lambda at: (round(sums[at], 9), at))
    return {day.start + (first + at) * QUARTER_S for at in range(length)}


def _sums(prices: Sequence[float], length: int) -> list[float]:
    return [sum(prices[at : at + length]) for at in range(len(prices) - length + 1)]
