"""What an owner wants of a plan: rules, each switched on by itself, and the conditions that they hold to. Nothing is on by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ohmstead.control.plan.model import Battery


class Place(NamedTuple):
    """Where the home is, in degrees north and east."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class ChargeRules:
    """When to charge from the grid: the union of what the first three choose, in each local day.

    `cheapest_hours`: the n cheapest whole hours (or, `by_quarters`, the 4·n cheapest quarter hours). `cheapest_quarter`: every price in
    the lowest quarter of the day's range. `window_s`: the cheapest stretch of that length, 0 for none.

    `power_w` None: the battery's. `fill_to` in %. `season_below`: only while the mean outside temperature of three days is below it (°C).
    `before_sunrise`: never between sunrise and sunset. `without_forecast`: also when nobody knows what the sun will do.
    """

    cheapest_hours: int = 0
    by_quarters: bool = False
    cheapest_quarter: bool = False
    window_s: float = 0.0
    power_w: float | None = None
    fill_to: float = 100.0
    season_below: float | None = None
    before_sunrise: bool = False
    without_forecast: bool = False


@dataclass(frozen=True)
class Settings:
    """`export_above`: nothing flows out while it would bring less (per kWh). `sell_above`: the battery empties into the grid while that
    brings at least so much, down to `sell_floor` (%), with `sell_power_w` (None: the battery's). `pause_above_w`: neither charged from the
    grid nor sold from the battery while the house draws more. `place` is needed for sunrise."""

    device: str
    battery: Battery | None = None
    charge: ChargeRules = ChargeRules()
    export_above: float | None = None
    sell_above: float | None = None
    sell_floor: float = 50.0
    sell_power_w: float | None = None
    pause_above_w: float | None = None
    place: Place | None = None
