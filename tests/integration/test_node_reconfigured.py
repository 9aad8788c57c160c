"""A new configuration reaches a running node: applied between two polls, in the same life, and taken back when it does not work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ohmstead.config.model import Config
from ohmstead.nodes.direct import Direct
from ohmstead.nodes.transfer import Transfer, TransferError
from tests.conftest import Broker, free_port, wait_for
from tests.integration.node_harness import NODE, Gateway, Inverter, NodeProcess, configuration, control, device, group
from tests.integration.node_slots import changed, home

FIRST = device("mtec", 252, group("300ms", 300, (3, 100, 10)))
SECOND = device("mtec", 252, group("200ms", 200, (3, 105, 12)))
LEASED = control("charge", 25103, 1000, safe=b"\0\0", reversion=b"\0\x07", lease=1)


@pytest.fixture
def inverter() -> Inverter:
    return Inverter({address: address for address in range(100, 120)} | {25103: 7}, [25103])


@pytest.fixture
def house(broker: Broker, tmp_path: Path) -> Config:
    return home(tmp_path, broker.port)


@pytest.fixture
def node(micropython: list[str], tmp_path: Path) -> Iterator[NodeProcess]:
    state = tmp_path / "state"
    state.mkdir()
    process = NodeProcess(
        micropython,
        state,
        environment={"OHM_NODE_GOOD_AFTER_MS": "500", "OHM_NODE_TRIAL_MS": "4000", "OHM_NODE_LINGER_MS": "100"},
    )
    yield process
    process.kill()


class Site:
    """The broker's address, the bus, and configurations of them."""

    def __init__(self, broker: Broker, bus: str) -> None:
        self._server = broker.host, broker.port
        self._bus = bus

    def configured(self, *devices: dict[str, Any], server: tuple[str, int] | None = None) -> bytes:
        return configuration(self._bus, [server or self._server], *devices)


@pytest.fixture
def site(broker: Broker, bus: str) -> Site:
    return Site(broker, bus)


@pytest.fixture
def running(node: NodeProcess, gateway: Gateway, site: Site) -> NodeProcess:
    node.configure(site.configured(FIRST))
    node.start()
    wait_for(lambda: gateway.of("mtec", "300ms"), what="a frame")
    wait_for((node.state / "config.good").exists, what="the last good copy")
    return node


def send(house: Config, content: bytes) -> None:
    with Direct(house, f"{NODE}/up/event") as direct:
        Transfer(direct, house, NODE, "config", content).send()


def stages(gateway: Gateway) -> list[str]:
    return [str(event.detail["stage"]) for event in gateway.heard("configuration")]


def test_a_new_configuration_is_applied_without_a_restart(running: NodeProcess, gateway: Gateway, house: Config, site: Site) -> None:
    process = running.process
    content = site.configured(SECOND)
    send(house, content)
    wait_for(lambda: gateway.of("mtec", "200ms"), what="what the new one polls")
    wait_for(lambda: stages(gateway) == ["trying", "kept"], what="its proof")
    assert running.process is process
    assert process is not None
    assert process.poll() is None
    assert len({frame.boot for frame in gateway.frames}) == 1
    assert not gateway.missing(gateway.frames[0].boot)
    assert len(gateway.heard("restart")) == 1
    assert gateway.hellos[-1][4] == content[4:12]
    assert (running.state / "config.ohm").read_bytes() == content
    wait_for(lambda: (running.state / "config.good").read_bytes() == content, what="the last good copy")
    assert not (running.state / "config.next").exists()


def test_one_after_the_other_stays_within_the_memory(running: NodeProcess, gateway: Gateway, house: Config, site: Site) -> None:
    for number in range(6):
        send(house, site.configured(device("mtec", 252, group(f"{number}", 150, (3, 100 + number, 10)))))
        wait_for(lambda number=number: gateway.of("mtec", str(number)), what=f"the polls of configuration {number}")  # type: ignore[misc] # mypy knows no defaults in lambdas
    assert not gateway.heard("fault"), running.log
    assert len({frame.boot for frame in gateway.frames}) == 1


def test_one_that_finds_no_broker_is_taken_back(running: NodeProcess, gateway: Gateway, house: Config, site: Site) -> None:
    before = (running.state / "config.ohm").read_bytes()
    send(house, site.configured(SECOND, server=("127.0.0.1", free_port())))
    wait_for(lambda: stages(gateway) == ["trying", "reverted"], 20, f"the way back; {running.log}")
    assert gateway.hellos[-1][4] == before[4:12]
    assert (running.state / "config.ohm").read_bytes() == before
    assert not (running.state / "config.next").exists()
    count = len(gateway.of("mtec", "300ms"))
    wait_for(lambda: len(gateway.of("mtec", "300ms")) > count, what="the old polls")
    assert len({frame.boot for frame in gateway.frames}) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"buses": "none"}, "buses"),
        ({"mqtt": {"servers": None}}, "mqtt.servers is no list"),
        ({"bus_report_ms": "often"}, "bus_report_ms"),
        ({"protocol": 2}, "another protocol"),
        ({"buses": [{"name": "x", "devices": [{**FIRST, "unit": None}]}]}, "unit is missing"),
    ],
)
def test_a_bad_one_is_refused_and_nothing_changes(
    running: NodeProcess, gateway: Gateway, house: Config, site: Site, changes: dict[str, Any], reason: str
) -> None:
    before = (running.state / "config.ohm").read_bytes()
    with pytest.raises(TransferError, match=reason):
        send(house, changed(site.configured(SECOND), **changes))
    count = len(gateway.of("mtec", "300ms"))
    wait_for(lambda: len(gateway.of("mtec", "300ms")) > count + 2, what="polls that go on")
    assert (running.state / "config.ohm").read_bytes() == before
    assert not [file for file in running.state.iterdir() if file.name.endswith((".part", ".offer", ".next"))]
    assert len(gateway.hellos) == 1
    assert stages(gateway) == []


def test_a_damaged_one_is_refused(running: NodeProcess, house: Config, site: Site) -> None:
    content = bytearray(site.configured(SECOND))
    content[60] ^= 1
    with pytest.raises(TransferError, match="checksum"):
        send(house, bytes(content))
    with pytest.raises(TransferError, match="too large"):
        send(house, bytes(9000))
    assert running.process is not None
    assert running.process.poll() is None


def test_one_that_makes_no_node_gives_way_to_the_old_one(running: NodeProcess, gateway: Gateway, house: Config, site: Site) -> None:
    before = (running.state / "config.ohm").read_bytes()
    rule = {"name": "soc", "device": "nobody", "group": "300ms", "read": 0, "offset": 0, "kind": "u16", "words": 1, "order": "big"}
    limits = [rule | {"below": 5, "clear": 7, "controls": [["mtec", "charge"]]}]
    content = site.configured(device("mtec", 252, group("200ms", 200, (3, 105, 12)), controls=(LEASED,)))
    send(house, changed(content, limits=limits))
    wait_for(lambda: stages(gateway) == ["refused"], what="the refusal")
    assert "no node" in gateway.heard("configuration")[0].detail["reason"]
    count = len(gateway.of("mtec", "300ms"))
    wait_for(lambda: len(gateway.of("mtec", "300ms")) > count, what="the old polls")
    assert (running.state / "config.ohm").read_bytes() == before


def test_power_that_goes_while_it_is_tried_brings_the_old_one_back(
    running: NodeProcess, gateway: Gateway, house: Config, site: Site
) -> None:
    before = (running.state / "config.ohm").read_bytes()
    send(house, site.configured(SECOND, server=("127.0.0.1", free_port())))
    wait_for(lambda: running.said("new configuration: trying"), what="the trial")
    running.kill()
    running.start()
    wait_for(lambda: stages(gateway)[-1:] == ["lapsed"], what="its word")
    assert gateway.hellos[-1][4] == before[4:12]
    assert (running.state / "config.ohm").read_bytes() == before


def test_leases_end_before_the_old_one_goes(node: NodeProcess, gateway: Gateway, house: Config, site: Site, inverter: Inverter) -> None:
    node.configure(site.configured(device("mtec", 252, group("300ms", 300, (3, 100, 10)), controls=(LEASED,))))
    node.start()
    wait_for(lambda: gateway.of("mtec"), what="a frame")
    assert gateway.result(gateway.command("charge", 500, lease_ms=600_000))["stage"] == "done"
    send(house, site.configured(SECOND))
    wait_for(lambda: gateway.of("mtec", "200ms"), what="what the new one polls")
    assert [write.words for write in inverter.registers.writes] == [(500,), (7,)]
