"""A simulated account at Viessmann's cloud, and a reader of it, with clocks of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests

from ohmstead.profiles import library
from ohmstead.readings import Snapshot, Value
from ohmstead.sim.vicare import CLIENT_ID, PASSWORD, USER, ViessmannCloud
from ohmstead.sim.vicare_home import Equipment
from ohmstead.sources.lasting import LastingMemory
from ohmstead.sources.polling import Member
from ohmstead.sources.vicare import VicareReader
from ohmstead.sources.vicare_budget import Allowance, Budget
from ohmstead.sources.vicare_cloud import Account, Cloud
from ohmstead.sources.vicare_login import Endpoints, Flow
from ohmstead.sources.vicare_token import TokenFile, granted
from ohmstead.store.protocol import StoreError

NOON = 1_767_960_000.0
"""2026-01-09 12:00 UTC."""

HEATING, STAT, BOX = "house", "house-7571381000000001-zigbee-00158d0001abcdef", "house-7571381000000001-gateway"

PROFILES = cache(library.load)
"""Read once for all tests."""


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Kept:
    """What a source keeps, over restarts of it; in a store that may be full or broken."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.full = self.broken = False

    def read(self, key: str) -> str | None:
        if self.broken:
            raise StoreError("disk I/O error")
        return self.values.get(key)

    def write(self, key: str, value: str) -> None:
        if self.full:
            raise StoreError("no space left on device")
        self.values[key] = value


class Home:
    """An account and its reader; `restart` makes the reader anew, with what was kept. `user` empty: nobody has given a password."""

    def __init__(
        self,
        folder: Path,
        equipment: Sequence[Equipment] | None = None,
        *,
        user: str = USER,
        password: str = PASSWORD,
        allowance: Allowance | None = None,
        one_by_one: bool = False,
        day_limit: int = 1450,
        short_limit: int = 120,
    ) -> None:
        self.clock = Clock()
        self.kept = Kept()
        self.tokens = TokenFile(folder / "token.json")
        self.account = Account(CLIENT_ID, user, password if user else "")
        self.allowance = allowance or Allowance()
        self.one_by_one = one_by_one
        self.members: dict[str, Member] = {}
        self.cloud = ViessmannCloud(equipment, wall=self.clock, day_limit=day_limit, short_limit=short_limit).start()
        self.restart()

    def restart(self, timeout_s: float = 20.0) -> None:
        memory = LastingMemory(self.kept, "house")
        budget = Budget(self.allowance, memory, "vicare/house/requests", self.clock)
        self.line = Cloud(
            self.account,
            self.tokens,
            budget,
            memory,
            "vicare/house",
            endpoints=Endpoints.of(self.cloud.url),
            timeout_s=timeout_s,
            wall=self.clock,
        )
        self.reader = VicareReader("house", self.line, self._adopt, memory, one_by_one=self.one_by_one, load=PROFILES, wall=self.clock)

    def _adopt(self, member: Member) -> None:
        self.members[member.device] = member

    async def values(self) -> dict[str, dict[str, Value]]:
        """One poll: the values of each device."""
        return by_device(await self.reader.read())

    async def close(self) -> None:
        await self.reader.close()
        self.cloud.stop()


Made = Callable[..., Home]


@asynccontextmanager
async def homes(folder: Path) -> AsyncIterator[Made]:
    """What makes homes of the arguments of `Home`; they are closed at the end."""
    there: list[Home] = []

    def make(*args: Any, **options: Any) -> Home:
        there.append(Home(folder, *args, **options))
        return there[-1]

    yield make
    for one in there:
        await one.close()


def by_device(snapshots: Sequence[Snapshot]) -> dict[str, dict[str, Value]]:
    found: dict[str, dict[str, Value]] = {}
    for snapshot in snapshots:
        found.setdefault(snapshot.device, {}).update(snapshot.values)
    return found


async def until(condition: Callable[[], object], what: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 30
    while not condition():
        if loop.time() > deadline:
            pytest.fail(f"{what} did not come")
        await asyncio.sleep(0.01)


def tokens_asked(house: Home) -> int:
    return sum(asked.endswith("/token") for asked in house.cloud.asked)


def log_in_by_hand(endpoints: Endpoints) -> Any:
    """What the cloud grants somebody else's browser."""
    flow = Flow.begin(CLIENT_ID)
    sent_to = requests.get(flow.address(endpoints), allow_redirects=False, timeout=30).headers["Location"]
    return requests.post(endpoints.token, data=flow.for_code(flow.code(sent_to)), timeout=30).json()


def log_in(house: Home) -> None:
    """As a person does who uses a browser, beside a gateway that is running."""
    flow = Flow.begin(CLIENT_ID)
    answer = requests.get(flow.address(Endpoints.of(house.cloud.url)), allow_redirects=False, timeout=30)
    said = requests.post(f"{house.cloud.url}/idp/v3/token", data=flow.for_code(flow.code(answer.headers["Location"])), timeout=30).json()
    house.tokens.write(granted(said, house.clock()))


async def let_in_by_browser(made: Made) -> Home:
    """A home whose gateway knows no password."""
    house = made()
    await house.values()
    house.account = Account(CLIENT_ID)
    house.restart()
    await house.values()
    return house
