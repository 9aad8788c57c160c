"""What a weather service may answer beside what it should: other zones, days of a clock change, depths and lengths, no sunrise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ohmstead.errors import RateLimited, Refused, Unauthorised, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Snapshot
from ohmstead.sim import weather as sim
from ohmstead.sources.weather_answer import CURRENT, DAILY, HOURLY, ON_ROOF, Answer, fields_of, forecast_of, on_all_roofs, parsed
from ohmstead.weather import HOUR_S
from tests.unit.test_weather import NOON, Asked


@pytest.fixture
def service() -> Iterator[sim.OpenMeteo]:
    with sim.OpenMeteo(wall=lambda: NOON) as running:
        yield running


def _whole_question() -> dict[str, str]:
    tables = {"current": CURRENT, "hourly": HOURLY, "daily": DAILY}
    return {"latitude": "49.2", "longitude": "16.6"} | {name: ",".join(table.values()) for name, table in tables.items()}


async def test_days_of_another_time_zone_are_wrong(service: sim.OpenMeteo, monkeypatch: pytest.MonkeyPatch) -> None:
    said = service._forecast
    monkeypatch.setattr(service, "_forecast", lambda asked: said(asked | {"timezone": "GMT"}))
    with pytest.raises(WrongAnswer, match="another time zone"):
        await Asked(service).values()


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("hour", [0, 1, 4, 12, 22])
async def test_the_days_of_a_clock_change(day: str, hour: int) -> None:
    now = int(datetime.fromisoformat(f"{day}T{hour:02}:30:00+00:00").timestamp())
    with sim.OpenMeteo(wall=lambda: now) as service:
        asked = Asked(service)
        asked.reader._wall = lambda: now
        values = await asked.values()
    today = datetime.fromtimestamp(now, ZoneInfo("Europe/Prague")).date()
    (forecast,) = asked.forecasts
    assert [each.day for each in forecast.days] == [str(today + timedelta(days=ahead)) for ahead in range(4)]
    assert str(values["sunrise_today"]).startswith(str(today))


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"reason": ' * 50_000, b"\xff\xfe{}", b"1" * 5000])
async def test_depths_and_lengths_are_wrong_answers(service: sim.OpenMeteo, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    for status, error in ((500, Refused), (429, RateLimited), (200, WrongAnswer)):
        monkeypatch.setattr(service, "_answer", lambda _, status=status: (status, {}, body))
        with pytest.raises(error):
            await Asked(service).values()
    assert await Asked(service).reader.dump()


@pytest.mark.parametrize("column", ["temperature_2m", "weather_code", "time", "cloud_cover"])
async def test_an_integer_that_no_float_can_hold_is_absent(service: sim.OpenMeteo, column: str) -> None:
    said = json.loads(json.dumps(service._forecast(_whole_question())))
    said["current"][column] = said["daily"]["sunrise"][0] = said["hourly"]["cloud_cover"][3] = 123_454_321
    body = json.dumps(said).replace("123454321", "1" + "0" * 400).encode()
    answer = parsed(body, 49.2, 16.6)
    forecast = forecast_of(answer, NOON)
    assert forecast.hours[3].cloud_cover is None
    assert forecast.days[0].sunrise is None
    values = Decoder(library.load("open-meteo")).decode_fields(fields_of(answer, forecast, NOON))
    assert all(isinstance(value, str) or abs(value) < 1e6 for value in values.values())


async def test_where_the_sun_does_not_rise_nothing_is_said_of_it(service: sim.OpenMeteo) -> None:
    said = json.loads(json.dumps(service._forecast(_whole_question())))
    said["daily"]["sunrise"] = said["daily"]["sunset"] = [0] * len(said["daily"]["time"])
    answer = parsed(json.dumps(said).encode(), 49.2, 16.6)
    forecast = forecast_of(answer, NOON)
    assert {(day.sunrise, day.sunset) for day in forecast.days} == {(None, None)}
    assert not [
        name for name, value in fields_of(answer, forecast, NOON).items() if "sun" in name and name[-4:] in ("rise", "nset") and value
    ]


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**63, 1e300, float("nan"), float("-inf")])
@pytest.mark.parametrize("profile", ["open-meteo", "luxtronik", "shelly-em"])
def test_a_number_that_no_device_measures_is_absent(profile: str, number: float) -> None:
    """Whoever reads JSON may meet one."""
    model = library.load(profile)
    numbers = [point for point in model.points.values() if point.field is not None and not point.is_text]
    assert numbers
    assert Decoder(model).decode_fields({str(point.field): number for point in numbers}) == {}
    assert Decoder(model).decode_fields({str(numbers[0].field): 1}) != {}


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorised), (403, Unauthorised), (404, Refused), (500, Refused), (204, Refused)])
async def test_what_a_status_means(service: sim.OpenMeteo, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Refused]) -> None:
    monkeypatch.setattr(service, "_answer", lambda _: (status, {}, b""))
    with pytest.raises(error) as raised:
        await Asked(service).values()
    assert raised.value.status == status


def _changed(service: sim.OpenMeteo, change: Callable[[dict[str, Any]], None]) -> Answer:
    said = json.loads(json.dumps(service._forecast(_whole_question())))
    change(said)
    return parsed(json.dumps(said).encode(), 49.2, 16.6)


@pytest.mark.parametrize(("age_s", "told"), [(900, True), (-900, True), (3601, False), (-3601, False)])
def test_what_was_hours_ago_is_not_now(service: sim.OpenMeteo, age_s: int, told: bool) -> None:
    answer = _changed(service, lambda said: said["current"].update(time=NOON - age_s))
    assert ("now:temperature" in fields_of(answer, forecast_of(answer, NOON), NOON)) is told


def test_days_that_do_not_follow_each_other_are_wrong(service: sim.OpenMeteo) -> None:
    with pytest.raises(WrongAnswer, match="do not follow"):
        _changed(service, lambda said: said["daily"]["time"].reverse())


def test_the_sun_on_one_of_two_roofs_is_not_that_on_both(service: sim.OpenMeteo) -> None:
    one = _changed(service, lambda said: None)
    other = _changed(service, lambda said: said["hourly"][ON_ROOF].__setitem__(5, None))
    both = on_all_roofs([one, other], [1.0, 3.0]).hourly[ON_ROOF]
    assert both[5] is None
    assert both[6] == pytest.approx(one.hourly[ON_ROOF][6])


def test_roofs_whose_forecasts_are_about_other_hours_are_wrong(service: sim.OpenMeteo) -> None:
    """One was asked before midnight and one after it."""
    later = _changed(service, lambda said: said["hourly"].update(time=[time + 86_400 for time in said["hourly"]["time"]]))
    with pytest.raises(WrongAnswer, match="not about the same hours"):
        on_all_roofs([_changed(service, lambda said: None), later], [1.0, 1.0])


async def test_what_is_on_this_machine_is_asked_without_a_proxy(service: sim.OpenMeteo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await Asked(service).values()


async def test_at_midnight_tomorrow_is_today_with_or_without_the_service(service: sim.OpenMeteo) -> None:
    now = [float(NOON)]
    told: list[Snapshot] = []
    asked = Asked(service)
    asked.reader._wall = lambda: now[0]
    asked.reader._emit = told.append
    values = await asked.values()
    waiting = asked.reader._midnight
    assert waiting is not None
    assert 12 * HOUR_S < waiting.when() - asyncio.get_running_loop().time() < 12 * HOUR_S + 60  # from noon, summer time
    service.kindness = sim.DOWN
    for days in range(1, 5):
        now[0] = NOON + 12 * HOUR_S + (days - 1) * 86_400 + 1
        assert asked.reader._midnight is not None
        asked.reader._midnight._run()
        snapshot = told[-1]
        assert snapshot.age == 60  # no sign of life, and newer than the last poll
        assert set(snapshot.values) <= {name for name in values if name.endswith(("_today", "_tomorrow"))}
        if days == 1:
            of_day = {name.removesuffix("_today"): value for name, value in snapshot.values.items() if name.endswith("_today")}
            assert of_day == {name.removesuffix("_tomorrow"): value for name, value in values.items() if name.endswith("_tomorrow")}
            assert not snapshot.gone
        if days == 3:
            assert all(name.endswith("_today") for name in snapshot.values)
            assert snapshot.gone == {name for name in values if name.endswith("_tomorrow")}
        if days == 4:
            assert not snapshot.values
            assert snapshot.gone == {name for name in values if name.endswith("_today")}
    await asked.reader.close()
    assert asked.reader._midnight is None


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-21", 24)])
async def test_a_day_is_as_long_as_it_is(day: str, hours: int) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Prague")).timestamp()
    now = [begin + 1]
    told: list[Snapshot] = []
    with sim.OpenMeteo(wall=lambda: now[0]) as service:
        asked = Asked(service)
        asked.reader._wall = lambda: now[0]
        asked.reader._emit = told.append
        values = await asked.values()
    waiting = asked.reader._midnight
    assert waiting is not None
    assert waiting.when() - asyncio.get_running_loop().time() == pytest.approx(hours * HOUR_S, abs=30)
    now[0] = begin + hours * HOUR_S + 1
    waiting._run()
    assert told[0].values["sunrise_today"] == values["sunrise_tomorrow"]
    await asked.reader.close()
