"""The simulated M-TEC Energybutler: which registers take a write, and what an image of one needs.

Registers and their ranges as in the M-TEC facts: nine writable holding registers; 252 is the unit on RS485, 255 on TCP.
"""

from __future__ import annotations

from .registers import Writable

UNIT_RTU = 252
UNIT_TCP = 255

GENERAL, ECONOMIC, UPS, OFF_GRID = 257, 258, 259, 512
"""Operation modes, register 50000."""

MODE, INJECT_SWITCH, INJECT_LIMIT = 50000, 25100, 25103
ON_GRID_SOC_SWITCH, ON_GRID_SOC_LIMIT, OFF_GRID_SOC_SWITCH, OFF_GRID_SOC_LIMIT = 52502, 52503, 52504, 52505
CHARGE_LIMIT, DISCHARGE_LIMIT = 52601, 52603

SETTING = {
    MODE: "mode",
    INJECT_SWITCH: "inject_switch",
    INJECT_LIMIT: "inject_limit",
    ON_GRID_SOC_SWITCH: "on_grid_soc_switch",
    ON_GRID_SOC_LIMIT: "on_grid_soc_limit",
    OFF_GRID_SOC_SWITCH: "off_grid_soc_switch",
    OFF_GRID_SOC_LIMIT: "off_grid_soc_limit",
    CHARGE_LIMIT: "charge_limit",
    DISCHARGE_LIMIT: "discharge_limit",
}
"""Address to the setting of the physical day (`day.Settings`) that it writes."""

_SWITCH = Writable(0, 1)
_TENTHS_OF_PERCENT = Writable(0, 1000)
_TENTHS_OF_AMPERE = Writable(0, 1000)

WRITABLE: dict[int, Writable] = {
    MODE: Writable(allowed=frozenset({GENERAL, ECONOMIC, UPS, OFF_GRID})),
    INJECT_SWITCH: _SWITCH,
    INJECT_LIMIT: _TENTHS_OF_PERCENT,
    ON_GRID_SOC_SWITCH: _SWITCH,
    ON_GRID_SOC_LIMIT: _TENTHS_OF_PERCENT,
    OFF_GRID_SOC_SWITCH: _SWITCH,
    OFF_GRID_SOC_LIMIT: _TENTHS_OF_PERCENT,
    CHARGE_LIMIT: _TENTHS_OF_AMPERE,
    DISCHARGE_LIMIT: _TENTHS_OF_AMPERE,
}
"""Address to what it takes: switches 0/1, limits 0..100.0 %, currents 0..100.0 A, the four modes."""
