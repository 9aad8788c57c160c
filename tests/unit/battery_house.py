"""A Growatt SPH as the arbiter has it: the real profile and store, an actuator that only remembers, and clocks that are set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ohmcore import events
from ohmcore.records import Decision
from ohmstead.batteries import batteries, targets_of
from ohmstead.config import load
from ohmstead.config.model import Config
from ohmstead.control.arbiter import Arbiter
from ohmstead.control.dispatch import Outcome
from ohmstead.control.setup import Battery
from ohmstead.control.target import Target
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.store.sqlite import SqliteStore

HOME = """
site: test
devices:
  growatt:
    profile: growatt-sph
    via: growatt-mqtt:energy/solar
    rated: 5 kW
    limits: {soc: 15..95 %, grid_import: 11 kW}
"""
LIVE: dict[str, Value] = {
    "battery_soc": 50,
    "battery_temperature": 25.0,
    "inverter_temperature": 40.0,
    "grid_import": 500.0,
    "grid_export": 0.0,
    "charge_power": 0.0,
    "discharge_power": 0.0,
    "battery": 0.0,
}
START = 1_000_000.0


class Hand:
    """An `Actuator` that writes down what it is given. `outcome` is what it says; while `deaf` it says nothing. `seen` is called before."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, int, float]] = []
        self.outcome = Outcome("done")
        self.deaf = False
        self.seen: Callable[[], None] = lambda: None

    async def holds(self, target: Target, raw: int) -> bool:
        return False

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        self.seen()
        self.writes.append((target.control, raw, lease_s))
        if self.deaf:
            await asyncio.Event().wait()
        return self.outcome

    def last(self, control: str) -> int | None:
        return next((raw for name, raw, _ in reversed(self.writes) if name == control), None)


class House:
    """`mono` and `wall` in seconds. `boot` names the run of the machine."""

    def __init__(self, folder: Path, boot: str = "monday", home: str = HOME, now: float = START) -> None:
        self.folder = folder
        self.mono, self.wall = now, 1_768_000_000.0
        self.hand = Hand()
        self.there = True
        self.config = configuration(folder, home)
        self.battery = the_battery(self.config)
        self.store = SqliteStore(folder / "ohm.db")
        self.arbiter = Arbiter(
            {"growatt": self.battery},
            {"growatt": self.hand},
            self.store.trail,
            reachable=lambda device: self.there,
            relay=lambda device, level: self.relayed.append(level),
            boot=boot,
            flush_s=0.01,
            mono=lambda: self.mono,
            wall=lambda: self.wall,
        )
        self.relayed: list[int] = []
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> House:
        self._running = asyncio.create_task(self.arbiter.run())
        await self.arbiter.start()
        await self.settled()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.arbiter.close()
        if self._running is not None:
            await asyncio.wait_for(self._running, 20)
        self.store.close()

    async def settled(self) -> None:
        """Until nothing is decided, written or kept any more."""
        loop = asyncio.get_running_loop()
        deadline, quiet = loop.time() + 20, 0
        while quiet < 3:
            assert loop.time() < deadline, "it does not come to rest"
            await asyncio.sleep(0.005)
            busy = any(task.get_name().startswith("control-growatt-") and not task.done() for task in asyncio.all_tasks())
            done = self.arbiter.state("growatt") is self.arbiter._seats["growatt"].durable
            quiet = 0 if self.arbiter.audit.waiting or not done or (busy and self.there and not self.hand.deaf) else quiet + 1

    def read(self, **values: Value) -> None:
        self.arbiter.take(Snapshot("growatt", "live", self.wall, Quality.GOOD, {**LIVE, **values}))

    async def wish(self, author: str, control: str, raw: int, lease_s: float | None = None) -> list[Decision]:
        identity = self.arbiter.next_identity("growatt", author)
        lease_ms = None if lease_s is None else round(lease_s * 1000)
        said = await self.arbiter.submit("growatt", events.wish(author, control, raw, identity, lease_ms))
        await self.settled()
        return said

    async def tell(self, event: tuple[object, ...]) -> list[Decision]:
        said = await self.arbiter.submit("growatt", event)
        await self.settled()
        return said

    async def passes(self, seconds: float, **values: Value) -> None:
        """Time passes, with a reading every ten seconds."""
        while seconds > 0:
            step = min(seconds, 10.0)
            self.mono += step
            self.wall += step
            seconds -= step
            self.read(**values)
            self.arbiter.tick()
            await self.settled()


def configuration(folder: Path, home: str = HOME) -> Config:
    file = folder / "ohmstead.yaml"
    file.write_text(home)
    return load(file, {})


def the_battery(config: Config) -> Battery:
    return batteries(config, {device: targets_of(config, device) for device in config.devices})["growatt"]
