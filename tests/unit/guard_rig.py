"""A node's control side in virtual time: commands, guard and bus task as they are flashed, an inverter of registers, power cuts."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped] # it comes without types

from tests.chaos import virtual
from tests.integration.node_harness import seal
from tests.unit.node_world import Ended, Outbox, bus, framed, line, vitals

commands = importlib.import_module("ohmnode.commands")
guard = importlib.import_module("ohmnode.guard")
mailbox = importlib.import_module("ohmnode.mailbox")
pack = importlib.import_module("ohmcore.pack")

KEY, CONTEXT, ROOT = b"k" * 32, b"home/cellar/command", b"ohm/home/node/cellar/"
UNIT = 1
SOC, TEMPERATURE, POWER, MODE, LIMIT = 100, 101, 200, 201, 300
EVALUATE_MS = 250


class Write(NamedTuple):
    at: int
    function: int
    address: int
    words: tuple[int, ...]


class Inverter:
    """`registers` may be changed by anybody; `writes` are those that came over the line. `silent`: it answers nothing."""

    def __init__(self) -> None:
        self.registers = {SOC: 50, TEMPERATURE: 250, POWER: 0, MODE: 0, LIMIT: 1000}
        self.writes: list[Write] = []
        self.reads = 0
        self.silent = False
        self.refuses: set[int] = set()
        self.deaf: set[int] = set()  # addresses that acknowledge a write and ignore it
        self.world = virtual.World()

    def __call__(self, request: bytes) -> list[tuple[int, bytes]]:
        if self.silent:
            return []
        function, address, third = request[1], int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if address in self.refuses:
            return [(5, framed(request[0], bytes([function | 0x80, 2])))]
        if function == 3:
            self.reads += 1
            words = b"".join(self.registers[address + i].to_bytes(2, "big") for i in range(third))
            return [(5, framed(request[0], bytes([3, len(words)]) + words))]
        values = (third,) if function == 6 else tuple(int.from_bytes(request[7 + 2 * i : 9 + 2 * i], "big") for i in range(third))
        self.writes.append(Write(self.world.now, function, address, values))
        for i, value in enumerate(values):
            if address + i not in self.deaf:
                self.registers[address + i] = value
        return [(5, framed(request[0], request[1:6]))]

    def wrote(self, address: int) -> list[int]:
        """The values that were written to a register, one after the other."""
        return [write.words[address - write.address] for write in self.writes if 0 <= address - write.address < len(write.words)]


def field(words: int, least: int, most: int, *, offset: int = 0, step: int = 1, allowed: list[int] | None = None) -> list[Any]:
    return [offset, words, int(least < 0), least, most, step, allowed]


def raw(*words: int) -> bytes:
    return b"".join((word & 0xFFFF).to_bytes(2, "big") for word in words)


def charge(**more: Any) -> dict[str, Any]:
    """Power and mode in one block; needs a lease, goes back to nothing."""
    described = {
        "name": "charge",
        "blocks": [[16, POWER, 2]],
        "fields": [field(1, -3000, 3000), field(1, 0, 2, offset=1)],
        "safe": raw(0, 0),
        "reversion": raw(0, 0),
        "lease": 1,
    }
    return described | more


def limit(**more: Any) -> dict[str, Any]:
    """A setting: stays without a lease, keeps its value after one unless it has a reversion."""
    return {"name": "limit", "blocks": [[6, LIMIT, 1]], "fields": [field(1, 0, 1000, step=10)]} | more


def floor(**more: Any) -> dict[str, Any]:
    """An interlock: no forced charge or discharge below 15 %, until 18 %."""
    described = {"name": "soc floor", "device": "growatt", "group": "200ms", "read": 0, "offset": 0, "below": 15, "clear": 18}
    return described | {"stale_ms": 5000, "controls": [["growatt", "charge"]]} | more


def hot(**more: Any) -> dict[str, Any]:
    """A trip: the battery's temperature, after a second."""
    described = {"name": "battery hot", "device": "growatt", "group": "200ms", "read": 0, "offset": 1, "kind": "i16", "above": 500}
    return described | {"clear": 450, "hold_ms": 1000, "stale_ms": 5000, "trip": True, "controls": [["growatt", "charge"]]} | more


class World(virtual.World):
    """`full`: the flash takes nothing. `pin`: what is at the stop pin."""

    full = False
    pin = 0

    def write(self, name: str, content: bytes) -> None:
        if self.full:
            raise OSError(28)
        super().write(name, content)

    def stop_pin(self, pin: Mapping[str, int]) -> Callable[[], bool]:
        return lambda: self.pin == pin["active"]


class Box(Outbox):
    """What the guard and the commands need of an outbox."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.packer = pack.Packer(bytearray(1104))
        self.refused: list[tuple[str, str]] = []

    def refuse(self, kind: str, name: str, reason: str, detail: dict[str, Any]) -> None:
        self.refused.append((kind, reason))


class House:
    """`boot` again as often as you like, as after a power cut: files and inverter stay."""

    def __init__(
        self,
        controls: Iterable[dict[str, Any]],
        limits: Iterable[dict[str, Any]] = (),
        *,
        began: int = 0,
        boot: bool = True,
        **content: Any,
    ) -> None:
        self.world = World(began)
        self.inverter = Inverter()
        self.inverter.world = self.world
        self.connected = True
        self.counter = 0
        self.events: list[tuple[int, str, str, dict[str, Any]]] = []
        self.refused: list[tuple[str, str]] = []
        self._controls = list(controls)
        self._content = {"limits": list(limits)} | content
        self._until = began
        self.watch: Callable[[], None] = lambda: None
        self.boot()

    def boot(self) -> None:
        """A start of the node. Nothing of before is left but the files."""
        world = virtual.adopt(self.world, line, bus)
        box = self.box = Box(self.world)
        box.events, box.refused = self.events, self.refused
        world.wires["line"] = self.wire = virtual.Wire(self.world, self.inverter)
        self.guard = guard.Guard(self.world, box, self._content)
        self.guard.connected = lambda: self.connected
        self.commands = commands.Commands(self.world, box, KEY, CONTEXT, self.guard, ["meter"])
        self.mailbox = mailbox.Mailbox(ROOT, box, self.commands, self.guard)
        polled = {"name": "200ms", "period_ms": 200, "priority": 0, "reads": [[3, SOC, 2]]}
        device = {"name": "growatt", "unit": UNIT, "timeout_ms": 100, "retries": 1, "turnaround_ms": 5, "groups": [polled], "vitals": []}
        spec = {"name": "rs485-1", "port": "line", "baud": 9600, "devices": [device | {"controls": self._controls}]}
        self.bus = bus.Bus(self.world, spec, box, vitals.Vitals(), self.guard)
        self.guard.bind(self.bus.devices)
        self.guard.start()
        self._evaluated = self.world.now
        self.counter += 100  # as much as a node may have reserved

    def beat(self) -> None:
        if self.world.now - self._evaluated >= EVALUATE_MS:
            self._evaluated = self.world.now
            self.guard.evaluate()
        self.watch()
        if self.world.now >= self._until:
            raise Ended

    def run(self, ms: int) -> None:
        """Bus and guard live on for a while."""
        virtual.adopt(self.world, line, bus)
        self._until = self.world.now + ms
        with contextlib.suppress(Ended):
            self.world.run(self.bus.run(self))

    def send(
        self, value: bytes, *, control: str = "charge", device: str = "growatt", ttl: int = 2000, lease: int = 60_000, key: bytes = KEY
    ) -> int:
        """A command as the gateway makes it; its id."""
        self.counter += 1
        self.deliver(self.sealed([1, self.counter, self.counter, device, control, value, ttl, lease], key))
        return self.counter

    def sealed(self, body: list[Any], key: bytes = KEY) -> bytes:
        return seal(key, CONTEXT, msgpack.packb(body))

    def deliver(self, message: bytes) -> None:
        self.mailbox.take(ROOT + b"down/command", message)

    def reset(self) -> tuple[str, str]:
        return self.result(self.send(b"", control="reset", device="", lease=0))

    def stop(self, level: int) -> None:
        self.mailbox.take(ROOT + b"stop", b"%d" % level)

    def result(self, identity: int) -> tuple[str, str]:
        """Stage and reason of the one result of a command."""
        found = [detail for _, _, kind, detail in self.events if kind == "result" and detail["id"] == identity]
        assert len(found) == 1, found
        return found[0]["stage"], found[0]["reason"]

    def obey(self, value: bytes, **more: Any) -> tuple[str, str]:
        """What became of a command within two seconds."""
        identity = self.send(value, **more)
        self.run(2000)
        return self.result(identity)

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [detail for _, _, its, detail in self.events if its == kind]

    def told(self, stage: str) -> list[tuple[str, int]]:
        """Reason and value of the events of controls at a stage."""
        return [(detail["reason"], detail["value"]) for detail in self.heard("control") if detail["stage"] == stage]


DISCHARGE = raw(-2000, 1)
OFF = raw(0, 0)


def signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word


def house(*limits: dict[str, Any], **more: Any) -> House:
    """A running node: the restart's business is done, telemetry is fresh."""
    built = House([charge(), limit()], limits, **more)
    built.run(1500)
    return built
