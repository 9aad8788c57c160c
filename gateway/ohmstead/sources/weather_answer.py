"""What Open-Meteo answers: checked, and turned into the fields of the profile and a forecast.

With `timeformat=unixtime` all times are UTC seconds; a day begins at its local midnight, and `utc_offset_seconds` added gives its date.
Irradiances and precipitation of an hour are those of the hour that ends at its time. Documented at open-meteo.com/en/docs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any, NamedTuple

from ohmstead.errors import WrongAnswer
from ohmstead.weather import HOUR_S, Day, Hour, WeatherForecast

SOURCE = "Open-Meteo.com (CC BY 4.0)"
FORECAST_DAYS = 4

ON_ROOF = "global_tilted_irradiance"

CURRENT = {
    "temperature": "temperature_2m",
    "humidity": "relative_humidity_2m",
    "cloud_cover": "cloud_cover",
    "precipitation": "precipitation",
    "pressure": "pressure_msl",
    "wind_speed": "wind_speed_10m",
    "wind_gusts": "wind_gusts_10m",
    "wind_direction": "wind_direction_10m",
    "weather": "weather_code",
    "irradiance": "shortwave_radiation",
    "direct": "direct_radiation",
    "diffuse": "diffuse_radiation",
    "on_roof": ON_ROOF,
}
"""Our name → the service's, of what it is like now."""

HOURLY = {
    "temperature": "temperature_2m",
    "cloud_cover": "cloud_cover",
    "precipitation": "precipitation",
    "wind_speed": "wind_speed_10m",
    "wind_gusts": "wind_gusts_10m",
    "irradiance": "shortwave_radiation",
    "direct": "direct_radiation",
    "diffuse": "diffuse_radiation",
    "on_roof": ON_ROOF,
}
DAILY = {
    "sunrise": "sunrise",
    "sunset": "sunset",
    "temperature_max": "temperature_2m_max",
    "temperature_min": "temperature_2m_min",
    "precipitation": "precipitation_sum",
    "irradiation": "shortwave_radiation_sum",
    "sunshine": "sunshine_duration",
}

_OF_THE_HOUR_BEFORE = ("precipitation", "irradiance", "direct", "diffuse", "on_roof")
_PLAUSIBLE = {
    "temperature": (-90.0, 60.0),
    "temperature_max": (-90.0, 60.0),
    "temperature_min": (-90.0, 60.0),
    "cloud_cover": (0.0, 100.0),
    "precipitation": (0.0, 1000.0),
    "wind_speed": (0.0, 450.0),
    "wind_gusts": (0.0, 450.0),
    "irradiance": (0.0, 1500.0),
    "direct": (0.0, 1500.0),
    "diffuse": (0.0, 1500.0),
    "on_roof": (0.0, 1500.0),
    "irradiation": (0.0, 60.0),
    "sunshine": (0.0, 86_400.0),
}
_LONGEST_DAY_S = 26 * HOUR_S
_KWH_OF_MJ = 1 / 3.6
_GRID_DEGREES = 1.0
_MOST_HOURS = 24 * 17
_LAST_TIME = 4_102_444_800
_MOST_AGE_S = 6 * HOUR_S
_NOW_S = HOUR_S
"""What it is like now is told for each quarter of an hour."""
_LARGEST = 1e15


class Answer(NamedTuple):
    """An answer whose shape is right. Columns are of one length each; `offset_s` is the place's offset from UTC."""

    current: Mapping[str, Any]
    hourly: Mapping[str, Sequence[Any]]
    daily: Mapping[str, Sequence[Any]]
    offset_s: int


def parsed(body: bytes, latitude: float, longitude: float) -> Answer:
    """Raises WrongAnswer for what is no forecast, or one for another place."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise WrongAnswer(f"no forecast but {_looks_like(body)}") from None
    if not isinstance(said, dict):
        raise WrongAnswer("no forecast but another JSON")
    for key, wanted in (("latitude", latitude), ("longitude", longitude)):
        told = _number(said.get(key))
        if told is None or abs(told - wanted) > _GRID_DEGREES:
            raise WrongAnswer(f"a forecast for another place: {key} {told} in place of {wanted:g}")
    offset = said.get("utc_offset_seconds")
    if not isinstance(offset, int) or abs(offset) > 15 * HOUR_S:
        raise WrongAnswer("a forecast that does not say its offset from UTC")
    current = said.get("current")
    return Answer(current if isinstance(current, dict) else {}, _columns(said, "hourly", HOUR_S), _columns(said, "daily", None), offset)


def must_be_in(zone: tzinfo, answer: Answer) -> None:
    """Raises WrongAnswer for an answer whose days are not those of the home's time zone; where the clocks change, both offsets are."""
    hours = answer.hourly["time"]
    offsets = {datetime.fromtimestamp(time, zone).utcoffset() for time in (hours[0], hours[-1])}
    if timedelta(seconds=answer.offset_s) not in offsets:
        raise WrongAnswer(f"a forecast in another time zone: {answer.offset_s} s from UTC are not those of {zone}")


def on_all_roofs(answers: Sequence[Answer], shares: Sequence[float]) -> Answer:
    """The first answer, with the sun on all roofs by their shares. Raises WrongAnswer for answers that are not about the same hours."""
    first = answers[0]
    if len(answers) < 2:
        return first
    if any(answer.hourly["time"] != first.hourly["time"] for answer in answers):
        raise WrongAnswer("forecasts for the roofs that are not about the same hours")
    columns = [answer.hourly.get(ON_ROOF, [None] * len(first.hourly["time"])) for answer in answers]
    hourly = {**first.hourly, ON_ROOF: [_mean(values, shares) for values in zip(*columns, strict=True)]}
    current = {**first.current, ON_ROOF: _mean([answer.current.get(ON_ROOF) for answer in answers], shares)}
    return first._replace(hourly=hourly, current=current)


def _mean(values: Sequence[object], shares: Sequence[float]) -> float | None:
    """By shares; None where one of them is not known."""
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    return round(sum(number * share for number, share in zip(known, shares, strict=True)) / sum(shares), 2)


def forecast_of(answer: Answer, now: float) -> WeatherForecast:
    """The forecast, made `now` (UTC s). Raises WrongAnswer for one that is not about now: one of the clocks is wrong."""
    times: Sequence[int] = answer.hourly["time"]
    if not times[0] - _MOST_AGE_S <= now < times[-1]:
        raise WrongAnswer(
            f"a forecast from {_said(times[0])} to {_said(times[-1])}, and here it is {_said(now)}: one of the clocks is wrong"
        )
    columns = {name: answer.hourly.get(of_service, ()) for name, of_service in HOURLY.items()}
    hours = []
    for at, start in enumerate(times[:-1]):  # of the last hour nobody says how it went on
        told = {
            name: _plausible(name, column[at + 1 if name in _OF_THE_HOUR_BEFORE else at]) for name, column in columns.items() if len(column)
        }
        hours.append(Hour(start, **told))
    return WeatherForecast(now, SOURCE, hours, [_day(answer, at) for at in range(len(answer.daily["time"]))])


def fields_of(answer: Answer, forecast: WeatherForecast, now: float, zone: tzinfo = UTC) -> dict[str, object]:
    """The fields of the profile: `now:…`, `today:…`, `tomorrow:…` and `made`. `zone` is the home's: the clocks may have changed since."""
    fields: dict[str, object] = {"made": _moment(now, answer.offset_s)}
    measured = _number(answer.current.get("time"))
    if measured is not None and abs(now - measured) <= _NOW_S:
        fields |= {f"now:{name}": answer.current.get(of_service) for name, of_service in CURRENT.items()}
    today = datetime.fromtimestamp(now, zone).date()
    for day in forecast.days:
        ahead = (datetime.fromisoformat(day.day).date() - today).days
        if ahead in (0, 1):
            told = day._asdict() | {
                which: None if moment is None else _moment(moment, answer.offset_s)
                for which, moment in (("sunrise", day.sunrise), ("sunset", day.sunset))
            }
            fields |= {f"{('today', 'tomorrow')[ahead]}:{name}": value for name, value in told.items()}
    return fields


def _columns(said: Mapping[str, Any], key: str, step_s: int | None) -> Mapping[str, Sequence[Any]]:
    """A table of columns of one length whose times grow, by `step_s` where that is given."""
    table = said.get(key)
    times = table.get("time") if isinstance(table, dict) else None
    if not isinstance(table, dict) or not isinstance(times, list) or not 2 <= len(times) <= _MOST_HOURS:
        raise WrongAnswer(f"a forecast without its {key} values")
    if not all(isinstance(time, int) and not isinstance(time, bool) and 0 <= time <= _LAST_TIME for time in times):
        raise WrongAnswer(f"a forecast whose {key} times are none")
    if any(later <= earlier or (step_s and later - earlier != step_s) for earlier, later in pairwise(times)):
        raise WrongAnswer(f"a forecast whose {key} times do not follow each other")
    columns = {name: column for name, column in table.items() if isinstance(column, list)}
    if wrong := next((name for name, column in columns.items() if len(column) != len(times)), None):
        raise WrongAnswer(f"a forecast with {len(times)} times and {len(columns[wrong])} values of {wrong}")
    return columns


def _day(answer: Answer, at: int) -> Day:
    midnight = answer.daily["time"][at]
    date = datetime.fromtimestamp(midnight + answer.offset_s + HOUR_S, UTC).date()  # the clocks may change by an hour on the way
    told: dict[str, Any] = {}
    for name, of_service in DAILY.items():
        column = answer.daily.get(of_service)
        number = None if column is None else _plausible(name, column[at] if name != "irradiation" else _times(column[at], _KWH_OF_MJ))
        if name in ("sunrise", "sunset"):  # where it does not rise, or not set, the service has the second 0
            number = None if number is None or not midnight <= number <= midnight + _LONGEST_DAY_S else int(number)
        told[name] = number
    return Day(date.isoformat(), **told)


def _times(number: object, factor: float) -> float | None:
    known = _number(number)
    return None if known is None else round(known * factor, 3)


def _plausible(name: str, said: object) -> float | None:
    """The number, None for what is none or cannot be."""
    number = _number(said)
    if number is None:
        return None
    low, high = _PLAUSIBLE.get(name, (-math.inf, math.inf))
    return number if low <= number <= high else None


def _number(said: object) -> float | None:
    """No number of the weather's or the clock's is as large as that; JSON may have integers that no float can hold."""
    return said if isinstance(said, int | float) and not isinstance(said, bool) and -_LARGEST < said < _LARGEST else None


def _moment(time: float, offset_s: int) -> str:
    """In the home's time, as Home Assistant reads it."""
    return datetime.fromtimestamp(int(time), timezone(timedelta(seconds=offset_s))).isoformat()


def _said(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC") if 0 <= time < 1e11 else f"second {time:g}"


def _looks_like(body: bytes) -> str:
    return "a web page" if body.lstrip()[:1] == b"<" else f"{len(body)} bytes of something else"
