"""A home that was hoymiles-mqtt's: its probes and dashboards ask this gateway, find what they know, and ours is still to be had."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ohmstead import config
from ohmstead.app import Gateway
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sources.polling import PolledSource
from ohmstead.web.api import Live, make_app
from tests.conftest import free_port
from tests.publishing import read_image
from tests.unit.homes import mistakes, writer


@pytest.fixture
async def dtu(goldens: Path) -> AsyncIterator[Dtu]:
    async with Dtu(image=read_image(goldens / "hoymiles" / "image_A3.json")) as simulated:
        yield simulated


def home(folder: Path, port: int, more: str = "") -> Gateway:
    text = f"""
        mqtt: {{url: "mqtt://127.0.0.1:{free_port()}"}}
        store: {{path: test.db}}
        web: {{compatible: [hoymiles-mqtt]}}
        devices:
          roof: {{profile: hoymiles-dtu, via: "tcp://127.0.0.1:{port}"{more}}}
    """
    return Gateway(config.load(writer(folder)(text)))


async def asked(gateway: Gateway, path: str) -> httpx.Response:
    app = make_app(gateway.overview, Live(gateway.overview))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(path)


@contextlib.asynccontextmanager
async def polled(gateway: Gateway) -> AsyncIterator[PolledSource]:
    """The DTU's source runs and has polled once."""
    source = gateway.sources["roof"]
    assert isinstance(source, PolledSource)
    running = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(30):
            while source.counters["requests"] == 0 or source.online is None:  # noqa: ASYNC110 - a count is no event
                await asyncio.sleep(0.01)
        yield source
    finally:
        running.cancel()
        await asyncio.wait([running])


def recorded(goldens: Path, path: str) -> str:
    """The body that the fork answered with."""
    text = (goldens / "hoymiles" / "endpoints_fork012_ok.txt").read_text()
    part: str = text.split(f"=== {path}\n")[1].split("\n=== ")[0]
    return part.split("\n\n", 1)[1]


def shape(value: Any) -> Any:
    """Keys and kinds, without the values."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    return type(value).__name__


async def test_its_probes_find_what_they_know(tmp_path: Path, dtu: Dtu, goldens: Path) -> None:
    gateway = home(tmp_path, dtu.port)
    async with polled(gateway):
        health, stats = await asked(gateway, "/health"), await asked(gateway, "/stats")
        assert health.headers["content-type"] == "application/json"
        for answer, path in ((health, "health"), (stats, "stats")):
            known = json.loads(recorded(goldens, path))
            assert (shape(answer.json()), list(answer.json())) == (shape(known), list(known))
        assert health.json()["dtus"]["DTU"]["status"] == "online"
        assert (health.status_code, health.json()["healthy"]) == (503, False), "the broker is away"
        assert stats.json()["production_cache_entries"] == 9
        assert (await asked(gateway, "/ready")).status_code == 503
        gateway.mqtt._connected = True
        gateway.mqtt._up.set()
        health, ready = await asked(gateway, "/health"), await asked(gateway, "/ready")
        assert (health.status_code, health.json()["healthy"]) == (200, True)
        assert (ready.status_code, ready.text, ready.headers["content-type"]) == (200, "OK", "text/plain; charset=utf-8")


async def test_its_dashboards_find_their_metrics_beside_ours(tmp_path: Path, dtu: Dtu, goldens: Path) -> None:
    gateway = home(tmp_path, dtu.port)
    async with polled(gateway):
        text = (await asked(gateway, "/metrics")).text
    assert 'ohmstead_device_state{device="roof",state="ok"} 1.0' in text
    ours, known = (
        {family.name: family for family in text_string_to_metric_families(said) if family.name.startswith("hoymiles_")}
        for said in (text, recorded(goldens, "metrics"))
    )
    assert set(ours) == set(known)
    for name, family in known.items():
        assert (ours[name].type, ours[name].documentation) == (family.type, family.documentation)
    of_ports = "hoymiles_inverter_power_watts"
    assert {tuple(sample.labels.items()) for sample in ours[of_ports].samples} == {
        tuple(sample.labels.items()) for sample in known[of_ports].samples
    }


async def test_names_that_cannot_be_told_apart_or_written_are_none(tmp_path: Path) -> None:
    other = "\n          b: {profile: hoymiles-dtu, via: tcp://127.0.0.2:9}"
    gateway = home(tmp_path, 9, f", name: b}}{other[:-1]}")
    assert list((await asked(gateway, "/health")).json()["dtus"]) == ["roof", "b"]
    (tmp_path / "odd").mkdir()
    odd = home(tmp_path / "odd", 9, ', name: "half a \\ud800"')
    assert 'dtu_name="half a ?"' in (await asked(odd, "/metrics")).text


async def test_what_is_ours_is_still_to_be_had(tmp_path: Path, dtu: Dtu) -> None:
    gateway = home(tmp_path, dtu.port)
    assert (await asked(gateway, "/api/health")).json()["ok"] is True
    assert (await asked(gateway, "/api/ready")).json()["ready"] is False
    assert "roof" in (await asked(gateway, "/api/stats")).json()["devices"]


async def test_a_dtu_that_is_away_turns_health_red_and_has_no_figures(tmp_path: Path) -> None:
    gateway = home(tmp_path, free_port(), ", name: Garage")
    async with polled(gateway):
        gateway.mqtt._connected = True
        gateway.mqtt._up.set()
        health = await asked(gateway, "/health")
        text = (await asked(gateway, "/metrics")).text
    assert health.status_code == 503
    said = health.json()["dtus"]["Garage"]
    assert (said["status"], said["last_successful_query"], said["error_count"]) == ("offline", None, 1)
    assert 'hoymiles_dtu_available{dtu_name="Garage"} 0.0' in text
    assert "hoymiles_dtu_power_watts{" not in text


def test_without_a_dtu_there_is_nothing_to_be_compatible_with(tmp_path: Path) -> None:
    file = writer(tmp_path)("web: {compatible: [hoymiles-mqtt]}\ndevices: {meter: {profile: eastron-sdm120, via: tcp://127.0.0.1}}")
    assert "no Hoymiles DTU" in mistakes(file)[0]
