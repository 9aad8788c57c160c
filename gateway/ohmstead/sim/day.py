"""A physical day of a house with a roof, a battery and a grid, in steps whose powers balance to the watt.

In every step, in whole watts (signs as in the profile: battery positive = discharge, grid positive = export):

    pv + battery  = inverter + backup + losses
    inverter      = load + grid
    phases add up to their total

(`inverter` is the grid port, where the house hangs; `backup` is the output of its own that goes on without a grid),

and every energy counter grows by exactly power x seconds. `step` is a pure function; the state is one small value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from . import mtec
from .load import load
from .sun import clouds, noise, on_plane, sky

Phases = tuple[int, int, int]

_LOWEST_SOC = 0.05
_TAPER_FROM = 0.95
_CELLS = 128
_OPEN_VOLTAGE = ((0.0, 2.90), (0.05, 3.10), (0.10, 3.20), (0.20, 3.25), (0.50, 3.29), (0.70, 3.32), (0.90, 3.34), (0.97, 3.38), (1.0, 3.45))
_RESISTANCE = 0.0009
"""Of one cell, in ohms."""


@dataclass(frozen=True)
class House:
    """The hardware and the place. Powers in W, capacity in Wh, degrees north and east."""

    seed: int = 1
    latitude: float = 50.0
    longitude: float = 14.4
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Prague"))
    rated: int = 12000
    capacity: float = 10000.0
    battery_power: int = 5000
    efficiency: float = 0.97
    strings: tuple[tuple[int, float, float], ...] = ((5600, 35.0, 180.0), (4400, 35.0, 250.0))
    """Peak W, tilt, orientation of each of the two strings."""


@dataclass(frozen=True)
class Settings:
    """What an owner may write, as the registers hold it (percent and amperes in tenths)."""

    mode: int = mtec.GENERAL
    inject_switch: int = 0
    inject_limit: int = 1000
    on_grid_soc_switch: int = 1
    on_grid_soc_limit: int = 100
    off_grid_soc_switch: int = 1
    off_grid_soc_limit: int = 200
    charge_limit: int = 250
    discharge_limit: int = 250


class Flow(NamedTuple):
    """Powers of one moment in W; three values are phases A, B, C."""

    pv: tuple[int, int]
    battery: int
    inverter: Phases
    load: Phases
    backup: Phases
    grid: Phases
    losses: int


class Counters(NamedTuple):
    """Energy in W·s, or seconds for `generation`. Only ever grows, the day's until midnight."""

    feed: int = 0
    purchase: int = 0
    backup: int = 0
    charge: int = 0
    discharge: int = 0
    pv: int = 0
    generation: int = 0

    def after(self, flow: Flow, seconds: int) -> Counters:
        grid, pv = sum(flow.grid), sum(flow.pv)
        return Counters(
            self.feed + max(0, grid) * seconds,
            self.purchase + max(0, -grid) * seconds,
            self.backup + sum(flow.backup) * seconds,
            self.charge + max(0, -flow.battery) * seconds,
            self.discharge + max(0, flow.battery) * seconds,
            self.pv + pv * seconds,
            self.generation + (seconds if pv else 0),
        )


@dataclass(frozen=True)
class State:
    """Everything the house remembers. `time` is whole seconds since 1970; `stored` is what is in the battery, in W·s."""

    time: int
    stored: float
    temperature: float
    flow: Flow
    day: Counters
    total: Counters

    def soc(self, house: House) -> float:
        """State of charge, 0..1."""
        return self.stored / (house.capacity * 3600)


_STILL = Flow((0, 0), 0, (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0), 0)
_KWH = 3_600_000
_YEARS_BEFORE = Counters(12340 * _KWH, 4560 * _KWH, 32 * _KWH, 7890 * _KWH, 7010 * _KWH, 34560 * _KWH, 13570 * 3600)


def midnight(house: House, year: int, month: int, day: int) -> int:
    """The beginning of a local day, in seconds since 1970."""
    return int(datetime(year, month, day, tzinfo=house.zone).timestamp())


def begin(house: House, time: int, soc: float = 0.35) -> State:
    """The house at `time` with the battery at `soc` (0..1); totals as after some years of service."""
    return State(time, soc * house.capacity * 3600, 21.0, _STILL, Counters(), _YEARS_BEFORE)


def step(house: House, settings: Settings, state: State, seconds: int) -> State:
    """The house `seconds` later, its powers held constant in between. A step must not cross local midnight (`until_midnight`)."""
    now = datetime.fromtimestamp(state.time, house.zone)
    second = now.hour * 3600 + now.minute * 60 + now.second
    flow = _flow(house, settings, state, now, second, seconds)
    stored = state.stored - (flow.battery / house.efficiency if flow.battery > 0 else flow.battery * house.efficiency) * seconds
    warm = ambient(state.time, house) * 0.3 + 15 + 9 * (flow.battery / house.battery_power) ** 2
    temperature = state.temperature + (warm - state.temperature) * (1 - math.exp(-seconds / 5400))
    later = state.time + seconds
    day = state.day.after(flow, seconds)
    if datetime.fromtimestamp(later, house.zone).date() != now.date():
        day = Counters()
    return State(later, min(max(stored, 0.0), house.capacity * 3600), temperature, flow, day, state.total.after(flow, seconds))


def until_midnight(house: House, time: int) -> int:
    """Seconds to the next local midnight; never 0."""
    now = datetime.fromtimestamp(time, house.zone)
    tomorrow = now.date() + timedelta(days=1)
    return midnight(house, tomorrow.year, tomorrow.month, tomorrow.day) - time


def advance(house: House, settings: Settings, state: State, time: int, most_steps: int = 100) -> State:
    """Steps until `time`: of a second where there is time for that, else in about `most_steps` longer ones (300 s at most)."""
    length = min(300, max(1, math.ceil((time - state.time) / most_steps)))
    while state.time < time:
        state = step(house, settings, state, min(length, time - state.time, until_midnight(house, state.time)))
    return state


def ambient(time: int, house: House) -> float:
    """Outdoor temperature in °C: a season, a day, some weather."""
    days = time / 86400
    season = math.cos(2 * math.pi * ((days - 10957) % 365.2425 - 200) / 365.2425)
    hour = (time % 86400) / 3600 + house.longitude / 15
    return 10.0 + 10.0 * season + 5.0 * math.cos(2 * math.pi * (hour - 15) / 24) + 4.0 * (noise(house.seed + 40, days) - 0.5)


def cell_voltage(soc: float, power: float) -> float:
    """Voltage of a mean LFP cell at `soc` (0..1) under `power` (W of the whole battery, positive = discharge)."""
    for (low, below), (high, above) in pairwise(_OPEN_VOLTAGE):
        if soc <= high:
            open_voltage = below + (above - below) * (soc - low) / (high - low)
            break
    else:
        open_voltage = _OPEN_VOLTAGE[-1][1]
    return open_voltage - _RESISTANCE * power / (_CELLS * open_voltage)


def battery_voltage(soc: float, power: float) -> float:
    return _CELLS * cell_voltage(soc, power)


def _flow(house: House, settings: Settings, state: State, now: datetime, second: int, seconds: int) -> Flow:
    demand = load(house.seed, now.toordinal(), second)
    strings = _roof(house, state.time)
    most_charge, most_discharge = _battery_limits(house, settings, state, seconds)
    if settings.mode == mtec.OFF_GRID:
        pv, battery, served = _alone(sum(strings), sum(demand.backup), most_charge, most_discharge)
        inverter: Phases = (0, 0, 0)
        drawn: Phases = (0, 0, 0)
        backup = _share(served, demand.backup)
    else:
        discharge, from_grid = _intention(house, settings, state, now.hour, most_charge, most_discharge)
        limits = (most_charge, discharge, from_grid)
        pv, battery, ac = _on_grid(house, settings, sum(strings), sum(demand.house), sum(demand.backup), limits)
        inverter, drawn, backup = _share(ac, (1, 1, 1)), demand.house, demand.backup
    first = strings[0] * pv // max(1, sum(strings))
    grid = (inverter[0] - drawn[0], inverter[1] - drawn[1], inverter[2] - drawn[2])
    return Flow((first, pv - first), battery, inverter, drawn, backup, grid, pv + battery - sum(inverter) - sum(backup))


def _roof(house: House, time: int) -> tuple[int, int]:
    """What the two strings could give, in W."""
    light = sky(time, house.latitude, house.longitude)
    if light.elevation <= 0:
        return 0, 0
    through = clouds(house.seed, time)
    warmth = ambient(time, house)
    watts = []
    for peak, tilt, orientation in house.strings:
        plane = on_plane(light, tilt, orientation, through)
        cell = warmth + plane * 0.03
        watts.append(int(peak * plane / 1000 * (1 - 0.004 * (cell - 25)) * 0.96))
    return watts[0], watts[1]


def _battery_limits(house: House, settings: Settings, state: State, seconds: int) -> tuple[int, int]:
    """Most charging and most discharging power in W: hardware, current limits, and what a step may move within the SOC limits."""
    soc, full = state.soc(house), house.capacity * 3600
    volts = battery_voltage(soc, 0)
    if settings.mode == mtec.OFF_GRID:
        floor = settings.off_grid_soc_limit / 1000 if settings.off_grid_soc_switch else _LOWEST_SOC
    else:
        floor = settings.on_grid_soc_limit / 1000 if settings.on_grid_soc_switch else _LOWEST_SOC
    usable = max(0.0, state.stored - max(floor, _LOWEST_SOC) * full)
    taper = 1.0 if soc <= _TAPER_FROM else max(0.05, (1 - soc) / (1 - _TAPER_FROM))
    charge = min(house.battery_power * taper, settings.charge_limit / 10 * volts, (full - state.stored) / house.efficiency / seconds)
    discharge = min(house.battery_power, settings.discharge_limit / 10 * volts, usable * house.efficiency / seconds)
    return int(max(0.0, charge)), int(max(0.0, discharge))


def _intention(house: House, settings: Settings, state: State, hour: int, most_charge: int, most_discharge: int) -> tuple[int, int]:
    """What the mode allows: discharging power, and charging power to be taken from the grid if need be (W)."""
    if settings.mode == mtec.UPS:
        return 0, most_charge
    if settings.mode == mtec.ECONOMIC:
        if 1 <= hour < 5:
            return 0, min(3000, most_charge) if state.soc(house) < 0.8 else 0
        return (most_discharge, 0) if 17 <= hour < 22 else (0, 0)
    return most_discharge, 0


def _losses(ac: int, battery: int) -> int:
    """Conversion losses in W: standby, the bridge, the battery's converter (the recorded image loses 31 W at 4.2 kW)."""
    return 30 + round(0.012 * abs(ac)) + round(0.008 * abs(battery))


def _ac(direct: int, battery: int) -> int:
    """AC power for a DC power, so that DC = AC + losses as nearly as whole watts allow."""
    ac = direct
    for _ in range(3):
        ac = direct - _losses(ac, battery)
    return ac


def _on_grid(house: House, settings: Settings, sun: int, wanted: int, backup: int, limits: tuple[int, int, int]) -> tuple[int, int, int]:
    """PV, battery and AC power (W): the house first, then the battery, then the grid; the rest of the sun is curtailed.

    `limits`: most charging, most discharging, and charging that may be taken from the grid.
    """
    most_charge, most_discharge, from_grid = limits
    battery = wanted + backup - sun
    for _ in range(3):
        battery = wanted + backup + _losses(wanted, battery) - sun
    battery = max(-most_charge, min(most_discharge, battery))
    if from_grid:
        battery = min(battery, -from_grid)
    ac = _ac(sun + battery - backup, battery)
    most = min(house.rated, wanted + house.rated * settings.inject_limit // 1000) if settings.inject_switch else house.rated
    if ac <= most:
        return sun, battery, ac
    pv = most + backup + _losses(most, battery) - battery
    return (pv, battery, most) if pv > 0 else (0, most + backup + _losses(most, battery), most)


def _alone(sun: int, wanted: int, most_charge: int, most_discharge: int) -> tuple[int, int, int]:
    """PV, battery and backup power (W) without a grid: what cannot be served is shed, what nobody takes is curtailed."""
    battery = wanted - sun
    for _ in range(3):
        battery = wanted + _losses(wanted, battery) - sun
    battery = max(-most_charge, min(most_discharge, battery))
    served = min(wanted, _ac(sun + battery, battery))
    if served <= 0:
        return 0, 0, 0
    return min(sun, served + _losses(served, battery) - battery), battery, served


def _share(total: int, weights: Phases) -> Phases:
    """`total` split by weights into whole watts that add up to it."""
    whole = sum(weights)
    if whole == 0:
        return 0, 0, total
    first, second = total * weights[0] // whole, total * weights[1] // whole
    return first, second, total - first - second


def start_of(house: House, date: str, hour: float, settings: Settings | None = None) -> State:
    """The house on a local `date` (YYYY-MM-DD) at `hour`, after it has lived through the day until then."""
    year, month, day = (int(part) for part in date.split("-"))
    dawn = begin(house, midnight(house, year, month, day))
    return advance(house, settings or Settings(), dawn, dawn.time + int(hour * 3600), most_steps=2000)


def local(house: House, time: int) -> datetime:
    return datetime.fromtimestamp(time, UTC).astimezone(house.zone)


def with_setting(settings: Settings, name: str, word: int) -> Settings:
    """Settings with one changed, as a write to its register does."""
    return replace(settings, **{name: word})
