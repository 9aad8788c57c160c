"""A gateway as a process, an inverter for it to read, and an ear on the broker."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.sim.faults import Faults
from ohmstead.sim.mtec import UNIT_TCP, WRITABLE
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.station import Station
from ohmstead.sim.tcp import TcpServer
from tests.conftest import Broker, free_port, wait_for

SERIAL = "MTEC12K3P4012345"
OHMSTEAD = [sys.executable, "-m", "ohmstead"]


class Inverter:
    """The recorded inverter on Modbus TCP, in a loop of its own. `goldens`: the folder of the recordings."""

    def __init__(self, goldens: Path) -> None:
        self.faults = Faults()
        self.image = RegisterImage.from_file(goldens / "mtec" / "image_A.json", WRITABLE)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._server = TcpServer({UNIT_TCP: Station(self.image, self.faults, turnaround=0.0)}, port=self.port)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(30)
        self.port = self._server.port

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(30)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Ear:
    """Hears everything on the broker, comes back when the broker does."""

    def __init__(self, broker: Broker) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(0.1, 0.2)  # type: ignore[arg-type]  # it sleeps for any number
        self.client.on_connect = lambda client, *_: client.subscribe("#")
        self.client.on_message = lambda _c, _u, message: self.heard.append((message.topic, bytes(message.payload)))
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()

    def last(self, topic: str) -> bytes | None:
        return next((payload for heard, payload in reversed(self.heard) if heard == topic), None)

    def count(self, topic: str) -> int:
        return sum(heard == topic for heard, _ in self.heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Gateway:
    """`ohmstead run` in a folder of its own."""

    def __init__(self, folder: Path, broker: Broker, modbus: int, contract: str = "json") -> None:
        self.folder = folder
        self.web = free_port()
        self.file = folder / "ohmstead.yaml"
        self.log = folder / "gateway.log"
        self.file.write_text(
            f"""
site: test
mqtt: {{url: "mqtt://127.0.0.1:{broker.port}", user: me, password: 4711081508}}
store: {{path: test.db, flush: 100 ms}}
web: {{host: 127.0.0.1, port: {self.web}}}
log: {{format: json, level: debug}}
devices:
  mtec:
    profile: mtec-energybutler
    via: tcp://127.0.0.1:{modbus}
    contract: {contract}
    every: 200 ms
    line: {{timeout: 500 ms}}
"""
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready: bool = True) -> None:
        """Starts it and waits until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*OHMSTEAD, "run", "-c", str(self.file)], stdout=log, stderr=log)
        if ready:
            wait_for(lambda: self.get("/ready")[0] == 200, 15, f"/ready; {self.log.read_text()[-2000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Whatever the test left running is killed."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code; an end that takes longer than half a minute is none."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.process = None
        return code

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}", timeout=3) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except OSError:
            return 0, None
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body.decode()

    def stored(self) -> int:
        with sqlite3.connect(f"file:{self.folder / 'test.db'}?mode=ro", uri=True) as store:
            return int(store.execute("SELECT count(*) FROM samples").fetchone()[0])

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
