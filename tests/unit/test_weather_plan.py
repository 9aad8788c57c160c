"""The weather's forecast on its topic, and in the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.control.plan.outlook import by_weather
from ohmstead.control.plan.planner import Outlook
from ohmstead.planning import planning
from ohmstead.prices import QUARTER_S, midnight
from ohmstead.publish.retired import RetiredTopic
from ohmstead.publish.values import forecast_topic
from ohmstead.publish.weather import WeatherTopic
from ohmstead.readings import Quality, Snapshot
from ohmstead.store.protocol import Batch
from ohmstead.store.sqlite import SqliteStore
from ohmstead.weather import HOUR_S, Day, Hour, WeatherForecast
from tests.publishing import Recorder
from tests.unit.homes import writer
from tests.unit.price_days import DAY, PRAGUE
from tests.unit.test_plan_outlook import days_of

EIGHT = datetime(2025, 10, 23, 8, 0, tzinfo=PRAGUE).timestamp()


def sunny(watts: float, made: float = EIGHT, hours: int = 48) -> WeatherForecast:
    """The same irradiance in each hour of two days."""
    start = midnight(DAY, PRAGUE)
    return WeatherForecast(
        made, "test", [Hour(start + at * HOUR_S, temperature=5.0, irradiance=watts) for at in range(hours)], [Day(str(DAY))]
    )


def test_the_topic_is_retained_and_says_when_it_has_become_old() -> None:
    now = [EIGHT]
    broker = Recorder()
    topic = WeatherTopic("home", broker, lambda: now[0])
    topic.start()
    topic.show(sunny(300.0))
    assert broker.sent == []  # nobody is there yet
    broker.connect()
    topic.tick(0)
    now[0] += 3 * HOUR_S + 1
    topic.tick(1)
    topic.tick(2)
    first, second = broker.sent
    assert (first.topic, first.retain) == ("ohm/home/weather/forecast", True)
    said = json.loads(first.payload)
    assert said["stale"] is False
    assert said["made"] == EIGHT
    assert said["hours"]["irradiance"] == [300.0] * 48
    assert "on_roof" not in said["hours"]
    assert json.loads(second.payload)["stale"] is True
    topic.show(sunny(200.0, now[0]))
    assert json.loads(broker.sent[-1].payload)["stale"] is False


def test_a_clock_that_is_set_after_the_start_makes_the_kept_forecast_fresh() -> None:
    now = [1_000.0]
    broker = Recorder()
    topic = WeatherTopic("home", broker, lambda: now[0])
    topic.start()
    broker.connect()
    topic.show(sunny(300.0))
    now[0] = EIGHT + 60
    topic.tick(0)
    topic.tick(1)
    assert [json.loads(message.payload)["stale"] for message in broker.sent] == [True, False]


def test_the_forecast_of_a_home_that_asks_for_none_any_more_is_taken_back() -> None:
    broker = Recorder()
    topic = RetiredTopic(forecast_topic("home"), broker)
    topic.start()
    broker.connect()
    broker.arrive("ohm/home/weather/forecast", b"", retain=True)
    broker.arrive("ohm/home/weather/forecast", b'{"stale": false}')
    assert broker.sent == []
    broker.arrive("ohm/home/weather/forecast", b'{"stale": false}', retain=True)
    assert [(message.topic, message.payload, message.retain) for message in broker.sent] == [("ohm/home/weather/forecast", "", True)]


def test_the_sun_by_the_weather_and_the_house_as_it_was() -> None:
    start = midnight(DAY, PRAGUE)
    forecast = by_weather([0.25] * 96, days_of(start, 7, 400.0), start, PRAGUE)
    assert forecast is not None
    assert (forecast.sun_kwh[3], forecast.house_kwh[48], forecast.source) == (0.25, 0.1, "the weather")
    assert by_weather([0.25] * 96, [], start, PRAGUE) is None


def test_the_sun_is_that_on_the_roof_and_not_here_and_there_that_on_the_ground() -> None:
    start = midnight(DAY, PRAGUE)
    hours = [Hour(start + at * HOUR_S, irradiance=300.0, on_roof=500.0 + at) for at in range(4)]
    assert WeatherForecast(EIGHT, "test", hours, []).irradiance(start, 8) == [500.0] * 4 + [501.0] * 4
    hours[1] = hours[1]._replace(on_roof=None)
    assert WeatherForecast(EIGHT, "test", hours, []).irradiance(start, 8) is None
    assert WeatherForecast(EIGHT, "test", [hour._replace(on_roof=None) for hour in hours], []).irradiance(start, 1) == [300.0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ohm.db")
    yield opened
    opened.close()


def outlook_of(folder: Path, store: SqliteStore, weather: WeatherForecast | None, peak: str = ", peak: 10 kW") -> Outlook:
    moments = [EIGHT - at * QUARTER_S for at in range(1, 7 * 96 + 1)]
    store.commit(Batch(snapshots=[Snapshot("growatt", "live", at, Quality.GOOD, {"pv": 100.0, "consumption": 400.0}) for at in moments]))
    config = load(
        writer(folder)(
            f"""
            devices:
              growatt: {{profile: growatt-sph, via: tcp://192.0.2.10, rated: 5 kW}}
              weather: {{source: open-meteo, latitude: 49.2, longitude: 16.6, roof: {{tilt: 35{peak}}}}}
            prices: {{source: awattar, currency: EUR}}
            """
        )
    )
    parts = planning(config, Recorder(), store.plans, store.history, wall=lambda: EIGHT, mono=lambda: EIGHT, weather=lambda: weather)
    assert parts is not None
    return parts.planner._outlook(int(EIGHT), 64)


def test_a_plan_knows_what_the_sun_will_give(tmp_path: Path, store: SqliteStore) -> None:
    forecast = outlook_of(tmp_path, store, sunny(500.0)).forecast
    assert forecast is not None
    assert forecast.source == "the weather"
    assert 0.9 < sum(forecast.sun_kwh[:4]) / (10 * 0.5 * 0.85) < 1.1
    assert sum(forecast.house_kwh[:4]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("weather", "peak"),
    [
        (None, ", peak: 10 kW"),
        (sunny(500.0), ""),
        (sunny(500.0, hours=20), ", peak: 10 kW"),
        (sunny(500.0, made=EIGHT - 86_401), ", peak: 10 kW"),
    ],
    ids=["no forecast", "modules unknown", "it ends too early", "of another day"],
)
def test_without_the_weather_the_sun_is_that_of_the_last_days(
    tmp_path: Path, store: SqliteStore, weather: WeatherForecast | None, peak: str
) -> None:
    forecast = outlook_of(tmp_path, store, weather, peak).forecast
    assert forecast is not None
    assert forecast.source == "the last days"
    assert sum(forecast.sun_kwh[:4]) == pytest.approx(0.1)
