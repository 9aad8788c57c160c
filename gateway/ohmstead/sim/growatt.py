"""The simulated Growatt SPH: a battery that follows its slots, in registers that are as particular as the real ones.

From the Growatt facts: holding and input registers are two tables; at most 64 registers at once; dead registers answer 0; a slot's
triple (start, stop, enabled) sticks only when it is written whole, a lone write to one of its registers is taken back after some
6 s; frames want 250 ms between them (`PacedStation`). With no slot the inverter serves the load first.

What no fact says is decided here: when slots of both modes are in force, battery first wins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from .load import load
from .registers import ILLEGAL_ADDRESS, ILLEGAL_VALUE, READ_HOLDING, READ_INPUT, RefusalError, Writable, Write
from .station import Answer, Station
from .sun import clouds, on_plane, sky

UNIT = 1
MOST_AT_ONCE = 64
PAUSE_S = 0.25
REVERT_S = 6.0

LOAD_FIRST, BATTERY_FIRST, GRID_FIRST = 0, 1, 2
_TABLES = ((0, 124), (1000, 1125))
_STEP_S = 10
_WH = 3600.0
_EXPORT_MODE, _EXPORT_RATE, _PRIORITY = 122, 123, 1044
_DISCHARGE_RATE, _DISCHARGE_STOP, _DISCHARGE_SLOT = 1070, 1071, 1080
_CHARGE_RATE, _CHARGE_STOP, _CHARGE_AC, _CHARGE_SLOT = 1090, 1091, 1092, 1100
_SLOTS = (1080, 1083, 1086, 1100, 1103, 1106)
_TIME = Writable(allowed=frozenset(hour << 8 | minute for hour in range(24) for minute in range(60)))
_SWITCH = Writable(0, 1)
_PERCENT = Writable(0, 100)

WRITABLE: Mapping[int, Writable] = {
    3: Writable(allowed=frozenset([*range(101), 255])),
    _EXPORT_MODE: Writable(0, 3),
    _EXPORT_RATE: Writable(allowed=frozenset([*range(1001), *range(0x10000 - 1000, 0x10000)])),
    **dict.fromkeys((_DISCHARGE_RATE, _DISCHARGE_STOP, _CHARGE_RATE, _CHARGE_STOP), _PERCENT),
    _CHARGE_AC: _SWITCH,
    **{slot + part: rule for slot in _SLOTS for part, rule in enumerate((_TIME, _TIME, _SWITCH))},
}
"""Address to what it takes."""


@dataclass(frozen=True)
class Hardware:
    """The inverter, its battery and its roof. Powers in W, capacity in Wh."""

    seed: int = 1
    rated: int = 5000
    capacity: float = 10000.0
    peak: float = 6000.0
    floor: float = 10.0
    """SOC in % at which load first stops discharging."""
    latitude: float = 50.0
    longitude: float = 14.4
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Prague"))


@dataclass(frozen=True)
class Powers:
    """One moment, in W: what the sun and the battery give (charging is below zero), what the house takes, what comes from the grid."""

    pv: float
    battery: float
    house: float
    grid: float


class Growatt:
    """Registers of an inverter whose day goes by `speed` times as fast as the clock. `soc` in %, `start` in seconds since 1970.

    `sun` and `demand` are W at a moment of the simulated day; a test may say them. `writes` lists what was accepted.
    """

    def __init__(
        self,
        hardware: Hardware | None = None,
        *,
        soc: float = 55.0,
        start: float = 0.0,
        speed: float = 1.0,
        sun: Callable[[float], float] | None = None,
        demand: Callable[[float], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.hardware = hardware or Hardware()
        self.stored = soc / 100 * self.hardware.capacity * _WH
        self.battery_temperature = 24.0
        self.writes: list[Write] = []
        self._sun = sun or self._roof
        self._demand = demand or self._house
        self._clock = clock
        self._wall = wall
        self._speed = speed
        self._began = clock()
        self._start = start or wall()
        self._now = self._start
        self._lock = threading.Lock()
        self._holding = {at: 0 for first, last in _TABLES for at in range(first, last + 1)}
        self._holding |= {3: 100, 22: 0, 30: UNIT, 43: 3501, 88: 207, _EXPORT_MODE: 3, _EXPORT_RATE: 1000}
        self._holding |= {_DISCHARGE_RATE: 100, _DISCHARGE_STOP: 10, _CHARGE_RATE: 100, _CHARGE_STOP: 100}
        self._holding |= {slot + 1: 23 << 8 | 59 for slot in _SLOTS}
        self._reverting: dict[int, tuple[float, int]] = {}
        self._energy = dict.fromkeys(("pv", "purchase", "feed", "charge", "discharge", "house", "grid_charge"), 0.0)
        self.powers = self._flow()

    # What a master sees

    def read(self, function: int, address: int, count: int) -> list[int]:
        if count > MOST_AT_ONCE:
            raise RefusalError(ILLEGAL_VALUE)
        if not any(first <= address and address + count - 1 <= last for first, last in _TABLES):
            raise RefusalError(ILLEGAL_ADDRESS)
        with self._lock:
            self._move_on()
            table = self._holding if function == READ_HOLDING else self._inputs()
            return [table.get(at, 0) for at in range(address, address + count)]

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        rules = [WRITABLE.get(at) for at in range(address, address + len(words))]
        if any(rule is None for rule in rules):
            raise RefusalError(ILLEGAL_ADDRESS)
        if not all(rule.accepts(word) for rule, word in zip(rules, words, strict=True) if rule is not None):
            raise RefusalError(ILLEGAL_VALUE)
        written = range(address, address + len(words))
        with self._lock:
            self._move_on()
            for at, word in zip(written, words, strict=True):
                slot = next((slot for slot in _SLOTS if slot <= at < slot + 3), None)
                if slot is None or (slot in written and slot + 2 in written):
                    self._reverting.pop(at, None)
                elif self._holding[at] != word:
                    before = self._reverting.get(at, (0.0, self._holding[at]))[1]
                    self._reverting[at] = (self._clock() + REVERT_S, before)
                self._holding[at] = word
            self.powers = self._flow()
            self.writes.append(Write(self._wall(), function, address, tuple(words)))

    def __getitem__(self, address: int) -> int:
        """The holding register at `address` now, as a test looks at it."""
        return self.read(READ_HOLDING, address, 1)[0]

    def input(self, address: int) -> int:
        """The input register at `address` now."""
        return self.read(READ_INPUT, address, 1)[0]

    @property
    def soc(self) -> float:
        """State of charge in %."""
        return 100 * self.stored / (self.hardware.capacity * _WH)

    # What goes on inside

    def _move_on(self) -> None:
        clock = self._clock()
        for at in [at for at, (due, _) in self._reverting.items() if due <= clock]:
            self._holding[at] = self._reverting.pop(at)[1]
        until = self._start + (clock - self._began) * self._speed
        while until - self._now >= 1.0:
            seconds = min(_STEP_S, until - self._now)
            self.powers = self._flow(seconds)
            self._count(self.powers, seconds)
            self._now += seconds
        self.powers = self._flow()
        self._holding[_PRIORITY] = self.priority

    @property
    def priority(self) -> int:
        """Which mode is in force: load first, battery first or grid first."""
        if self._in_slot(_CHARGE_SLOT):
            return BATTERY_FIRST
        return GRID_FIRST if self._in_slot(_DISCHARGE_SLOT) else LOAD_FIRST

    def _in_slot(self, first: int) -> bool:
        moment = self._local()
        now = moment.hour << 8 | moment.minute
        slots = (first, first + 3, first + 6)
        return any(self._holding[slot + 2] == 1 and self._holding[slot] <= now <= self._holding[slot + 1] for slot in slots)

    def _flow(self, seconds: float = 1.0) -> Powers:
        """The powers of this moment, held for `seconds`; the battery never goes beyond where its mode stops it."""
        pv, house, hardware = self._sun(self._now), self._demand(self._now), self.hardware
        registers, mode = self._holding, self.priority
        full = hardware.capacity * _WH

        def room(stop: float) -> float:
            """W that fit in until this SOC."""
            return max(0.0, (full * stop / 100 - self.stored) / seconds)

        def left(stop: float) -> float:
            """W that can be taken out down to this SOC."""
            return max(0.0, (self.stored - full * stop / 100) / seconds)

        if mode == BATTERY_FIRST:
            most = hardware.rated * registers[_CHARGE_RATE] / 100
            wanted = most if registers[_CHARGE_AC] else min(most, pv)
            battery = -min(wanted, room(registers[_CHARGE_STOP]))
        elif mode == GRID_FIRST:
            battery = min(hardware.rated * registers[_DISCHARGE_RATE] / 100, left(registers[_DISCHARGE_STOP]))
        elif house > pv:
            battery = min(house - pv, hardware.rated, left(hardware.floor))
        else:
            battery = -min(pv - house, hardware.rated, room(100))
        most_out = hardware.rated * _signed(registers[_EXPORT_RATE]) / 1000 if registers[_EXPORT_MODE] else float("inf")
        excess = pv + battery - house - most_out
        if excess > 0:
            curtailed = min(pv, excess)
            pv -= curtailed
            battery -= min(max(battery, 0.0), excess - curtailed)
        return Powers(pv, battery, house, house - pv - battery)

    def _count(self, powers: Powers, seconds: float) -> None:
        full = self.hardware.capacity * _WH
        self.stored = min(max(self.stored - powers.battery * seconds, 0.0), full)
        self.battery_temperature += (22.0 + 8.0 * (powers.battery / self.hardware.rated) ** 2 - self.battery_temperature) * seconds / 5400
        amounts = {
            "pv": powers.pv,
            "purchase": max(powers.grid, 0.0),
            "feed": max(-powers.grid, 0.0),
            "charge": max(-powers.battery, 0.0),
            "discharge": max(powers.battery, 0.0),
            "house": powers.house,
            "grid_charge": max(min(-powers.battery, powers.grid), 0.0),
        }
        for name, watts in amounts.items():
            self._energy[name] += watts * seconds

    def _inputs(self) -> dict[int, int]:
        powers = self.powers
        load_percent = abs(powers.battery) / self.hardware.rated
        words = {0: 1, 37: 5000, 93: round(10 * (30 + 25 * load_percent)), 1000: 5 if self.priority else 1}
        words |= {1013: round(10 * (50 + self.soc / 50)), 1014: round(self.soc), 1040: round(10 * self.battery_temperature)}
        words |= {1083: 1, 1090: 100, 1096: 99}
        tenths = {
            1: powers.pv,
            35: powers.pv + powers.battery,
            1009: max(powers.battery, 0.0),
            1011: max(-powers.battery, 0.0),
            1021: max(powers.grid, 0.0),
            1029: max(-powers.grid, 0.0),
            1037: powers.house,
        }
        energies = {91: "pv", 1044: "purchase", 1046: "purchase", 1048: "feed", 1050: "feed", 1052: "discharge", 1054: "discharge"}
        energies |= {1056: "charge", 1060: "house", 1124: "grid_charge"}
        tenths |= {at: self._energy[name] / (1000 * _WH) for at, name in energies.items()}
        for at, size in tenths.items():
            raw = round(10 * size) & 0xFFFFFFFF
            words |= {at: raw >> 16, at + 1: raw & 0xFFFF}
        return words

    def _local(self) -> datetime:
        return datetime.fromtimestamp(self._now, UTC).astimezone(self.hardware.zone)

    def _roof(self, moment: float) -> float:
        light = sky(moment, self.hardware.latitude, self.hardware.longitude)
        plane = on_plane(light, 35.0, 180.0, clouds(self.hardware.seed, int(moment)))
        return self.hardware.peak * plane / 1000 * 0.9

    def _house(self, moment: float) -> float:
        local = self._local()
        demand = load(self.hardware.seed, local.toordinal(), local.hour * 3600 + local.minute * 60 + local.second)
        return float(sum(demand.house) + sum(demand.backup))


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word


@dataclass
class PacedStation(Station):
    """A device that does not hear what comes sooner than `pause` seconds after the last request it answered."""

    pause: float = PAUSE_S
    clock: Callable[[], float] = time.monotonic
    unheard: int = 0
    _busy_until: float = field(default=0.0, init=False)

    def answer(self, unit: int, request: bytes) -> Answer | None:
        now = self.clock()
        if now < self._busy_until:
            self.unheard += 1
            return None
        self._busy_until = now + self.pause
        return super().answer(unit, request)


def morning(day: date, hour: float, zone: ZoneInfo) -> float:
    """Local `hour` of a day in seconds since 1970."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() + hour * 3600
