"""The gateway of a whole house: every source at the pace that homes have, its memory and its share of a core.

An M-TEC each second, two DTUs each minute, a heat pump each 30 s, a Shelly each 10 s, three meters each 5 s, clouds each half hour.
"""

from __future__ import annotations

import json
import logging
import time

import structlog

from ohmstead.sim.neighbours import Neighbours
from tests.bench.figures import Figure
from tests.bench.gateway import EACH_SECOND
from tests.bench.rig import OHMSTEAD, cpu_seconds, get, inverter, started, workplace
from tests.conftest import free_port, wait_for

PERIODS = {
    "roof": 60.0,
    "shed": 60.0,
    "heatpump": 30.0,
    "heating": 10.0,
    "mains": 5.0,
    "wallbox": 5.0,
    "workshop": 5.0,
    "boiler": 1800.0,
    "weather": 1800.0,
    "annex": 5.0,
}
NOT_ASKED = ("annex",)
"""What the budget's house does not have."""

CONFIGURATION = """
site: bench
mqtt: {{url: "mqtt://127.0.0.1:{mqtt}"}}
store: {{path: "{folder}/house.db"}}
web: {{port: {web}}}
log: {{level: warning}}
devices:
  mtec: {{profile: mtec-energybutler, via: "tcp://127.0.0.1:{modbus}", unit: 247, contract: json, every: {every}}}
{devices}
"""


def measure(quick: bool) -> list[Figure]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))  # what leaves is no news to a simulator
    seconds = 20.0 if quick else 180.0
    web = free_port()
    neighbours = Neighbours("2026-06-21", 11.0)
    neighbours.known = {name: one._replace(every_s=PERIODS[name]) for name, one in neighbours.known.items() if name not in NOT_ASKED}
    with workplace() as (folder, broker), inverter(folder, "--unit", "247") as modbus, neighbours:
        file = folder / "house.yaml"
        devices = "\n".join(neighbours.configuration())
        file.write_text(CONFIGURATION.format(mqtt=broker.port, folder=folder, web=web, modbus=modbus, every=EACH_SECOND, devices=devices))
        with started(OHMSTEAD, "run", "-c", file, folder=folder) as process:
            wait_for(lambda: all_answer(web, len(neighbours.known) + 1), 60, "every device")
            cpu = cpu_seconds(process)
            time.sleep(seconds)  # the length of the measurement, not a wait for a state
            share = (cpu_seconds(process) - cpu) / seconds
            get(f"http://127.0.0.1:{web}/api/now")
            memory = process.memory_info().rss / 1e6
    return [
        Figure(f"a house of {len(neighbours.known) + 1} sources: resident memory", memory, "MB", 150),
        Figure("its share of one core", 100 * share, "%", 5),
    ]


def all_answer(web: int, devices: int) -> bool:
    status, text = get(f"http://127.0.0.1:{web}/api/now")
    if status != 200:
        return False
    states = [device["state"] for device in json.loads(text)["devices"] if device["parent"] is None]
    return len(states) == devices and set(states) == {"ok"}
