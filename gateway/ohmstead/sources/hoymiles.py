"""A Hoymiles DTU and the inverters behind it, read over Modbus TCP: a list of PV ports until the one without a serial number.

An error in the middle of the list keeps what came before it. What it means is in `hoymiles_plant`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ohmstead.errors import NoAnswer, Refused, SourceError, WrongAnswer
from ohmstead.profiles.hoymiles import FIRST_RECORD, MOST_RECORDS, RECORD_REGISTERS, RECORD_STEP, SERIAL_AT, SERIAL_REGISTERS
from ohmstead.readings import Snapshot
from ohmstead.sources.hoymiles_figures import PollFigures
from ohmstead.sources.hoymiles_line import DtuLine, Endpoint
from ohmstead.sources.hoymiles_plant import DtuPlant, PortList
from ohmstead.sources.hoymiles_records import Record, parse, serial_of

_ILLEGAL_ADDRESS = 2
_ON = 0xFF00
_COILS = {"production": 0xC000, "power_limit": 0xC001}
_LEAST_OF_MI = 10
"""Percent: below that an MI inverter has no limit, an HM inverter goes down to 2."""
_KEEP_OPEN_BELOW_S = 10.0
"""Who asks less often than this closes the connection in between: a DTU has room for few."""
_SERIAL_EVERY_S = 3600.0


class HoymilesReader:
    """One DTU. `longest_s` is the longest that one poll can take; `period_s` is how often it is asked."""

    def __init__(self, plant: DtuPlant, endpoint: Endpoint, *, period_s: float, wall: Callable[[], float] = time.time) -> None:
        self.figures = PollFigures()
        self.list_s = min(30.0, max(5.0, period_s))
        """No record is asked for any more when the list takes that long."""
        self.longest_s = self.list_s + 4 * (endpoint.retries + 1) * endpoint.timeout_s
        self._plant = plant
        self._line = DtuLine(endpoint)
        self._period_s = period_s
        self._wall = wall
        self._serial_due = True
        self._serial_read = 0.0

    async def read(self) -> Sequence[Snapshot]:
        """One poll: the plant first, then each inverter in the order of the list. Raises SourceError when nothing at all came."""
        if not self._plant.restored:
            await self._plant.restore()
        begin = time.monotonic()
        try:
            faults = await self._read_serial()
            found = await self._read_list()
        except SourceError as error:
            self._serial_due = True
            self.figures.failed(error, self._wall())
            raise
        finally:
            if self._period_s >= _KEEP_OPEN_BELOW_S:
                self._line.close()
        self.figures.succeeded(self._wall(), time.monotonic() - begin)
        if found.fault is not None or not found.records:
            self._serial_due = True
        snapshots = self._plant.snapshots(found, faults, self._wall())
        await self._plant.keep()
        return snapshots

    async def write(self, field: str, raw: int) -> int:
        """Sets `power_limit` (percent) or `production` (1, 0) of all inverters; what the DTU repeats, which is all that it ever says of it.
        Raises SourceError."""
        mi = sorted(serial for serial in self._plant.inverters if serial.startswith("10"))
        if field == "power_limit" and raw < _LEAST_OF_MI and mi:
            raise Refused(f"the inverter {mi[0]} (MI series) takes no limit below {_LEAST_OF_MI} %")
        number = _ON if field == "production" and raw else raw
        try:
            repeated = await self._line.write(_COILS[field], number)
        finally:
            if self._period_s >= _KEEP_OPEN_BELOW_S:
                self._line.close()
        said = raw if repeated == number else repeated
        if said == raw:
            self._plant.said[field] = raw
        return said

    async def dump(self) -> object:
        """The registers of its serial number and of each record, by their address, as hexadecimal digits; what ended the list last."""
        said: dict[str, str] = {}
        places = [(SERIAL_AT, SERIAL_REGISTERS)]
        places += [(FIRST_RECORD + RECORD_STEP * index, RECORD_REGISTERS) for index in range(MOST_RECORDS)]
        try:
            for address, count in places:
                octets = await self._line.registers(address, count)
                said[f"{address:#06x}"] = octets.hex(" ", 2)
                if address != SERIAL_AT and parse(octets) is None:
                    break
        except SourceError as error:
            said["ended by"] = str(error)
        finally:
            self._line.close()
        return said

    async def close(self) -> None:
        self._line.close()
        await self._plant.close()

    # The line

    async def _read_serial(self) -> list[str]:
        """The DTU's own serial number, at the first poll, after each failure and every hour: another one may have its address now."""
        if not self._serial_due and 0 <= self._wall() - self._serial_read < _SERIAL_EVERY_S:
            return []
        try:
            self._plant.serial = serial_of(await self._line.registers(SERIAL_AT, SERIAL_REGISTERS))
        except (Refused, WrongAnswer) as error:
            return [f"the DTU does not tell its serial number: {error}"]
        self._serial_due = self._plant.serial is None
        self._serial_read = self._wall()
        return []

    async def _read_list(self) -> PortList:
        records: list[Record] = []
        deadline = time.monotonic() + self.list_s
        try:
            for index in range(MOST_RECORDS):
                if time.monotonic() > deadline:
                    raise NoAnswer(f"{len(records)} records took longer than {self.list_s:g} s")
                record = parse(await self._line.registers(FIRST_RECORD + RECORD_STEP * index, RECORD_REGISTERS))
                if record is None:
                    break
                records.append(record)
        except SourceError as error:
            if not records:
                raise
            if isinstance(error, Refused) and error.status == _ILLEGAL_ADDRESS:
                return PortList(records)  # nothing is mapped behind the last one
            return PortList(records, str(error))
        return PortList(records)
