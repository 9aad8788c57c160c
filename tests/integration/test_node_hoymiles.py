"""A DTU behind a real node: MicroPython asks it, and a gateway in the test's own process publishes what it means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ohmstead import config
from ohmstead.nodes.compile import node_config
from ohmstead.observe.hoymiles import HoymilesMqtt
from ohmstead.profiles.hoymiles import reads_of
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment
from ohmstead.sim.listener import Listener
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.rtu import Line
from ohmstead.sim.station import Station
from tests.conftest import Broker, wait_for
from tests.hoymiles_rig import PRAGUE, running, until
from tests.integration.node_harness import Gateway as Listening
from tests.integration.node_harness import NodeProcess
from tests.publishing import read_image

ROOF = Roof()
MEMBER = "roof-114182a0b1c2"
SECONDS = 60.0
NOON = moment("2026-06-21", 14.0, PRAGUE)


def home(folder: Path, broker: Broker, dtu: Dtu) -> config.Config:
    file = folder / "ohmstead.yaml"
    file.write_text(
        f"""
mqtt: {{url: "mqtt://{broker.host}:{broker.port}"}}
store: {{path: ohm.db, flush: 50 ms}}
web: {{enabled: false, compatible: [hoymiles-mqtt]}}
nodes: {{cellar: {{}}}}
devices:
  roof:
    profile: hoymiles-dtu
    via: cellar/tcp://127.0.0.1:{dtu.port}
    every: 1 s
    line: {{timeout: 500 ms}}
    hoymiles: {{ports: 9, offline_after: 2 s}}
"""
    )
    return config.load(file, {})


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    with Listener(broker.host, broker.port) as listening:
        yield listening


def said(listener: Listener, serial: str = ROOF.serial) -> dict[str, Any]:
    """The newest object of the DTU, or of an inverter or a port."""
    payload = listener.last(f"homeassistant/hoymiles_mqtt/{serial}/state")
    found: dict[str, Any] = json.loads(payload) if payload else {}
    return found


async def test_a_dtu_behind_a_node_from_discovery_to_its_absence_and_over_a_restart_at_night(
    tmp_path: Path, broker: Broker, listener: Listener, node: NodeProcess
) -> None:
    now = [NOON]
    async with Dtu(Plant(ROOF, NOON), clock=lambda: now[0]) as dtu:
        written = home(tmp_path, broker, dtu)
        node.configure(node_config(written, "cellar"))
        await asyncio.to_thread(node.start)

        async with running(written) as gateway:
            former = HoymilesMqtt(gateway.overview)
            await until(lambda: said(listener).get("total_production") and said(listener).get("pv_power"), SECONDS)
            await until(lambda: listener.last(f"homeassistant/sensor/{ROOF.serial}/DTU_pv_power/config"), SECONDS)
            await until(lambda: listener.last(f"ohm/home/device/{MEMBER}/online") == b"online", SECONDS)
            assert set(said(listener, "114182a0b1c2/2")) >= {"pv_voltage", "pv_current", "pv_power", "total_production"}
            assert gateway.overview.via("roof") == f"node cellar/tcp://127.0.0.1:{dtu.port}"
            await until(lambda: gateway.overview.health()["devices"][MEMBER] == "ok", SECONDS)
            await until(lambda: gateway.overview.component(MEMBER) == "healthy", SECONDS)
            await until(lambda: former.health().status == 200, SECONDS)
            assert any(sample.name.startswith("hoymiles_queries") for metric in former.collect() for sample in metric.samples)

            dtu.mood.refuse_at = {6: 4}
            await until(lambda: "pv_power" not in said(listener), SECONDS)
            assert gateway.overview.component("roof") == "degraded"
            assert said(listener)["total_production"] > 0
            dtu.mood.refuse_at = {9: 2}
            await until(lambda: "pv_power" in said(listener), SECONDS)
            dtu.mood.refuse_at = {}
            assert dtu.most_at_once == 1

            port = dtu.port
            await dtu.stop()
            away = [f"ohm/home/device/{device}/online" for device in ("roof", MEMBER)]
            await until(lambda: all(listener.last(topic) == b"offline" for topic in away), SECONDS)
            assert gateway.overview.health()["devices"][MEMBER] == "offline"
            await until(lambda: former.health().status == 503, SECONDS)
            evening = gateway.overview.latest.values("roof")
        dtu.port, now[0] = port, moment("2026-06-21", 23.5, PRAGUE)
        await dtu.start()
        node.kill()  # it would wait longer and longer for the DTU
        await asyncio.to_thread(node.start)

        async with running(written) as gateway:
            await until(lambda: said(listener).get("pv_power") == 0.0, SECONDS)
            night = gateway.overview.latest.values("roof")
            for energy in ("today_production", "total_production"):
                assert night[energy].value == evening[energy].value
            assert gateway.overview.online(MEMBER)
            await until(lambda: gateway.latest.snapshots[MEMBER] > 1, SECONDS)
            assert not any(gateway.ingest.refused.values())
    assert dtu.writes == []


def test_a_dtu_on_a_node_s_line_whose_last_record_is_refused_and_one_of_which_is_lost_for_a_while(
    tmp_path: Path, broker: Broker, gateway: Listening, node: NodeProcess, goldens: Path
) -> None:
    """All records look alike on a line: the answer to one must never be taken for that to another."""
    image = read_image(goldens / "hoymiles" / "image_A3.json")
    there = {at: image.get(at, 0) for read in reads_of(8) for at in range(read.address, read.last + 1)}
    station = Station(RegisterImage(there), turnaround=0.002)
    with Line({1: station}, baud=115200) as line:
        file = tmp_path / "ohmstead.yaml"
        file.write_text(
            f"""
mqtt: {{url: "mqtt://{broker.host}:{broker.port}"}}
nodes: {{cellar: {{bus: {{port: {line.path}, baud: 115200}}}}}}
devices:
  roof: {{profile: hoymiles-dtu, via: cellar, every: 1 s, line: {{timeout: 200 ms}}, hoymiles: {{ports: 9}}}}
"""
        )
        written = config.load(file, {})
        node.configure(node_config(written, "cellar"))
        node.start()

        wait_for(lambda: [one for one in gateway.of("roof", "1s") if one.words == there], SECONDS, "a frame with all records")
        station.faults.on("no-answer@4216..4235")
        wait_for(
            lambda: [one for one in gateway.of("roof") if 4216 not in one.words and 4376 in one.words], SECONDS, "one without the fourth"
        )
        station.faults.off("no-answer")
        known = len(gateway.of("roof"))
        wait_for(lambda: [one for one in gateway.of("roof")[known:] if one.words == there], SECONDS, "all of them again")
        assert all(one.words.items() <= there.items() for one in gateway.of("roof"))
        assert {one.quality for one in gateway.of("roof")} == {1}
        assert gateway.heard("offline", "roof") == []
