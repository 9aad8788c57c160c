"""A Miniserver at a real broker, and by UDP over the loopback: what it says is decided, what it hears is there after any restart."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.config.loxone import Loxone as Section
from ohmstead.config.model import Config
from ohmstead.loxone import Loxone
from ohmstead.mqtt import BrokerAddress, MqttClient
from ohmstead.publish.loxone_status import plain
from ohmstead.readings import Snapshot
from ohmstead.sim.listener import Listener
from ohmstead.tasks import end
from tests.conftest import Broker
from tests.unit.loxone_home import Desk, home, wishes

DEADLINE_S = 30.0
STATUS = "loxone/growatt/status"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return home(tmp_path_factory.mktemp("home"))


def said_as(**keys: object) -> Section:
    """The section as an owner writes it."""
    return Section.model_validate(keys)


class Gateway:
    """As much of a gateway as a Miniserver has to do with: `desk` decides, `stored` is what went into the store."""

    def __init__(self, config: Config, client: MqttClient, section: Section) -> None:
        self.client = client
        self.desk = Desk(config)
        self.desk.read()
        self.desk.wrote.clear()
        self.stored: list[Snapshot] = []
        self.loxone = Loxone(section, ZoneInfo("Europe/Prague"), client, self.desk, self.stored.append)

    async def ticks(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for outlet in self.loxone.outlets:
                outlet.tick(loop.time())
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running(config: Config, broker: Broker, section: Section | None = None) -> AsyncIterator[Gateway]:
    client = MqttClient(BrokerAddress(broker.host, broker.port, client_id="gateway"), "ohm/home/bridge/online")
    gateway = Gateway(config, client, section or said_as(heartbeat="2 s"))
    for outlet in gateway.loxone.outlets:
        outlet.start()
    await gateway.loxone.start()
    tasks = [asyncio.create_task(client.run()), asyncio.create_task(gateway.ticks())]
    try:
        await until(lambda: client.connected, "the connection")
        yield gateway
    finally:
        await gateway.loxone.close()
        for outlet in gateway.loxone.outlets:
            outlet.close()
        await client.close()
        await end(tasks)


@pytest.fixture
def miniserver(broker: Broker) -> Iterator[Listener]:
    with Listener(broker.host, broker.port) as listener:
        yield listener


async def until(condition: Callable[[], object], what: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_S
    while not condition():
        if loop.time() > deadline:
            pytest.fail(f"{what} did not come within {DEADLINE_S:g} s")
        await asyncio.sleep(0.01)


def said(miniserver: Listener, key: str) -> bytes | None:
    return miniserver.last(f"{STATUS}/{key}")


async def test_a_miniserver_commands_a_charge_and_hears_of_it(config: Config, broker: Broker, miniserver: Listener) -> None:
    async with running(config, broker) as gateway:
        await until(lambda: said(miniserver, "mode") == b"auto", "the status")
        miniserver.publish("loxone/growatt/charge/power", "2,0")
        miniserver.publish("loxone/growatt/charge/enable", "ON")
        await until(lambda: said(miniserver, "charge") == b"2", "the charge")
        assert gateway.desk.wrote == [("charge", 40)]
        text = miniserver.last(STATUS)
        assert text is not None
        assert b";charge=2;charge_on=1;" in text
        assert json.loads(said(miniserver, "json") or b"{}")["charge_author"] == "loxone"

        miniserver.publish("loxone/growatt/charge/power", "nan")
        await until(lambda: said(miniserver, "rejection") == b"malformed", "the rejection")
        assert miniserver.all("loxone/rejected")
        miniserver.publish("loxone/growatt/charge/enable", "0")
        await until(lambda: gateway.desk.wrote[-1] == ("charge", 0), "the end of the charge")


async def test_leftovers_at_the_broker_command_nothing_but_a_stop_stays_one(config: Config, broker: Broker, miniserver: Listener) -> None:
    await until(lambda: miniserver.connected, "the Miniserver's connection")
    for topic, text in (("charge/enable", "1"), ("mode", "manual"), ("reset", "1"), ("stop", "1")):
        miniserver.publish(f"loxone/growatt/{topic}", text, retain=True)
    await until(lambda: len(miniserver.all("loxone/growatt/#")) >= 4, "the leftovers")
    async with running(config, broker) as gateway:
        await until(lambda: said(miniserver, "mode") == b"stopped", "the stop")
        await until(lambda: gateway.loxone.commands.retained == 3, "the leftovers")
        assert wishes(gateway.desk.told) == []
        assert [event[0] for event in gateway.desk.told] == ["stop"]


async def test_after_the_broker_s_death_everything_is_said_again_and_commands_come_through(
    config: Config, broker: Broker, miniserver: Listener
) -> None:
    async with running(config, broker, said_as(heartbeat="1 h")) as gateway:
        await until(lambda: said(miniserver, "json") is not None, "the status")
        topics = {STATUS, f"{STATUS}/json"} | {
            f"{STATUS}/{key}" for key, value in gateway.loxone.status.fields("growatt").items() if plain(value)
        }
        broker.kill()
        await until(lambda: not gateway.client.connected and not miniserver.connected, "the end of the connection")
        since = time.monotonic()
        broker.start()
        await until(lambda: gateway.client.connected and miniserver.connected, "the connection")
        await until(lambda: {heard.topic for heard in miniserver.all(f"{STATUS}/#", since)} >= topics, "the status again")
        miniserver.publish("loxone/growatt/discharge/enable", "true")
        await until(lambda: ("discharge", 100) in gateway.desk.wrote, "the discharge")


async def test_a_flood_is_thinned_out_and_a_stop_in_it_is_obeyed(config: Config, broker: Broker, miniserver: Listener) -> None:
    """As much as comes in ten seconds of 1,000 messages a second, as fast as it goes."""
    flood = paho.Client(CallbackAPIVersion.VERSION2, client_id="flood")
    flood.max_inflight_messages_set(10_000)
    flood.connect(broker.host, broker.port)
    flood.loop_start()
    async with running(config, broker) as gateway:
        await until(lambda: said(miniserver, "mode") == b"auto", "the status")
        for number in range(10_000):
            flood.publish("loxone/growatt/charge/power", f"{number % 30 / 10:.1f}")
            if number % 500 == 0:
                await asyncio.sleep(0.01)
        flood.publish("loxone/growatt/stop", "1", qos=1)
        flood.publish("loxone/growatt/stop", "0", qos=1)
        await until(lambda: gateway.desk.mode("growatt") == "stopped", "the stop")
        assert gateway.loxone.commands.received > 1_000
        assert len(gateway.desk.told) < 200
        assert gateway.client.connections == 1
    flood.disconnect()
    flood.loop_stop()


async def test_readings_come_in_and_topics_go_out_by_udp(config: Config, broker: Broker, miniserver: Listener) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as at_the_miniserver:
        at_the_miniserver.bind(("127.0.0.1", 0))
        at_the_miniserver.setblocking(False)
        out = {"host": "127.0.0.1", "port": at_the_miniserver.getsockname()[1], "topics": ["loxone/growatt/status/json", "teplomer/TC"]}
        section = said_as(heartbeat="2 s", udp_in={"host": "127.0.0.1", "port": _free_udp_port()}, udp_out=out)
        async with running(config, broker, section) as gateway:
            assert section.udp_in is not None
            to = ("127.0.0.1", section.udp_in.port)
            at_the_miniserver.sendto(b"2024-01-15 10:30:00;temperature;21.5;attic;sensor", to)
            at_the_miniserver.sendto(b"nonsense", to)
            await until(lambda: gateway.stored and gateway.loxone.figures()["udp_malformed"], "the readings")
            assert gateway.stored[0].values == {"temperature;room=attic": 21.5}
            await until(lambda: miniserver.last("loxone/status"), "the readings on MQTT")

            loop = asyncio.get_running_loop()
            miniserver.publish("teplomer/TC", "23.5")
            heard: list[bytes] = []
            async with asyncio.timeout(DEADLINE_S):
                while b"teplomer/TC=23.5" not in heard or not any(one.startswith(b"heartbeat=") for one in heard):
                    heard.append(await loop.sock_recv(at_the_miniserver, 2000))


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_udp_port_that_another_has_is_said_to_be_taken(config: Config, broker: Broker, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        section = said_as(udp_in={"host": "127.0.0.1", "port": other.getsockname()[1]})
        client = MqttClient(BrokerAddress(broker.host, broker.port), "x")
        with pytest.raises(OSError, match="in use"):
            await Gateway(config, client, section).loxone.start()
