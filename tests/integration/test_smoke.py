"""The demo and its faceless sister: everything at once, on real parts, the way a visitor runs it."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ohmstead.sim.broker import find_mosquitto
from ohmstead.sim.node import why_none
from tests.conftest import free_port, wait_for

OHMSTEAD = [sys.executable, "-m", "ohmstead"]

pytestmark = pytest.mark.xdist_group("appliance")


def smoke(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*OHMSTEAD, "smoke", *options], capture_output=True, text=True, timeout=90)


def verified(said: str) -> list[str]:
    return [line.removeprefix("✓ ").split(":")[0] for line in said.splitlines() if line.startswith("✓")]


@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")
@pytest.mark.skipif(why_none() is not None, reason=f"no node here: {why_none()}")
def test_the_whole_chain_holds_on_mosquitto_and_micropython() -> None:
    ended = smoke()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(verified(ended.stdout)) == 36, ended.stdout
    assert "✗" not in ended.stdout


@pytest.mark.skipif(why_none() is not None, reason=f"no node here: {why_none()}")
def test_the_chain_holds_with_amqtt_in_mosquittos_place_and_says_so() -> None:
    ended = smoke("--amqtt")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "amqtt stands in" in ended.stdout
    assert "the store has every frame, and each once" in verified(ended.stdout)


@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")
def test_without_micropython_the_gateway_reads_the_inverter_itself() -> None:
    ended = smoke("--no-node")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "node       none" in ended.stdout
    assert "a command in range is written" in verified(ended.stdout)


class Demo:
    """`ohmstead demo` as a visitor starts it."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen([*OHMSTEAD, "demo", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = ""

    def read_until(self, text: str) -> str:
        assert self.process.stdout is not None
        while text not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        return self.said

    def rest(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in listed.read_text().split()]


@pytest.fixture
def demo() -> Iterator[Demo]:
    started = Demo("--port", str(free_port()))
    yield started
    started.process.terminate()
    started.process.wait(30)
    if started.process.stdout is not None:
        started.process.stdout.close()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_the_demo_shows_a_page_and_readings_and_leaves_nothing_behind(demo: Demo) -> None:
    said = demo.read_until("after the start: sun")
    page = re.search(r"http://localhost:(\d+)/", said)
    assert page, said
    connection = http.client.HTTPConnection("127.0.0.1", int(page[1]), timeout=5)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    children = demo.children()
    assert len(children) >= 2
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(30) == 0
    assert "nothing is left behind" in demo.rest()
    assert not [pid for pid in children if alive(pid)]


def test_a_part_of_the_demo_that_dies_ends_it_with_its_last_words(demo: Demo) -> None:
    said = demo.read_until("after the start: sun")
    gateway = re.search(r"gateway +process (\d+)", said)
    assert gateway, said
    children = demo.children()
    os.kill(int(gateway[1]), signal.SIGKILL)
    assert demo.process.wait(30) == 1
    assert "the gateway ended by itself with code -9" in demo.rest()
    wait_for(lambda: not [pid for pid in children if alive(pid)], what="the others' end")
