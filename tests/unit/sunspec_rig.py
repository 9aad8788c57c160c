"""What the tests of SunSpec share: a device, its reader, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ohmstead.errors import SourceError
from ohmstead.profiles import library
from ohmstead.readings import Value
from ohmstead.sim.faults import Faults
from ohmstead.sim.station import Station
from ohmstead.sim.sunspec import SunSpec
from ohmstead.sim.tcp import TcpServer
from ohmstead.sources.polling import Member
from ohmstead.sources.sunspec import SunSpecReader
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine

NOON = 1_790_000_000.0


class Kept(dict[str, str]):
    """A memory."""

    def read(self, key: str) -> str | None:
        return self.get(key)

    def write(self, key: str, value: str) -> None:
        self[key] = value


class Rig:
    """A device, its reader, and what came of it."""

    def __init__(self, device: SunSpec, *, timeout_s: float = 20.0, retries: int = 0) -> None:
        self.device = device
        self.faults = Faults()
        self.station = Station(device, self.faults, turnaround=0.0)
        self.members: list[Member] = []
        self.memory = Kept()
        self.now = 0.0
        self.port = 0
        self.base = library.load("sunspec")
        self._patience = timeout_s, retries

    def reader(self) -> SunSpecReader:
        line = RegisterLine(Endpoint("127.0.0.1", self.port, 1, *self._patience))
        reader = SunSpecReader("roof", line, self.base, self.members.append, self.memory, wall=lambda: NOON, mono=lambda: self.now)
        reader.start()
        return reader

    async def poll(self, reader: SunSpecReader) -> dict[str, Value]:
        (snapshot,) = await reader.read()
        return dict(snapshot.values)

    @property
    def points(self) -> set[str]:
        return set(self.members[-1].profile.points)


@asynccontextmanager
async def rig_of(device: SunSpec, *, timeout_s: float = 20.0, retries: int = 0) -> AsyncIterator[tuple[Rig, SunSpecReader]]:
    rig = Rig(device, timeout_s=timeout_s, retries=retries)
    async with TcpServer({1: rig.station}) as server:
        rig.port = server.port
        reader = rig.reader()
        try:
            yield rig, reader
        finally:
            await reader.close()


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.005)


async def until_read(rig: Rig, reader: SunSpecReader) -> dict[str, Value]:
    """Polls until it succeeds: with 0.2 s for an answer a busy machine may need more than one."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await rig.poll(reader)
            except SourceError:
                await asyncio.sleep(0.05)
