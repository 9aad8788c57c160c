"""The node and its broker: it says who it is, what it read arrives once, and a sick network never holds up the bus."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import msgpack  # type: ignore[import-untyped] # it comes without types
import pytest

from tests.conftest import Broker, free_port, wait_for
from tests.integration.node_harness import Gateway, Inverter, NodeProcess, configuration, device, group, longest_gap

READS = ((3, 100, 10), (3, 200, 10))
VITAL = {"point": "soc", "group": "200ms", "read": 1, "offset": 2, "kind": "u16", "words": 1, "order": "big", "divisor": 100, "decimals": 1}
POLLED = device("mtec", 252, group("200ms", 200, *READS), vitals=[VITAL])
NETWORK_LIMIT_MS = 100


@pytest.fixture
def inverter() -> Inverter:
    return Inverter({address: address for address in range(100, 240)})


def test_it_says_who_it_is_and_its_death_is_told(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str) -> None:
    content = configuration(bus, [(broker.host, broker.port)], POLLED)
    node.configure(content)
    node.start()
    wait_for(lambda: gateway.hellos, what="hello")
    protocol, firmware, boot, _, fingerprint, slot, cause, capabilities, first_seq = gateway.hellos[0]
    assert (protocol, slot, cause, first_seq) == (1, "-", "start", 1)
    assert firmware.startswith("0.1.0 unix")
    assert 0 < boot < 2**31
    assert fingerprint == content[4:12]
    assert {"rtu", "vitals", "commands"} <= set(capabilities)
    assert gateway.online == [b"online"]
    wait_for(lambda: gateway.heard("restart"), what="the restart event")
    node.kill()
    wait_for(lambda: gateway.online[-1] == b"offline", what="the last will")
    node.start()
    wait_for(lambda: gateway.online[-1] == b"online" and len(gateway.hellos) == 2, what="the second life")
    assert gateway.hellos[1][2] != boot


def test_what_is_acknowledged_leaves_the_spool_and_the_rest_is_sent_again(
    broker: Broker, gateway: Gateway, node: NodeProcess, bus: str
) -> None:
    gateway.acknowledging = False
    node.environment = {"OHM_NODE_RESEND_MS": "1000"}
    node.configure(configuration(bus, [(broker.host, broker.port)], POLLED))
    node.start()
    wait_for(lambda: gateway.copies > 10, what="copies of what nobody acknowledged")
    wait_for(lambda: gateway.link().get("held", 0) > 10, what="a report of a growing spool")
    boot = gateway.hellos[0][2]
    gateway.publish("down/ack", msgpack.packb([1, boot ^ 1, 1, 0]))
    gateway.publish("down/ack", msgpack.packb([1, boot, 10**6, 0]))
    gateway.acknowledging = True
    wait_for(lambda: gateway.link()["held"] < 10, what="an empty spool")
    assert gateway.link()["refused"] == {"ack of another boot": 1, "ack of what was not sent": 1}
    assert gateway.missing(boot) == []


def test_a_broker_that_is_away_costs_nothing(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str) -> None:
    broker.kill()
    node.configure(configuration(bus, [(broker.host, broker.port)], POLLED))
    node.start()
    wait_for(lambda: node.said("ECONNREFUSED") or node.said("refused") or node.said("link:"), what="the complaint")
    broker.start()
    wait_for(lambda: len(gateway.frames) > 5, 20, "frames once the broker is there")
    broker.kill()
    before = len(gateway.frames)
    wait_for(lambda: node.log.count("link:") >= 3, what="the second complaint")
    broker.start()
    wait_for(lambda: len(gateway.frames) > before + 10, 20, "frames after the broker's return")
    assert longest_gap(gateway.complete()) < 200 + NETWORK_LIMIT_MS
    assert gateway.vitals == {"mtec/soc": b"2.0"}


class BlackHole:
    """Accepts a connection and answers what it is told to, which may be nothing."""

    def __init__(self, answer: bytes = b"") -> None:
        self.port = free_port()
        self.reached = threading.Event()
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._accepted: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._accepted.append(connection)
            connection.recv(1000)
            connection.sendall(self._answer)
            self.reached.set()

    def close(self) -> None:
        self._server.close()
        for connection in self._accepted:
            connection.close()


@pytest.mark.parametrize("answer", [b"", b"\x20\x02\x00", b"\x20\x02\x00\x00\x90"], ids=["silence", "half a CONNACK", "half a SUBACK"])
def test_a_broker_that_is_a_black_hole_does_not_hold_up_the_bus(
    broker: Broker, gateway: Gateway, node: NodeProcess, bus: str, answer: bytes
) -> None:
    hole = BlackHole(answer)
    node.environment = {"OHM_NODE_ANSWER_MS": "2000"}
    node.configure(configuration(bus, [("127.0.0.1", hole.port), (broker.host, broker.port)], POLLED))
    node.start()
    try:
        assert hole.reached.wait(30)
        wait_for(lambda: len(gateway.of("mtec")) > 20, 25, "what was read meanwhile, over the second broker")
    finally:
        hole.close()
    frames = gateway.complete()
    assert frames[0].uptime_ms < 1000
    assert longest_gap(frames) < 200 + NETWORK_LIMIT_MS
    wait_for(lambda: gateway.heard("bus", ""), what="a bus report")
    assert max(event.detail["lag_max_ms"] for event in gateway.heard("bus", "")) < NETWORK_LIMIT_MS


def test_a_name_server_that_never_answers_does_not_hold_up_the_bus(
    broker: Broker, gateway: Gateway, node: NodeProcess, bus: str, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1#{silent.getsockname()[1]}\n")
        node.environment = {"OHM_NODE_RESOLV_CONF": str(tmp_path / "resolv.conf")}
        node.configure(configuration(bus, [("broker.example.org", 1883), (broker.host, broker.port)], POLLED))
        node.start()
        silent.settimeout(10)
        assert b"\x06broker\x07example\x03org\x00" in silent.recv(512)
        wait_for(lambda: len(gateway.of("mtec")) > 20, 20, "frames over the second broker")
    assert longest_gap(gateway.complete()) < 200 + NETWORK_LIMIT_MS
    wait_for(lambda: gateway.heard("bus", ""), what="a bus report")
    assert max(event.detail["lag_max_ms"] for event in gateway.heard("bus", "")) < NETWORK_LIMIT_MS


def test_a_name_is_resolved_and_remembered(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        (tmp_path / "resolv.conf").write_text(f"nameserver 127.0.0.1#{server.getsockname()[1]}\n")
        node.environment = {"OHM_NODE_RESOLV_CONF": str(tmp_path / "resolv.conf")}
        node.configure(configuration(bus, [("broker.example.org", broker.port)], POLLED))
        node.start()
        asked, sender = server.recvfrom(512)
        server.sendto(b"\0\0garbage", sender)
        server.sendto(
            asked[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + asked[12:] + b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01", sender
        )
        wait_for(lambda: len(gateway.of("mtec")) > 3, what="frames over the named broker")


def test_a_broker_that_falls_silent_is_left(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str) -> None:
    hole = BlackHole(b"\x20\x02\x00\x00\x90\x03\x00\x01\x00\x90\x03\x00\x02\x00")
    node.configure(configuration(bus, [("127.0.0.1", hole.port), (broker.host, broker.port)], POLLED, keepalive=2))
    node.start()
    try:
        wait_for(lambda: node.said("silent"), 10, "the complaint about silence")
        wait_for(lambda: len(gateway.of("mtec")) > 10, what="frames over the second broker")
    finally:
        hole.close()
    assert gateway.complete()[0].uptime_ms < 1000, "what the first one swallowed is sent again"


def test_garbage_from_above_stops_nothing(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str) -> None:
    node.configure(configuration(bus, [(broker.host, broker.port)], POLLED))
    node.start()
    wait_for(lambda: len(gateway.of("mtec")) > 2, what="frames")
    for topic, body in [
        ("down/ack", b""),
        ("down/ack", b"\xc1" * 40),
        ("down/ack", bytes(600)),
        ("down/command", b"\x92\xc4"),
        ("down/command", bytes(700)),
        ("down/config", b"what is this"),
        ("down/nothing-known", b"what is this"),
        ("down/anything", bytes(200_000)),
        ("stop", b"2"),
        ("stop", b"1"),
    ]:
        gateway.publish(topic, body)
    wait_for(lambda: gateway.heard("stop"), what="the stop level's report")
    before = len(gateway.frames)
    wait_for(lambda: len(gateway.frames) > before + 5, what="frames after the garbage")
    wait_for(lambda: gateway.link().get("oversized") == 1, what="the count of the oversized one")
    link = gateway.link()
    assert link["refused"] == {"broken ack": 3, "oversized": 1, "unknown topic": 1, "broken stop": 1}
    assert (link["connections"], link["restarts"]) == (1, 0)
    assert sorted(event.detail["reason"] for event in gateway.heard("rejected")) == ["malformed", "unauthorised"]


def test_a_spool_that_overflows_says_what_it_gave_up(broker: Broker, gateway: Gateway, node: NodeProcess, bus: str) -> None:
    gateway.acknowledging = False
    node.configure(configuration(bus, [(broker.host, broker.port)], POLLED, spool=(24, 2048), report_ms=60_000, flash_spool=0))
    node.start()
    wait_for(lambda: gateway.hellos, what="hello")
    broker.kill()
    wait_for(lambda: node.log.count("link:") >= 3, 20, "some seconds without a broker")
    broker.start()
    gateway.acknowledging = True
    wait_for(lambda: gateway.heard("dropped"), 15, "the report of what was given up")
    assert gateway.complete()[0].seq > 2, "the oldest readings were given up, and every other number arrives"
    assert gateway.heard("restart"), "events outlive readings"
