"""What the OpenInverterGateway calls things: commands that write and read an inverter's holding registers, values of its telemetry.

From its firmware (builds 1.24 and 3.07 for SPH, 3000 for TL-XH): settings of one register go one by one, a slot goes whole. Export is
written as the register it is (`modbus/set`): the firmware's own `export/…` commands force holding 122 to 1, wrong where a CT measures.
The build for TL-XH knows slot 1 only, all day, for both modes: the profile's slot of a mode is the one that the mode is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

TAGGED_SLOTS = {3038: 1, 3040: 2}
"""First register of a TL-XH's slot as the profile has it → the priority that it stands for (1 battery first, 2 grid first)."""

TAGGED_PAIR = (3038, 3039)
"""The slot of a TL-XH that its commands write."""

_SINGLE = {
    3: "power/set/activerate",
    1070: "gridfirst/set/powerrate",
    1071: "gridfirst/set/stopsoc",
    1090: "batteryfirst/set/powerrate",
    1091: "batteryfirst/set/stopsoc",
    1092: "batteryfirst/set/acchargeenabled",
    3036: "bdc/set/dischargepowerrate",
    3037: "bdc/set/dischargestopsoc",
    3047: "bdc/set/chargepowerrate",
    3048: "bdc/set/chargestopsoc",
    3049: "bdc/set/acchargeenabled",
}
_TABLES = {1080: "gridfirst", 1100: "batteryfirst"}
"""First register of a table of three slots (start, stop, enabled) → the mode's name in commands."""

_SLOT, _SLOTS = 3, 3
_BATTERY_FIRST, _GRID_FIRST = range(1090, 1109), range(1070, 1089)
_STOPS = (1071, 1091, 3037, 3048)

_LAST_MINUTE = 23 * 60 + 59

WINDOW_MIN, LEFT_MIN = 60, 15
"""How many minutes a slot lasts that is written for a command that must end, and with how many left it is written anew."""

_TELEMETRY: Mapping[str, tuple[int, ...]] = {
    "InverterStatus": (0, 3000),
    "InputPower": (1,),
    "PVTotalPower": (3001,),
    "PV1Power": (3005,),
    "PV2Power": (3009,),
    "OutputPower": (35, 3023),
    "GridFrequency": (37, 3025),
    "PVEnergyTotal": (91, 3053),
    "InverterTemperature": (93, 3093),
    "DischargePower": (1009,),
    "ChargePower": (1011,),
    "BatteryVoltage": (1013,),
    "SOC": (1014,),
    "ACPowerToUserTotal": (1021,),
    "ACPowerToGridTotal": (1029,),
    "INVPowerToLocalLoadTotal": (1037,),
    "BatteryTemperature": (1040,),
    "EnergyToUserToday": (1044,),
    "EnergyToUserTotal": (1046,),
    "EnergyToGridToday": (1048,),
    "EnergyToGridTotal": (1050,),
    "DischargeEnergyToday": (1052, 3125),
    "DischargeEnergyTotal": (1054, 3127),
    "ChargeEnergyToday": (1056, 3129),
    "ChargeEnergyTotal": (1058, 3131),
    "LocalLoadEnergyToday": (1060,),
    "ACChargeEnergyToday": (1124, 3133),
    "TotalForwardPower": (3041,),
    "TotalReversePower": (3043,),
    "TotalLoadPower": (3045,),
    "TodayEnergyToUser": (3067,),
    "TotalEnergyToUser": (3069,),
    "TodayEnergyToGrid": (3071,),
    "TotalEnergyToGrid": (3073,),
    "TodayEnergyOfUserLoad": (3075,),
    "Priority": (3144,),
    "BDCStateOfCharge": (3171,),
    "BDCTemperatureA": (3176,),
    "BDCDischargePower": (3178,),
    "BDCChargePower": (3180,),
}
"""Value of the telemetry → the input register that it shows, in one build or another."""


class Command(NamedTuple):
    """`name` is the end of the topic, after `…/command/`; `payload` the JSON object without its correlation id."""

    name: str
    payload: Mapping[str, Any]


class AnswerError(ValueError):
    """An answer does not hold what was asked for."""


def telemetry_names(registers: Iterable[int]) -> dict[str, int]:
    """Value of the telemetry → input register, of the registers that a profile has."""
    known = set(registers)
    return {name: address for name, places in _TELEMETRY.items() for address in places if address in known}


def slot_at(address: int) -> bool:
    """Whether a slot of a table (start, stop, enabled) begins at this holding register."""
    return any(address in range(first, first + _SLOT * _SLOTS, _SLOT) for first in _TABLES)


def writing(wanted: Mapping[int, int], there: Mapping[int, int]) -> list[Command]:
    """The commands that make holding registers `wanted` where they are `there` now (each of `wanted` must be known); none for what is so
    already. What ends a mode goes first, what begins one last; a stop SOC goes before its rate.

    Raises ValueError for what these commands cannot say.
    """
    slots: list[tuple[bool, Command]] = []
    single: list[tuple[bool, int, Command]] = []
    done: set[int] = set()
    for address in sorted(wanted):
        if address in done:
            continue
        whole = _slot_around(address)
        done.update(whole)
        if all(wanted.get(at, there.get(at)) == there.get(at) for at in whole):
            continue
        if len(whole) == 1:
            single.append((address not in _STOPS, address, _one(address, wanted[address])))
            continue
        if any(at not in wanted for at in whole):
            raise ValueError(f"the slot at {whole[0]} can only be written whole")
        slots.append(_slot(whole[0], [wanted[at] for at in whole]))
    ending = [command for begins, command in slots if not begins]
    beginning = [command for begins, command in slots if begins]
    return [*ending, *(command for _, _, command in sorted(single, key=lambda one: one[:2])), *beginning]


def window(minute: int, start: int, stop: int, *, in_force: bool) -> tuple[int, int]:
    """Start and stop, as registers have them, of a slot that holds at this minute of the inverter's day and ends soon, never across
    midnight: those that are there, if they will do and the slot is `in_force`, else from now on."""
    begin, end = (start >> 8) * 60 + (start & 0xFF), (stop >> 8) * 60 + (stop & 0xFF)
    left = end - minute
    enough = left >= LEFT_MIN or end == _LAST_MINUTE
    if in_force and begin <= minute <= end and enough and left <= WINDOW_MIN + LEFT_MIN:
        return start, stop
    begin, end = max(minute - 1, 0), min(minute + WINDOW_MIN, _LAST_MINUTE)
    return begin // 60 << 8 | begin % 60, end // 60 << 8 | end % 60


def reading(addresses: Iterable[int]) -> list[Command]:
    """The fewest commands whose answers tell these holding registers."""
    commands: dict[tuple[str, int], Command] = {}
    for address in sorted(set(addresses)):
        if address in _BATTERY_FIRST or address in _GRID_FIRST:
            name = "batteryfirst/get" if address in _BATTERY_FIRST else "gridfirst/get"
            commands[name, 0] = Command(name, {})
            continue
        for at in TAGGED_PAIR if _tagged(address) else (address,):
            commands["modbus/get", at] = Command("modbus/get", {"id": at, "type": "16b", "registerType": "H"})
    return list(commands.values())


def registers_in(command: Command, answer: Mapping[str, Any]) -> dict[int, int]:
    """The holding registers that an answer to one of `reading`'s commands tells. Raises AnswerError."""
    if command.name == "modbus/get":
        return {command.payload["id"]: _word(answer, "value")}
    first, rate = (1100, 1090) if command.name == "batteryfirst/get" else (1080, 1070)
    found = {rate: _word(answer, "powerRate"), rate + 1: _word(answer, "stopSOC")}
    if first == 1100:
        found[1092] = _flag(answer, "acChargeEnabled")
    for slot in answer.get("timeSlots") or ():
        if not isinstance(slot, dict) or slot.get("slot") not in range(1, _SLOTS + 1):
            raise AnswerError("a time slot without a number")
        at = first + _SLOT * (slot["slot"] - 1)
        found |= {at: _time_of(slot, "start"), at + 1: _time_of(slot, "stop"), at + 2: _flag(slot, "enabled")}
    return found


def as_in_profile(found: Mapping[int, int]) -> dict[int, int]:
    """Registers as the profile has them: a TL-XH's one slot stands where the profile has the slot of its mode, the other one is empty."""
    if any(at not in found for at in TAGGED_PAIR):
        return dict(found)
    start, stop = (found[at] for at in TAGGED_PAIR)
    mode = start >> 13 & 3 if start & 0x8000 else 0
    shown = dict(found)
    for first, priority in TAGGED_SLOTS.items():
        shown |= {first: start, first + 1: stop} if mode == priority else {first: 0, first + 1: 0}
    return shown


def _tagged(address: int) -> bool:
    return any(address in (first, first + 1) for first in TAGGED_SLOTS)


def _slot_around(address: int) -> range:
    """The registers that are written together with this one."""
    for first in _TABLES:
        if address in range(first, first + _SLOT * _SLOTS):
            begin = address - (address - first) % _SLOT
            return range(begin, begin + _SLOT)
    for first in TAGGED_SLOTS:
        if address in (first, first + 1):
            return range(first, first + 2)
    return range(address, address + 1)


def _one(address: int, word: int) -> Command:
    if address in _SINGLE:
        return Command(_SINGLE[address], {"value": word})
    return Command("modbus/set", {"id": address, "type": "16b", "registerType": "H", "value": word})


def _slot(first: int, words: Sequence[int]) -> tuple[bool, Command]:
    """Whether it begins a mode, and the command."""
    if first in TAGGED_SLOTS:
        priority = TAGGED_SLOTS[first]
        if list(words) not in ([0, 0], [0x8000 | priority << 13, 0x173B]):
            raise ValueError(f"this inverter's slot at {first} is all day or nothing over MQTT")
        return bool(words[0]), Command("priority/set", {"mode": priority if words[0] else 0})
    table = next(begin for begin in _TABLES if first in range(begin, begin + _SLOT * _SLOTS))
    start, stop, enabled = words
    payload = {"start": _text(start), "stop": _text(stop), "enabled": bool(enabled), "slot": (first - table) // _SLOT + 1}
    return bool(enabled), Command(f"{_TABLES[table]}/set/timeslot", payload)


def _text(time: int) -> str:
    return f"{time >> 8:02}:{time & 0xFF:02}"


def _time_of(slot: Mapping[str, Any], key: str) -> int:
    hours, colon, minutes = str(slot.get(key)).partition(":")
    if not colon or not (hours.isdecimal() and minutes.isdecimal() and hours.isascii() and minutes.isascii()):
        raise AnswerError(f"{key} of a time slot is {slot.get(key)!r}")
    return (int(hours) << 8 | int(minutes)) & 0xFFFF


def _word(answer: Mapping[str, Any], key: str) -> int:
    value = answer.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
        raise AnswerError(f"{key} is {value!r}, no register")
    return value


def _flag(answer: Mapping[str, Any], key: str) -> int:
    value = answer.get(key)
    if not isinstance(value, bool):
        raise AnswerError(f"{key} is {value!r}, neither true nor false")
    return int(value)
