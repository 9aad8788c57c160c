"""The register maps of the simulated Growatt inverters: SPH with its two tables of slots, MIN/MOD (TL-XH) with one table of tagged slots.

From the Growatt facts. What they leave open is decided here: when slots of both modes are in force, battery first wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .registers import Writable

LOAD_FIRST, BATTERY_FIRST, GRID_FIRST = 0, 1, 2
EXPORT_MODE, EXPORT_RATE = 122, 123
UNIT = 1

ALL_DAY = 23 << 8 | 59
_ENABLED = 0x8000
_TIME = Writable(allowed=frozenset(hour << 8 | minute for hour in range(24) for minute in range(60)))
_TAGGED = Writable(
    allowed=frozenset(
        enabled | priority << 13 | hour << 8 | minute
        for enabled in (0, _ENABLED)
        for priority in range(3)
        for hour in range(24)
        for minute in range(60)
    )
)
_SWITCH = Writable(0, 1)
_PERCENT = Writable(0, 100)
_COMMON: Mapping[int, Writable] = {
    3: Writable(allowed=frozenset([*range(101), 255])),
    EXPORT_MODE: Writable(0, 3),
    EXPORT_RATE: Writable(allowed=frozenset([*range(1001), *range(0x10000 - 1000, 0x10000)])),
}
_COMMON_AT_FIRST = {3: 100, 22: 0, 30: UNIT, 88: 207, EXPORT_MODE: 3, EXPORT_RATE: 1000}


@dataclass(frozen=True)
class Family:
    """A register map. Ranges are (first, last); `powers` and `energies` are input registers by what they show (u32, tenths of W, kWh)."""

    name: str
    holding: tuple[tuple[int, int], ...]
    inputs: tuple[tuple[int, int], ...]
    at_first: Mapping[int, int]
    writable: Mapping[int, Writable]
    deaf: tuple[int, int] | None
    """Registers that take every write and keep none."""
    slots: tuple[int, ...]
    """First registers of the slots, each `slot_words` long and only kept when written whole."""
    slot_words: int
    charge_rate: int
    charge_stop: int
    charge_ac: int
    discharge_rate: int
    discharge_stop: int
    rates_always: bool
    """Whether rates and the charge stop SOC act in load first as well."""
    priority: Callable[[Mapping[int, int], int], int]
    """The mode in force at a local time (hour << 8 | minute)."""
    powers: Mapping[str, int]
    energies: Mapping[str, tuple[int, ...]]
    soc: int
    temperatures: Mapping[str, int]
    """`inverter` and `battery` (of the SPH the cells, of the others the converter), tenths of °C."""
    frequency: int
    status: Mapping[int, int]
    priority_at: tuple[str, int]
    """The table and the register that show the priority."""

    def slot_of(self, address: int) -> int | None:
        """The first register of the slot that a register belongs to."""
        return next((slot for slot in self.slots if slot <= address < slot + self.slot_words), None)


def _by_tables(registers: Mapping[int, int], now: int) -> int:
    for mode, first in ((BATTERY_FIRST, 1100), (GRID_FIRST, 1080)):
        for slot in (first, first + 3, first + 6):
            if registers[slot + 2] == 1 and registers[slot] <= now <= registers[slot + 1]:
                return mode
    return LOAD_FIRST


def _by_tags(registers: Mapping[int, int], now: int) -> int:
    modes = [
        registers[slot] >> 13 & 3
        for slot in _XH_SLOTS
        if registers[slot] & _ENABLED and registers[slot] & 0x1FFF <= now <= registers[slot + 1]
    ]
    return BATTERY_FIRST if BATTERY_FIRST in modes else GRID_FIRST if GRID_FIRST in modes else LOAD_FIRST


_SPH_SLOTS = (1080, 1083, 1086, 1100, 1103, 1106)
_XH_SLOTS = (3038, 3040, 3042, 3044)

SPH = Family(
    name="Growatt SPH",
    holding=((0, 124), (1000, 1125)),
    inputs=((0, 124), (1000, 1125)),
    at_first={**_COMMON_AT_FIRST, 43: 3501, 1070: 100, 1071: 10, 1090: 100, 1091: 100, **{slot + 1: ALL_DAY for slot in _SPH_SLOTS}},
    writable={
        **_COMMON,
        **dict.fromkeys((1070, 1071, 1090, 1091), _PERCENT),
        1092: _SWITCH,
        **{slot + part: rule for slot in _SPH_SLOTS for part, rule in enumerate((_TIME, _TIME, _SWITCH))},
    },
    deaf=None,
    slots=_SPH_SLOTS,
    slot_words=3,
    charge_rate=1090,
    charge_stop=1091,
    charge_ac=1092,
    discharge_rate=1070,
    discharge_stop=1071,
    rates_always=False,
    priority=_by_tables,
    powers={"pv": 1, "inverter": 35, "discharge": 1009, "charge": 1011, "import": 1021, "export": 1029, "house": 1037},
    energies={
        "pv": (91,),
        "purchase": (1044, 1046),
        "feed": (1048, 1050),
        "discharge": (1052, 1054),
        "charge": (1056, 1058),
        "house": (1060,),
        "grid_charge": (1124,),
    },
    soc=1014,
    temperatures={"inverter": 93, "battery": 1040},
    frequency=37,
    status={0: 1, 1083: 1, 1090: 100, 1096: 99},
    priority_at=("holding", 1044),
)

MIN = Family(
    name="Growatt MIN",
    holding=((0, 124), (1000, 1124), (3000, 3124)),
    inputs=((0, 124), (3000, 3249)),
    at_first={**_COMMON_AT_FIRST, 43: 5100, 3000: 0, 3036: 100, 3037: 10, 3047: 100, 3048: 100, 3067: 10, 3082: 13},
    writable={
        **_COMMON,
        3000: Writable(0, 1000),
        **dict.fromkeys((3036, 3037, 3047, 3048), Writable(1, 100)),
        3049: _SWITCH,
        3067: _PERCENT,
        3082: Writable(13, 100),
        **{slot + part: rule for slot in _XH_SLOTS for part, rule in enumerate((_TAGGED, _TIME))},
    },
    deaf=(1000, 1124),
    slots=_XH_SLOTS,
    slot_words=2,
    charge_rate=3047,
    charge_stop=3048,
    charge_ac=3049,
    discharge_rate=3036,
    discharge_stop=3037,
    rates_always=True,
    priority=_by_tags,
    powers={"pv": 3001, "inverter": 3023, "discharge": 3178, "charge": 3180, "import": 3041, "export": 3043, "house": 3045},
    energies={
        "pv": (3053,),
        "purchase": (3067, 3069),
        "feed": (3071, 3073),
        "house": (3075, 3077),
        "discharge": (3125, 3127),
        "charge": (3129, 3131),
        "grid_charge": (3133, 3135),
    },
    soc=3171,
    temperatures={"inverter": 3093, "battery": 3176},
    frequency=3025,
    status={3000: 5 << 8 | 1},
    priority_at=("input", 3144),
)

FAMILIES: Mapping[str, Family] = {"sph": SPH, "min": MIN}
