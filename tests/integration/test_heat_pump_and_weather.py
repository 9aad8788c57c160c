"""A gateway in the test's own process with a heat pump and the weather: what it keeps, and what a restart goes on with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from ohmstead import config
from ohmstead.app import Gateway
from ohmstead.sim.luxtronik import LuxtronikPump, made_up
from ohmstead.sim.weather import DOWN, OpenMeteo
from ohmstead.store.sqlite import SqliteStore
from tests.conftest import free_port

POLLS = 6


def home(folder: Path, pump: LuxtronikPump, weather: OpenMeteo) -> config.Config:
    file = folder / "ohmstead.yaml"
    file.write_text(
        f"""
mqtt: {{url: "mqtt://127.0.0.1:{free_port()}"}}
store: {{path: ohm.db}}
web: {{enabled: false}}
devices:
  pump: {{source: luxtronik, host: 127.0.0.1, port: {pump.port}, every: 100 ms}}
  weather: {{source: open-meteo, latitude: 49.2, longitude: 16.6, url: "{weather.url}"}}
"""
    )
    return config.load(file)


async def live(gateway: Gateway, until: Callable[[], bool]) -> None:
    """Runs it until a condition holds, and ends it in order."""
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    async with asyncio.timeout(60):
        while True:
            if until():
                break
            await asyncio.sleep(0.01)
        stop.set()
        assert await running == 0


async def test_changes_are_kept_with_their_units_and_the_forecast_over_a_restart(tmp_path: Path) -> None:
    vectors = made_up(1_750_000_000)
    async with LuxtronikPump(vectors) as pump:
        with OpenMeteo() as weather:
            gateway = Gateway(home(tmp_path, pump, weather))

            def lived() -> bool:
                polls = gateway.sources["pump"].counters["ok"]
                vectors.calculations[10] = 300 + polls  # the flow gets warmer, a number without a point changes once
                vectors.parameters[14] = 333 if polls > 2 else 0
                return polls >= POLLS and gateway.weather is not None and gateway.weather.forecast is not None

            await live(gateway, lived)
            assert gateway.weather is not None
            assert gateway.weather.forecast is not None
            foreseen = gateway.weather.forecast.as_json()

            again = SqliteStore(tmp_path / "ohm.db", standing=gateway._standing)
            assert len(again.history("pump", "return_temperature", 0, 1e10, 10)) > 25  # that it stayed the same is no gap
            assert "weather" not in gateway._standing
            again.close()
            store = SqliteStore(tmp_path / "ohm.db")
            kept = {
                point: store.history("pump", point, 0, 1e10, 0.001)
                for point in ("flow_temperature", "return_temperature", "einst_hzmk1e_akt")
            }
            units = store.samples.units("pump")
            temperature = store.history("weather", "temperature", 0, 1e10, 1e9)
            store.close()
            assert len(kept["flow_temperature"]) > 3
            assert len(kept["return_temperature"]) == 1  # it said the same each time
            assert [bucket.mean for bucket in kept["einst_hzmk1e_akt"]] == [0, 333]
            assert units["flow_temperature"] == "°C"
            assert len(units) > 1500
            assert len(temperature) == 1

            weather.kindness = DOWN
            restarted = Gateway(home(tmp_path, pump, weather))
            await live(restarted, lambda: restarted.sources["weather"].online is False)
            assert restarted.weather is not None
            assert restarted.weather.forecast is not None
            assert restarted.weather.forecast.as_json() == foreseen
            assert json.loads(foreseen)["source"].startswith("Open-Meteo")
