"""The rest of the house: whatever its gateway reaches over the network, each simulated behind a port of its own, all of one day.

Everything runs in one thread with an event loop. What is `cut` off listens no more, until it is plugged in again on the same port.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self
from zoneinfo import ZoneInfo

from ohmstead.profiles import library

from .hoymiles import Dtu
from .hoymiles_plant import Plant, Roof, moment
from .load import load
from .luxtronik import LuxtronikPump
from .meter import Meter
from .shelly import Shelly, ShellyServer
from .station import Station
from .sunspec import SunSpec
from .sunspec import inverter as sun_inverter
from .tcp import TcpServer
from .vicare import CLIENT_ID, PASSWORD, USER, ViessmannCloud
from .weather import OpenMeteo

_START_S = 20.0
_MANY = 10_000_000
_VICARE = (
    f"source: vicare, client_id: {CLIENT_ID}, user: {USER}, password: {PASSWORD}, cloud: 'http://127.0.0.1:{{port}}',"
    f" requests: {{{{day: {_MANY}, ten_minutes: {_MANY}}}}}"
)
_SECOND_ROOF = (("116190555001", (410, 410)), ("114190555002", (380, 380)))


class Endpoint(Protocol):
    """Something that listens on a port, and can be asked to start on it again."""

    @property
    def port(self) -> int: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Neighbour(NamedTuple):
    """A device of the house: what people call it, what listens, its section of `ohmstead.yaml` ({port} stands for the port), and one
    point of it that has a value while it answers, from `low` to `high` on any day."""

    title: str
    endpoint: Endpoint
    section: str
    point: str
    low: float
    high: float
    every_s: float = 2.0

    def configuration(self, name: str) -> str:
        return f"  {name}: {{{self.section.format(port=self.endpoint.port)}, every: {self.every_s:g} s}}"


class _Threads(Protocol):
    """A server that has threads of its own."""

    port: int

    def start(self) -> object: ...

    def stop(self) -> None: ...


class Served:
    """Such a server as an `Endpoint`."""

    def __init__(self, server: _Threads) -> None:
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.stop)


class Neighbours:
    """All of them at a `date` (YYYY-MM-DD) and `hour`, their day `speed` times as fast. Use it as a context."""

    def __init__(self, date: str, hour: float, *, speed: float = 1.0, seed: int = 1, zone: ZoneInfo | None = None) -> None:
        self._zone = zone or ZoneInfo("Europe/Prague")
        self._seed = seed
        begin, began = moment(date, hour, self._zone), time.monotonic()
        self.clock: Callable[[], float] = lambda: begin + (time.monotonic() - began) * speed
        self.known: Mapping[str, Neighbour] = self._made(begin)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="neighbours", daemon=True)

    def _made(self, begin: float) -> dict[str, Neighbour]:
        roof, shed = Roof(seed=self._seed), Roof(_SECOND_ROOF, serial="10f8a1b2c3d5", seed=self._seed + 1)
        shelly = Shelly(watts=self._heating, clock=self.clock)
        shelly.counts(1_204_000.0)
        return {
            "roof": self._dtu("a Hoymiles DTU with four inverters", Plant(roof, begin)),
            "shed": self._dtu("another DTU with two", Plant(shed, begin)),
            "heatpump": Neighbour(
                "a heat pump with a Luxtronik controller",
                LuxtronikPump(wall=self.clock),
                "source: luxtronik, host: 127.0.0.1, port: {port}",
                "outside_temperature",
                -30.0,
                45.0,
            ),
            "heating": Neighbour(
                "a Shelly that measures the heat pump",
                ShellyServer(shelly),
                "source: shelly, host: 127.0.0.1, port: {port}",
                "power",
                0.0,
                2300.0,
            ),
            "boiler": Neighbour(
                "a Viessmann heating, and its maker's cloud",
                Served(ViessmannCloud(day_limit=_MANY, short_limit=_MANY)),
                _VICARE,
                "outside_temperature",
                -30.0,
                45.0,
            ),
            "weather": Neighbour(
                "the weather's forecast",
                Served(OpenMeteo()),
                "source: open-meteo, latitude: 50.09, longitude: 14.42, url: 'http://127.0.0.1:{port}/v1/forecast'",
                "temperature",
                -40.0,
                50.0,
            ),
            "annex": Neighbour(
                "an inverter that speaks SunSpec",
                TcpServer({1: Station(SunSpec((1, 103), sun_inverter()))}),
                "profile: sunspec, via: 'tcp://127.0.0.1:{port}'",
                "inverter_power",
                0.0,
                10_000.0,
            ),
            "mains": self._meter("the meter of the house, an Eastron SDM630", "eastron-sdm630", self._house),
            "wallbox": self._meter("the meter of a wallbox, an SDM120", "eastron-sdm120", lambda _: (0.0,)),
            "workshop": self._meter(
                "the meter of a workshop, a Carlo Gavazzi EM24", "carlo-gavazzi-em24", lambda now: [watts / 4 for watts in self._house(now)]
            ),
        }

    def _dtu(self, title: str, plant: Plant) -> Neighbour:
        dtu = Dtu(plant, clock=self.clock)
        return Neighbour(title, dtu, "profile: hoymiles-dtu, via: 'tcp://127.0.0.1:{port}'", "pv_power", 0.0, 4000.0)

    def _meter(self, title: str, profile: str, watts: Callable[[float], Sequence[float]]) -> Neighbour:
        chosen = library.load(profile)
        meter = Meter(chosen, watts=watts, clock=self.clock)
        meter.counts(8_211.0, 340.0)
        unit = chosen.line.unit if chosen.line.unit_tcp is None else chosen.line.unit_tcp
        way = f"profile: {profile}, via: 'tcp://127.0.0.1:{{port}}'"
        return Neighbour(title, TcpServer({unit: Station(meter)}), way, "power", 0.0, 25_000.0)

    def _house(self, now: float) -> Sequence[float]:
        local = datetime.fromtimestamp(now, self._zone)
        drawn = load(self._seed, local.toordinal(), local.hour * 3600 + local.minute * 60 + local.second)
        return [float(sum(pair)) for pair in zip(drawn.house, drawn.backup, strict=True)]

    def _heating(self, now: float) -> Sequence[float]:
        """What the heat pump draws on each phase: it runs in turns, as the simulated controller says."""
        return (760.0, 740.0, 755.0) if now / 3600 % 1.0 < 0.65 else (9.0, 4.0, 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            for neighbour in self.known.values():
                self._do(neighbour.endpoint.start())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for neighbour in self.known.values():
            self._do(neighbour.endpoint.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def configuration(self) -> list[str]:
        """A line of `ohmstead.yaml` for each, below `devices:`."""
        return [neighbour.configuration(name) for name, neighbour in self.known.items()]

    def cut(self, name: str) -> None:
        """Off the network: nobody answers on its port."""
        self._do(self.known[name].endpoint.stop())

    def plug(self, name: str) -> None:
        """Back on it, on the same port."""
        self._do(self.known[name].endpoint.start())

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_S)  # type: ignore[arg-type]  # a coroutine, as `Endpoint` says
