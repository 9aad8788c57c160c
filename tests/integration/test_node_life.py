"""Commands, configuration, and what keeps a node alive."""

from __future__ import annotations

import pytest

from tests.conftest import Broker, wait_for
from tests.integration.node_harness import Gateway, Inverter, NodeProcess, configuration, control, device, group

CONTROLS = (
    control("limit", 25103, 1000),
    control("block", 25110, 0x7FFFFFFF, function=16, words=2),
    control("missing", 900, 10),
)
POLLED = device("mtec", 252, group("300ms", 300, (3, 100, 10), (3, 25103, 1)), controls=CONTROLS)


@pytest.fixture
def inverter() -> Inverter:
    return Inverter({address: address for address in range(100, 140)} | dict.fromkeys(range(25100, 25120), 0), [25103, 25110, 25111])


@pytest.fixture
def running(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str) -> NodeProcess:
    node.configure(configuration(bus, [(broker.host, broker.port)], POLLED))
    node.start()
    wait_for(lambda: gateway.of("mtec"), what="a frame")
    return node


@pytest.mark.usefixtures("running")
def test_a_command_is_written_and_read_back(gateway: Gateway, inverter: Inverter) -> None:
    result = gateway.result(gateway.command("limit", 550))
    assert (result["stage"], result["reason"], result["value"]) == ("done", "", 550)
    assert [(write.function, write.address, write.words) for write in inverter.registers.writes] == [(6, 25103, (550,))]
    wait_for(lambda: gateway.of("mtec")[-1].words.get(25103) == 550, what="the new value among the readings")


@pytest.mark.usefixtures("running")
def test_what_may_not_be_written_is_not(gateway: Gateway, inverter: Inverter) -> None:
    assert gateway.result(gateway.command("limit", 1001))["reason"] == "out of range"
    assert gateway.result(gateway.command("nothing", 1))["reason"] == "unknown control"
    refused = gateway.result(gateway.command("missing", 1))
    assert (refused["stage"], refused["reason"]) == ("failed", "illegal data address")
    gateway.command("limit", 100, key=b"x" * 32)
    wait_for(lambda: gateway.heard("rejected"), what="the rejection of a forgery")
    assert gateway.heard("rejected")[0].detail["reason"] == "unauthorised"
    gateway.command("limit", 100, node="attic")
    gateway.result(gateway.command("limit", 200, counter=10))
    assert gateway.heard("result")[-1].detail["reason"] == "replayed"
    assert inverter.registers.writes == []


def test_a_replay_is_refused_after_a_restart_as_well(running: NodeProcess, gateway: Gateway, inverter: Inverter) -> None:
    gateway.result(gateway.command("limit", 300, counter=2_000_000_000))
    running.kill()
    running.start()
    wait_for(lambda: len(gateway.hellos) == 2, what="the second life")
    assert gateway.result(gateway.command("limit", 400, counter=2_000_000_000))["reason"] == "replayed"
    assert gateway.result(gateway.command("limit", 400, counter=2_000_000_001))["stage"] == "done"
    assert [write.words for write in inverter.registers.writes] == [(300,), (400,)]


@pytest.mark.usefixtures("running")
def test_a_command_that_waits_for_a_dead_device_fails_in_words(gateway: Gateway, inverter: Inverter) -> None:
    inverter.faults.on("unplugged")
    result = gateway.result(gateway.command("limit", 300))
    assert (result["stage"], result["reason"]) == ("failed", "no answer")


def test_without_a_key_a_node_takes_no_commands(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str, inverter: Inverter) -> None:
    node.configure(configuration(bus, [(broker.host, broker.port)], POLLED, key=None))
    node.start()
    wait_for(lambda: gateway.of("mtec"), what="a frame")
    assert "commands" not in gateway.hellos[0][7]
    gateway.command("limit", 100)
    wait_for(lambda: gateway.heard("rejected"), what="the rejection")
    assert inverter.registers.writes == []


def test_a_configuration_that_works_is_kept_and_replaces_a_damaged_one(
    broker: Broker, gateway: Gateway, node: NodeProcess, bus: str
) -> None:
    content = configuration(bus, [(broker.host, broker.port)], POLLED)
    node.environment = {"OHM_NODE_GOOD_AFTER_MS": "500"}
    node.configure(content)
    node.start()
    wait_for((node.state / "config.good").exists, what="the last good copy")
    assert (node.state / "config.good").read_bytes() == content
    node.kill()
    node.configure(content[:-5])
    node.start()
    wait_for(lambda: len(gateway.hellos) == 2, what="a node that runs on the copy")
    wait_for(lambda: [event for event in gateway.heard("restart") if "complaint" in event.detail], what="its complaint")


def test_without_any_configuration_it_says_so_and_gives_up(node: NodeProcess) -> None:
    node.configure(b"OHM1" + bytes(100))
    node.start()
    assert node.wait() == 78
    assert node.said("config.ohm is damaged")
    assert node.said("config.good is not there")
