"""Three days of a roof, with a DTU that fails in every way and a gateway that restarts: the energies add up in the end."""

from __future__ import annotations

import random
from datetime import datetime

import pytest

from ohmstead.errors import SourceError
from ohmstead.readings import Snapshot
from ohmstead.sim.hoymiles import Dtu, Mood
from ohmstead.sim.hoymiles_plant import Plant, Roof, moment
from tests.hoymiles_rig import PRAGUE, House, Remembered

EVERY_S = 600.0
BEGIN = moment("2026-06-20", 12.0, PRAGUE)
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


@pytest.mark.parametrize("seed", [1, 2])
async def test_energies_of_three_days_never_fall_and_add_up(seed: int) -> None:
    chance = random.Random(seed)
    memory, now = Remembered(), [BEGIN]
    last: dict[tuple[str, str], tuple[float, datetime]] = {}
    async with Dtu(Plant(Roof(seed=seed), BEGIN), clock=lambda: now[0]) as dtu:
        assert dtu.plant is not None
        house = House(dtu, memory=memory, now=BEGIN, period_s=EVERY_S)
        for _ in range(3 * 144):
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
            for snapshot in read.values():
                nothing_falls(snapshot, last)
        now[0] = house.now = moment("2026-06-23", 13.0, PRAGUE)
        dtu.mood = Mood()
        read = await house.poll()
        await house.reader.close()

        ports = [dtu.plant.port(serial, port) for serial, peaks in dtu.plant.roof.inverters for port in range(1, len(peaks) + 1)]
    assert read["roof"].values["total_production"] == sum(int(port.total / 3600) for port in ports)
    assert read["roof"].values["today_production"] == sum(int(port.today / 3600) for port in ports)


def nothing_falls(snapshot: Snapshot, last: dict[tuple[str, str], tuple[float, datetime]]) -> None:
    """The total never; the day only when a new one has begun."""
    when = datetime.fromtimestamp(snapshot.time, PRAGUE)
    for point, value in snapshot.values.items():
        if not point.endswith("_production"):
            continue
        before = last.get((snapshot.device, point))
        if before is not None and not (point.endswith("today_production") and when.date() > before[1].date()):
            assert isinstance(value, int)
            assert value >= before[0], (snapshot.device, point, when)
        last[snapshot.device, point] = (float(value), when)
