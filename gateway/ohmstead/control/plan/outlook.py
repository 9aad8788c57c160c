"""What sun and house will do, from what they did: the mean of the last days at the same time of day.

Nothing is known of a quarter hour that none of those days has; then there is no forecast at all, because a part of one would be
taken for the whole. A forecast of the weather is better at the sun, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import fmean
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ohmstead.control.plan.model import Forecast
from ohmstead.prices import QUARTER_S

SUN_DAYS, HOUSE_DAYS, OUTSIDE_DAYS = 3, 7, 3
_KWH_OF_W = QUARTER_S / 3600 / 1000
_QUARTERS_OF_DAY = 96
_SHARE_OF_OUTSIDE = 0.75


class Measured(NamedTuple):
    """A mean over some time that begins at `time` (UTC s)."""

    time: float
    mean: float


def as_before(sun_w: Iterable[Measured], house_w: Iterable[Measured], start: int, quarters: int, zone: ZoneInfo) -> Forecast | None:
    """The forecast for `quarters` quarter hours from `start` on, from means of quarter hours in W; None where a time of day is missing."""
    sun, house = _by_time_of_day(sun_w, zone), _by_time_of_day(house_w, zone)
    wanted = [_time_of_day(start + at * QUARTER_S, zone) for at in range(quarters)]
    if any(at not in sun or at not in house for at in wanted):
        return None
    return Forecast(start, [sun[at] for at in wanted], [house[at] for at in wanted], "the last days")


def by_weather(sun_kwh: Sequence[float], house_w: Iterable[Measured], start: int, zone: ZoneInfo) -> Forecast | None:
    """The forecast with the sun that the weather promises, in kWh of each quarter hour from `start` on, and the house as it was; None where
    a time of day of the house is missing."""
    house = _by_time_of_day(house_w, zone)
    wanted = [_time_of_day(start + at * QUARTER_S, zone) for at in range(len(sun_kwh))]
    if any(at not in house for at in wanted):
        return None
    return Forecast(start, list(sun_kwh), [house[at] for at in wanted], "the weather")


def mean_outside(measured: Iterable[Measured]) -> float | None:
    """The mean of hourly outside temperatures of the last `OUTSIDE_DAYS`; None when more than a quarter of the hours is missing."""
    means = [one.mean for one in measured]
    return fmean(means) if len(means) >= _SHARE_OF_OUTSIDE * 24 * OUTSIDE_DAYS else None


def _by_time_of_day(measured: Iterable[Measured], zone: ZoneInfo) -> dict[int, float]:
    """kWh of each quarter hour of the clock, never below 0: a sun that takes is its inverter's standby."""
    found: dict[int, list[float]] = {}
    for time, mean in measured:
        found.setdefault(_time_of_day(time, zone), []).append(max(mean, 0.0) * _KWH_OF_W)
    return {at: fmean(values) for at, values in found.items()}


def _time_of_day(moment: float, zone: ZoneInfo) -> int:
    local = datetime.fromtimestamp(moment, zone)
    return (local.hour * 4 + local.minute // 15) % _QUARTERS_OF_DAY
