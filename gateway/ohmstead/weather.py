"""The weather's forecast for the home's place: hours and days as data, and what they mean for the sun on a roof.

Times are UTC seconds since 1970. What the forecast does not say is None, never zero.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

QUARTER_S = 900
HOUR_S = 3600
STALE_AFTER_S = 3 * HOUR_S
"""A forecast that is older than this is still the best there is, and is said to be old."""

_PERFORMANCE = 0.85
_COEFFICIENT_PER_K = -0.004
_ROSS_K_M2_W = 0.0342
"""Losses of wires, dirt and inverter; power per kelvin of the cells above 25 °C; how much the sun warms cells on a roof."""


class Hour(NamedTuple):
    """An hour from `start` on. `temperature` (°C), `cloud_cover` (%), `wind_speed` and `wind_gusts` (km/h) are those of its begin;
    `precipitation` (mm) and the irradiances (W/m²: on the ground, straight from the sun as it falls on the ground, from the sky, and on the
    roof) are of the whole hour."""

    start: int
    temperature: float | None = None
    cloud_cover: float | None = None
    precipitation: float | None = None
    wind_speed: float | None = None
    wind_gusts: float | None = None
    irradiance: float | None = None
    direct: float | None = None
    diffuse: float | None = None
    on_roof: float | None = None


class Day(NamedTuple):
    """A calendar day at the place. `sunrise` and `sunset` are UTC seconds; temperatures in °C, precipitation in mm, the sun's energy on the
    ground in kWh/m², sunshine in seconds."""

    day: str
    sunrise: int | None = None
    sunset: int | None = None
    temperature_max: float | None = None
    temperature_min: float | None = None
    precipitation: float | None = None
    irradiation: float | None = None
    sunshine: float | None = None


class Roof(NamedTuple):
    """Where modules are: `peak_w` under standard conditions."""

    peak_w: float
    performance: float = _PERFORMANCE


class WeatherForecast(NamedTuple):
    """What was foreseen at `made`. Hours follow each other without a gap."""

    made: float
    source: str
    hours: Sequence[Hour]
    days: Sequence[Day]

    def is_stale(self, now: float) -> bool:
        return not -STALE_AFTER_S < now - self.made <= STALE_AFTER_S

    def hour_at(self, moment: float) -> Hour | None:
        """The hour that a UTC second lies in; None where the forecast does not reach."""
        if not self.hours:
            return None
        at = math.floor((moment - self.hours[0].start) / HOUR_S)
        return self.hours[at] if 0 <= at < len(self.hours) else None

    def irradiance(self, start: int, quarters: int) -> list[float] | None:
        """The mean on the roof (on the ground where no roof is known) in W/m², for each quarter hour from `start` on; None where a single
        one is not foreseen: a part of it would be taken for the whole."""
        found: list[float] = []
        knows_roof = any(hour.on_roof is not None for hour in self.hours)
        for at in range(quarters):
            hour = self.hour_at(start + at * QUARTER_S)
            sun = None if hour is None else hour.on_roof if knows_roof else hour.irradiance
            if sun is None:
                return None
            found.append(sun)
        return found

    def sun_kwh(self, start: int, quarters: int, roof: Roof) -> list[float] | None:
        """What the modules will give in each quarter hour from `start` on; None as in `irradiance`.

        Power falls with the cells' temperature, which is the air's and what the sun adds; where the air's is not known it is 15 °C.
        """
        sun = self.irradiance(start, quarters)
        if sun is None:
            return None
        return [roof.performance * kwh_of(roof.peak_w, each, self._air(start + at * QUARTER_S)) for at, each in enumerate(sun)]

    def _air(self, moment: float) -> float:
        hour = self.hour_at(moment)
        return 15.0 if hour is None or hour.temperature is None else hour.temperature

    def as_json(self) -> str:
        """Columns for the hours, an object for each day."""
        return json.dumps(self.as_columns(), ensure_ascii=False, separators=(",", ":"))

    def as_columns(self) -> dict[str, Any]:
        """The same as plain lists and objects. A column that has nothing in it is left out."""
        columns = {name: [getattr(hour, name) for hour in self.hours] for name in Hour._fields}
        return {
            "made": round(self.made),
            "source": self.source,
            "hours": {name: column for name, column in columns.items() if any(value is not None for value in column)},
            "days": [{name: value for name, value in day._asdict().items() if value is not None} for day in self.days],
        }


def kwh_of(peak_w: float, irradiance: float, air: float) -> float:
    """What modules of so many W give in a quarter hour, before losses, at W/m² and °C of air."""
    cells = air + _ROSS_K_M2_W * irradiance
    return max(peak_w / 1000 * irradiance / 1000 * (1 + _COEFFICIENT_PER_K * (cells - 25)), 0.0) * QUARTER_S / HOUR_S


def from_json(text: str) -> WeatherForecast:
    """What `as_json` made. Raises ValueError for anything else."""
    try:
        said = json.loads(text)
        columns: Mapping[str, Sequence[Any]] = said["hours"]
        hours = [Hour(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        return WeatherForecast(float(said["made"]), str(said["source"]), hours, [Day(**day) for day in said["days"]])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no forecast of ours: {error}") from None
