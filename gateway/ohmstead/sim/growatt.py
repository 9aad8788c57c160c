"""A simulated Growatt inverter: a battery that follows its slots, in registers that are as particular as the real ones.

From the Growatt facts: holding and input registers are two tables; at most 64 registers at once; dead registers answer 0; a slot
sticks only when it is written whole, a lone write to one of its registers is taken back after some 6 s (or refused: the stop of a
TL-XH); frames want 250 ms between them (`PacedStation`). With no slot the inverter serves the load first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from .growatt_families import BATTERY_FIRST, EXPORT_MODE, EXPORT_RATE, GRID_FIRST, LOAD_FIRST, MIN, SPH, UNIT, Family
from .load import load
from .registers import ILLEGAL_ADDRESS, ILLEGAL_VALUE, READ_HOLDING, READ_INPUT, RefusalError, Write
from .station import Answer, Station
from .sun import clouds, on_plane, sky

__all__ = [
    "BATTERY_FIRST", "GRID_FIRST", "LOAD_FIRST", "MIN", "MOST_AT_ONCE", "SPH", "UNIT",
    "Family", "Growatt", "Hardware", "PacedStation", "Powers", "morning",
]  # fmt: skip

MOST_AT_ONCE = 64
PAUSE_S = 0.25
REVERT_S = 6.0

_STEP_S = 10
_WH = 3600.0


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


@dataclass
class _Rival:
    """Somebody else who writes to the inverter: `every` so many seconds, next at `due` of the clock."""

    address: int
    word: int
    every: float
    due: float


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
        family: Family = SPH,
        soc: float = 55.0,
        start: float = 0.0,
        speed: float = 1.0,
        sun: Callable[[float], float] | None = None,
        demand: Callable[[float], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.hardware = hardware or Hardware()
        self.family = family
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
        self._holding = {at: 0 for first, last in family.holding for at in range(first, last + 1)} | dict(family.at_first)
        self._reverting: dict[int, tuple[float, int]] = {}
        self._energy = dict.fromkeys(("pv", "purchase", "feed", "charge", "discharge", "house", "grid_charge"), 0.0)
        self._rivals: list[_Rival] = []
        self.powers = self._flow()

    # What a master sees

    def read(self, function: int, address: int, count: int) -> list[int]:
        if count > MOST_AT_ONCE:
            raise RefusalError(ILLEGAL_VALUE)
        tables = self.family.holding if function == READ_HOLDING else self.family.inputs
        if not any(first <= address and address + count - 1 <= last for first, last in tables):
            raise RefusalError(ILLEGAL_ADDRESS)
        with self._lock:
            self._move_on()
            table = self._holding if function == READ_HOLDING else self._inputs()
            return [table.get(at, 0) for at in range(address, address + count)]

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        written = range(address, address + len(words))
        deaf = self.family.deaf
        if deaf is not None and deaf[0] <= written[0] and written[-1] <= deaf[1]:
            return
        rules = [self.family.writable.get(at) for at in written]
        if any(rule is None for rule in rules):
            raise RefusalError(ILLEGAL_ADDRESS)
        if not all(rule.accepts(word) for rule, word in zip(rules, words, strict=True) if rule is not None):
            raise RefusalError(ILLEGAL_VALUE)
        slot = self.family.slot_of(address)
        if self.family.slot_words == 2 and slot is not None and slot != address:
            raise RefusalError(ILLEGAL_VALUE)
        with self._lock:
            self._move_on()
            for at, word in zip(written, words, strict=True):
                self._put(at, word, written)
            self.powers = self._flow()
            self.writes.append(Write(self._wall(), function, address, tuple(words)))

    def _put(self, at: int, word: int, written: range) -> None:
        slot = self.family.slot_of(at)
        if slot is None or (slot in written and slot + self.family.slot_words - 1 in written):
            self._reverting.pop(at, None)
        elif self._holding[at] != word:
            before = self._reverting.get(at, (0.0, self._holding[at]))[1]
            self._reverting[at] = (self._clock() + REVERT_S, before)
        self._holding[at] = word

    def __setitem__(self, address: int, word: int) -> None:
        """Changes a holding register as somebody else does: the maker's app, another master."""
        with self._lock:
            self._move_on()
            self._holding[address] = word
            self.powers = self._flow()

    def rival(self, address: int, word: int, every: float) -> None:
        """From now on somebody else writes `word` to a holding register every so many seconds."""
        with self._lock:
            self._rivals.append(_Rival(address, word, every, self._clock() + every))

    def __getitem__(self, address: int) -> int:
        """The holding register at `address` now, as a test looks at it."""
        return self.read(READ_HOLDING, address, 1)[0]

    def input(self, address: int) -> int:
        """The input register at `address` now."""
        return self.read(READ_INPUT, address, 1)[0]

    @property
    def moment(self) -> float:
        """Seconds since 1970 of the simulated day."""
        with self._lock:
            self._move_on()
            return self._now

    @property
    def soc(self) -> float:
        """State of charge in %."""
        return 100 * self.stored / (self.hardware.capacity * _WH)

    # What goes on inside

    def _move_on(self) -> None:
        clock = self._clock()
        for at in [at for at, (due, _) in self._reverting.items() if due <= clock]:
            self._holding[at] = self._reverting.pop(at)[1]
        for rival in self._rivals:
            if rival.due <= clock:
                self._holding[rival.address] = rival.word
                rival.due = clock + rival.every
        until = self._start + (clock - self._began) * self._speed
        while until - self._now >= 1.0:
            seconds = min(_STEP_S, until - self._now)
            self.powers = self._flow(seconds)
            self._count(self.powers, seconds)
            self._now += seconds
        self.powers = self._flow()
        if self.family.priority_at[0] == "holding":
            self._holding[self.family.priority_at[1]] = self.priority

    @property
    def priority(self) -> int:
        """Which mode is in force: load first, battery first or grid first."""
        moment = self._local()
        return self.family.priority(self._holding, moment.hour << 8 | moment.minute)

    def _flow(self, seconds: float = 1.0) -> Powers:
        """The powers of this moment, held for `seconds`; the battery never goes beyond where its mode stops it."""
        pv, house, hardware = self._sun(self._now), self._demand(self._now), self.hardware
        registers, mode, family = self._holding, self.priority, self.family
        full = hardware.capacity * _WH

        def room(stop: float) -> float:
            """W that fit in until this SOC."""
            return max(0.0, (full * stop / 100 - self.stored) / seconds)

        def left(stop: float) -> float:
            """W that can be taken out down to this SOC."""
            return max(0.0, (self.stored - full * stop / 100) / seconds)

        charge = hardware.rated * registers[family.charge_rate] / 100
        discharge = hardware.rated * registers[family.discharge_rate] / 100
        if mode == BATTERY_FIRST:
            wanted = charge if registers[family.charge_ac] else min(charge, pv)
            battery = -min(wanted, room(registers[family.charge_stop]))
        elif mode == GRID_FIRST:
            battery = min(discharge, left(registers[family.discharge_stop]))
        elif house > pv:
            battery = min(house - pv, discharge if family.rates_always else hardware.rated, left(hardware.floor))
        elif family.rates_always:
            battery = -min(pv - house, charge, room(registers[family.charge_stop]))
        else:
            battery = -min(pv - house, hardware.rated, room(100))
        most_out = hardware.rated * _signed(registers[EXPORT_RATE]) / 1000 if registers[EXPORT_MODE] else float("inf")
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
        powers, family = self.powers, self.family
        share = abs(powers.battery) / self.hardware.rated
        words = dict(family.status) | {family.frequency: 5000, family.soc: round(self.soc)}
        words[family.temperatures["inverter"]] = round(10 * (30 + 25 * share))
        words[family.temperatures["battery"]] = round(10 * self.battery_temperature)
        if family is SPH:
            words |= {1000: 5 if self.priority else 1, 1013: round(10 * (50 + self.soc / 50))}
        if family.priority_at[0] == "input":
            words[family.priority_at[1]] = self.priority
        shown = {
            "pv": powers.pv,
            "inverter": powers.pv + powers.battery,
            "discharge": max(powers.battery, 0.0),
            "charge": max(-powers.battery, 0.0),
            "import": max(powers.grid, 0.0),
            "export": max(-powers.grid, 0.0),
            "house": powers.house,
        }
        tenths = {at: shown[name] for name, at in family.powers.items()}
        tenths |= {at: self._energy[name] / (1000 * _WH) for name, places in family.energies.items() for at in places}
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
