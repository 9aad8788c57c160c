"""A node in the heap it has to live in, among random faults, two of them at a time: `just chaos soak`.

The flashed image in its slots on MicroPython, with everything a node can have (limits, leases, flash spool, updates) for a simulated
Growatt on a line of 9600 baud; a real broker behind a relay that can be a black hole; a name server that never answers. What is counted:
memory that could not be had, tasks and processes that began anew without being told to, and the smallest free heap that the node reported.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from ohmstead.config import load
from ohmstead.nodes import package
from ohmstead.nodes.compile import node_config, read_node_config
from ohmstead.nodes.direct import BrokerError, Direct
from ohmstead.nodes.transfer import Kind, Transfer, TransferError
from ohmstead.sim.growatt import UNIT, Growatt, PacedStation
from ohmstead.sim.rtu import Line
from tests.chaos.house import until
from tests.chaos.relay import Relay
from tests.chaos.rows import Plan, RigError, Row, Tell, bar, micropython, program
from tests.conftest import Broker
from tests.integration.node_harness import KEY, NODE, SITE, Gateway, own_path, seal
from tests.integration.node_slots import RESTART, Board, changed, image

HOME = """
mqtt: {{url: "mqtt://127.0.0.1:{broker}"}}
nodes:
  cellar: {{bus: {{port: {line}, baud: 9600}}, key: "{key}", link_loss: 20 s, mqtt: {{url: "mqtt://127.0.0.1:{relay}"}}}}
devices:
  growatt: {{profile: growatt-sph, via: cellar, every: {{live: {live}}}, limits: {{soc: 15..95 %, grid_import: 11 kW}}}}
"""
SETTINGS = {"OHM_NODE_GOOD_AFTER_MS": "5000", "OHM_NODE_RESEND_MS": "5000"}
_MEMORY = ("MemoryError", "memory allocation failed")
_FLOOD_S = 0.01
_LONGEST_S = 15.0
_GIVE_UP_S = 30.0
_BACK_S = 90.0
_BOOT_S = 60.0


class Silent:
    """A name server that never answers."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.file = folder / "resolv.conf"
        self.file.write_text(f"nameserver 127.0.0.1#{self._socket.getsockname()[1]}\n")

    def close(self) -> None:
        self._socket.close()


class Soak:
    """`done`: faults by name, each at most `longest_s` long (some twice that); `only`: of these names, or of all."""

    def __init__(self, folder: Path, heap: str, seed: int, longest_s: float = _LONGEST_S, only: Collection[str] = ()) -> None:
        self.done: Counter[str] = Counter()
        self.findings: list[str] = []
        self._folder = folder
        self._longest_s = longest_s
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._active: set[str] = set()
        self._number = 0
        self.broker = Broker(folder)
        self.relay = Relay(self.broker.port)
        self.names = Silent(folder)
        self.inverter = Growatt(soc=50, sun=lambda _: 0.0, demand=lambda _: 500.0)
        self.station = PacedStation(self.inverter)
        self.line = Line({UNIT: self.station}, baud=9600, link=own_path())
        private, _ = package.new_key_pair()
        (folder / "update.pem").write_bytes(private)
        self._key = package.read_private_key(folder / "update.pem")
        self.board = Board([micropython()], folder, SETTINGS | {"OHM_NODE_RESOLV_CONF": str(self.names.file)}, heap)
        self._faults: dict[str, tuple[int, Callable[[float], None]]] = {
            "inverter unplugged": (3, self._fault_of_device("unplugged")),
            "checksum errors": (3, self._fault_of_device("crc")),
            "noise on the line": (2, self._fault_of_device("noise=5:50%")),
            "late answers": (2, self._fault_of_device("late=1.2s:30%")),
            "half answers": (1, self._fault_of_device("half:40%")),
            "broker a black hole": (3, self._hole),
            "broker restarted": (3, self._restart_broker),
            "connection lost, name server silent": (3, self._drop),
            "gateway silent": (2, self._silence),
            "100 commands a second": (4, self._flood),
            "garbage from the broker": (2, self._garbage),
            "update": (2, self._update),
            "update with a flipped bit": (2, self._bad_update),
            "new configuration": (3, self._configuration),
            "emergency stop": (1, self._stop),
        }
        self._faults = {name: fault for name, fault in self._faults.items() if not only or name in only}

    def compiled(self) -> bytes:
        """A configuration of the node, another one each time."""
        self._number += 1
        text = HOME.format(
            broker=self.broker.port, line=self.line.path, key=KEY.hex(), relay=self.relay.port, live=("1 s", "2 s", "3 s")[self._number % 3]
        )
        file = self._folder / "ohmstead.yaml"
        file.write_text(text)
        self.config = load(file, {})
        content = node_config(self.config, NODE)
        mqtt = read_node_config(content)["mqtt"]
        servers = [["broker.example.org", 1883], *mqtt["servers"]]
        return changed(content, update_key=package.modulus_of(self._key), mqtt=mqtt | {"servers": servers}, bus_report_ms=2000)

    def run(self, minutes: float, tell: Tell) -> None:
        self.broker.start()
        with self.relay, self.line, Gateway(self.broker.host, self.broker.port) as self.gateway:
            try:
                (self.board.state / "config.ohm").write_bytes(self.compiled())
                self.board.start()
                self._live(minutes, tell)
            finally:
                self.board.kill()
                self.broker.kill()
                self.names.close()

    def _live(self, minutes: float, tell: Tell) -> None:
        try:
            until(lambda: self.gateway.of("growatt"), _BOOT_S, "the node's first reading")
        except RigError as failure:
            self.findings.append(f"{failure}: {self.board.log[-400:]}")
            return
        end = time.monotonic() + 60 * minutes
        workers = [threading.Thread(target=self._work, args=(random.Random(self._dice.random()), end)) for _ in range(2)]
        for worker in workers:
            worker.start()
        told = time.monotonic()
        while any(worker.is_alive() for worker in workers):
            time.sleep(1)
            tell(int(time.monotonic() - told))
            told += int(time.monotonic() - told)
        self.station.faults.clear()
        self.relay.hole = False
        self.gateway.acknowledging = True
        before = len(self.gateway.frames)
        try:
            until(lambda: len(self.gateway.frames) > before + 5, _BACK_S, "readings after all faults were over")
        except RigError as failure:
            self.findings.append(f"{failure}: {self.board.log[-400:]}")

    def _work(self, dice: random.Random, end: float) -> None:
        names, weights = list(self._faults), [weight for weight, _ in self._faults.values()]
        while time.monotonic() < end:
            name = dice.choices(names, weights)[0]
            with self._lock:
                if name in self._active or (name in _ALONE and self._active & _ALONE):
                    continue
                self._active.add(name)
                self.done[name] += 1
            try:
                self._faults[name][1](min(dice.uniform(1, self._longest_s), max(end - time.monotonic(), 1)))
            except (Exception, pytest.fail.Exception) as failure:  # noqa: BLE001 - one fault less is no reason to end the others; it is told
                self.findings.append(f"the fault {name!r} itself failed: {failure!r}")
            finally:
                with self._lock:
                    self._active.discard(name)
            time.sleep(dice.uniform(0, self._longest_s / 5))

    # The faults

    def _fault_of_device(self, text: str) -> Callable[[float], None]:
        def fault(seconds: float) -> None:
            self.station.faults.on(text)
            time.sleep(seconds)
            self.station.faults.off(text.partition("=")[0].partition(":")[0])

        return fault

    def _hole(self, seconds: float) -> None:
        self.relay.hole = True
        time.sleep(2 * seconds)
        self.relay.hole = False

    def _restart_broker(self, seconds: float) -> None:
        self.broker.kill()
        time.sleep(seconds / 3)
        self.broker.start()

    def _drop(self, seconds: float) -> None:
        self.relay.drop()
        time.sleep(seconds)

    def _silence(self, seconds: float) -> None:
        self.gateway.acknowledging = False
        time.sleep(2 * seconds)
        self.gateway.acknowledging = True

    def _flood(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        turn = 0
        context = f"{SITE}/{NODE}/command".encode()
        while time.monotonic() < end:
            turn += 1
            control = ("charge", "discharge", "export_limit")[turn % 3]
            lease_ms = 0 if control == "export_limit" else 3000 + 100 * turn
            words = self.config.layout("growatt", control).octets(turn % 100)
            _, body = self.gateway.body(control, words, name="growatt", lease_ms=lease_ms)
            sealed = seal(KEY if turn % 4 else os.urandom(32), context, body)
            self.gateway.publish("down/command", sealed)
            time.sleep(_FLOOD_S)

    def _garbage(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for topic in ("down/ack", "down/command", "down/config", "down/update", "down/nothing", "stop"):
                self.gateway.publish(topic, os.urandom(random.choice((0, 1, 40, 1100, 5000))))
            time.sleep(0.1)

    def _send(self, kind: Kind, content: bytes) -> bool:
        """Whether the node took it; the other faults may be in the way."""
        try:
            with Direct(self.config, f"{NODE}/up/event") as direct:
                Transfer(direct, self.config, NODE, kind, content, give_up_s=_GIVE_UP_S).send()
        except (BrokerError, TransferError):
            return False
        return True

    def _update(self, _seconds: float) -> None:
        self._number += 1
        content = package.sign(package.pack(image() | {"mark.py": b"MARK = %d\n" % self._number}), self._key)
        lives = len(self.gateway.hellos)
        if self._send("update", content):
            self.done["update installed"] += 1
            with contextlib.suppress(RigError):
                until(lambda: len(self.gateway.hellos) > lives, _BACK_S, "the updated node")

    def _bad_update(self, _seconds: float) -> None:
        content = bytearray(package.sign(package.pack(image()), self._key))
        content[self._dice.randrange(len(content))] ^= 1 << self._dice.randrange(8)
        if self._send("update", bytes(content)):
            self.findings.append("an update with a flipped bit was taken")

    def _configuration(self, _seconds: float) -> None:
        if self._send("config", self.compiled()):
            self.done["configuration taken"] += 1

    def _stop(self, seconds: float) -> None:
        self.gateway.publish("stop", b"1", retain=True)
        time.sleep(seconds)
        self.gateway.publish("stop", b"0", retain=True)
        time.sleep(1)
        _, body = self.gateway.body("reset", b"", name="")
        self.gateway.publish("down/command", seal(KEY, f"{SITE}/{NODE}/command".encode(), body))

    # What came of it

    def memory(self) -> list[str]:
        """Where memory could not be had."""
        said = [line for line in self.board.lines if any(words in line for words in _MEMORY)]
        said += [
            f"{event.kind} event: {event.detail}"
            for event in self.gateway.events
            if any(words in str(event.detail) for words in _MEMORY) and event.kind != "restart"
        ]
        return said

    def restarts(self) -> list[str]:
        """Lives that ended without an update, and tasks that began anew."""
        found = [f"the node ended with exit code {code}" for code in self.board.codes if code not in (RESTART, -9)]
        installed = {event.detail["id"] for event in self.gateway.heard("transfer") if _installed(event.detail)}
        expected = max(self.done["update installed"], len(installed)) + self.for_room()
        if (asked := self.board.codes.count(RESTART)) > expected:
            found.append(f"{asked - expected} restarts that no update asked for (exit code {RESTART})")
        found += [f"task {event.detail['task']}: {event.detail['reason']}" for event in self.gateway.heard("fault")]
        return found

    def for_room(self) -> int:
        """Restarts in order to begin a new configuration in a heap that is in one piece, or to go back to the one before when the new one
        found no broker: so the node does where it has no room for both. No power is cut here, so that is what `lapsed` means.
        """
        begun = [event for event in self.gateway.heard("restart") if event.detail.get("configuration") == "config.next"]
        return len(begun) + len([event for event in self.gateway.heard("configuration") if event.detail.get("stage") == "lapsed"])

    def free(self) -> int | None:
        """The smallest free heap that the node ever reported, in bytes."""
        reported = [event.detail["memory_free"] for event in [*self.gateway.heard("link"), *self.gateway.heard("bus", "")]]
        return min(reported, default=None)

    def postponed(self) -> int:
        """How often something that can wait was put off for want of memory, as each life of the node counts it."""
        most: dict[int, int] = {}
        for event in self.gateway.heard("link"):
            most[event.boot] = max(most.get(event.boot, 0), event.detail["postponed"])
        return sum(most.values())

    def lag_ms(self) -> int:
        return max((event.detail["lag_max_ms"] for event in self.gateway.heard("link")), default=0)


_ALONE = {"update", "update with a flipped bit", "new configuration"}
"""A node takes one transfer at a time."""


def _installed(detail: dict[str, Any]) -> bool:
    return detail.get("kind") == "update" and detail.get("stage") == "done"


def campaign(
    folder: Path,
    heap: str,
    seed: int,
    minutes: float,
    tell: Tell = lambda _: None,
    longest_s: float = _LONGEST_S,
    only: Collection[str] = (),
) -> Soak:
    """Raises RigError where something of it is not on this machine."""
    program("mosquitto", "apt install mosquitto")
    soak = Soak(folder, heap, seed, longest_s, only)
    soak.run(minutes, tell)
    return soak


def rows(plan: Plan) -> list[Row]:
    with bar(f"soak, {plan.heap}", round(60 * plan.soak_minutes)) as tell:
        soak = campaign(plan.room("soak"), plan.heap, plan.seed, plan.soak_minutes, tell)
    kinds = ", ".join(f"{number} {name}" for name, number in sorted(soak.done.items()))
    faults = sum(number for name, number in soak.done.items() if name not in ("update installed", "configuration taken"))
    free = soak.free()
    smallest = "no report of its heap" if free is None else f"smallest free heap {free:,} bytes"
    smallest += f"; {soak.postponed():,} times something that can wait was put off"
    where = f"node in {plan.heap}"
    calm = f"{soak.for_room()} in order to begin a new configuration, or to go back; longest wait of a task {soak.lag_ms()} ms"
    return [
        Row(f"{where}: random faults", faults, soak.findings, "readings go on after them", 0, kinds),
        Row(f"{where}: memory not to be had", faults, soak.memory(), "0", 0, smallest),
        Row(f"{where}: restarts nobody asked for", faults, soak.restarts(), "0", 0, calm),
    ]
