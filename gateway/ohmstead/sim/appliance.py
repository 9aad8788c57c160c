"""The whole appliance on one machine: broker, simulated inverters, node, gateway. What `demo` shows and `smoke` examines."""

from __future__ import annotations

import http.client
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

from ohmstead import config as configuration
from ohmstead.profiles import library

from . import growatt, mtec
from .broker import STAND_IN, LocalBroker
from .children import Child, free_port, wait_for_port
from .day import House, start_of
from .inverter import PhysicalInverter
from .neighbours import Neighbours
from .node import node_process, why_none
from .rtu import Line
from .station import Station
from .tcp import TcpServer

PROFILE = "mtec-energybutler"
SITE, NODE = "home", "cellar"
DEVICE, NEIGHBOUR, BATTERY = "mtec", "garage", "growatt"
SERIAL, NEIGHBOUR_SERIAL = "SIM12K3P26000001", "SIM12K3P26000002"
BAUD = 9600
FLOOR = 15
"""The SOC in % below which nobody discharges the Growatt's battery."""

_SWITCH_INTERVAL = 0.0005
"""Seconds a thread of this process may keep the serial line's from its next byte; Python's own 5 ms are five characters."""

_OHMSTEAD_YAML = """\
# Made by the demo: inverters on two RS485 lines of a node, another one on Modbus TCP, and whatever else a house has on its network.
site: {site}
timezone: Europe/Prague
mqtt: {{url: mqtt://{broker}}}
{nodes}
devices:
{devices}
loxone: {{}}
store: {{path: ohmstead.db, flush: 500 ms}}
web: {{host: {host}, port: {page}}}
log: {{format: console, level: info}}
"""
_EVERY = (
    "{now-base: 2 s, now-grid: 2 s, now-inverter: 2 s, now-backup: 2 s, now-battery: 2 s, now-pv: 2 s,"
    " config: 5 s, day: 10 s, total: 10 s, static: 60 s}"
)
_EVERY_OF_BATTERY = "{live: 2 s, energy: 60 s, settings: 10 s, static: 10 min}"


@dataclass(frozen=True)
class Plan:
    """What is to be set up. `page` is the port of the page (a free one if it is taken), `speed` how fast the simulated day goes by."""

    page: int = 8080
    host: str = "127.0.0.1"
    date: str = "2026-06-21"
    hour: float = 9.0
    speed: float = 60.0
    seed: int = 1
    mosquitto: bool = True
    micropython: bool = True
    report_every_ms: int | None = None


class Appliance:
    """Started as a whole, ended as a whole: the processes in the order gateway, node, broker, each by its number.

    `say` gets a plain line for each part that runs. `start` raises `ChildEndedError`, `NoBrokerError`, `TimeoutError` or `OSError`
    where a part does not come up, and leaves nothing running.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self._say = say
        self._parts = ExitStack()
        self._endings: dict[str, int | None] = {}
        self.without_node = why_none() if plan.micropython else "as asked"
        self.serial = SERIAL
        self.page = free_port(plan.page, plan.host)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> dict[str, int | None]:
        """Ends everything; the exit codes by name."""
        self._parts.close()
        return self._endings

    @property
    def node_runs(self) -> bool:
        return self.without_node is None

    @property
    def address(self) -> str:
        return f"http://{'localhost' if self.plan.host in ('127.0.0.1', '0.0.0.0') else self.plan.host}:{self.page}/"

    def check(self, killed: Collection[Child] = ()) -> None:
        """Raises `ChildEndedError` if a part ended by itself; `killed`: those that are not meant to run."""
        for child in self.children:
            if child not in killed:
                child.check()

    def _start(self) -> None:
        plan = self.plan
        self._parts.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_INTERVAL)
        self.folder = Path(self._parts.enter_context(tempfile.TemporaryDirectory(prefix="ohmstead-")))
        self.children: list[Child] = []
        self.broker = LocalBroker(self.folder, free_port(), mosquitto=plan.mosquitto)
        self._parts.callback(self._end, self.broker.process)
        self.broker.start()
        self.children.append(self.broker.process)
        if self.broker.stands_in:
            self._say(STAND_IN)
        self._say(f"broker     {self.broker.name} on port {self.broker.port}")
        self._start_inverters()
        path = self.folder / "ohmstead.yaml"
        path.write_text(self._configuration(), encoding="utf-8")
        self.gateway = Child(
            "the gateway",
            [sys.executable, "-m", "ohmstead", "run", "-c", str(path)],
            self.folder / "gateway.log",
            folder=self.folder,
        )
        self._run(self.gateway)
        wait_for_port(self.gateway, self.page)
        self._say(f"gateway    process {self.gateway.pid}, log {self.gateway.log}")
        if self.node_runs:
            self.node = node_process(configuration.load(path), NODE, self.folder, report_every_ms=plan.report_every_ms)
            self._run(self.node)
            self._say(f"node       {NODE}: the firmware on MicroPython, process {self.node.pid}")
        else:
            self._say(f"node       none, because {self.without_node}; the gateway reads the inverter itself over Modbus TCP")

    def _start_inverters(self) -> None:
        plan, profile = self.plan, library.load(PROFILE)
        house, other = House(seed=plan.seed), House(seed=plan.seed + 1)
        self.inverter = PhysicalInverter(profile, house, start_of(house, plan.date, plan.hour), speed=plan.speed, serial=SERIAL)
        neighbour = PhysicalInverter(profile, other, start_of(other, plan.date, plan.hour), speed=plan.speed, serial=NEIGHBOUR_SERIAL)
        self.station = Station(self.inverter)
        self.line = self._parts.enter_context(Line({mtec.UNIT_RTU: self.station}, baud=BAUD, link=self.folder / "rs485"))
        stations = {mtec.UNIT_TCP: Station(neighbour)} if self.node_runs else {mtec.UNIT_TCP: self.station}
        self.tcp = self._parts.enter_context(TcpServer(stations).in_thread())
        hardware = growatt.Hardware(seed=plan.seed)
        begin = growatt.morning(date.fromisoformat(plan.date), plan.hour, hardware.zone)
        self.battery = growatt.Growatt(hardware, soc=55.0, start=begin, speed=plan.speed)
        if self.node_runs:
            second = Line({growatt.UNIT: growatt.PacedStation(self.battery)}, baud=BAUD, link=self.folder / "rs485-2")
            self.second_line = self._parts.enter_context(second)
            day = f"{plan.date} from {plan.hour:g} h, {plan.speed:g} times as fast"
            self._say(f"inverter   M-TEC on RS485, {BAUD} baud, unit {mtec.UNIT_RTU}; its day is {day}")
            self._say(f"inverter   Growatt SPH on the node's second RS485, {BAUD} baud, unit {growatt.UNIT}, with a battery of 10 kWh")
        self._say(f"inverter   {'another ' if self.node_runs else ''}M-TEC on Modbus TCP, port {self.tcp.port}, unit {mtec.UNIT_TCP}")
        self.neighbours = self._parts.enter_context(Neighbours(plan.date, plan.hour, speed=plan.speed, seed=plan.seed))
        for name, known in self.neighbours.known.items():
            self._say(f"{name:10} {known.title}, port {known.endpoint.port}")

    def _configuration(self) -> str:
        over_tcp = f"tcp://127.0.0.1:{self.tcp.port}"
        if self.node_runs:
            buses = ", ".join(
                f"{name}: {{port: {line.path}, baud: {BAUD}}}" for name, line in ((DEVICE, self.line), (BATTERY, self.second_line))
            )
            nodes = f"nodes:\n  {NODE}: {{buses: {{{buses}}}, key: {secrets.token_hex(32)}}}"
            devices = {DEVICE: f"{NODE}/{DEVICE}", NEIGHBOUR: over_tcp}
        else:
            nodes, devices = "", {DEVICE: over_tcp}
        lines = [f"  {name}: {{profile: {PROFILE}, via: '{via}', every: {_EVERY}}}" for name, via in devices.items()]
        if self.node_runs:
            via = f"via: {NODE}/{BATTERY}, every: {_EVERY_OF_BATTERY}, limits: {{soc: {FLOOR}..95 %}}"
            lines.append(f"  {BATTERY}: {{profile: growatt-sph, {via}, rated: 5 kW}}")
        lines += self.neighbours.configuration()
        return _OHMSTEAD_YAML.format(
            site=SITE,
            broker=f"{self.broker.host}:{self.broker.port}",
            nodes=nodes,
            devices="\n".join(lines),
            host=self.plan.host,
            page=self.page,
        )

    def _run(self, child: Child) -> None:
        self._parts.callback(self._end, child)
        child.start()
        self.children.append(child)

    def _end(self, child: Child) -> None:
        self._endings[child.name] = child.stop()

    def fetch(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the gateway; status 0 where it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.page, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def wait_until_ready(self, seconds: float = 15.0) -> None:
        """Until `/ready` says 200. Raises `TimeoutError`, or `ChildEndedError` if a part ends first."""
        deadline = time.monotonic() + seconds
        while (answer := self.fetch("/ready"))[0] != 200:
            self.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gateway is not ready after {seconds:g} s: {answer[1].strip()[:300]}")
            time.sleep(0.05)
