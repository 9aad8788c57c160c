"""The weather: asked for, checked, kept, and what it means for the sun on a roof."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.errors import NoAnswer, OhmsteadError, RateLimited, Refused, Unauthorised, Unreachable, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Value
from ohmstead.sim import weather as sim
from ohmstead.sources.weather import Lie, OpenMeteoReader, Place
from ohmstead.sources.weather_answer import forecast_of, parsed
from ohmstead.store.protocol import StoreError
from ohmstead.weather import HOUR_S, QUARTER_S, Day, Hour, Roof, WeatherForecast, from_json
from tests.unit.homes import Write, mistakes, writer
from tests.unit.test_config_schema import schema_complaints

NOON = int(datetime(2026, 6, 21, 10, 0, tzinfo=UTC).timestamp())
PLACE = Place(49.2, 16.6, "Europe/Prague", (Lie(35.0, -20.0),))


class Kept:
    """A memory of a test."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def read(self, key: str) -> str | None:
        return self.held.get(key)

    def write(self, key: str, value: str) -> None:
        self.held[key] = value


@pytest.fixture
def service() -> Iterator[sim.OpenMeteo]:
    with sim.OpenMeteo(wall=lambda: NOON) as running:
        yield running


class Asked:
    """A reader and what it told."""

    def __init__(self, service: sim.OpenMeteo, place: Place = PLACE, *, memory: Kept | None = None, key: str = "") -> None:
        self.forecasts: list[WeatherForecast] = []
        self.memory = memory or Kept()
        decoder = Decoder(library.load("open-meteo"))
        self.reader = OpenMeteoReader("weather", place, decoder, self.memory, self.forecasts.append, lambda: NOON, url=service.url, key=key)

    async def values(self) -> dict[str, Value]:
        (snapshot,) = await self.reader.read()
        return dict(snapshot.values)


# What it is like, and will be


async def test_it_says_what_it_is_like_and_will_be(service: sim.OpenMeteo) -> None:
    asked = Asked(service)
    values = await asked.values()
    assert len(values) == len(library.load("open-meteo").points)
    assert values["weather"] in ("mainly clear", "overcast")
    assert values["forecast_made"] == "2026-06-21T12:00:00+02:00"
    assert str(values["sunrise_today"]).startswith("2026-06-21T0")
    assert str(values["sunset_tomorrow"]).startswith("2026-06-22T")
    (forecast,) = asked.forecasts
    assert [day.day for day in forecast.days] == ["2026-06-21", "2026-06-22", "2026-06-23", "2026-06-24"]
    assert len(forecast.hours) == 95
    assert values["irradiation_today"] == forecast.days[0].irradiation


async def test_an_hour_s_sun_is_that_of_the_hour_and_not_of_the_one_before(service: sim.OpenMeteo) -> None:
    """The service tells the mean of the hour that ends; here it stands at the hour's begin."""
    asked = Asked(service)
    await asked.values()
    hour = asked.forecasts[0].hour_at(NOON + 1)
    assert hour is not None
    assert hour.start == NOON
    middle = sim._at("shortwave_radiation", NOON + HOUR_S / 2, PLACE.latitude, PLACE.longitude)
    assert hour.irradiance == pytest.approx(middle, abs=0.01)
    assert hour.temperature == pytest.approx(sim._at("temperature_2m", NOON, PLACE.latitude, PLACE.longitude), abs=0.01)


async def test_without_a_roof_nothing_is_asked_or_said_of_one(service: sim.OpenMeteo) -> None:
    asked = Asked(service, Place(49.2, 16.6, "Europe/Prague"))
    values = await asked.values()
    assert "irradiance_on_roof" not in values
    assert "tilt" not in service.asked[0]
    assert asked.forecasts[0].irradiance(NOON, 4) == [asked.forecasts[0].hours[12].irradiance] * 4


async def test_of_several_roofs_the_sun_is_that_on_all_modules(service: sim.OpenMeteo) -> None:
    east, west, both = (
        Asked(service, Place(49.2, 16.6, "Europe/Prague", lies))
        for lies in ((Lie(35, -90),), (Lie(35, 90),), (Lie(35, -90, 3000.0), Lie(35, 90, 1000.0)))
    )
    for asked in (east, west, both):
        await asked.values()
    assert len(service.asked) == 4
    assert "temperature_2m" not in service.asked[3]["hourly"]
    for morning, evening, all_day in zip(*(asked.forecasts[0].hours for asked in (east, west, both)), strict=True):
        assert morning.on_roof is not None
        assert evening.on_roof is not None
        assert all_day.on_roof == pytest.approx(0.75 * morning.on_roof + 0.25 * evening.on_roof, abs=0.02)
        assert all_day[:9] == morning[:9]
    assert any(
        morning.on_roof != evening.on_roof for morning, evening in zip(east.forecasts[0].hours, west.forecasts[0].hours, strict=True)
    )
    service.kindness = sim.NULLS
    await both.values()
    assert both.forecasts[1].irradiance(NOON, 1) is None


async def test_the_last_forecast_is_kept_over_a_restart(service: sim.OpenMeteo) -> None:
    asked = Asked(service)
    await asked.values()
    again = Asked(service, memory=asked.memory)
    again.reader.start()
    assert again.forecasts[0].as_json() == asked.forecasts[0].as_json()
    assert not again.forecasts[0].is_stale(NOON + 3 * HOUR_S)
    assert again.forecasts[0].is_stale(NOON + 3 * HOUR_S + 1)
    assert again.forecasts[0].is_stale(NOON - 4 * HOUR_S)  # the clock was set back


@pytest.mark.parametrize(
    "place",
    [
        PLACE._replace(latitude=50.0),
        PLACE._replace(zone="Europe/London"),
        PLACE._replace(roofs=(Lie(35.0, 70.0),)),
        PLACE._replace(roofs=()),
    ],
    ids=["elsewhere", "another zone", "other modules", "no modules"],
)
async def test_what_was_foreseen_for_another_place_is_not_gone_on_with(service: sim.OpenMeteo, place: Place) -> None:
    asked = Asked(service)
    await asked.values()
    again = Asked(service, place, memory=asked.memory)
    again.reader.start()
    assert again.forecasts == []


@pytest.mark.parametrize("kept", ["", "{}", "[]", '{"made": 1, "source": "", "hours": {"start": [1], "cheese": [2]}, "days": []}'])
async def test_what_was_kept_by_another_version_is_nothing(service: sim.OpenMeteo, kept: str) -> None:
    asked = Asked(service)
    for text in (kept, f"{PLACE}\n{kept}", f"{PLACE}\n" + "[" * 100_000):
        asked.memory.write("open-meteo/weather/forecast", text)
        asked.reader.start()
    assert asked.forecasts == []


async def test_a_store_that_fails_keeps_nobody_from_the_weather(service: sim.OpenMeteo) -> None:
    class Full(Kept):
        def read(self, key: str) -> str | None:
            raise StoreError("the disk is broken")

        def write(self, key: str, value: str) -> None:
            raise StoreError("the disk is full")

    asked = Asked(service, memory=Full())
    asked.reader.start()
    assert await asked.values()
    assert len(asked.forecasts) == 1


async def test_a_dump_has_question_and_answer_and_no_key(service: sim.OpenMeteo) -> None:
    said = json.loads(json.dumps(await Asked(service, key="sesame").reader.dump()))
    assert said[0]["asked"]["tilt"] == "35"
    assert len(said[0]["answer"]["hourly"]["time"]) == 96
    assert "sesame" not in json.dumps(said)
    assert service.asked[0]["apikey"] == "sesame"


# Unkind services


@pytest.mark.parametrize(
    ("kindness", "error", "said"),
    [
        (sim.DOWN, Refused, "HTTP 503"),
        (sim.HTML, WrongAnswer, "a web page"),
        (sim.HALF, NoAnswer, "broke off"),
        (sim.LIMITED, RateLimited, "Minutely API request limit exceeded"),
        (sim.DENIED, Unauthorised, "token is not taken"),
        (sim.REDIRECTED, Refused, "HTTP 302"),
        (sim.ELSEWHERE, WrongAnswer, "another place"),
        (sim.YESTERDAY, WrongAnswer, "one of the clocks is wrong"),
        (sim.GAP, WrongAnswer, "do not follow each other"),
        (sim.SHORT, WrongAnswer, "96 times and 95 values of temperature_2m"),
        (sim.HUGE, WrongAnswer, "more than 2 MiB"),
    ],
)
async def test_an_unkind_service_gives_nothing_and_is_told(
    service: sim.OpenMeteo, kindness: str, error: type[OhmsteadError], said: str
) -> None:
    service.kindness = kindness
    asked = Asked(service, key="sesame")
    with pytest.raises(error, match=said) as raised:
        await asked.values()
    assert "127.0.0.1" in str(raised.value)
    assert "sesame" not in str(raised.value)
    assert asked.forecasts == []
    assert asked.memory.held == {}
    service.kindness = ""
    assert await asked.values()


async def test_silence_ends(service: sim.OpenMeteo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ohmstead.sources.weather._SILENCE_S", 0.2)
    service.kindness = sim.LATE
    asked = Asked(service)

    async def ask_when_connected() -> None:
        """On a busy machine a connection alone may take longer than the silence allowed here."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(Unreachable):
                    await asked.values()
                    return

    with pytest.raises(NoAnswer, match="no answer from"):
        await ask_when_connected()


async def test_nobody_there() -> None:
    service = sim.OpenMeteo()
    with service:
        asked = Asked(service)
    with pytest.raises(Unreachable):
        await asked.values()


@pytest.mark.parametrize("kindness", [sim.NULLS, sim.ABSURD])
async def test_what_is_not_said_or_cannot_be_is_absent_and_never_zero(service: sim.OpenMeteo, kindness: str) -> None:
    asked = Asked(service)
    before = await asked.values()
    service.kindness = kindness
    (snapshot,) = await asked.reader.read()
    values = snapshot.values
    assert snapshot.gone == before.keys() - values.keys()
    assert set(values) <= {"forecast_made", "weather", "sunrise_today", "sunset_today", "sunrise_tomorrow", "sunset_tomorrow"}
    forecast = asked.forecasts[-1]
    assert all(value is None for hour in forecast.hours for value in hour[1:])
    assert forecast.irradiance(NOON, 1) is None


@pytest.mark.parametrize(
    ("retry_after", "reason", "pause"),
    [("90", "", 90), ("", "Daily API request limit exceeded", 21_600), ("soon", "Hourly …", 3600), ("nan", "", 300), ("1e9", "", 86_400)],
)
def test_how_long_it_is_left_alone(retry_after: str, reason: str, pause: float) -> None:
    from ohmstead.sources.weather import _pause

    assert _pause(retry_after, reason) == pause


async def test_an_answer_that_breaks_off_anywhere_is_no_forecast(service: sim.OpenMeteo) -> None:
    body = json.dumps(service._forecast({"latitude": "49.2", "longitude": "16.6", "hourly": "temperature_2m", "daily": "sunrise"})).encode()
    assert forecast_of(parsed(body, 49.2, 16.6), NOON).hours
    for end in range(0, len(body), 7):
        with pytest.raises(WrongAnswer):
            parsed(body[:end], 49.2, 16.6)


# What it means for the sun


def forecast(*sun: float | None, temperature: float | None = 25.0) -> WeatherForecast:
    hours = [Hour(at * HOUR_S, temperature=temperature, irradiance=each) for at, each in enumerate(sun)]
    return WeatherForecast(0.0, "test", hours, [Day("1970-01-01")])


def test_the_sun_of_each_quarter_hour() -> None:
    assert forecast(100, 200).irradiance(2 * QUARTER_S, 4) == [100, 100, 200, 200]


def test_a_part_is_not_taken_for_the_whole() -> None:
    assert forecast(100, 200).irradiance(HOUR_S, 5) is None
    assert forecast(100, None).irradiance(0, 8) is None
    assert forecast(100, 200).irradiance(-QUARTER_S, 2) is None


def test_modules_give_their_peak_under_standard_conditions_and_less_when_hot() -> None:
    cold = forecast(1000, temperature=25 - 34.2).sun_kwh(0, 4, Roof(10_000, performance=1.0))
    hot = forecast(1000, temperature=35).sun_kwh(0, 4, Roof(10_000, performance=1.0))
    assert cold is not None
    assert hot is not None
    assert sum(cold) == pytest.approx(10.0)
    assert 8.0 < sum(hot) < sum(cold)
    assert forecast(0).sun_kwh(0, 1, Roof(10_000)) == [0.0]
    assert forecast(None).sun_kwh(0, 1, Roof(10_000)) is None


def test_a_forecast_comes_back_as_it_was() -> None:
    told = forecast(100, None, 300)
    assert from_json(told.as_json()) == told


# Configuration


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


HOME = "devices:\n  weather: {source: open-meteo, latitude: 49.2, longitude: 16.6, %s}\n"


def test_a_roof_in_the_configuration(write: Write) -> None:
    config = load(write(HOME % "roof: {tilt: 35, azimuth: -20, peak: 9.8 kW}"))
    chosen = config.devices["weather"]
    assert chosen.roof[0].azimuth == -20
    assert chosen.peak_w == 9800
    assert config.periods("weather")["now"] == 1800


def test_what_cannot_be_is_told(write: Write) -> None:
    told = mistakes(write(HOME % "roof: {tilt: 135, azimuth: south, peak: 9}, url: weather"))
    assert len(told) == 4
    assert all("ohmstead.yaml:2: devices.weather." in mistake for mistake in told)
    (leaky,) = mistakes(write(HOME % 'url: "https://ann:sesame@192.0.2.5/v1/forecast"'))
    assert "no password in an address" in leaky
    assert schema_complaints(HOME % "roof: {tilt: 135}") != []
    assert schema_complaints(HOME % "roof: {tilt: 35, peak: 9.8 kW}") == []
    assert schema_complaints(HOME % "roof: [{tilt: 35, peak: 5 kW}, {tilt: 10}]") == []


@pytest.mark.parametrize("more", ["every: 5 min", "every: {now: 10 min}", 'every: 1 s, url: "http://127.0.0.1:1/x"'])
def test_how_often_it_may_be_asked(write: Write, more: str) -> None:
    assert load(write(HOME % more)).devices
    (told,) = mistakes(write(HOME % "every: 4 min"))
    assert "at least 5 min" in told
    assert told.startswith("ohmstead.yaml:2: devices.weather")


def test_several_roofs(write: Write) -> None:
    config = load(write(HOME % "roof: [{tilt: 35, azimuth: -90, peak: 5 kW}, {tilt: 35, azimuth: 90, peak: 4.8 kW}]"))
    assert config.devices["weather"].peak_w == 9800
    (told,) = mistakes(write(HOME % "roof: [{tilt: 35, peak: 5 kW}, {tilt: 35}]"))
    assert "each needs its `peak`" in told


# On the command line


def test_a_simulated_service_answers_until_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "ohmstead", "simulate", "weather", "--port", "0", "--unkind", "limited"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("Weather: ").strip()
        with pytest.raises(urllib.error.HTTPError, match="429"):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60)
        process.terminate()
        assert process.wait(60) == 0
