"""From a register's change to its MQTT value: 99 of 100 within the poll period and 50 ms.

A simulated inverter on Modbus TCP changes one register at random moments; the gateway polls each second; a listener notes when the
new value is on its topic. The longest wait that physics allows is one period: the change came just after the read.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.profiles import library
from ohmstead.sim import mtec
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.station import Station
from ohmstead.sim.tcp import TcpServer
from tests.bench.figures import Figure
from tests.bench.gateway import CONFIGURATION
from tests.bench.rig import OHMSTEAD, started, workplace
from tests.conftest import free_port, wait_for

PERIOD = 1.0
GRID_POWER_LOW_WORD = 11001


def image() -> RegisterImage:
    """An inverter whose registers are all zero but for a serial number."""
    profile = library.load("mtec-energybutler")
    words = {address: 0 for first, last in profile.line.readable for address in range(first, last + 1)}
    for offset, pair in enumerate((b"BE", b"NC", b"H ", b"  ", b"  ", b"  ", b"  ", b"  ")):
        words[10000 + offset] = int.from_bytes(pair, "big")
    return RegisterImage(words)


class Server:
    """The device in a thread with a loop of its own, so that the measurement's thread may wait."""

    def __init__(self, registers: RegisterImage) -> None:
        self._tcp = TcpServer({mtec.UNIT_TCP: Station(registers)})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._tcp.start(), self._loop).result(5)
        return self._tcp.port

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._tcp.stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


def waits(folder: Path, mqtt: int, changes: int, seed: int = 1) -> list[float]:
    """Seconds from the change of a register to its value's message, for each of `changes` changes."""
    registers = image()
    heard: dict[int, float] = {}
    moment = random.Random(seed)

    def take(_client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        heard.setdefault(json.loads(message.payload)["grid_power"], time.monotonic())

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = take
    client.on_connect = lambda client, *_: client.subscribe("MTEC/+/now-base")
    client.connect("127.0.0.1", mqtt)
    client.loop_start()
    results = []
    with Server(registers) as modbus:
        file = folder / "latency.yaml"
        file.write_text(
            CONFIGURATION.format(mqtt=mqtt, modbus=modbus, folder=folder, web=free_port(), contract="json", unit=mtec.UNIT_TCP, every="1 s")
        )
        with started(OHMSTEAD, "run", "-c", file, folder=folder):
            wait_for(lambda: 0 in heard, 30, "the first value")
            for value in range(1, changes + 1):
                time.sleep(moment.uniform(0.0, PERIOD))  # the change comes at any moment of the period
                changed = time.monotonic()
                registers[GRID_POWER_LOW_WORD] = value
                wait_for(lambda value=value: value in heard, 10, f"the value {value}")  # type: ignore[misc]
                results.append(heard[value] - changed)
    client.disconnect()
    client.loop_stop()
    return results


def measure(quick: bool) -> list[Figure]:
    with workplace() as (folder, broker):
        results = sorted(waits(folder, broker.port, 20 if quick else 200))
    p99 = results[max(0, round(len(results) * 0.99) - 1)]
    return [
        Figure(
            "register change to MQTT value, median",
            1000 * statistics.median(results),
            "ms",
            note=f"{len(results)} changes, polled each second",
        ),
        Figure("register change to MQTT value, p99", 1000 * p99, "ms", 1000 * PERIOD + 50),
    ]
