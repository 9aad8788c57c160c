"""Several buses on one node: devices of different formats on a line, Modbus TCP beside it, the scan, and what the node says of itself."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import termios
from contextlib import ExitStack
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it comes without types

from ohmstead.sim.station import Answer, Station
from ohmstead.sim.tcp import TcpServer
from tests.conftest import Broker, free_port, wait_for
from tests.integration.node_harness import (
    KEY,
    NODE,
    SITE,
    Gateway,
    Inverter,
    NodeProcess,
    configuration,
    device,
    group,
    line_of,
    seal,
)

HOLDING = {address: 3 * address % 65536 for address in range(100, 160)}
READS = ((3, 100, 10), (3, 120, 20))
EXPECTED = {address: HOLDING[address] for _, first, count in READS for address in range(first, first + count)}


def with_buses(broker: Broker, *buses: dict[str, Any]) -> bytes:
    """A configuration file with these buses."""
    content = msgpack.unpackb(configuration("", [(broker.host, broker.port)])[36:])
    content["buses"] = list(buses)
    body: bytes = msgpack.packb(content)
    return b"OHM1" + hashlib.sha256(body).digest() + body


def serial(path: str, *devices: dict[str, Any], name: str = "rs485-1", **more: Any) -> dict[str, Any]:
    form = {"baud": 115200, "parity": "N", "stop": 1}
    return {"name": name, "port": path, "pins": None, "devices": list(devices)} | form | more


def network(port: int, *devices: dict[str, Any], name: str = "net", host: str = "127.0.0.1") -> dict[str, Any]:
    return {"name": name, "kind": "tcp", "host": host, "port": port, "devices": list(devices)}


def command(gateway: Gateway, control: str, words: bytes) -> int:
    """A command to the node itself."""
    identity, body = gateway.body(control, words, name="")
    gateway.publish("down/command", seal(KEY, f"{SITE}/{NODE}/command".encode(), body))
    return identity


class Choosy(Station):
    """Answers only while the line is set to its own baud rate and stop bits."""

    path = ""
    form = (0, 0)
    deaf = 0

    def answer(self, unit: int, request: bytes) -> Answer | None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        try:
            attributes = termios.tcgetattr(descriptor)
        finally:
            os.close(descriptor)
        if (attributes[4], attributes[2] & termios.CSTOPB) != self.form:
            self.deaf += 1
            return None
        return super().answer(unit, request)


def test_devices_of_different_formats_share_a_line(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    inverters = {1: Inverter(HOLDING), 2: Inverter(HOLDING), 3: Inverter(HOLDING)}
    forms = {1: (termios.B9600, 0), 2: (termios.B19200, termios.CSTOPB), 3: (termios.B38400, 0)}
    choosy = {}
    for unit, inverter in inverters.items():
        choosy[unit] = inverter.station = Choosy(inverter.registers, turnaround=0.002)
    with line_of(inverters) as line:
        for unit, station in choosy.items():
            station.path, station.form = line.path, forms[unit]
        node.configure(
            with_buses(
                broker,
                serial(
                    line.path,
                    device("inverter", 1, group("250ms", 250, *READS)),
                    device("meter", 2, group("250ms", 250, *READS)) | {"baud": 19200, "stop": 2},
                    device("battery", 3, group("250ms", 250, *READS)) | {"baud": 38400},
                    baud=9600,
                ),
            )
        )
        node.start()
        for name in ("inverter", "meter", "battery"):
            wait_for(lambda name=name: len(gateway.of(name)) >= 8, what=f"frames of {name}")
            assert all(frame.words == EXPECTED and not frame.quality for frame in gateway.of(name))
            assert gateway.fresh_counters(name)["no_answer"] == 0
        assert [station.deaf for station in choosy.values()] == [0, 0, 0]


def test_a_tcp_bus_and_two_lines_go_on_side_by_side(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    first, second, third = Inverter(HOLDING), Inverter(HOLDING), Inverter(HOLDING)
    with ExitStack() as stack:
        lines = [stack.enter_context(line_of({unit: inverter})) for unit, inverter in ((1, first), (2, second))]
        server = stack.enter_context(TcpServer({255: third.station}).in_thread())
        node.configure(
            with_buses(
                broker,
                serial(lines[0].path, device("a", 1, group("200ms", 200, *READS))),
                serial(lines[1].path, device("b", 2, group("200ms", 200, *READS)), name="rs485-2"),
                network(server.port, device("c", 255, group("200ms", 200, *READS)), host="localhost"),
            )
        )
        node.start()
        for name in ("a", "b", "c"):
            wait_for(lambda name=name: len(gateway.of(name)) >= 8, what=f"frames of {name}")
            assert all(frame.words == EXPECTED and not frame.quality for frame in gateway.of(name))
        wait_for(lambda: {event.detail["bus"] for event in gateway.heard("bus", "")} == {"rs485-1", "rs485-2", "net"}, what="their reports")
        second.faults.on("unplugged")
        wait_for(lambda: gateway.heard("offline", "b"), what="the loss of one")
        before = len(gateway.of("a")), len(gateway.of("c"))
        wait_for(lambda: len(gateway.of("a")) > before[0] + 5 and len(gateway.of("c")) > before[1] + 5, what="the others' frames")


def test_late_answers_over_tcp_are_known_by_their_transaction(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    inverter = Inverter(HOLDING)
    with TcpServer({1: inverter.station}).in_thread() as server:
        reads = [(3, first, 4) for first in (100, 110, 120, 130)]
        expected = {address: HOLDING[address] for _, first, count in reads for address in range(first, first + count)}
        node.configure(with_buses(broker, network(server.port, device("c", 1, group("200ms", 200, *reads), timeout_ms=60, retries=2))))
        node.start()
        wait_for(lambda: len(gateway.of("c")) >= 2, what="frames")
        inverter.faults.on("late=90ms:30%x10")
        before = len(gateway.of("c"))
        wait_for(lambda: gateway.counters("c").get("late_bytes"), 20, "late answers")
        wait_for(lambda: len(gateway.of("c")) > before + 5, 20, "frames beside them")
        assert {address: word for frame in gateway.of("c") for address, word in frame.words.items() if expected[address] != word} == {}
        assert gateway.fresh_counters("c")["no_answer"] > 0


def test_a_tcp_device_that_goes_away_is_connected_again(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    inverter, port = Inverter(HOLDING), free_port()
    node.configure(with_buses(broker, network(port, device("c", 1, group("200ms", 200, *READS)))))
    node.start()
    wait_for(lambda: gateway.heard("offline", "c"), what="the absence of a device that nobody started")
    with TcpServer({1: inverter.station}, port=port).in_thread() as server:
        wait_for(lambda: len(gateway.of("c")) >= 3, 20, "frames once it is there")
        server.disconnect()
        before = len(gateway.of("c"))
        wait_for(lambda: len(gateway.of("c")) > before + 3, what="frames after it threw the node out")
    wait_for(lambda: len(gateway.heard("offline", "c")) >= 2, what="its absence")
    with TcpServer({1: inverter.station}, port=port).in_thread():
        before = len(gateway.of("c"))
        wait_for(lambda: len(gateway.of("c")) > before + 3, 40, "frames once it is back")
    assert gateway.heard("fault") == []


def test_a_tcp_device_that_takes_everything_and_says_nothing_holds_up_nobody(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    """One accepts and is silent, one has a full queue of connections, one has a name that nobody knows."""
    with ExitStack() as stack:
        silent, full = (stack.enter_context(socket.socket()) for _ in range(2))
        for listening, backlog in ((silent, 8), (full, 0)):
            listening.bind(("127.0.0.1", 0))
            listening.listen(backlog)
        for _ in range(3):  # nobody accepts them: what comes after is not answered at all
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        line = stack.enter_context(line_of({1: Inverter(HOLDING)}))
        polled = group("200ms", 200, *READS)
        node.environment = {"OHM_NODE_RESOLV_CONF": os.devnull}
        node.configure(
            with_buses(
                broker,
                serial(line.path, device("a", 1, polled)),
                network(silent.getsockname()[1], device("silent", 1, polled), name="silent"),
                network(full.getsockname()[1], device("full", 1, polled), name="full"),
                network(502, device("nameless", 1, polled), name="nameless", host="nobody.invalid"),
            )
        )
        node.start()
        for name in ("silent", "full", "nameless"):
            wait_for(lambda name=name: gateway.heard("offline", name), 30, f"the absence of {name}")
        frames = gateway.of("a")
        slots = [round((frame.uptime_ms - frames[0].uptime_ms) / 200) for frame in frames]
        assert len(frames) > 10
        assert slots == list(range(len(slots))), "no period is lost"
        assert gateway.heard("fault") == []


def test_a_scan_is_commanded_and_tells_who_is_there(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    inverters = {unit: Inverter(HOLDING) for unit in (1, 4, 9)}
    inverters[9].faults.on("exception=2")
    server_side = Inverter(HOLDING | {0: 1})
    with line_of(inverters) as line, TcpServer({3: server_side.station}).in_thread() as server:
        node.configure(
            with_buses(
                broker,
                serial(line.path, device("a", 1, group("1s", 1000, *READS))),
                network(server.port, device("c", 3, group("1s", 1000, *READS))),
            )
        )
        node.start()
        wait_for(lambda: gateway.of("a") and gateway.of("c"), what="frames of both")
        assert gateway.result(command(gateway, "scan", bytes([0, 1, 0, 12, 0, 0])))["stage"] == "done"
        wait_for(lambda: [event for event in gateway.heard("scan") if event.detail["done"]], 30, "the end of the scan")
        assert {event.detail["bus"] for event in gateway.heard("scan")} == {"rs485-1"}
        assert sorted(itertools.chain(*(event.detail["units"] for event in gateway.heard("scan")))) == [1, 4, 9]
        frames = gateway.of("a")
        slots = [round((frame.uptime_ms - frames[0].uptime_ms) / 1000) for frame in frames]
        assert slots == list(range(len(slots))), "polling went on"
        gateway.result(command(gateway, "scan", bytes([0, 2, 0, 4, 0, 1])))
        wait_for(lambda: [event for event in gateway.heard("scan") if event.detail["bus"] == "net"], 30, "the scan of the other bus")
        assert [event.detail["units"] for event in gateway.heard("scan") if event.detail["bus"] == "net"] == [[3]]
        assert gateway.result(command(gateway, "scan", bytes([0, 1, 0, 12, 0, 2])))["reason"] == "malformed"


def test_the_node_tells_how_it_is_doing(broker: Broker, gateway: Gateway, node: NodeProcess) -> None:
    with line_of({1: Inverter(HOLDING)}) as line:
        node.configure(with_buses(broker, serial(line.path, device("a", 1, group("500ms", 500, *READS)))))
        node.environment = {"OHM_NODE_GOOD_AFTER_MS": "100"}
        node.start()
        wait_for(lambda: gateway.link().get("flash_writes"), what="a report after the configuration was kept as the good one")
        link = gateway.link()
        assert link["flash_bytes"] >= (node.state / "config.good").stat().st_size
        assert link["reset_cause"] == "start"
        assert link["stack"] > 0
        assert link["memory_free"] > 0
        assert link["lag_max_ms"] >= 0
        assert not {"rssi", "temperature"} & set(link), "this machine has neither: unknown is not zero"
