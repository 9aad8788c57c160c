"""What a Hoymiles DTU says of one PV port: a record of 20 holding registers at 0x1000 + 40·i, until one without a serial number.

The layout is that of Hoymiles' "Modbus implementation using 3Gen DTU-Pro", chapter 4.3.2, and was held against recorded DTUs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import NamedTuple

_LAYOUT = Struct(">x6s B HHHHHH I h HHH B 7x")
_NO_SERIAL = "000000000000"
_TELLING_POWER = 50
"""Tenths of a watt from which power, voltage and current tell in which unit the current is."""


class Record(NamedTuple):
    """One PV port, raw as the DTU has it: voltages, power and temperature in tenths, the frequency in hundredths, energies in Wh.

    What is of the inverter (grid, temperature, status, alarms, link) stands in each of its records.
    """

    serial: str
    port: int
    voltage: int
    current: int
    grid_voltage: int
    grid_frequency: int
    power: int
    today: int
    total: int
    temperature: int
    status: int
    alarm_code: int
    alarm_count: int
    link: int

    @property
    def awake(self) -> bool:
        """Whether the inverter was at work when the DTU last heard of it; else all it measures reads 0 and means nothing."""
        return self.status > 0


def parse(octets: bytes) -> Record | None:
    """The record in 40 bytes; None for the one behind the last, which has no serial number (and may hold anything else)."""
    serial, *numbers = _LAYOUT.unpack(octets)
    name = serial.hex()
    return None if name == _NO_SERIAL else Record(name, *numbers)


def serial_of(octets: bytes) -> str | None:
    """A DTU's own serial number from its 6 bytes; None while it has none."""
    name = octets.hex()
    return None if name == _NO_SERIAL else name


class CurrentUnits:
    """In which unit each inverter says its current: tenths of an ampere the MI series (serial 10…), hundredths the HM series (11…).

    Of others nobody knows; there the first record with some power tells, as watts are volts times amperes. Until then there is none.
    """

    def __init__(self) -> None:
        self._factors: dict[str, int] = {}

    def hundredths(self, record: Record) -> int | None:
        """The current of a record in hundredths of an ampere; None while its unit is not known."""
        factor = 10 if record.serial.startswith("10") else 1 if record.serial.startswith("11") else self._learned(record)
        return None if factor is None else record.current * factor

    def _learned(self, record: Record) -> int | None:
        known = self._factors.get(record.serial)
        if known is None and record.awake and record.power >= _TELLING_POWER and record.voltage and record.current:
            in_hundredths = record.voltage * record.current / 100  # tenths of a watt, if the current is in hundredths
            known = self._factors[record.serial] = 10 if record.power > 3 * in_hundredths else 1
        return known


def doubled(records: Iterable[Record]) -> set[tuple[str, int]]:
    """The ports that are in a list more than once and not with the same content: nobody can tell which of them it is."""
    seen: dict[tuple[str, int], Record] = {}
    found: set[tuple[str, int]] = set()
    for record in records:
        key = record.serial, record.port
        if seen.setdefault(key, record) != record:
            found.add(key)
    return found


def by_inverter(records: Iterable[Record]) -> Mapping[str, list[Record]]:
    """The records of each inverter, its first one first, each port once."""
    found: dict[str, list[Record]] = {}
    for record in records:
        known = found.setdefault(record.serial, [])
        if all(other.port != record.port for other in known):
            known.append(record)
    return found
