"""A gateway in the test's own process with two DTUs and a real broker: topics, commands, one connection, and what a restart knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from ohmstead import config
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment
from ohmstead.sim.listener import Listener
from tests.conftest import Broker
from tests.hoymiles_rig import PRAGUE, running, until

ROOF = Roof()
EXCLUDED = "112174000007"
SHED = Roof(inverters=(("116199999999", (400, 400)),), serial="10f8ffffffff")


def home(folder: Path, broker: Broker, roof: Dtu, shed: Dtu) -> config.Config:
    file = folder / "ohmstead.yaml"
    file.write_text(
        f"""
mqtt: {{url: "mqtt://{broker.host}:{broker.port}"}}
store: {{path: ohm.db}}
web: {{enabled: false}}
devices:
  roof:
    profile: hoymiles-dtu
    via: tcp://127.0.0.1:{roof.port}
    every: 200 ms
    control: {{power_limit: {{}}}}
    exclude: [{EXCLUDED}]
  shed: {{profile: hoymiles-dtu, via: "tcp://127.0.0.1:{shed.port}", every: 200 ms}}
"""
    )
    return config.load(file, {})


def said(listener: Listener, serial: str, since: float = 0.0) -> dict[str, Any]:
    """The newest object of a DTU."""
    payload = listener.last(f"homeassistant/hoymiles_mqtt/{serial}/state", since)
    found: dict[str, Any] = json.loads(payload) if payload else {}
    return found


def outcomes(listener: Listener, device: str) -> list[str]:
    """What became of each command to its limit."""
    return [json.loads(one.payload)["outcome"] for one in listener.all(f"ohm/home/device/{device}/control/power_limit/result")]


async def test_two_dtus_from_discovery_to_a_command_and_over_a_restart_at_night(tmp_path: Path, broker: Broker) -> None:
    now = [moment("2026-06-21", 14.0, PRAGUE)]
    async with Dtu(Plant(ROOF, now[0]), clock=lambda: now[0]) as roof, Dtu(Plant(SHED, now[0]), clock=lambda: now[0]) as shed:
        with Listener(broker.host, broker.port) as listener:
            async with running(home(tmp_path, broker, roof, shed)):
                await until(lambda: said(listener, ROOF.serial).get("total_production") and said(listener, SHED.serial))
                await until(lambda: listener.last(f"homeassistant/sensor/{ROOF.serial}/DTU_pv_power/config"))
                await until(lambda: listener.last("ohm/home/device/roof-114182a0b1c2/online") == b"online")
                day = {serial: said(listener, serial) for serial in (ROOF.serial, SHED.serial)}
                ours = [one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == broker.port]
                assert len(ours) == 2  # the gateway's, and the listener's
                assert (roof.most_at_once, shed.most_at_once) == (1, 1)

                listener.publish("ohm/home/device/roof/power_limit/set", "30")
                await until(lambda: roof.writes == [(0xC001, 30)])
                await until(lambda: listener.last("ohm/home/device/roof/power_limit") == b"30")
                listener.publish("ohm/home/device/roof/power_limit/set", "101")
                listener.publish("ohm/home/device/shed/power_limit/set", "30")
                await until(lambda: outcomes(listener, "roof") == ["done", "rejected"] and outcomes(listener, "shed") == ["rejected"])

            assert said(listener, ROOF.serial) == {}  # nobody speaks for it any more
            now[0] = moment("2026-06-21", 23.5, PRAGUE)
            async with running(home(tmp_path, broker, roof, shed)):
                await until(
                    lambda: said(listener, ROOF.serial).get("pv_power") == 0.0 and said(listener, SHED.serial).get("pv_power") == 0.0
                )
                night = {serial: said(listener, serial) for serial in (ROOF.serial, SHED.serial)}

    for serial, before in day.items():
        for energy in ("today_production", "total_production"):
            assert night[serial][energy] == before[energy] > 0
    assert (shed.writes, len(roof.writes)) == ([], 1)
    assert not any(one.payload for one in listener.all(f"homeassistant/+/{EXCLUDED}/+/config"))
