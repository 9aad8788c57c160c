"""Lives of the arbiter that somebody ends with kill -9: `python -m tests.unit.arbiter_life FOLDER`, then the number of a life on a line of
its own; it says its process when it lives, and `ended` when it does no more.

Events of all kinds in a random order, as fast as they are taken; what the actuator writes goes to the file `writes` at once, a line each.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import structlog

from ohmcore import events
from ohmstead.control.dispatch import Outcome
from ohmstead.control.target import Target
from tests.unit.battery_house import House

_OUTCOMES = ("done", "done", "done", "unchanged", "failed", "rejected")


async def live(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    file = os.open(folder / "writes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begun = 1e6 * (seed + 1)
    house = House(folder, boot="monday", now=begun) if seed % 3 < 2 else House(folder, boot="tuesday", now=5.0)  # a machine that was off

    house.wall = time.time()

    async def write(target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        os.write(file, f"{target.control} {raw}\n".encode())
        await asyncio.sleep(chance.random() * 0.002)
        return Outcome(chance.choice(_OUTCOMES))

    house.hand.write = write  # type: ignore[method-assign]  # this one keeps a list that outlives the process
    async with house:
        os.write(1, f"{os.getpid()}\n".encode())
        for number in range(1_000_000):
            house.mono += chance.choice((0.0, 0.001, 0.1, 5.0, 40.0))
            house.wall = time.time()
            happens(house, chance)
            if number % 5 == 0:
                await asyncio.sleep(0)
            if number % 50 == 0:
                await asyncio.sleep(0.002)


def happens(house: House, chance: random.Random) -> None:
    """Any one thing."""
    judge, device = house.arbiter, "growatt"
    match chance.randrange(12):
        case 0 | 1 | 2:
            house.read(battery_soc=chance.choice((5, 14, 50, 50, 50, 97)), grid_import=chance.choice((0.0, 9000.0, 12000.0)))
        case 3 | 4 | 5:
            author = chance.choice(("loxone", "api", "plan", "nobody"))
            identity = judge.next_identity(device, author) if author != "nobody" else 1
            control = chance.choice(("charge", "discharge", "export_limit", "heat"))
            judge.feed(device, events.wish(author, control, chance.randrange(-5, 110), identity, chance.choice((None, 5_000, 60_000))))
        case 6:
            judge.feed(device, events.mode("api", chance.choice(("auto", "manual", "no"))))
        case 7:
            judge.feed(device, chance.choice((events.stop(0), events.stop(1), events.reset("api"), events.reset("plan"))))
        case 8:
            judge.feed(device, events.grid(chance.choice((None, None, 4200))))
        case 9:
            judge.node_says(device, "charge", chance.choice((None, 33)), house.wall)
        case 10:
            judge.feed(device, chance.choice((events.withdraw("api"), events.lease("api", 60_000), ("nonsense", None))))
        case _:
            judge.tick()


def main() -> None:
    """Each life is a fork, so that all that takes time to load is loaded once."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    folder = Path(sys.argv[1])
    while line := sys.stdin.readline():
        life = os.fork()
        if not life:
            asyncio.run(live(folder, int(line)))
            os._exit(1)
        os.waitpid(life, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
