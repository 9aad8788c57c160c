"""Stories of a DTU that does everything wrong, and what must hold of the energies whatever happens. Each returns what did not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

from ohmstead.errors import SourceError
from ohmstead.readings import Snapshot
from ohmstead.sim.hoymiles import Dtu, Mood
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment
from tests.hoymiles_rig import PRAGUE, House, Remembered

EVERY_S = 600.0
FAULTS: tuple[Mood, ...] = (
    Mood(refuse_at={3: 4}),
    Mood(refuse_at={0: 6}),
    Mood(close_at=frozenset({5})),
    Mood(asleep=frozenset({"116180123456"})),
    Mood(leave_out=frozenset({("114182a0b1c2", 2)})),
    Mood(registers=-1),
    Mood(byte_count=9),
    Mood(no_serial=True),
    Mood(cut=30, cut_closes=True),
)


class Energies:
    """Totals never fall, the day's production only when a new day has begun."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self._last: dict[tuple[str, str], tuple[float, datetime]] = {}

    def look(self, snapshots: Iterable[Snapshot]) -> None:
        for snapshot in snapshots:
            when = datetime.fromtimestamp(snapshot.time, PRAGUE)
            for point, value in snapshot.values.items():
                if not point.endswith("_production"):
                    continue
                energy = float(value)
                before = self._last.get((snapshot.device, point))
                new_day = point.endswith("today_production") and before is not None and when.date() > before[1].date()
                if before is not None and energy < before[0] and not new_day:
                    self.findings.append(f"{snapshot.device} {point} fell from {before[0]:g} to {energy:g} at {when}")
                self._last[snapshot.device, point] = (energy, when)


async def days(seed: int, number: int = 3) -> list[str]:
    """Days of a roof, polled each ten minutes, with faults in three polls of ten and a restart now and then. In the end every watt-hour of
    the roof has been counted."""
    chance = random.Random(seed)
    begin = moment("2026-06-20", 12.0, PRAGUE)
    memory, energies, now = Remembered(), Energies(), [begin]
    plant = Plant(Roof(seed=seed), begin)
    async with Dtu(plant, clock=lambda: now[0]) as dtu:
        house = House(dtu, memory=memory, now=begin, period_s=EVERY_S)
        for _ in range(number * 144):
            now[0] = house.now
            dtu.mood = chance.choice(FAULTS) if chance.random() < 0.3 else Mood()
            if chance.random() < 0.03:
                await house.reader.close()
                house = House(dtu, memory=memory, now=house.now, period_s=EVERY_S)
            try:
                read = await house.poll()
            except SourceError:
                house.now += EVERY_S
                continue
            energies.look(read.values())
        now[0] = house.now = moment("2026-06-20", 13.0, PRAGUE) + number * 86400.0
        dtu.mood = Mood()
        read = await house.poll()
        await house.reader.close()
    ports = [plant.port(serial, port) for serial, peaks in plant.roof.inverters for port in range(1, len(peaks) + 1)]
    for point, truth in (
        ("total_production", sum(int(port.total / 3600) for port in ports)),
        ("today_production", sum(int(port.today / 3600) for port in ports)),
    ):
        said = read["roof"].values.get(point)
        if said != truth:
            energies.findings.append(f"{point} is {said} in the end, the roof had {truth}")
    return [f"seed {seed}: {finding}" for finding in energies.findings]


async def nonsense(seed: int, polls: int) -> tuple[int, list[str]]:
    """Something that answers with anything: noise, exceptions, records of noise. How many polls gave readings, and what did not hold."""
    chance = random.Random(seed)
    energies, read = Energies(), 0
    async with _babbler(chance) as port:
        house = House(Dtu(port=port), timeout_s=0.1, retries=1, period_s=chance.choice((1.0, 60.0)))
        for _ in range(polls):
            try:
                energies.look((await house.poll()).values())
                read += 1
            except SourceError:
                house.now += 60.0
        await house.reader.close()
    return read, [f"seed {seed}: {finding}" for finding in energies.findings]


@asynccontextmanager
async def _babbler(chance: random.Random) -> AsyncIterator[int]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readexactly(12)
                answer = _anything(request[:2], chance)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _anything(transaction: bytes, chance: random.Random) -> bytes | None:
    """An answer of some kind to a request with this transaction; None hangs up."""
    kind = chance.randrange(7)
    if kind == 0:
        return chance.randbytes(chance.randint(1, 80))
    if kind == 1:
        return None
    if kind == 2:
        return transaction + b"\0\0\0\x03\x01\x83" + chance.randbytes(1)
    if kind == 3:
        return transaction + b"\0\0" + chance.randbytes(chance.randint(2, 60))
    name = chance.randbytes(6) if kind == 4 else bytes.fromhex(chance.choice(("114182a0b1c2", "104162778899", "000000000000")))
    return transaction + b"\0\0\0\x2b\x01\x03\x28\x0c" + name + bytes([chance.randint(0, 4)]) + chance.randbytes(32)
