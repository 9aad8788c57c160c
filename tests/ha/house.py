"""A house for Home Assistant: a simulated inverter with fixed registers, and the gateway as its owner runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ohmstead.sim.mtec import UNIT_TCP, WRITABLE
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.station import Station
from ohmstead.sim.tcp import TcpServer
from tests.conftest import free_port

_YAML = """\
mqtt: {{url: mqtt://127.0.0.1:{broker}}}
devices:
  mtec:
    profile: mtec-energybutler
    via: tcp://127.0.0.1:{inverter}
    contract: {contract}
    limits: {{discharge_limit: 0..50 A}}
    points: {{{alert}}}
    every: {{now-base: 1 s, now-grid: 1 s, now-inverter: 1 s, now-backup: 1 s, now-battery: 1 s, now-pv: 1 s,
             config: 1 s, day: 2 s, total: 2 s, static: 5 s}}
web: {{port: {page}}}
home_assistant: {{entities: {entities}, grace: 500 ms}}
"""


class House:
    """Entered: inverter and gateway run. `inverter.writes` are the accepted writes; `station.faults` can unplug it."""

    def __init__(self, folder: Path, broker_port: int, image: Mapping[int, int], contract: str, entities: str) -> None:
        self.inverter = RegisterImage(image, WRITABLE)
        self.station = Station(self.inverter, turnaround=0.001)
        self._folder = folder
        self._broker_port = broker_port
        self._contract = contract
        self._entities = entities
        self._parts = ExitStack()
        self._gateway: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        server = self._parts.enter_context(TcpServer({UNIT_TCP: self.station}).in_thread())
        text = _YAML.format(
            broker=self._broker_port,
            inverter=server.port,
            contract=self._contract,
            entities=self._entities,
            page=free_port(),
            alert="" if self._contract == "state" else "battery_soc: {below: 50}",
        )
        (self._folder / "ohmstead.yaml").write_text(text)
        self.start_gateway()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._gateway is not None:
            self._gateway.terminate()
            self._gateway.wait(20)
        self._parts.close()

    def start_gateway(self) -> None:
        command = [sys.executable, "-c", "from ohmstead.cli import main; main()", "run", "-c", str(self._folder / "ohmstead.yaml")]
        with (self._folder / "gateway.log").open("ab") as output:
            self._gateway = subprocess.Popen(command, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT)

    def kill_gateway(self) -> None:
        """kill -9: only the broker can tell."""
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.wait(30)
            self._gateway = None

    def gateway_log(self) -> str:
        return (self._folder / "gateway.log").read_text(errors="replace")
