"""Open-Meteo on the loopback interface, kind or unkind. The weather is made up from the day alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .service import HttpService, answered

DOWN, HTML, HALF, LATE, LIMITED, DENIED, REDIRECTED = "down", "html", "half", "late", "limited", "denied", "redirected"
ELSEWHERE, YESTERDAY, GAP, SHORT, NULLS, ABSURD, HUGE = "elsewhere", "yesterday", "gap", "short", "nulls", "absurd", "huge"
UNKIND = (DOWN, HTML, HALF, LATE, LIMITED, DENIED, REDIRECTED, ELSEWHERE, YESTERDAY, GAP, SHORT, NULLS, ABSURD, HUGE)
"""503 / a web page / it breaks off / silent until it is kind again / 429 / 401 / a redirection / for another place / of five days ago / an
hour is missing / a column is shorter than the others / nothing but nulls / what cannot be / more than anybody wants."""

_PAGE = b"<!DOCTYPE html><html><body>Maintenance</body></html>"
_LATEST_S = 30.0
_NORTH_OF_SOUTH = 172


class OpenMeteo(HttpService):
    """`start` listens on `port` (0: a free one); `kindness` may be changed at any time (empty: kind). `asked` are the questions."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, wall: Callable[[], float] = time.time) -> None:
        super().__init__(host, port)
        self.kindness = ""
        self.asked: list[dict[str, str]] = []
        self._wall = wall

    @property
    def url(self) -> str:
        return f"{super().url}/v1/forecast"

    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        self.asked.append(asked)
        if self.kindness == LATE:
            self._kind_again.wait(_LATEST_S)
        status, headers, answer = self._answer(asked)
        answered(request, status, headers, answer, len(answer) // 2 if self.kindness == HALF else None)

    def _answer(self, asked: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        refused = {
            DOWN: (503, {}, b"no"),
            HTML: (200, {"Content-Type": "text/html"}, _PAGE),
            LIMITED: (429, {}, _error("Minutely API request limit exceeded. Please try again in one minute.")),
            DENIED: (401, {}, _error("The supplied API key is invalid.")),
            REDIRECTED: (302, {"Location": "/login"}, b""),
            HUGE: (200, {}, b"[" + b"0," * (2 << 20) + b"0]"),
        }
        if self.kindness in refused:
            return refused[self.kindness]
        try:
            return 200, {"Content-Type": "application/json"}, json.dumps(self._forecast(asked)).encode()
        except (KeyError, ValueError, ZoneInfoNotFoundError) as error:
            return 400, {}, _error(f"Data corrupted at path ''. {error}.")

    def _forecast(self, asked: dict[str, str]) -> dict[str, Any]:
        latitude, longitude = float(asked["latitude"]), float(asked["longitude"])
        if not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
            raise ValueError("Latitude must be in range of -90 to 90°")
        zone = ZoneInfo(asked.get("timezone", "GMT"))
        now = self._wall() - (5 * 86_400 if self.kindness == YESTERDAY else 0)
        local = datetime.fromtimestamp(now, zone)
        offset = int((local.utcoffset() or timedelta()).total_seconds())
        lie = float(asked.get("tilt", 0)), float(asked.get("azimuth", 0))
        midnight = int(local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
        count = int(asked.get("forecast_days", "7"))
        hours = [midnight + 3600 * at for at in range(24 * count)]
        days = [midnight + 86_400 * at for at in range(count)]
        said: dict[str, Any] = {
            "latitude": round(latitude * 50) / 50 + (10 if self.kindness == ELSEWHERE else 0),
            "longitude": round(longitude * 50) / 50,
            "utc_offset_seconds": offset,
            "timezone": str(zone),
            "current": {"time": int(now // 900 * 900), "interval": 900},
            "hourly": {"time": hours},
            "daily": {"time": days},
        }
        for name in filter(None, asked.get("current", "").split(",")):
            said["current"][name] = self._told(name, _at(name, now, latitude, longitude, lie))
        for name in filter(None, asked.get("hourly", "").split(",")):
            means = name in ("precipitation",) or "radiation" in name or "irradiance" in name
            said["hourly"][name] = [
                self._told(name, _at(name, moment - 1800 if means else moment, latitude, longitude, lie)) for moment in hours
            ]
        for name in filter(None, asked.get("daily", "").split(",")):
            said["daily"][name] = [self._told(name, _of_day(name, day, latitude, longitude)) for day in days]
        if self.kindness == GAP:
            for column in said["hourly"].values():
                del column[30]
        elif self.kindness == SHORT:
            del said["hourly"]["temperature_2m"][-1]
        return said

    def _told(self, name: str, value: float) -> float | None:
        if self.kindness == NULLS:
            return None
        return 99_999.0 if self.kindness == ABSURD else round(value, 2)


def _error(reason: str) -> bytes:
    return json.dumps({"error": True, "reason": reason}).encode()


def _height(moment: float, latitude: float, longitude: float) -> float:
    """The sine of the sun's height, roughly; negative at night."""
    time_of_day = 2 * math.pi * (moment / 86_400 + longitude / 360 - 0.5)
    day = datetime.fromtimestamp(moment, UTC).timetuple().tm_yday
    declination = math.radians(23.44) * math.cos(2 * math.pi * (day - _NORTH_OF_SOUTH) / 365)
    north = math.radians(latitude)
    return math.sin(north) * math.sin(declination) + math.cos(north) * math.cos(declination) * math.cos(time_of_day)


def _at(name: str, moment: float, latitude: float, longitude: float, lie: tuple[float, float] = (0.0, 0.0)) -> float:
    """A value at a moment, by the service's name for it. `lie`: tilt and azimuth of a roof, in degrees."""
    height = max(_height(moment, latitude, longitude), 0.0)
    day = moment // 86_400
    clouds = 50 + 45 * math.sin(day * 1.7 + moment / 20_000)
    clear = 1 - 0.7 * clouds / 100
    direct, diffuse = 850 * height * clear, 110 * math.sqrt(height)
    return {
        "temperature_2m": 11 - 9 * math.cos(2 * math.pi * (day - 15) / 365.25) + 5 * math.sin(2 * math.pi * (moment / 86_400 - 0.4)),
        "relative_humidity_2m": 70 - 15 * height,
        "cloud_cover": clouds,
        "precipitation": max(clouds - 85, 0) / 10,
        "pressure_msl": 1013 + 9 * math.sin(day / 3),
        "wind_speed_10m": 12 + 8 * math.sin(day),
        "wind_gusts_10m": 22 + 12 * math.sin(day),
        "wind_direction_10m": (day * 37) % 360,
        "weather_code": 3.0 if clouds > 70 else 1.0,
        "shortwave_radiation": direct + diffuse,
        "direct_radiation": direct,
        "diffuse_radiation": diffuse,
        "global_tilted_irradiance": direct * _towards(moment, longitude, *lie) + diffuse,
    }[name]


def _towards(moment: float, longitude: float, tilt: float, azimuth: float) -> float:
    """How much more of the direct sun a roof has than the ground, roughly: in the morning in the east, in the evening in the west."""
    hour_angle = 2 * math.pi * (moment / 86_400 + longitude / 360 - 0.5)
    return max(math.cos(math.radians(tilt)) + 0.8 * math.sin(math.radians(tilt)) * math.cos(hour_angle - math.radians(azimuth)), 0.0)


def _of_day(name: str, midnight: float, latitude: float, longitude: float) -> float:
    moments = [midnight + 600 * at for at in range(144)]
    light = [moment for moment in moments if _height(moment, latitude, longitude) > 0] or [0.0]
    each = {
        "sunrise": lambda: light[0],
        "sunset": lambda: light[-1],
        "temperature_2m_max": lambda: max(_at("temperature_2m", moment, latitude, longitude) for moment in moments),
        "temperature_2m_min": lambda: min(_at("temperature_2m", moment, latitude, longitude) for moment in moments),
        "precipitation_sum": lambda: sum(_at("precipitation", moment, latitude, longitude) for moment in moments) / 6,
        "shortwave_radiation_sum": lambda: sum(_at("shortwave_radiation", moment, latitude, longitude) for moment in moments) * 600 / 1e6,
        "sunshine_duration": lambda: 600.0 * sum(_at("direct_radiation", moment, latitude, longitude) > 120 for moment in moments),
    }
    return float(each[name]())
