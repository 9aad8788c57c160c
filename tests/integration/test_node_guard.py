"""The node as a battery's last line, on the real interpreter: with the gateway dead, the broker dead, over kill -9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paho.mqtt.publish as paho_publish
import pytest

from tests.conftest import Broker, wait_for
from tests.integration.node_harness import KEY, NODE, ROOT, SITE, Gateway, Inverter, NodeProcess, configuration, device, group, seal

SOC, TEMPERATURE, POWER, MODE = 100, 101, 200, 201
OFF = bytes(4)
DISCHARGE = (0x10000 - 2000).to_bytes(2, "big") + b"\0\1"
CHARGE: dict[str, Any] = {
    "name": "charge",
    "blocks": [[16, POWER, 2]],
    "fields": [[0, 1, 1, -3000, 3000, 1, None], [1, 1, 0, 0, 2, 1, None]],
    "safe": OFF,
    "reversion": OFF,
    "lease": 1,
    "budget": 20,
}
FLOOR = {
    "name": "soc floor",
    "device": "mtec",
    "group": "200ms",
    "below": 15,
    "clear": 18,
    "stale_ms": 3000,
    "controls": [["mtec", "charge"]],
}
HOT = {"name": "battery hot", "device": "mtec", "group": "200ms", "offset": 1, "above": 500, "clear": 450, "stale_ms": 60000, "trip": True}


@pytest.fixture
def inverter() -> Inverter:
    return Inverter({SOC: 50, TEMPERATURE: 250, POWER: 0, MODE: 0}, [POWER, MODE])


class House:
    """A running node on its line, and what is told to it."""

    def __init__(self, node: NodeProcess, gateway: Gateway, inverter: Inverter, broker: Broker, content: Callable[..., bytes]) -> None:
        self.node = node
        self.gateway = gateway
        self.inverter = inverter
        self.broker = broker
        self.content = content

    def say_stop(self, level: bytes) -> None:
        """Whoever it is, and whatever else is dead."""
        paho_publish.single(f"{ROOT}/stop", level, retain=True, hostname=self.broker.host, port=self.broker.port)

    def start(self, **more: Any) -> None:
        self.node.configure(self.content(**more))
        self.begin()

    def begin(self) -> None:
        lives = len(self.gateway.hellos)
        self.node.start()
        wait_for(lambda: len(self.gateway.hellos) > lives, what="the node's hello")
        boot = self.gateway.hellos[-1][2]
        wait_for(lambda: [frame for frame in self.gateway.of("mtec") if frame.boot == boot], what="telemetry")

    def command(
        self, words: bytes, control: str = "charge", name: str = "mtec", lease_ms: int = 600_000, key: bytes = KEY
    ) -> dict[str, Any]:
        """The result of a command."""
        identity, body = self.gateway.body(control, words, name=name, lease_ms=lease_ms)
        self.gateway.publish("down/command", seal(key, f"{SITE}/{NODE}/command".encode(), body))
        return self.gateway.result(identity)

    def reset(self) -> dict[str, Any]:
        return self.command(b"", "reset", "", 0)

    @property
    def power(self) -> int:
        return self.inverter.registers[POWER]

    def is_off(self) -> bool:
        return self.power == 0

    def discharge(self) -> None:
        assert self.command(DISCHARGE)["stage"] == "done"
        assert not self.is_off()


@pytest.fixture
def house(node: NodeProcess, gateway: Gateway, inverter: Inverter, bus: str, broker: Broker) -> House:
    polled = device("mtec", 252, group("200ms", 200, (3, SOC, 2)), timeout_ms=100, controls=[CHARGE])

    def content(**more: Any) -> bytes:
        return configuration(bus, [(broker.host, broker.port)], polled, **more)

    return House(node, gateway, inverter, broker, content)


def test_a_stop_works_without_any_gateway_and_outlives_kill_9(house: House) -> None:
    house.start()
    house.discharge()
    house.say_stop(b"1")
    wait_for(house.is_off, what="the safe value")
    for _ in range(2):
        house.node.kill()
        house.inverter.registers[POWER] = 500
        house.begin()
        wait_for(house.is_off, what="the safe value after the power cut")
        assert house.command(DISCHARGE)["reason"] == "latched"
    assert house.reset()["reason"] == "stop", "it still stands"
    house.say_stop(b"0")
    wait_for(lambda: [event for event in house.gateway.heard("stop") if event.detail["level"] == 0], what="the level")
    assert house.command(DISCHARGE)["reason"] == "latched", "the level alone releases nothing"
    assert house.reset()["stage"] == "done"
    house.discharge()


def test_a_reset_has_to_be_authentic(house: House) -> None:
    house.start()
    house.gateway.publish("stop", b"1")
    wait_for(lambda: house.gateway.heard("latch"), what="the latch")
    house.gateway.publish("stop", b"0")
    _identity, body = house.gateway.body("reset", b"", name="", lease_ms=0)
    house.gateway.publish("down/command", seal(b"x" * 32, f"{SITE}/{NODE}/command".encode(), body))
    wait_for(lambda: house.gateway.heard("rejected"), what="the rejection")
    assert house.command(DISCHARGE)["reason"] == "latched"
    assert not house.gateway.heard("reset")


def test_a_lease_ends_with_the_gateway(house: House) -> None:
    """Nobody renews it."""
    house.start()
    assert house.command(DISCHARGE, lease_ms=2000)["stage"] == "done"
    wait_for(house.is_off, what="the reversion")
    wait_for(
        lambda: [e for e in house.gateway.heard("control") if e.detail["stage"] == "reverted" and e.detail["reason"] == "lease"],
        what="word",
    )


def test_a_lease_ends_with_the_broker(house: House) -> None:
    house.start(link_loss_ms=1000)
    house.discharge()
    house.broker.stop()
    wait_for(house.is_off, what="the reversion")


def test_kill_9_leaves_nothing_forced(house: House) -> None:
    house.start()
    house.discharge()
    house.node.kill()
    assert not house.is_off()
    house.begin()
    wait_for(house.is_off, what="the reversion")


def test_the_floor_holds_and_says_so(house: House) -> None:
    house.start(limits=[FLOOR])
    house.discharge()
    house.inverter.registers[SOC] = 14
    wait_for(house.is_off, what="the safe value")
    assert house.command(DISCHARGE)["reason"] == "soc floor"
    house.inverter.registers[SOC] = 20
    wait_for(lambda: house.command(DISCHARGE)["stage"] == "done", what="release")
    house.inverter.faults.on("unplugged")
    wait_for(lambda: house.gateway.heard("offline"), what="the loss of the inverter")
    house.inverter.faults.clear()
    wait_for(house.is_off, what="the reversion when the inverter is back")


def test_a_trip_latches_on_the_bus_before_anybody_else_knows(house: House) -> None:
    house.start(limits=[HOT | {"controls": [["mtec", "charge"]]}])
    house.discharge()
    house.inverter.registers[TEMPERATURE] = 501
    wait_for(house.is_off, what="the safe value")
    wait_for(lambda: house.gateway.heard("trip"), what="the event")
    assert house.gateway.heard("trip")[0].detail == {"limit": "battery hot", "value": 501}
    assert house.reset()["reason"] == "battery hot"
    house.inverter.registers[TEMPERATURE] = 300
    wait_for(lambda: house.reset()["stage"] == "done", what="the reset")
    house.discharge()


def test_the_stop_pin_latches_with_no_network_at_all(house: House) -> None:
    house.start(stop_pin={"pin": 4, "active": 1})
    house.discharge()
    house.broker.stop()
    (house.node.state / "pin").write_text("1")
    wait_for(house.is_off, what="the safe value")
    wait_for(lambda: b"pin" in (house.node.state / "control.state").read_bytes(), what="the latch on flash")


def test_a_node_that_only_reads_writes_nothing(node: NodeProcess, gateway: Gateway, inverter: Inverter, bus: str, broker: Broker) -> None:
    polled = device("mtec", 252, group("200ms", 200, (3, SOC, 2)), controls=[CHARGE]) | {"read_only": True}
    node.configure(configuration(bus, [(broker.host, broker.port)], polled))
    house = House(node, gateway, inverter, broker, lambda: b"")
    house.begin()
    assert house.command(DISCHARGE)["reason"] == "read-only"
    gateway.publish("stop", b"1")
    wait_for(lambda: gateway.heard("stop"), what="the stop's event")
    assert inverter.registers.writes == []
    assert not (node.state / "control.state").exists()
