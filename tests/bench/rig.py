"""What the measurements share: a broker, a simulated inverter on Modbus TCP, the gateway as a process, a listener that counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from tests.conftest import Broker, free_port, wait_for

OHMSTEAD = Path(sys.executable).with_name("ohmstead")


@contextmanager
def started(*command: str | Path, folder: Path, environment: dict[str, str] | None = None) -> Iterator[psutil.Process]:
    """Runs a program with its output in `folder`/<name>.log; ended (by its id) when the block is left."""
    log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            elif process.returncode:
                sys.stderr.write(f"{command[0]} ended with {process.returncode}:\n{log.read_text(errors='replace')[-2000:]}\n")


@contextmanager
def workplace() -> Iterator[tuple[Path, Broker]]:
    """A temporary folder and a running mosquitto in it."""
    with tempfile.TemporaryDirectory(prefix="ohmstead-bench-") as name:
        broker = Broker(Path(name))
        broker.start()
        try:
            yield Path(name), broker
        finally:
            broker.stop()


@contextmanager
def inverter(folder: Path, *options: str) -> Iterator[int]:
    """A simulated M-TEC on Modbus TCP (the physical day unless the options say otherwise); yields its port."""
    port = free_port()
    with started(OHMSTEAD, "simulate", "mtec", "--tcp", str(port), *options, folder=folder):
        wait_for(lambda: listens(port), 15, "the simulated inverter")
        yield port


def listens(port: int) -> bool:
    return any(c.laddr.port == port and c.status == psutil.CONN_LISTEN for c in psutil.net_connections("tcp4"))


def get(url: str) -> tuple[int, bytes]:
    """Status and body; (0, b"") while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback only
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


class Listener:
    """Counts the values under a topic: `count` is what one message carries."""

    def __init__(self, port: int, pattern: str, *, as_json: bool) -> None:
        self.values = 0
        self._as_json = as_json
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(pattern)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, _client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        self.values += len(json.loads(message.payload)) if self._as_json else 1

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of the process and its threads so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
