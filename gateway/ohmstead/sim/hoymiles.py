"""A Hoymiles DTU behind a TCP port: its list of records, its coils, and the moods that its owners know.

The protocol is written out here, not taken from what is tested against it. `mood` is switched while it runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from struct import pack, unpack_from

import structlog

from .hoymiles_plant import NO_RECORD, Plant
from .listening import Listening

log = structlog.get_logger(service="sim")

FIRST_RECORD, RECORD_STEP, SERIAL_AT = 0x1000, 40, 0x2000
ALL_ON, ALL_LIMIT = 0xC000, 0xC001
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3


@dataclass
class Mood:
    """What is wrong with the DTU at the moment; nothing, unless said. Places count records from 0."""

    silent: bool = False
    """Takes every request and answers none, as one that hangs."""
    hangs_below_s: float = 0.0
    """Two lists that begin at a shorter distance make it hang until `Dtu.restart`."""
    delay_s: float = 0.0
    """Before each answer."""
    cut: int | None = None
    """So many bytes of each answer go out and no more."""
    cut_closes: bool = False
    """And then the connection is closed."""
    byte_count: int | None = None
    """What it says as the byte count, whatever follows."""
    registers: int = 0
    """So many more (or less) registers than were asked for."""
    refuse_at: dict[int, int] = field(default_factory=dict)
    """Place → exception code."""
    silent_at: frozenset[int] = frozenset()
    """Places whose records are met with silence."""
    close_at: frozenset[int] = frozenset()
    """Places whose records end the connection."""
    other_transaction: bool = False
    other_unit: bool = False
    other_function: bool = False
    no_serial: bool = False
    """The serial number of the DTU is refused."""
    leave_out: frozenset[tuple[str, int]] = frozenset()
    """Ports (serial number, number) that the list does not have."""
    asleep: frozenset[str] = frozenset()
    """Inverters that the DTU does not hear, however light it is."""
    double: bytes | None = None
    """A record that is in the list once more, at its end."""
    refuse_writes: bool = False
    """Exception 4 to each write."""
    forget_writes: bool = False
    """A write is repeated as it should be, and nothing happens."""


class Dtu(Listening):
    """The server. `plant` gives the records by the clock; `image` (address → word), where it is set, is all there is instead.

    `requests` counts what was asked, `connections` who came, `most_at_once` how many were connected together.
    """

    def __init__(
        self,
        plant: Plant | None = None,
        *,
        image: Mapping[int, int] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        unit: int = 1,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(host, port)
        self.plant = plant
        self.image = dict(image) if image is not None else None
        self.mood = Mood()
        self.requests = 0
        self.connections = 0
        self.most_at_once = 0
        self.writes: list[tuple[int, int]] = []
        """Address and number of each write that was obeyed."""
        self._unit = unit
        self._clock = clock
        self._hanging = False
        self._last_list = float("-inf")

    def restart(self) -> None:
        """Switched off and on: it no longer hangs, and everybody is thrown out."""
        self._hanging = False
        self._last_list = float("-inf")
        self.disconnect()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.most_at_once = max(self.most_at_once, len(self._clients))
        while await self._exchange(reader, writer):
            pass

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False when the connection is to end."""
        header = await reader.readexactly(7)
        transaction, protocol, length, unit = unpack_from(">HHHB", header)
        if protocol != 0 or not 2 <= length <= 254:
            return False
        request = await reader.readexactly(length - 1)
        self.requests += 1
        place = self._place(request)
        mood = self.mood
        if place == 0:
            self._begins_list()
        if place in mood.close_at:
            return False
        if unit != self._unit or mood.silent or self._hanging or place in mood.silent_at:
            return True
        answer = self._answer(request, place)
        if mood.other_function:
            answer = bytes([answer[0] ^ 0x07]) + answer[1:]
        frame = pack(">HHHB", transaction ^ (1 if mood.other_transaction else 0), 0, len(answer) + 1, unit ^ (2 if mood.other_unit else 0))
        if mood.delay_s:
            await asyncio.sleep(mood.delay_s)
        writer.write((frame + answer)[: mood.cut])
        await writer.drain()
        return mood.cut is None or not mood.cut_closes

    def _begins_list(self) -> None:
        now = time.monotonic()
        if now - self._last_list < self.mood.hangs_below_s:
            self._hanging = True
        self._last_list = now

    @staticmethod
    def _place(request: bytes) -> int | None:
        """Which record is asked for, if it is one."""
        address = int.from_bytes(request[1:3], "big")
        place, rest = divmod(address - FIRST_RECORD, RECORD_STEP)
        return place if request[0] == 3 and not rest and 0 <= place < 100 else None

    def _answer(self, request: bytes, place: int | None) -> bytes:
        function = request[0]
        if len(request) != 5 or function not in (3, 5):
            return bytes([function | 0x80, _ILLEGAL_FUNCTION])
        address, number = unpack_from(">HH", request, 1)
        if function == 5:
            return self._write(request, address, number)
        code = self.mood.refuse_at.get(place, 0) if place is not None else 0
        if not code and self.mood.no_serial and address == SERIAL_AT:
            code = _ILLEGAL_ADDRESS
        if code:
            return bytes([0x83, code])
        octets = self._octets(address, place)[: 2 * number].ljust(2 * number, b"\0")
        if self.mood.registers:
            octets = octets.ljust(2 * (number + self.mood.registers), b"\0")[: max(0, 2 * (number + self.mood.registers))]
        count = len(octets) if self.mood.byte_count is None else self.mood.byte_count
        return bytes([3, count & 0xFF]) + octets

    def _octets(self, address: int, place: int | None) -> bytes:
        """What is at an address, as far as it goes; zeros behind that."""
        if self.image is not None:
            return b"".join(self.image.get(at, 0).to_bytes(2, "big") for at in range(address, address + 125))
        if self.plant is None:
            return b""
        if self._clock is not None:
            self.plant.advance(self._clock())
        if address == SERIAL_AT:
            return bytes.fromhex(self.plant.roof.serial)
        records = self._records(self.plant) if place is not None else []
        return records[place] if place is not None and place < len(records) else NO_RECORD

    def _records(self, plant: Plant) -> list[bytes]:
        asleep = {bytes.fromhex(serial) for serial in self.mood.asleep}
        left_out = {bytes.fromhex(serial) + bytes([port]) for serial, port in self.mood.leave_out}
        found = [
            one[:8] + bytes(24) + b"\0\7" + bytes(6) if one[1:7] in asleep else one for one in plant.records() if one[1:8] not in left_out
        ]
        return found if self.mood.double is None else [*found, self.mood.double]

    def _write(self, request: bytes, address: int, number: int) -> bytes:
        """0xC000: all inverters off (0) or on (0xFF00, or 1 as in the maker's note); 0xC001: their limit in percent."""
        if self.mood.refuse_writes:
            return bytes([0x85, 4])
        if address == ALL_LIMIT and 2 <= number <= 100:
            obey = "limit"
        elif address == ALL_ON and number in (0, 1, 0xFF00):
            obey = "producing"
        else:
            return bytes([0x85, _ILLEGAL_VALUE if address in (ALL_ON, ALL_LIMIT) else _ILLEGAL_ADDRESS])
        if not self.mood.forget_writes:
            self.writes.append((address, number))
            if self.plant is not None:
                setattr(self.plant, obey, number if obey == "limit" else number > 0)
        return request
