"""The weather's forecast on `ohm/<site>/weather/forecast`: JSON, retained, whenever a new one came.

`hours` has columns of one length, `days` an object for each day; times are UTC seconds. `made` is when it was foreseen, and `stale` becomes
true when that is too long ago, or seems to be yet to come.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ohmstead.messages import Messenger
from ohmstead.publish.values import forecast_topic
from ohmstead.readings import Snapshot
from ohmstead.weather import WeatherForecast


class WeatherTopic:
    """`show` takes each new forecast; the last one is sent again after each reconnection. `wall` is UTC seconds."""

    def __init__(self, site: str, messenger: Messenger, wall: Callable[[], float]) -> None:
        self.topic = forecast_topic(site)
        self.forecast: WeatherForecast | None = None
        """The newest."""
        self._messenger = messenger
        self._wall = wall
        self._stale = False

    def start(self) -> None:
        self._messenger.on_connect(self._send)

    def show(self, forecast: WeatherForecast) -> None:
        self.forecast = forecast
        self._stale = forecast.is_stale(self._wall())
        if self._messenger.connected:
            self._send()

    def _send(self) -> None:
        if self.forecast is not None:
            said = {"stale": self._stale, **self.forecast.as_columns()}
            self._messenger.publish(self.topic, json.dumps(said, ensure_ascii=False, separators=(",", ":")), retain=True)

    def take(self, snapshot: Snapshot) -> None:
        """The forecast does not come with the readings."""

    def tick(self, now: float) -> None:
        """Says so when the forecast has become old, or is not after all: a clock may be set long after the start."""
        if self.forecast is not None and self._stale is not self.forecast.is_stale(self._wall()):
            self._stale = not self._stale
            if self._messenger.connected:
                self._send()

    def close(self) -> None:
        """Nothing: a forecast says itself when it was made."""
