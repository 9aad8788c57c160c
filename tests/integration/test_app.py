"""The gateway in the test's own process: what the web side says when something is wrong, and what a failing part does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
import structlog

from ohmstead import config
from ohmstead.app import Gateway
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.hoymiles import Dtu
from ohmstead.web.api import MOST_STREAMS, PAGE, Live, make_app
from ohmstead.web.control import Control
from tests.conftest import free_port
from tests.publishing import read_image


def configured(folder: Path) -> config.Config:
    file = folder / "ohmstead.yaml"
    file.write_text(
        f"""
mqtt: {{url: "mqtt://127.0.0.1:{free_port()}"}}
store: {{path: test.db}}
web: {{port: {free_port()}}}
nodes:
  cellar: {{bus: {{port: /dev/ttyUSB0}}}}
devices:
  mtec: {{profile: mtec-energybutler, via: cellar}}
  garage: {{profile: mtec-energybutler, via: "tcp://127.0.0.1:{free_port()}", read_only: true}}
"""
    )
    return config.load(file)


@pytest.fixture
async def gateway(tmp_path: Path) -> Gateway:
    return Gateway(configured(tmp_path))


async def asked(gateway: Gateway, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    app = make_app(gateway.overview, Live(gateway.overview))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(path, headers=headers)


async def test_health_is_red_while_nothing_can_be_stored_and_names_it(gateway: Gateway) -> None:
    assert (await asked(gateway, "/health")).status_code == 200
    gateway.writer.trouble = "no space left on device"
    answer = await asked(gateway, "/health")
    assert answer.status_code == 503
    assert "no space left" in answer.json()["store"]
    gateway.writer.trouble = ""
    gateway.batteries.arbiter.audit.trouble = "the disk is full"
    answer = await asked(gateway, "/health")
    assert answer.status_code == 503
    assert answer.json()["control"] == "nothing is commanded, the audit cannot be kept: the disk is full"


async def test_more_live_streams_than_a_home_can_want_are_sent_away(gateway: Gateway) -> None:
    live = Live(gateway.overview)
    streams = [live.events() for _ in range(MOST_STREAMS)]
    for stream in streams:
        await anext(stream)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(gateway.overview, live)), base_url="http://test") as client:
        assert (await client.get("/api/live")).status_code == 503
        assert (await client.get("/api/now")).status_code == 200
    for stream in streams:
        await stream.aclose()
    assert live.streams == 0


async def test_a_monitor_may_ask_without_wanting_the_answer(gateway: Gateway) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(gateway.overview, Live(gateway.overview)))) as client:
        for path in ("/", "/health"):
            answer = await client.head(f"http://test{path}")
            assert (answer.status_code, answer.content) == (200, b"")


async def test_it_is_not_ready_before_the_broker_was_tried(gateway: Gateway) -> None:
    answer = await asked(gateway, "/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert f"the broker at 127.0.0.1:{gateway.config.mqtt.port} was called" in answer.json()["reason"]
    gateway.mqtt.tried.set()
    answer = await asked(gateway, "/ready")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


@pytest.mark.parametrize("headers", [{}, {"If-None-Match": "known"}])
async def test_the_files_of_the_page_are_under_the_same_rules_as_the_page(gateway: Gateway, headers: dict[str, str]) -> None:
    rules = ("content-security-policy", "x-content-type-options", "referrer-policy")
    page = await asked(gateway, "/")
    files = [path.name for path in PAGE.iterdir() if path.is_file()]
    assert len(files) > 1
    for name in files:
        answer = await asked(gateway, f"/page/{name}")
        if headers:
            answer = await asked(gateway, f"/page/{name}", {"If-None-Match": answer.headers["etag"]})
            assert answer.status_code == 304
        assert {rule: answer.headers[rule] for rule in rules} == {rule: page.headers[rule] for rule in rules}, name


async def test_before_anything_was_read_every_value_is_unknown_and_none_is_zero(gateway: Gateway) -> None:
    now = (await asked(gateway, "/api/now")).json()
    assert [device["state"] for device in now["devices"]] == ["waiting", "waiting"]
    assert {point["text"] for device in now["devices"] for group in device["groups"] for point in group["points"]} == {None}
    assert set(now["devices"][0]["flow"].values()) == {None}
    assert now["nodes"][0]["online"] is False


async def test_a_node_runs_for_as_long_as_its_frames_say_and_not_since_its_hello(gateway: Gateway) -> None:
    node = gateway.fleet.nodes["cellar"]
    node.started = gateway.clock.wall() - 7200
    assert (await asked(gateway, "/api/now")).json()["nodes"][0]["uptime"] is None, "nobody knows whether it runs"
    node.online = True
    assert (await asked(gateway, "/api/now")).json()["nodes"][0]["uptime"] == pytest.approx(7200, abs=60)


async def test_the_live_document_says_who_commands_a_battery_and_why(tmp_path: Path) -> None:
    file = tmp_path / "ohmstead.yaml"
    file.write_text('store: {path: test.db}\ndevices: {growatt: {profile: growatt-sph, via: "growatt-mqtt:energy/solar", rated: 5 kW}}\n')
    gateway = Gateway(config.load(file))
    control = Control(gateway.batteries.arbiter, gateway.entrance, gateway.store.trail, None)
    said = json.loads(Live(gateway.overview, control).text())["control"]["growatt"]
    assert (said["mode"], said["controls"]["charge"]["title"], said["controls"]["charge"]["read_back"]) == ("auto", "Charge", None)
    assert said["controls"]["charge"]["reason"]
    assert (await asked(gateway, "/api/now")).json()["control"] == {}


async def test_the_metrics_name_every_part(gateway: Gateway) -> None:
    gateway.ingest.refused["garbage"] += 1
    text = (await asked(gateway, "/metrics")).text
    for sample in (
        'ohmstead_ingest_refused_total{reason="garbage"} 1.0',
        'ohmstead_device_state{device="mtec",state="waiting"} 1.0',
        'ohmstead_bus_requests_total{device="garage",kind="no_answer"} 0.0',
        "ohmstead_store_commit_seconds_total 0.0",
        "ohmstead_mqtt_connected 0.0",
        "ohmstead_commands_retained_total 0.0",
        'ohmstead_node_online{node="cellar"} 0.0',
        "process_cpu_seconds_total",
    ):
        assert sample in text


async def test_a_read_only_device_refuses_and_a_node_without_a_key_takes_no_command(gateway: Gateway) -> None:
    gateway.desk.request("garage", "mode", "512", "test")
    gateway.desk.request("mtec", "mode", "512", "test")
    async with asyncio.timeout(5):
        while sum(gateway.desk.rejected.values()) < 2:  # noqa: ASYNC110 - a count is no event
            await asyncio.sleep(0.01)
    assert gateway.desk.rejected == {"read-only": 1, "unauthorised": 1}


async def test_a_part_that_fails_ends_the_whole_in_order_with_exit_code_1(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(now: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(gateway.outlets[0], "tick", broken)
    assert await asyncio.wait_for(gateway.run(asyncio.Event()), 10) == 1


async def test_a_page_whose_port_is_taken_ends_it_with_a_word(gateway: Gateway) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", gateway.config.web.port)
    with structlog.testing.capture_logs() as said:
        assert await asyncio.wait_for(gateway.run(asyncio.Event()), 10) == 1
    server.close()
    assert [line["reason"] for line in said if line["event"] == "cannot start"] == [
        f"the page cannot have 127.0.0.1:{gateway.config.web.port}: address already in use;"
        " end what listens there, or give another web.port or web.host"
    ]


async def test_asked_to_end_it_ends_within_five_seconds_though_nothing_answers(gateway: Gateway) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    await asyncio.wait_for(gateway.mqtt.tried.wait(), 5)
    stop.set()
    assert await asyncio.wait_for(running, 5) == 0


async def test_an_alert_is_told_everywhere_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "ohmstead.yaml"
    file.write_text(
        """
store: {path: test.db}
devices:
  mtec: {profile: mtec-energybutler, via: "tcp://127.0.0.1", points: {pv: {above: 9800}}}
"""
    )
    gateway = Gateway(config.load(file))
    assert gateway.overview.health()["alerts"] == []
    assert "ohmstead_alert{" not in (await asked(gateway, "/metrics")).text
    gateway.stream.publish(Snapshot("mtec", "now-base", gateway.clock.wall(), Quality.GOOD, {"pv": 9900.0}))
    assert (await asked(gateway, "/health")).json()["alerts"] == ["mtec pv is above 9800 W"]
    assert (await asked(gateway, "/api/now")).json()["alerts"] == ["M-TEC Energybutler: PV power is above 9800 W"]
    assert 'ohmstead_alert{device="mtec",point="pv"} 1.0' in (await asked(gateway, "/metrics")).text
    await gateway.notes.close(20)
    (event,) = gateway.store.events()
    assert (event.node, event.device, event.kind, event.detail["value"]) == ("", "mtec", "alert", 9900.0)


async def test_an_inverter_behind_a_dtu_that_is_too_hot_is_an_alert(tmp_path: Path, goldens: Path) -> None:
    async with Dtu(image=read_image(goldens / "hoymiles" / "image_A3.json")) as dtu:
        file = tmp_path / "ohmstead.yaml"
        file.write_text(
            f"""
store: {{path: test.db}}
devices:
  roof: {{profile: hoymiles-dtu, via: "tcp://127.0.0.1:{dtu.port}", points: {{temperature: {{above: 40}}}}}}
"""
        )
        gateway = Gateway(config.load(file))
        running = asyncio.create_task(gateway.sources["roof"].run())
        async with asyncio.timeout(30):
            while len(alerts := list(gateway.alerts.standing())) < 4 or any(alert.on is None for alert in alerts):  # noqa: ASYNC110 - a count is no event
                await asyncio.sleep(0.01)
        assert gateway.overview.health()["alerts"] == ["roof-116180123456 temperature is above 40 °C"]
        running.cancel()
        await asyncio.wait([running])
        await gateway.notes.close(20)
