"""Where a Hoymiles DTU has its list: a record for each PV port, from 0x1000 on, until one without a serial number; its own at 0x2000.

Source: Hoymiles' "Modbus implementation using 3Gen DTU-Pro", chapter 4.3.2.
"""

from __future__ import annotations

from ohmstead.profiles.planner import HOLDING, Read

FIRST_RECORD = 0x1000
RECORD_STEP = 40
RECORD_REGISTERS = 20
MOST_RECORDS = 100
"""So many records are looked at, should the list never end."""

SERIAL_AT = 0x2000
SERIAL_REGISTERS = 3


def reads_of(ports: int) -> tuple[Read, ...]:
    """What a node reads of a DTU with so many PV ports: its serial number, their records, and the one that ends the list."""
    places = range(FIRST_RECORD, FIRST_RECORD + RECORD_STEP * (ports + 1), RECORD_STEP)
    return (Read(HOLDING, SERIAL_AT, SERIAL_REGISTERS), *(Read(HOLDING, at, RECORD_REGISTERS) for at in places))
