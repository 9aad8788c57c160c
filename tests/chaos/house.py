"""A whole house of real processes: the broker of the compose file, gateway, node, and devices of which no two answers are alike."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ohmstead.config import load
from ohmstead.nodes.compile import node_config
from ohmstead.sim.registers import RegisterImage, Writable
from ohmstead.sim.rtu import Line
from ohmstead.sim.station import Answer, Station
from tests.chaos.relay import Relay
from tests.chaos.rows import REPOSITORY, RigError, micropython, program
from tests.conftest import free_port
from tests.integration.node_harness import KEY, NodeProcess, own_path

PASSWORD = "4711081508"
PROFILE = """
profile: counting
name: Counting
manufacturer: nobody
model: one number for each answer
source: these tests
line: {baud: 115200, unit: 1, max_read: 8, timeout: 500 ms, retries: 1}
groups: {live: 100 ms}
points:
  number: {name: Number, holding: 0, as: u32, group: live}
  level: {name: Level, holding: 10, as: u16, group: live}
controls:
  level: {point: level, range: 0..500, step: 1, reversion: 0, budget: 500/day}
"""
CONFIGURATION = """
site: home
mqtt: {{url: "mqtt://127.0.0.1:{broker}", user: ohmstead, password: "{password}"}}
store: {{path: ohm.db, flush: 50 ms, keep_raw: 36500 d}}
web: {{enabled: false}}
log: {{format: json, level: warning}}
nodes:
  cellar:
    bus: {{port: {port}, baud: 115200}}
    key: {key}
    mqtt: {{url: "mqtt://127.0.0.1:{relay}", user: node, password: "{password}"}}
devices:
  first: {{profile: counting, via: cellar, unit: 1}}
  second: {{profile: counting, via: cellar, unit: 2}}
"""


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Waits. Raises RigError naming what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RigError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.02)


class Counting(Station):
    """A device that never answers the same twice: its register pair 0 and 1 is a number of its own for each request, over all devices."""

    _lock = threading.Lock()
    given = 0

    def answer(self, unit: int, request: bytes) -> Answer | None:
        with Counting._lock:
            Counting.given += 1
            assert isinstance(self.registers, RegisterImage)
            self.registers[0] = Counting.given >> 16
            self.registers[1] = Counting.given & 0xFFFF
            return super().answer(unit, request)


class Mosquitto:
    """The broker with the very configuration of the compose file, but for its paths and its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._program = program("mosquitto", "apt install mosquitto")
        self._process: subprocess.Popen[bytes] | None = None
        here = REPOSITORY / "images/mosquitto"
        (folder / "broker").mkdir()
        users = folder / "users"
        adding = [program("mosquitto_passwd", "apt install mosquitto"), "-b"]
        for create, name in ((["-c"], "ohmstead"), ([], "node")):
            subprocess.run([*adding, *create, str(users), name, PASSWORD], check=True, capture_output=True)
        text = (here / "mosquitto.conf").read_text()
        for key, value in {
            "listener": f"{self.port} 127.0.0.1",
            "password_file": users,
            "acl_file": here / "acl",
            "persistence_location": f"{folder / 'broker'}/",
            "log_dest": f"file {folder / 'broker.log'}",
        }.items():
            text, count = re.subn(rf"(?m)^{key} .*$", f"{key} {value}", text)
            if count != 1:
                raise RigError(f"the broker's configuration says {key} {count} times")
        self._file = folder / "mosquitto.conf"
        self._file.write_text(text + ("user root\n" if os.getuid() == 0 else ""))

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, "-c", str(self._file)], stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Gateway:
    """`ohmstead run`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "gateway.log").open("ab") as log:
            command = [sys.executable, "-m", "ohmstead", "run", "-c", str(self._folder / "ohmstead.yaml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ended(self) -> int | None:
        """Its exit code, if it ended by itself."""
        return None if self._process is None else self._process.poll()

    def end(self) -> int:
        """Its exit code after an orderly end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        finally:
            self.kill()


class House:
    """All of it in a folder. `start` it inside the context; what runs is killed at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.devices = [Counting(RegisterImage({0: 0, 1: 0, 10: 0}, {10: Writable()}), turnaround=0.002) for _ in range(2)]
        self.line = Line({1: self.devices[0], 2: self.devices[1]}, baud=115200, link=own_path())
        self.broker = Mosquitto(folder)
        self.relay = Relay(self.broker.port)
        (folder / "state").mkdir()
        self.node = NodeProcess([micropython()], folder / "state", environment={"OHM_NODE_RESEND_MS": "1000"}, tells=False)
        self.gateway = Gateway(folder)
        self.database = folder / "ohm.db"

    def __enter__(self) -> House:
        self.line.__enter__()
        self.relay.__enter__()
        (self.folder / "profiles").mkdir()
        (self.folder / "profiles/counting.yaml").write_text(PROFILE)
        (self.folder / "ohmstead.yaml").write_text(
            CONFIGURATION.format(broker=self.broker.port, relay=self.relay.port, port=self.line.path, key=KEY.hex(), password=PASSWORD)
        )
        self.node.configure(node_config(load(self.folder / "ohmstead.yaml", {}), "cellar"))
        return self

    def __exit__(self, *_: object) -> None:
        self.node.kill()
        self.gateway.kill()
        self.broker.kill()
        self.relay.__exit__(None, None, None)
        self.line.__exit__(None, None, None)
