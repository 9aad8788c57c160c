"""A node's large buffers are those of the configuration that runs, and its first packet fits into them. On the real MicroPython."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped] # it comes without types
import pytest

from ohmstead.config import load
from ohmstead.nodes.compile import FRAME_BYTES, MAGIC, node_config, read_node_config
from tests.conftest import REPOSITORY
from tests.unit.homes import writer

OLDER_FRAME = 1104  # of a configuration that says nothing of it

PATH = """
import sys
sys.path[:0] = ["{firmware}", "{shared}", "{library}", ".frozen"]
"""
START = """
import asyncio
from hal.unix import UnixHal
from ohmnode.start import Life

async def main():
    life = Life(UnixHal("{state}"), b"")
    await life.begin(None)
    print(life.source, len(life.outbox.packer.buffer))

asyncio.run(main())
"""
SIGN_IN = """
import umqtt.simple
from ohmnode import packets
from ohmnode.session import Session

class Connection:
    took = 0
    def write(self, octets):
        self.took += len(octets)
        return len(octets)
    def readinto(self, buffer):
        buffer[:4] = b"\\x20\\x02\\0\\0"
        return 4

class Hal:
    def ticks_ms(self): return 0
    def ticks_diff(self, later, earlier): return 1
    def ticks_add(self, ticks, ms): return 0
    def setting(self, name, default): return default
    def open_socket(self, stream): return Connection()

class Mailbox:
    def take(self, topic, message): pass

class Link:
    root, name = b"ohm/{site}/node/{node}/", b"ohm-{site}-{node}"
    user, password, keepalive_ms = {user}, {password}, 30000
    pipe = packets.Pipe(frame={frame})
    mailbox = Mailbox()

async def ready(write, ms): return True

session = Session(Hal(), Link(), None, None)
session._ready = ready
try:
    session._sign_in().send(None)
except StopIteration:
    print("signed in", session._connection.took)
"""


def said(micropython: list[str], script: str, **words: Any) -> list[str]:
    """The last line of what the script prints, in words."""
    words |= {"firmware": REPOSITORY / "firmware", "shared": REPOSITORY / "shared", "library": REPOSITORY / "build/micropython-lib"}
    program = (PATH + script).format(**words)
    run = subprocess.run([*micropython, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    return run.stdout.splitlines()[-1].split()


def file(**changes: Any) -> bytes:
    group = {"name": "1s", "period_ms": 1000, "priority": 0, "reads": [[3, 0, 2]]}
    device = {
        "name": "mtec",
        "unit": 1,
        "timeout_ms": 100,
        "retries": 0,
        "turnaround_ms": 5,
        "vitals": [],
        "controls": [],
        "groups": [group],
    }
    content = {
        "protocol": 1,
        "site": "home",
        "node": "cellar",
        "mqtt": {"servers": [["127.0.0.1", 1]], "keepalive": 30},
        "spool": {"frames": 32, "bytes": 8000},
        "bus_report_ms": 60_000,
        "buses": [{"name": "tcp", "kind": "tcp", "host": "127.0.0.1", "port": 1, "devices": [device]}],
    }
    body: bytes = msgpack.packb(content | changes)
    return MAGIC + hashlib.sha256(body).digest() + body


NO_NODE = [{"name": "tcp", "kind": "tcp", "host": "127.0.0.1", "port": 1, "devices": [{"name": "mtec"}]}]


@pytest.mark.parametrize(("good", "frame"), [({}, OLDER_FRAME), ({"frame": 2000}, 2000), ({"frame": 704}, 704)])
def test_the_last_good_configuration_gets_its_own_buffers(micropython: list[str], tmp_path: Path, good: dict[str, int], frame: int) -> None:
    """The current one is sound and makes no node; what was made for it may be too small for the other."""
    (tmp_path / "config.ohm").write_bytes(file(frame=704, buses=NO_NODE))
    (tmp_path / "config.good").write_bytes(file(**good))
    assert said(micropython, START, state=tmp_path) == ["config.good", str(frame)]


LONGEST = "n" * 32
LENGTHS = ["long", "of two bytes each", "short"]


@pytest.mark.parametrize(("user", "password"), [("u" * 100, "p" * 1500), ("ž" * 300, "ž" * 300), ("user", "secret")], ids=LENGTHS)
def test_who_signs_in_with_a_long_password_has_room_for_it(micropython: list[str], tmp_path: Path, user: str, password: str) -> None:
    path = writer(tmp_path)(f"""
        site: {LONGEST}
        mqtt: {{url: mqtt://nas, user: {user}, password: {password}}}
        nodes: {{{LONGEST}: {{bus: {{port: /dev/a}}}}}}
    """)
    content = read_node_config(node_config(load(path), LONGEST))
    assert content["mqtt"]["password"] == password
    assert (content["frame"] > FRAME_BYTES) is (user != "user")
    words = {"site": LONGEST, "node": LONGEST, "frame": content["frame"], "user": user.encode(), "password": password.encode()}
    *signed_in, size = said(micropython, SIGN_IN, **words)
    assert signed_in == ["signed", "in"]
    assert int(size) > len(user.encode()) + len(password.encode())
