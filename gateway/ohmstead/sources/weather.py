"""The weather of Open-Meteo: what it is like now, and its forecast by hours and days.

One question every half hour (the service allows 10 000 a day). The last forecast is kept over a restart; how old it is, it says itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import structlog

from ohmstead.errors import OhmsteadError, RateLimited, Refused, SourceError, Unauthorised, WrongAnswer
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.http_errors import meant
from ohmstead.sources.weather_answer import (
    CURRENT,
    DAILY,
    FORECAST_DAYS,
    HOURLY,
    ON_ROOF,
    Answer,
    fields_of,
    forecast_of,
    must_be_in,
    on_all_roofs,
    parsed,
)
from ohmstead.weather import WeatherForecast, from_json

if TYPE_CHECKING:
    import httpx

    from ohmstead.sources.polling import Memory

log = structlog.get_logger(service="weather")

URL = "https://api.open-meteo.com/v1/forecast"
URL_WITH_KEY = "https://customer-api.open-meteo.com/v1/forecast"

_TABLES = {"current": CURRENT, "hourly": HOURLY}
_SILENCE_S = 15.0
_PAST_MIDNIGHT_S = 1.0
_NOT_HEARD_S = 60.0
"""The age of a reading that is none: newer than the last one, but no sign that anybody answers."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MOST_BYTES = 2 << 20
_LIMIT_PAUSES_S = (("daily", 6 * 3600.0), ("hourly", 3600.0), ("", 300.0))
_LONGEST_PAUSE_S = 24 * 3600.0
_REASON_LENGTH = 200


class Lie(NamedTuple):
    """How modules lie: `tilt` (0 is flat) and `azimuth` (0 is south, -90 east) in degrees, and which `share` of all they are."""

    tilt: float
    azimuth: float
    share: float = 1.0


class Place(NamedTuple):
    """Where it is about, in degrees north and east, and how the modules lie, if there are any. `zone` is the name of the home's time zone,
    by which days are told apart."""

    latitude: float
    longitude: float
    zone: str
    roofs: tuple[Lie, ...] = ()


class OpenMeteoReader:
    """`told` gets each new forecast, and at the start the one that `memory` still has, `emit` what a new day is said
    to be like. `url` and `key`: another server, a paid account."""

    def __init__(
        self,
        device: str,
        place: Place,
        decoder: Decoder,
        memory: Memory,
        told: Callable[[WeatherForecast], None],
        wall: Callable[[], float],
        *,
        emit: Callable[[Snapshot], None] = lambda _: None,
        url: str = "",
        key: str = "",
    ) -> None:
        self._device = device
        self._place = place
        self._zone = ZoneInfo(place.zone)
        self._decoder = decoder
        self._memory = memory
        self._told = told
        self._told_values = frozenset(decoder.profile.points)  # before the first poll any may have one, from before a restart
        self._of_days = {
            point.field: point.id
            for point in decoder.profile.points.values()
            if point.field and point.field.startswith(("today:", "tomorrow:"))
        }
        self._midnight: asyncio.TimerHandle | None = None
        self._wall = wall
        self._emit = emit
        self._key = key
        self._url = url or (URL_WITH_KEY if key else URL)
        self._kept_as = f"open-meteo/{device}/forecast"

    def start(self) -> None:
        """Goes on with the forecast that was kept."""
        try:
            kept = self._memory.read(self._kept_as)
        except OhmsteadError as error:
            log.warning("the last forecast cannot be read", device=self._device, reason=str(error))
            return
        about, _, forecast = (kept or "").partition("\n")
        if about != str(self._place):
            return  # it was for another place, or for modules that lay otherwise; the next one is asked for at once
        try:
            self._told(from_json(forecast))
        except ValueError:
            return  # of another version

    async def read(self) -> Sequence[Snapshot]:
        """One question. Raises a SourceError, or RateLimited."""
        bodies = [await self._ask(question) for question in self._questions()]
        now = self._wall()
        try:
            answers = [parsed(body, self._place.latitude, self._place.longitude) for body in bodies]
            for each in answers:
                must_be_in(self._zone, each)
            answer = on_all_roofs(answers, [roof.share for roof in self._place.roofs])
            forecast = forecast_of(answer, now)
        except WrongAnswer as error:
            raise WrongAnswer(f"{self._host}: {error}") from error
        values = self._decoder.decode_fields(fields_of(answer, forecast, now, self._zone))
        self._told(forecast)
        await self._keep(forecast)
        gone, self._told_values = self._told_values - values.keys(), frozenset(values)
        self._wait_for_midnight(answer, forecast)
        return [Snapshot(self._device, "weather", now, Quality.GOOD, values, gone=gone)]

    def _wait_for_midnight(self, answer: Answer, forecast: WeatherForecast) -> None:
        """Then tomorrow is today, whether or not the service is to be had."""
        self._stop_waiting()
        now = datetime.fromtimestamp(self._wall(), self._zone)
        midnight = datetime.combine(now.date() + timedelta(days=1), time(), self._zone)
        pause_s = midnight.timestamp() - now.timestamp()
        self._midnight = asyncio.get_running_loop().call_later(pause_s + _PAST_MIDNIGHT_S, self._begin_day, answer, forecast)

    def _begin_day(self, answer: Answer, forecast: WeatherForecast) -> None:
        now = self._wall()
        fields = fields_of(answer, forecast, now, self._zone)
        values = self._decoder.decode_fields({name: fields.get(name) for name in self._of_days})
        gone = {point for name, point in self._of_days.items() if point in self._told_values} - values.keys()
        self._told_values = self._told_values - gone | values.keys()
        self._emit(Snapshot(self._device, "days", now, Quality.GOOD, values, age=_NOT_HEARD_S, gone=gone))
        self._wait_for_midnight(answer, forecast)

    def _stop_waiting(self) -> None:
        if self._midnight is not None:
            self._midnight.cancel()
            self._midnight = None

    async def _keep(self, forecast: WeatherForecast) -> None:
        """What cannot be kept is asked for again after a restart."""
        try:
            await asyncio.to_thread(self._memory.write, self._kept_as, f"{self._place}\n{forecast.as_json()}")
        except OhmsteadError as error:
            log.warning("the forecast is not kept", device=self._device, reason=str(error))

    async def dump(self) -> object:
        """The answers as they came, and what was asked but the key."""
        import json

        said = []
        for question in self._questions():
            body = await self._ask(question)
            try:
                answer: object = json.loads(body)
            except (ValueError, RecursionError):
                answer = body[:4096].decode(errors="replace")
            said.append({"asked": question, "answer": answer})
        return said

    async def close(self) -> None:
        """Each question has a connection of its own, and has closed it."""
        self._stop_waiting()

    def _questions(self) -> list[dict[str, str]]:
        """One, and one more for each further way in which modules lie: the service tells the sun on one roof at a time."""
        place = self._place
        about = {
            "latitude": f"{place.latitude:.4f}",
            "longitude": f"{place.longitude:.4f}",
            "daily": ",".join(DAILY.values()),
            "forecast_days": str(FORECAST_DAYS),
            "timeformat": "unixtime",
            "timezone": place.zone,
        }
        if not place.roofs:
            return [about | {which: ",".join(name for name in names.values() if name != ON_ROOF) for which, names in _TABLES.items()}]
        lies = [{"tilt": f"{roof.tilt:g}", "azimuth": f"{roof.azimuth:g}"} for roof in place.roofs]
        whole = {which: ",".join(names.values()) for which, names in _TABLES.items()}
        return [about | whole | lies[0], *(about | dict.fromkeys(_TABLES, ON_ROOF) | lie for lie in lies[1:])]

    async def _ask(self, question: dict[str, str]) -> bytes:
        """The answer's body. No address in any error: it may hold a key."""
        await asyncio.to_thread(import_module, "httpx")  # not for homes without weather, and not while the buses wait
        import httpx

        key = {"apikey": self._key} if self._key else {}
        try:
            # Certificates are read from the disk when a client is made. What is on this machine no proxy of the environment knows.
            client = await asyncio.to_thread(
                httpx.AsyncClient,
                timeout=_SILENCE_S,
                headers={"User-Agent": "ohmstead"},
                verify=self._url.startswith("https"),
                trust_env=not self._host.startswith(_LOOPBACK),
            )
            async with client, client.stream("GET", self._url, params=question | key) as response:
                body = await _bounded(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise meant(error, self._host, _SILENCE_S) from error
        if response.status_code != httpx.codes.OK:
            raise _refusal(self._host, response, body)
        return body

    @property
    def _host(self) -> str:
        return self._url.split("/")[2]


async def _bounded(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    length = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        length += len(part)
        if length > _MOST_BYTES:
            raise WrongAnswer(f"{response.url.host}: an answer of more than {_MOST_BYTES >> 20} MiB")
    return b"".join(parts)


def _refusal(host: str, response: httpx.Response, body: bytes) -> SourceError | RateLimited:
    """What a status other than 200 means, with the service's own reason if it gives one."""
    status, reason = response.status_code, _reason(body)
    told = f": {reason}" if reason else ""
    if status == 429:
        return RateLimited(f"{host}: enough questions for now{told}", _pause(response.headers.get("Retry-After", ""), reason))
    if status in (401, 403):
        return Unauthorised(f"{host}: the token is not taken (HTTP {status}){told}; check it in ohmstead.yaml", status)
    return Refused(f"{host}: HTTP {status}{told}", status)


def _reason(body: bytes) -> str:
    """`reason` of the service's error object, printable; empty for anything else, such as a web page."""
    import json

    try:
        said: Any = json.loads(body)
        reason = str(said["reason"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return "".join(sign for sign in reason if sign.isprintable())[:_REASON_LENGTH]


def _pause(retry_after: str, reason: str) -> float:
    """Seconds until the next question: as the service says, else by which of its limits was met."""
    try:
        seconds = float(retry_after)
    except ValueError:
        seconds = math.nan
    if math.isfinite(seconds) and seconds > 0:
        return min(seconds, _LONGEST_PAUSE_S)
    return next(pause for word, pause in _LIMIT_PAUSES_S if word in reason.lower())
