"""What a house draws: a base load on each phase and appliances that come and go, the same for the same seed and day."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

from .sun import noise

_HOUR = 3600


class Run(NamedTuple):
    """An appliance at work: seconds of the local day from and to, watts, phase 0..2, and how it switches (period and share)."""

    start: int
    end: int
    watts: int
    phase: int
    period: int = 0
    share: float = 1.0

    def power(self, second: int) -> int:
        if not self.start <= second < self.end:
            return 0
        if self.period and (second - self.start) % self.period >= self.share * self.period:
            return 0
        return self.watts


class Load(NamedTuple):
    """Watts by phase: what the house draws, and what hangs on the backup output instead."""

    house: tuple[int, int, int]
    backup: tuple[int, int, int]


_HABITS = (
    # what, runs a day, hours from..to, minutes least..most, watts, phase, period s, share
    ("kettle", 4, (6.0, 21.0), (2, 4), 2000, 0, 0, 1.0),
    ("hob", 2, (11.0, 19.5), (15, 35), 1800, 1, 40, 0.6),
    ("oven", 1, (16.0, 19.0), (30, 60), 2200, 2, 120, 0.45),
    ("dishwasher", 1, (13.0, 21.0), (25, 40), 1900, 0, 900, 0.5),
    ("washing machine", 1, (8.0, 16.0), (40, 70), 1700, 1, 1800, 0.35),
    ("water heater", 1, (2.0, 4.0), (60, 120), 2000, 2, 0, 1.0),
    ("television", 1, (18.5, 20.0), (90, 180), 130, 0, 0, 1.0),
    ("lights", 1, (17.0, 19.0), (180, 280), 160, 1, 0, 1.0),
    ("desk", 2, (8.0, 15.0), (90, 200), 140, 2, 0, 1.0),
)


@lru_cache(maxsize=8)
def runs(seed: int, day: int) -> tuple[Run, ...]:
    """The appliances' day; `day` is a day number (`date.toordinal`). No run goes past midnight."""
    chance = random.Random(seed * 1_000_003 + day)
    planned = []
    for _, often, hours, minutes, watts, phase, period, share in _HABITS:
        for _ in range(chance.randint(max(0, often - 1), often + 1)):
            start = int(chance.uniform(*hours) * _HOUR)
            end = min(start + int(chance.uniform(*minutes) * 60), 24 * _HOUR)
            planned.append(Run(start, end, int(watts * chance.uniform(0.9, 1.1)), phase, period, share))
    return tuple(planned)


def load(seed: int, day: int, second: int) -> Load:
    """The house's load at a second of a local day."""
    moment = day * 86400 + second
    fridge = 95 if (moment + seed * 613) % 2700 < 1100 else 4
    router = 14 + int(4 * noise(seed + 11, moment / 60))
    standby = [int(60 + 45 * noise(seed + 20 + phase, moment / 400)) for phase in range(3)]
    backup = (router, fridge, 6)
    house = list(standby)
    for run in runs(seed, day):
        house[run.phase] += run.power(second)
    return Load((house[0], house[1], house[2]), backup)
