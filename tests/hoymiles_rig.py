"""What the tests of Hoymiles DTUs share: a simulated one, its reader with a clock that is set by hand, and its contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

from ohmstead.app import Gateway
from ohmstead.config import Config
from ohmstead.profiles import library
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.hoymiles import HoymilesJson
from ohmstead.publish.hoymiles_discovery import Wanted
from ohmstead.readings import Snapshot, Value
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sim.hoymiles_plant import Plant, Roof
from ohmstead.sources.hoymiles import HoymilesReader
from ohmstead.sources.hoymiles_line import Endpoint
from ohmstead.sources.hoymiles_plant import DtuPlant, Wishes
from ohmstead.sources.polling import Member
from tests.publishing import Recorder, Sent

PRAGUE = ZoneInfo("Europe/Prague")
NOON = 1_781_949_600.0
"""2026-06-20 12:00 in Prague."""


class Remembered:
    """A memory that is one dict, so that a second reader finds what a first one left."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def read(self, key: str) -> str | None:
        return self.kept.get(key)

    def write(self, key: str, value: str) -> None:
        self.kept[key] = value


class House:
    """One DTU at `dtu`, read at `now` (UTC seconds), which each poll moves on by `period_s`."""

    def __init__(
        self,
        dtu: Dtu,
        *,
        device: str = "roof",
        wishes: Wishes | None = None,
        wanted: Wanted | None = None,
        memory: Remembered | None = None,
        now: float = NOON,
        period_s: float = 60.0,
        timeout_s: float = 20.0,
        retries: int = 0,
        claims: dict[str, str] | None = None,
        known: Mapping[str, Value] | None = None,
    ) -> None:
        self.dtu = dtu
        self.now = now
        self.memory = memory or Remembered()
        self.members: dict[str, Member] = {}
        self.adopted: list[Member] = []
        self.broker = Recorder()
        self.broker.connected = True
        self._period_s = period_s
        plant, inverter = library.load("hoymiles-dtu"), library.load("hoymiles-inverter")
        meant = DtuPlant(device, plant, inverter, self._adopt, self.memory, zone=PRAGUE, period_s=period_s, wishes=wishes)
        endpoint = Endpoint("127.0.0.1", dtu.port, timeout_s=timeout_s, retries=retries, gap_s=0.0)
        self.reader = HoymilesReader(meant, endpoint, period_s=period_s, wall=lambda: self.now)
        self.contract = HoymilesJson(
            device,
            plant,
            inverter,
            self.broker,
            Discovery(grace_s=0.0),
            period_s=period_s,
            wanted=wanted,
            known=known,
            claims=claims,
        )
        self.contract.start()

    def _adopt(self, member: Member) -> None:
        self.members[member.device] = member
        self.adopted.append(member)

    async def poll(self) -> dict[str, Snapshot]:
        """One poll, published; device → snapshot."""
        snapshots: Sequence[Snapshot] = await self.reader.read()
        for snapshot in snapshots:
            self.contract.take(snapshot)
        self.contract.tick(self.now)
        self.now += self._period_s
        return {snapshot.device: snapshot for snapshot in snapshots}

    async def published(self) -> list[Sent]:
        """What one poll publishes."""
        self.broker.take()
        await self.poll()
        return self.broker.take()


def states(sent: Sequence[Sent]) -> dict[str, str]:
    """Topic behind the root → payload of the state messages."""
    return {one.topic.removeprefix("homeassistant/hoymiles_mqtt/"): one.payload for one in sent if one.topic.endswith("/state")}


@asynccontextmanager
async def roof(now: float = NOON, **settings: Any) -> AsyncIterator[tuple[Dtu, House]]:
    """A DTU with a roof that lives by the clock of who reads it; `settings` are those of the house."""
    holder: list[House] = []
    dtu = Dtu(Plant(Roof(), now), clock=lambda: holder[0].now if holder else now)
    async with dtu:
        house = House(dtu, now=now, **settings)
        holder.append(house)
        yield dtu, house
        await house.reader.close()


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Waits for what has no event of its own."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(home: Config) -> AsyncIterator[Gateway]:
    """The whole gateway of a home, in this event loop; it ends well."""
    gateway, stop = Gateway(home), asyncio.Event()
    task = asyncio.create_task(gateway.run(stop))
    try:
        yield gateway
    finally:
        stop.set()
        assert await task == 0
