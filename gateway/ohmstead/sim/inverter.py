"""The M-TEC inverter of the physical day: what its registers say at a moment, encoded through the profile.

The encoding is written here a second time on purpose: a mistake in the gateway's decoder meets an independent encoder.
"""

from __future__ import annotations

import math
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from . import mtec
from .day import Counters, Flow, House, Phases, Settings, State, advance, ambient, battery_voltage, cell_voltage, local, with_setting
from .registers import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, READ_HOLDING, RefusalError, Write
from .sun import noise

HOLE = 42405
"""What stands in registers that answer but mean nothing (as in the recorded image): whoever decodes it shows 42405."""

SERIAL = "SIM12K3P26000001"
_EQUIPMENT = bytes((30, 7))
_FIRMWARE = bytes((27, 52, 4, 0, 20, 1, 10, 3))
_PACKED = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "u64": ">Q", "i64": ">q", "f32": ">f", "f64": ">d"}

Raw = float | str | bytes | datetime


class _Point(Protocol):
    """What the encoder needs of a profile's point."""

    @property
    def id(self) -> str: ...
    @property
    def table(self) -> str | None: ...
    @property
    def address(self) -> int: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def words(self) -> int: ...
    @property
    def scale(self) -> float: ...


class _Line(Protocol):
    @property
    def readable(self) -> tuple[tuple[int, int], ...]: ...


class DeviceProfile(Protocol):
    """What the simulation needs of a profile: the points' places, and which registers answer at all."""

    @property
    def points(self) -> Mapping[str, _Point]: ...
    @property
    def line(self) -> _Line: ...


def encode(profile: DeviceProfile, values: Mapping[str, Raw]) -> dict[int, int]:
    """Holding registers (address to word) for values in the points' units; texts as `str`, byte texts as `bytes`, dates as `datetime`.

    Readable registers without a point hold `HOLE`. Raises `KeyError` for a point that has no value.
    """
    registers = {at: HOLE for first, last in profile.line.readable for at in range(first, last + 1)}
    for name, point in profile.points.items():
        if point.table == "holding":
            packed = _pack(point, values[name])
            registers.update(enumerate(struct.unpack(f">{len(packed) // 2}H", packed), point.address))
    return registers


def _pack(point: _Point, value: Raw) -> bytes:
    size = 2 * point.words
    if isinstance(value, datetime):
        return bytes((value.year % 100, value.month, value.day, value.hour, value.minute, value.second))
    if isinstance(value, str):
        return value.encode("ascii").ljust(size)[:size]
    if isinstance(value, bytes):
        return value.ljust(size, b"\0")[:size]
    if point.kind == "bit":
        return int(value).to_bytes(size, "big")
    packing = _PACKED[point.kind or ""]
    scaled = value / point.scale
    return struct.pack(packing, scaled if point.kind in ("f32", "f64") else round(scaled))


def values_of(house: House, settings: Settings, state: State, serial: str = SERIAL) -> dict[str, Raw]:
    """Every point of the M-TEC profile that has registers, by its name, in its unit."""
    flow, moment = state.flow, state.time
    off_grid = settings.mode == mtec.OFF_GRID
    status = 5 if off_grid else 2
    return {
        "serial_no": serial,
        "equipment_info": _EQUIPMENT,
        "firmware_version": _FIRMWARE,
        "inverter_date": local(house, moment),
        "inverter_status": status,
        "fault_flag_1": 0,
        "fault_flag_2": 0,
        "bms_error_code": 0,
        "bms_protection_code": 0,
        "bms_alarm_code": 0,
        "bms_status": 2,
        "grid_power": sum(flow.grid),
        "inverter": sum(flow.inverter),
        "pv": sum(flow.pv),
        "backup": sum(flow.backup),
        "battery": flow.battery,
        **_ac_side(house, flow, moment),
        **_backup_side(house, flow, moment),
        **_pv_side(flow, state.total),
        **_battery_side(house, state),
        **_temperatures(house, flow, moment),
        **_energies(state.day, state.total),
        "mode": settings.mode,
        "grid_inject_switch": settings.inject_switch,
        "grid_inject_limit": settings.inject_limit / 10,
        "on_grid_soc_switch": settings.on_grid_soc_switch,
        "on_grid_soc_limit": settings.on_grid_soc_limit / 10,
        "off_grid_soc_switch": settings.off_grid_soc_switch,
        "off_grid_soc_limit": settings.off_grid_soc_limit / 10,
        "charge_limit": settings.charge_limit / 10,
        "discharge_limit": settings.discharge_limit / 10,
    }


def _volts(house: House, moment: int, exported: Phases) -> tuple[float, float, float]:
    """Phase voltages: 230 V, what the street does, and 0.6 V for each kW exported."""
    a, b, c = (228 + 4 * noise(house.seed + 50 + n, moment / 300) + watts * 0.0006 for n, watts in enumerate(exported))
    return a, b, c


def _ac_side(house: House, flow: Flow, moment: int) -> dict[str, Raw]:
    volts = _volts(house, moment, flow.grid)
    side: dict[str, Raw] = {"grid_fequency": 49.98 + 0.04 * noise(house.seed + 60, moment / 30)}
    for n, phase in enumerate("abc"):
        following = (n + 1) % 3
        between = math.sqrt(volts[n] ** 2 + volts[following] ** 2 + volts[n] * volts[following])
        side[f"grid_{phase}"] = flow.grid[n]
        side[f"inverter_{phase}"] = flow.inverter[n]
        side[f"ac_voltage_{phase}"] = volts[n]
        side[f"ac_voltage_{phase}_{'abc'[following]}"] = between
        side[f"ac_current_{phase}"] = abs(flow.inverter[n]) / volts[n]
    return side


def _backup_side(house: House, flow: Flow, moment: int) -> dict[str, Raw]:
    side: dict[str, Raw] = {}
    for n, phase in enumerate("abc"):
        volts = 229.5 + noise(house.seed + 70 + n, moment / 120)
        side[f"backup_voltage_{phase}"] = volts
        side[f"backup_current_{phase}"] = flow.backup[n] / volts
        side[f"backup_frequency_{phase}"] = 49.98 + 0.04 * noise(house.seed + 60, moment / 30)
        side[f"backup_{phase}"] = flow.backup[n]
    return side


def _pv_side(flow: Flow, total: Counters) -> dict[str, Raw]:
    side: dict[str, Raw] = {"pv_generation_duration": total.generation // 3600}
    for n, watts in enumerate(flow.pv, 1):
        volts = 0.0 if watts <= 0 else 560 + 60 * min(1.0, watts / 2000)
        side[f"pv_{n}"] = watts
        side[f"pv_voltage_{n}"] = volts
        side[f"pv_current_{n}"] = watts / volts if volts else 0.0
    return side


def _battery_side(house: House, state: State) -> dict[str, Raw]:
    soc, watts = state.soc(house), state.flow.battery
    volts = battery_voltage(soc, watts)
    cell = cell_voltage(soc, watts)
    return {
        "battery_soc": soc * 100,
        "battery_soh": 99.1,
        "battery_voltage": volts,
        "battery_current": watts / volts,
        "battery_mode": 1 if watts < 0 else 0,
        "battery_temp": state.temperature,
        "battery_cell_t_max": state.temperature + 1.2,
        "battery_cell_t_min": state.temperature - 0.9,
        "battery_cell_v_max": cell + 0.006,
        "battery_cell_v_min": cell - 0.007,
    }


def _temperatures(house: House, flow: Flow, moment: int) -> dict[str, Raw]:
    cellar = 14 + 0.3 * ambient(moment, house)
    share = abs(sum(flow.inverter)) / house.rated
    return {f"inverter_temp{n}": cellar + base + rise * share for n, base, rise in ((1, 12, 28), (2, 10, 24), (3, 4, 10), (4, 8, 20))}


def _energies(day: Counters, total: Counters) -> dict[str, Raw]:
    names = {"grid_feed": "feed", "grid_purchase": "purchase", "battery_charge": "charge", "battery_discharge": "discharge"}
    names |= {"backup": "backup", "pv": "pv"}
    energies: dict[str, Raw] = {}
    for point, counter in names.items():
        energies[f"{point}_day"] = getattr(day, counter) // 360_000 / 10
        energies[f"{point}_total"] = getattr(total, counter) // 360_000 / 10
    return energies


class PhysicalInverter:
    """Registers of the physical day as it goes on, `speed` times as fast as the clock (seconds, monotonic).

    The day moves on when somebody reads, at most once a second of the house; one answer shows one moment. A write changes the
    house from then on and is recorded in `writes` with the time of `wall`.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        house: House,
        state: State,
        *,
        settings: Settings | None = None,
        speed: float = 1.0,
        serial: str = SERIAL,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._profile = profile
        self._house = house
        self._state = state
        self._settings = settings or Settings()
        self._speed = speed
        self._serial = serial
        self._clock = clock
        self._wall = wall
        self._began = clock()
        self._began_at = state.time
        self._lock = threading.Lock()
        self._words = self._encode()
        self.writes: list[Write] = []

    @property
    def state(self) -> State:
        """The house now."""
        with self._lock:
            self._move_on()
            return self._state

    @property
    def settings(self) -> Settings:
        with self._lock:
            return self._settings

    def read(self, function: int, address: int, count: int) -> list[int]:
        if function != READ_HOLDING:
            raise RefusalError(ILLEGAL_FUNCTION)
        with self._lock:
            self._move_on()
            try:
                return [self._words[at] for at in range(address, address + count)]
            except KeyError:
                raise RefusalError(ILLEGAL_ADDRESS) from None

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        for at, word in enumerate(words, address):
            rule = mtec.WRITABLE.get(at)
            if rule is None:
                raise RefusalError(ILLEGAL_ADDRESS)
            if not rule.accepts(word):
                raise RefusalError(ILLEGAL_VALUE)
        with self._lock:
            self._move_on()
            for at, word in enumerate(words, address):
                self._settings = with_setting(self._settings, mtec.SETTING[at], word)
            self._words = self._encode()
            self.writes.append(Write(self._wall(), function, address, tuple(words)))

    def __getitem__(self, address: int) -> int:
        """The register at `address` now, as a test looks at it."""
        return self.read(READ_HOLDING, address, 1)[0]

    def _move_on(self) -> None:
        now = self._began_at + int((self._clock() - self._began) * self._speed)
        if now > self._state.time:
            self._state = advance(self._house, self._settings, self._state, now)
            self._words = self._encode()

    def _encode(self) -> dict[int, int]:
        return encode(self._profile, values_of(self._house, self._settings, self._state, self._serial))
