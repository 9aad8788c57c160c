"""The real node for tests: firmware on MicroPython, a baud-true line with simulated devices, a gateway that can be told to be silent."""

from __future__ import annotations

import atexit
import functools
import hashlib
import hmac
import importlib.util
import itertools
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgpack  # type: ignore[import-untyped] # it comes without types
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.sim.registers import RegisterImage, Writable
from ohmstead.sim.rtu import Line
from ohmstead.sim.station import Station
from tests.conftest import REPOSITORY, wait_for

SITE, NODE = "home", "cellar"
ROOT = f"ohm/{SITE}/node/{NODE}"
KEY = bytes(range(32))
ESP32_HEAP = "128k"
"""What MicroPython's 64-bit port needs for what has 110 kB on an ESP32, measured."""


@functools.cache
def flashed() -> Path:
    """The image of a board, built once, with the unix hardware layer in it as well: the tests run the very files that are flashed."""
    specification = importlib.util.spec_from_file_location("node_image", REPOSITORY / "images/node/build.py")
    assert specification is not None
    assert specification.loader is not None
    builder = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(builder)
    folder = tempfile.TemporaryDirectory(prefix="ohmstead-image-")
    atexit.register(folder.cleanup)
    builder.build(Path(folder.name) / "image", left_out=())
    return Path(folder.name) / "image"


class Frame(NamedTuple):
    """A data frame as it came: registers by address."""

    boot: int
    seq: int
    uptime_ms: int
    device: str
    group: str
    quality: int
    words: dict[int, int]
    at: float


class Event(NamedTuple):
    boot: int
    seq: int
    device: str
    kind: str
    detail: dict[str, Any]
    at: float


def group(name: str, period_ms: int, *reads: Sequence[int], priority: int = 0) -> dict[str, Any]:
    return {"name": name, "period_ms": period_ms, "priority": priority, "reads": [list(read) for read in reads]}


def device(
    name: str,
    unit: int,
    *groups: dict[str, Any],
    timeout_ms: int = 400,
    retries: int = 1,
    controls: Sequence[dict[str, Any]] = (),
    vitals: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "name": name,
        "unit": unit,
        "timeout_ms": timeout_ms,
        "retries": retries,
        "turnaround_ms": 5,
        "groups": list(groups),
        "controls": list(controls),
        "vitals": list(vitals),
    }


def control(name: str, address: int, most: int, **more: Any) -> dict[str, Any]:
    """A control of one block with one field; `more`: other keys of the configuration, or `function`, `words`, `least`, `step`."""
    function, words, least = more.pop("function", 6), more.pop("words", 1), more.pop("least", 0)
    field_of_it = [0, words, int(least < 0), least, most, more.pop("step", 1), more.pop("allowed", None)]
    return {"name": name, "blocks": [[function, address, words]], "fields": [field_of_it]} | more


def configuration(
    port: str,
    servers: Sequence[tuple[str, int]],
    *devices: dict[str, Any],
    baud: int = 115200,
    key: bytes | None = KEY,
    keepalive: int = 30,
    spool: tuple[int, int] = (48, 4096),
    report_ms: int = 500,
    flash_spool: int = 262144,
    **more: Any,
) -> bytes:
    """A `config.ohm`, packed by the `msgpack` package and not by the code under test. `more`: further keys of the map."""
    body: bytes = msgpack.packb(
        {
            "protocol": 1,
            "site": SITE,
            "node": NODE,
            "key": key,
            "mqtt": {"servers": [list(server) for server in servers], "user": None, "password": None, "keepalive": keepalive, "tls": False},
            "wifi": None,
            "buses": [{"name": "rs485-1", "port": port, "pins": None, "baud": baud, "parity": "N", "stop": 1, "devices": list(devices)}],
            "spool": {"frames": spool[0], "bytes": spool[1]},
            "bus_report_ms": report_ms,
            "flash_spool": flash_spool,
        }
        | more
    )
    return b"OHM1" + hashlib.sha256(body).digest() + body


def longest_gap(frames: Sequence[Frame]) -> int:
    """Milliseconds between two snapshots that follow each other, at most."""
    return max(later.uptime_ms - earlier.uptime_ms for earlier, later in itertools.pairwise(frames))


def seal(key: bytes, context: bytes, body: bytes) -> bytes:
    """A command as only the gateway can make it."""
    sealed: bytes = msgpack.packb([body, hmac.digest(key, context + b"\0" + body, "sha256")])
    return sealed


class Gateway:
    """Hears the node like the gateway does. `acknowledging` may be switched off."""

    def __init__(self, host: str, port: int) -> None:
        self.acknowledging = True
        self.frames: list[Frame] = []
        self.events: list[Event] = []
        self.hellos: list[list[Any]] = []
        self.online: list[bytes] = []
        self.vitals: dict[str, bytes] = {}
        self.copies = 0
        self._seen: dict[int, set[int]] = {}
        self._floors: dict[int, int] = {}
        self._counter = itertools.count(int(time.time()))
        self._ids = itertools.count(1)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gateway")
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/up/#")
        self._client.on_message = self._take
        self._client.connect_async(host, port)
        self._client.loop_start()

    def __enter__(self) -> Self:
        wait_for(self._client.is_connected, 10, "the gateway's connection")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        kind = message.topic[len(ROOT) + 4 :]
        if kind == "online":
            self.online.append(bytes(message.payload))
        elif kind.startswith("vital/"):
            self.vitals[kind[6:]] = bytes(message.payload)
        elif kind == "hello":
            hello = msgpack.unpackb(message.payload)
            self.hellos.append(hello)
            self._floors[hello[2]] = max(hello[8] - 1, self._floors.get(hello[2], 0))
        else:
            self._number(kind, msgpack.unpackb(message.payload))

    def _number(self, kind: str, frame: list[Any]) -> None:
        protocol, boot, seq, uptime_ms, name = frame[:5]
        assert protocol == 1
        seen = self._seen.setdefault(boot, set())
        if seq in seen:
            self.copies += 1
        elif kind == "data":
            words: dict[int, int] = {}
            for span, raw in frame[7]:
                for offset in range(0, len(raw), 2):
                    words[(span & 0xFFFF) + offset // 2] = int.from_bytes(raw[offset : offset + 2], "big")
            self.frames.append(Frame(boot, seq, uptime_ms, name, frame[5], frame[6], words, time.monotonic()))
        else:
            self.events.append(Event(boot, seq, name, frame[5], frame[6], time.monotonic()))
            for first, last in frame[6].get("ranges", ()):
                self._seen.setdefault(frame[6].get("boot", boot), set()).update(range(first, last + 1))
        seen.add(seq)
        if self.acknowledging:
            self.acknowledge(boot)

    def acknowledge(self, boot: int) -> None:
        floor = self._floors.get(boot, 0)
        while floor + 1 in self._seen.get(boot, ()):
            floor += 1
        self._floors[boot] = floor
        self.publish("down/ack", msgpack.packb([1, boot, floor, int(time.time() * 1000)]))

    def missing(self, boot: int) -> list[int]:
        seen = self._seen[boot]
        return [seq for seq in range(1, max(seen) + 1) if seq not in seen]

    def complete(self, seconds: float = 5.0) -> list[Frame]:
        """All frames in the order of their numbers, once none is missing between them."""
        wait_for(lambda: self.frames and not self.missing(self.frames[0].boot), seconds, "all that was read meanwhile")
        return sorted(self.frames, key=lambda frame: frame.seq)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self._client.publish(f"{ROOT}/{topic}", payload, retain=retain)

    def of(self, name: str, group_name: str = "") -> list[Frame]:
        return [frame for frame in list(self.frames) if frame.device == name and group_name in ("", frame.group)]

    def heard(self, kind: str, name: str | None = None) -> list[Event]:
        return [event for event in list(self.events) if event.kind == kind and name in (None, event.device)]

    def counters(self, name: str) -> dict[str, Any]:
        """The last bus report of a device ("" for the bus as a whole)."""
        reports = self.heard("bus", name)
        return reports[-1].detail if reports else {}

    def link(self) -> dict[str, Any]:
        reports = self.heard("link")
        return reports[-1].detail if reports else {}

    def fresh_counters(self, name: str) -> dict[str, Any]:
        """A bus report that was made after this call."""
        before = len(self.heard("bus", name))
        wait_for(lambda: len(self.heard("bus", name)) > before + 1, 5, "a bus report")
        return self.counters(name)

    def body(
        self, control_name: str, words: bytes, *, name: str = "mtec", counter: int | None = None, ttl_ms: int = 5000, lease_ms: int = 0
    ) -> tuple[int, bytes]:
        identity = next(self._ids)
        content = [1, identity, next(self._counter) if counter is None else counter, name, control_name, words, ttl_ms, lease_ms]
        return identity, msgpack.packb(content)

    def command(self, control_name: str, value: int, *, key: bytes = KEY, node: str = NODE, **more: Any) -> int:
        identity, body = self.body(control_name, value.to_bytes(2, "big"), **more)
        self.publish("down/command", seal(key, f"{SITE}/{node}/command".encode(), body))
        return identity

    def result(self, identity: int, seconds: float = 5.0) -> dict[str, Any]:
        def found() -> list[Event]:
            return [event for event in self.heard("result") if event.detail["id"] == identity]

        wait_for(found, seconds, f"the result of command {identity}")
        return found()[0].detail


@dataclass
class NodeProcess:
    """`micropython main.py` of a flashed image with a state directory of its own. Ended with the test, whatever happens."""

    program: list[str]
    state: Path
    heap: str = ESP32_HEAP
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    tells: bool = True
    """Whether what it said is printed when it is killed, for whoever reads why a test failed."""

    def configure(self, content: bytes) -> None:
        (self.state / "config.ohm").write_bytes(content)

    def start(self) -> None:
        self.lines: list[str] = []
        command = [
            *self.program,
            "-X",
            f"heapsize={self.heap}",
            str(flashed() / "main.py"),
            str(self.state),
        ]
        environment = {**os.environ, "MICROPYPATH": str(flashed()), **self.environment}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))

    def said(self, words: str) -> bool:
        return any(words in line for line in list(self.lines))

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self._reader.join(10)
            self.process = None
            if self.tells:
                sys.stdout.write(self.log + "\n")

    def wait(self, seconds: float = 10.0) -> int:
        assert self.process is not None
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    @property
    def log(self) -> str:
        return "\n".join(self.lines)


class Inverter:
    """A device on the line: its registers, its faults."""

    def __init__(self, holding: Mapping[int, int], writable: Sequence[int] = ()) -> None:
        self.registers = RegisterImage(holding, {address: Writable() for address in writable})
        self.station = Station(self.registers, turnaround=0.002)

    @property
    def faults(self) -> Any:
        return self.station.faults


def own_path() -> Path:
    """Where a line is found that no other line has been or will be. The kernel gives the numbers of terminals away anew: a node that
    outlives its line would open that of another test."""
    return Path(tempfile.gettempdir()) / f"rs485-{secrets.token_hex(4)}"


def line_of(stations: Mapping[int, Inverter], baud: int = 115200) -> Line:
    return Line({unit: inverter.station for unit, inverter in stations.items()}, baud=baud, link=own_path())


def image_of(file: Path) -> dict[int, int]:
    return {int(address): word for address, word in json.loads(file.read_text()).items()}
