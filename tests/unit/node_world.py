"""A bus task of the node in virtual time (`tests.chaos.virtual`), with devices that are functions."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ohmcore.crc import crc16
from tests.chaos import virtual
from tests.conftest import REPOSITORY

if str(REPOSITORY / "firmware") not in sys.path:
    sys.path.append(str(REPOSITORY / "firmware"))

line = importlib.import_module("ohmnode.line")
bus = importlib.import_module("ohmnode.bus")
schedule = importlib.import_module("ohmnode.schedule")
vitals = importlib.import_module("ohmnode.vitals")
errors = importlib.import_module("ohmcore.errors")

WRAP = 1 << 30
Answer = list[tuple[int, bytes]]
Device = Callable[[bytes], Answer]


def framed(unit: int, pdu: bytes) -> bytes:
    frame = bytes([unit]) + pdu
    return frame + crc16(frame, 0, len(frame)).to_bytes(2, "little")


def holding(words: Callable[[int], int] = lambda address: address, turnaround_ms: int = 5) -> Device:
    """A device whose registers are a function of the address."""

    def answer(request: bytes) -> Answer:
        function, address, count = request[1], int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        content = b"".join(words(address + i).to_bytes(2, "big") for i in range(count))
        return [(turnaround_ms, framed(request[0], bytes([function, len(content)]) + content))]

    return answer


def refusing(code: int) -> Device:
    return lambda request: [(5, framed(request[0], bytes([request[1] | 0x80, code])))]


def on_line(devices: Mapping[int, Device]) -> Device:
    def answer(request: bytes) -> Answer:
        assert crc16(request, 0, len(request) - 2) == int.from_bytes(request[-2:], "little")
        device = devices.get(request[0])
        return [] if device is None else device(request)

    return answer


class Ended(Exception):  # noqa: N818 - no error: the time of a story is over
    pass


class Outbox:
    """Keeps what happened: (ms, device, kind, detail); and each snapshot as (ms, device, group, good, words by address)."""

    def __init__(self, world: virtual.World) -> None:
        self.world = world
        self.events: list[tuple[int, str, str, dict[str, Any]]] = []
        self.snapshots: list[tuple[int, str, str, bytes, dict[int, int]]] = []

    def log(self, task: str, words: str) -> None:
        pass

    def event(self, name: str, kind: str, detail: dict[str, Any]) -> None:
        self.events.append((self.world.now, name, kind, dict(detail)))

    def snapshot(self, device: Any, group: Any) -> bool:
        words = {}
        for i, good in enumerate(group.good):
            if good:
                _, address, count, start = group.reads[4 * i : 4 * i + 4]
                raw = group.image[start : start + 2 * count]
                words |= {address + j: int.from_bytes(raw[2 * j : 2 * j + 2], "big") for j in range(count)}
        if words:
            self.snapshots.append((self.world.now, device.name, group.name, bytes(group.good), words))
        return bool(words)

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [detail for _, _, its, detail in self.events if its == kind]


def group(name: str, period_ms: int, *reads: tuple[int, int, int]) -> dict[str, Any]:
    return {"name": name, "period_ms": period_ms, "priority": 0, "reads": [list(read) for read in reads]}


def device(name: str, unit: int, *groups: dict[str, Any], timeout_ms: int = 200, **more: Any) -> dict[str, Any]:
    described = {"name": name, "unit": unit, "timeout_ms": timeout_ms, "retries": 1, "turnaround_ms": 5}
    return described | {"groups": list(groups), "controls": [], "vitals": []} | more


class Rig:
    """`run` lets the bus task live for a while. `beats`: the longest time between two signs of life, in ms."""

    def __init__(self, devices: list[dict[str, Any]], peer: Device, began: int = 0, **spec: Any) -> None:
        self.world = virtual.adopt(virtual.World(began), line, bus)
        self.wire = virtual.Wire(self.world, peer)
        self.world.wires["line"] = self.wire
        self.outbox = Outbox(self.world)
        self.bus = bus.Bus(
            self.world, {"name": "rs485-1", "port": "line", "baud": 9600, "devices": devices} | spec, self.outbox, vitals.Vitals(), None
        )
        self.beats = 0
        self._beaten = began
        self._until = began

    def beat(self) -> None:
        self.beats = max(self.beats, self.world.now - self._beaten)
        self._beaten = self.world.now
        if self.world.now >= self._until:
            raise Ended

    def run(self, ms: int) -> None:
        virtual.adopt(self.world, line, bus)
        self._until = self.world.now + ms
        with contextlib.suppress(Ended):
            self.world.run(self.bus.run(self))

    def counters(self, index: int = 0) -> dict[str, int]:
        return dict(self.bus.devices[index].counters)
