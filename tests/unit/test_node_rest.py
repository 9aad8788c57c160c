"""The rest that a device wants between two exchanges, which may be long, and a moment so far back that it looks like one to come."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from ohmcore import pdu, rtu
from tests.chaos import virtual
from tests.unit.homes import mistakes, writer
from tests.unit.node_world import Rig, device, group, holding, line, on_line, schedule

tcpline = importlib.import_module("ohmnode.tcpline")

FORM = (9600, "N", 1)
LONG_AGO = (1 << 29) + 60_000  # ms: from there on the difference of two ticks has the other sign


class Socket:
    """A MODBUS TCP server that answers at once."""

    def __init__(self, world: virtual.World) -> None:
        self.world = world
        self.asked: list[int] = []
        self._coming = b""

    def connect(self, address: Any) -> None: ...

    def close(self) -> None: ...

    def write(self, octets: memoryview) -> int:
        request = bytes(octets)
        self.asked.append(self.world.now)
        self._coming += request[:4] + b"\0\5" + request[6:8] + b"\2\0\7"
        return len(request)

    def readinto(self, buffer: memoryview) -> int | None:
        n = min(len(buffer), len(self._coming))
        buffer[:n] = self._coming[:n]
        self._coming = self._coming[n:]
        return n or None


class Network(virtual.World):
    """With one server."""

    def __init__(self, began: int = 0) -> None:
        super().__init__(began)
        self.socket = Socket(self)

    def open_socket(self, stream: bool) -> Socket:
        return self.socket

    def address(self, ip: str, port: int) -> tuple[str, int]:
        return ip, port


def on_serial() -> tuple[virtual.World, Any, list[int]]:
    """A world, a line in it, and when something was sent."""
    world = virtual.adopt(virtual.World(), line)
    wire = virtual.Wire(world, on_line({1: holding()}))
    return world, line.Line(world, wire, FORM, virtual.Waiter()), wire.sent_at


def on_network() -> tuple[virtual.World, Any, list[int]]:
    world = Network()
    virtual.adopt(world, tcpline)
    return world, tcpline.TcpLine(world, "192.0.2.1", 502), world.socket.asked


def ask(world: virtual.World, on: Any, rest_ms: int, form: Any = None) -> None:
    asked = schedule.Device("mtec", 1, 100, 1, rest_ms, [])
    asked.form = form
    end = pdu.build_read(on.tx, rtu.PDU_START, 3, 7, 1)
    world.run(on.ask(asked, 3, 7, 1, 2, end))
    assert asked.counters["ok"] == 1


@pytest.mark.parametrize("rest_ms", [2000, 3500, 10_000])
@pytest.mark.parametrize("make", [on_serial, on_network])
def test_a_rest_of_up_to_ten_seconds_is_kept(make: Any, rest_ms: int) -> None:
    world, on, sent_at = make()
    for _ in range(3):
        ask(world, on, rest_ms)
    assert all(rest_ms <= later - earlier < rest_ms + 100 for earlier, later in itertools.pairwise(sent_at))


def test_a_device_is_polled_as_often_as_its_rest_lets() -> None:
    rig = Rig([device("mtec", 1, group("100ms", 100, (3, 0, 2)), turnaround_ms=5000)], on_line({1: holding()}))
    rig.run(60_000)
    moments = [at for at, *_ in rig.outbox.snapshots]
    assert len(moments) > 10
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 5000


@pytest.mark.parametrize("form", [None, (2400, "E", 1)])
@pytest.mark.parametrize("make", [on_serial, on_network])
def test_after_days_in_which_nothing_was_asked_nobody_rests_for_days(make: Any, form: Any) -> None:
    world, on, sent_at = make()
    ask(world, on, 5000)
    world.now += LONG_AGO
    ask(world, on, 5000, form)
    assert sent_at[1] - sent_at[0] < LONG_AGO + 1000


def test_a_longer_rest_is_a_mistake(tmp_path: Path) -> None:
    """More is no line's need, and the node could not tell it from a moment that has gone by."""
    home = "devices:\n  mtec: {{profile: mtec-energybutler, via: tcp://192.0.2.10, line: {{gap: {}}}}}\n"
    (mistake,) = mistakes(writer(tmp_path)(home.format("11 s")))
    assert mistake.startswith("ohmstead.yaml:2: devices.mtec.line.gap: 11 s — must be at most 10")
