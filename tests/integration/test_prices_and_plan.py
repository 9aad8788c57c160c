"""A whole gateway with prices from a loopback service: the plan on a real broker, at `/api/plan` and in the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead import config
from ohmstead.app import Gateway
from ohmstead.sim.prices import DOWN, PriceServices
from tests.conftest import PATIENCE, Broker, free_port
from tests.unit.price_days import PRAGUE

_DEADLINE_S = 40.0


@pytest.fixture
def services() -> Iterator[PriceServices]:
    running = PriceServices(PRAGUE).start()
    yield running
    running.stop()


class Listener:
    """Keeps the newest message of the plan's topic, and whether it was the retained copy."""

    def __init__(self, port: int) -> None:
        self.plan: dict[str, Any] = {}
        self.retained = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe("ohm/home/plan")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, client: object, userdata: object, message: paho.MQTTMessage) -> None:
        self.plan, self.retained = json.loads(message.payload), message.retain

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


async def until(condition: Any, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + _DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come"
        await asyncio.sleep(0.05)


async def test_prices_become_a_plan_that_is_told_shown_and_kept(tmp_path: Path, broker: Broker, services: PriceServices) -> None:
    services.kindness = DOWN
    web = free_port()
    file = tmp_path / "ohmstead.yaml"
    file.write_text(
        f"mqtt: {{url: 'mqtt://127.0.0.1:{broker.port}'}}\nstore: {{path: test.db}}\nweb: {{port: {web}}}\n"
        f"devices: {{growatt: {{profile: growatt-sph, via: 'tcp://127.0.0.1:{free_port()}'}}}}\n"
        f"prices: {{url: '{services.url}/ote', rate_url: '{services.url}/cnb'}}\n"
        "plan: {battery: {capacity: 10 kWh, power: 5 kW}, charge: {cheapest_hours: 6}, export: {above: 1 CZK/kWh}}\n"
    )
    gateway = Gateway(config.load(file))
    assert gateway.planning is not None
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    early, late = Listener(broker.port), None
    try:
        await until(lambda: "No price" in str(early.plan.get("notes")), "a plan that says why it is none")
        services.kindness = ""
        gateway.planning.prices.ask_now()
        await until(lambda: len(early.plan.get("series", {}).get("buy", [])) > 0, "a plan with prices")
        assert "state of charge is unknown" in early.plan["notes"][0], "the inverter is not there"
        assert [step for step in early.plan["steps"] if step["control"] != "export_limit"] == []
        async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE):
            while True:  # a quarter of an hour may begin in between, and a new plan with it
                shown = (await client.get(f"http://127.0.0.1:{web}/api/plan")).json()
                stats = (await client.get(f"http://127.0.0.1:{web}/stats")).json()
                if shown["series"] == early.plan["series"] and stats["plan"]["notes"] == early.plan["notes"]:
                    break
                await asyncio.sleep(0.1)
        late = Listener(broker.port)
        await until(lambda: late.plan, "the retained plan")  # type: ignore[union-attr] - it is there by now
        assert late.retained
        kept = gateway.store.plans.plans("growatt", 0, 1e12)
        assert kept
        assert gateway.store.plans.rate() is not None
    finally:
        stop.set()
        early.close()
        if late is not None:
            late.close()
        assert await running == 0
