"""A device's registers and what it answers to a Modbus request.

The protocol here is pymodbus's, not `ohmcore`'s: whoever is tested against these devices meets a second implementation.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterResponse,
)

READ_HOLDING, READ_INPUT, WRITE_SINGLE, WRITE_MULTIPLE = 3, 4, 6, 16
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
MOST_READ, MOST_WRITTEN = 125, 123
"""Registers in one request at most (Modbus application protocol V1.1b3, 6.3 and 6.12)."""

_REQUESTS = DecodePDU(is_server=True)
_REQUEST_LENGTH = {READ_HOLDING: 5, READ_INPUT: 5, WRITE_SINGLE: 5}


class RefusalError(Exception):
    """The device answers a request with this exception code (1 function, 2 address, 3 value, 4 device failure, 6 busy …)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Write(NamedTuple):
    """One accepted write: seconds since 1970, function code, first address, the raw words."""

    time: float
    function: int
    address: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class Writable:
    """Which raw values a writable register takes: `lowest`..`highest`, or only those in `allowed`."""

    lowest: int = 0
    highest: int = 0xFFFF
    allowed: frozenset[int] | None = None

    def accepts(self, word: int) -> bool:
        return word in self.allowed if self.allowed is not None else self.lowest <= word <= self.highest


class Registers(Protocol):
    """What a simulated device is made of. Both methods may be called from any thread and raise `RefusalError`."""

    def read(self, function: int, address: int, count: int) -> Sequence[int]:
        """`count` words from `address`; function 3 reads holding registers, 4 input registers."""
        ...

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        """Takes all the words or none."""
        ...


class RegisterImage:
    """Holding registers from a mapping of address to word; what is not in it is an illegal address.

    `writable` maps an address to what may be written there; a write elsewhere is refused with code 2, a value that the
    device does not take with code 3. `writes` lists what was accepted. `input_registers` answer function 4, which is an
    illegal function where the device has none.
    """

    def __init__(
        self,
        holding: Mapping[int, int],
        writable: Mapping[int, Writable] | None = None,
        *,
        input_registers: Mapping[int, int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._holding = dict(holding)
        self._input = None if input_registers is None else dict(input_registers)
        self._writable = dict(writable or {})
        self._clock = clock
        self._lock = threading.Lock()
        self.writes: list[Write] = []

    @classmethod
    def from_file(cls, path: Path, writable: Mapping[int, Writable] | None = None) -> RegisterImage:
        """Reads a JSON object of address to unsigned 16-bit word. Raises `ValueError` naming what is not one."""
        return cls(read_image(path), writable)

    def read(self, function: int, address: int, count: int) -> list[int]:
        table = self._holding if function == READ_HOLDING else self._input
        if table is None:
            raise RefusalError(ILLEGAL_FUNCTION)
        with self._lock:
            try:
                return [table[at] for at in range(address, address + count)]
            except KeyError:
                raise RefusalError(ILLEGAL_ADDRESS) from None

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        rules = [self._writable.get(at) for at in range(address, address + len(words))]
        if any(rule is None for rule in rules):
            raise RefusalError(ILLEGAL_ADDRESS)
        if not all(rule.accepts(word) for rule, word in zip(rules, words, strict=True) if rule is not None):
            raise RefusalError(ILLEGAL_VALUE)
        with self._lock:
            for at, word in enumerate(words, address):
                self._holding[at] = word
            self.writes.append(Write(self._clock(), function, address, tuple(words)))

    def __getitem__(self, address: int) -> int:
        """The holding register at `address`, as a test looks at it."""
        with self._lock:
            return self._holding[address]

    def __setitem__(self, address: int, word: int) -> None:
        """Changes a register from within, as the device itself would."""
        with self._lock:
            self._holding[address] = word


def read_image(path: Path) -> dict[int, int]:
    """Address to word from a JSON file. Raises `ValueError` naming the entry that is no register."""
    image: dict[int, int] = {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: an image is an object of address to word")  # noqa: TRY004 - the file's content is wrong, not a type in code
    for key, word in content.items():
        if not key.isdecimal() or int(key) > 0xFFFF or type(word) is not int or not 0 <= word <= 0xFFFF:
            raise ValueError(f"{path}: {key!r}: {word!r} is not a register (address 0..65535, word 0..65535)")
        image[int(key)] = word
    return image


def respond(registers: Registers, request: bytes) -> bytes:
    """The reply PDU to a request PDU (function code first); an exception PDU where the device refuses."""
    function = request[0]
    try:
        reply = _reply(registers, request)
    except RefusalError as refused:
        reply = ExceptionResponse(function & 0x7F, refused.code)
    return bytes([reply.function_code]) + reply.encode()


def _reply(registers: Registers, request: bytes) -> ModbusPDU:
    function = request[0]
    if function not in (READ_HOLDING, READ_INPUT, WRITE_SINGLE, WRITE_MULTIPLE):
        raise RefusalError(ILLEGAL_FUNCTION)
    if not _well_formed(request):
        raise RefusalError(ILLEGAL_VALUE)
    parsed = _REQUESTS.decode(request)
    if parsed is None:
        raise RefusalError(ILLEGAL_VALUE)
    if function in (READ_HOLDING, READ_INPUT):
        if parsed.address + parsed.count > 0x10000:
            raise RefusalError(ILLEGAL_ADDRESS)
        words = list(registers.read(function, parsed.address, parsed.count))
        response = ReadHoldingRegistersResponse if function == READ_HOLDING else ReadInputRegistersResponse
        return response(registers=words)
    registers.write(function, parsed.address, tuple(parsed.registers))
    if function == WRITE_SINGLE:
        return WriteSingleRegisterResponse(address=parsed.address, registers=parsed.registers)
    return WriteMultipleRegistersResponse(address=parsed.address, count=parsed.count)


def _well_formed(request: bytes) -> bool:
    """Lengths and counts as the standard has them, checked before pymodbus parses."""
    function = request[0]
    if len(request) < 5:
        return False
    count = int.from_bytes(request[3:5], "big")
    if function in (READ_HOLDING, READ_INPUT):
        return len(request) == _REQUEST_LENGTH[function] and 1 <= count <= MOST_READ
    if function == WRITE_SINGLE:
        return len(request) == _REQUEST_LENGTH[function]
    return len(request) >= 6 and 1 <= count <= MOST_WRITTEN and request[5] == 2 * count and len(request) == 6 + 2 * count


def span_of(request: bytes) -> tuple[int, int, int]:
    """Function, first and last address a request PDU touches; (function, 0, 0) where it cannot be told."""
    function = request[0]
    if len(request) < 5:
        return function, 0, 0
    first = int.from_bytes(request[1:3], "big")
    count = 1 if function == WRITE_SINGLE else max(1, int.from_bytes(request[3:5], "big"))
    return function, first, first + count - 1
