"""What the tests of Shelly share: a device, its reader, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ohmstead.readings import Snapshot, Value
from ohmstead.sim.shelly import Shelly, ShellyServer
from ohmstead.sources.polling import Member
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_rpc import Channel, HttpChannel

NOON = 1_790_000_000.0


class Kept(dict[str, str]):
    """A memory that counts how often it is written to."""

    writes = 0

    def read(self, key: str) -> str | None:
        return self.get(key)

    def write(self, key: str, value: str) -> None:
        self.writes += 1
        self[key] = value


class Rig:
    """A reader and what came of it; `now` is everybody's clock. What is to be kept with a reading is in `memory` with it."""

    def __init__(self, shelly: Shelly | None = None) -> None:
        self.now = NOON
        self.shelly = shelly or Shelly(clock=lambda: self.now)
        self.memory = Kept()
        self.members: list[Member] = []
        self.emitted: list[Snapshot] = []

    def reader(self, channel: Channel) -> ShellyReader:
        reader = ShellyReader("house", channel, self.members.append, self._emit, self.memory, wall=lambda: self.now)
        reader.start()
        return reader

    async def poll(self, reader: ShellyReader) -> dict[str, Value]:
        (snapshot,) = await reader.read()
        self.memory.update(snapshot.kept)
        return dict(snapshot.values)

    def _emit(self, snapshot: Snapshot) -> None:
        self.memory.update(snapshot.kept)
        self.emitted.append(snapshot)

    @property
    def points(self) -> set[str]:
        return set(self.members[-1].profile.points)


def channel(server: ShellyServer, password: str | None = None, timeout_s: float = 20.0) -> HttpChannel:
    return HttpChannel("127.0.0.1", server.port, password, timeout_s=timeout_s)


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.005)
