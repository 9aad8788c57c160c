"""MODBUS protocol data units: function code and content, without the frame of a line (MODBUS application protocol V1.1b3).

The client's side builds requests and checks replies. The server's side is in `ohmcore.server`; to write coils, see `ohmcore.coils`.
Positions are byte positions in a buffer of the caller; builders return the position after the last byte they wrote.
"""

from struct import pack_into

from ohmcore import const
from ohmcore.errors import ModbusException, ModbusPartial, ModbusWrongReply

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview
    WritableBuffer = bytearray | memoryview

READ_HOLDING_REGISTERS = 3
WRITE_SINGLE_REGISTER = 6

_READ_COILS = const(1)
_READ_DISCRETE_INPUTS = const(2)
_READ_INPUT_REGISTERS = const(4)
_WRITE_SINGLE_COIL = const(5)
_WRITE_SINGLE_REGISTER = const(6)
_WRITE_MULTIPLE_REGISTERS = const(16)
_MAX_READ_BITS = const(2000)
_MAX_READ_REGISTERS = const(125)
_MAX_WRITE_BYTES = const(246)


def build_read(buf: "WritableBuffer", pos: int, function: int, address: int, count: int) -> int:
    """A request to read `count` coils, inputs or registers (function 1 to 4) from `address`. ValueError beyond the protocol's limits."""
    within("function", function, _READ_COILS, _READ_INPUT_REGISTERS)
    within("count", count, 1, _MAX_READ_BITS if function <= _READ_DISCRETE_INPUTS else _MAX_READ_REGISTERS)
    within("address", address, 0, 0x10000 - count)
    pack_into(">BHH", buf, pos, function, address, count)
    return pos + 5


def build_write_single(buf: "WritableBuffer", pos: int, function: int, address: int, value: int) -> int:
    """A request to write one coil (function 5; any true value means on) or one register (function 6, 0 to 65535)."""
    within("function", function, _WRITE_SINGLE_COIL, _WRITE_SINGLE_REGISTER)
    within("address", address, 0, 0xFFFF)
    if function == _WRITE_SINGLE_COIL and value:
        value = 0xFF00
    within("value", value, 0, 0xFFFF)
    pack_into(">BHH", buf, pos, function, address, value)
    return pos + 5


def build_write_multiple_registers(buf: "WritableBuffer", pos: int, address: int, words: "Buffer") -> int:
    """A request to write registers from `address` on (function 16); `words` as they go over the line, two bytes each, high byte first."""
    size = len(words)
    if size & 1:
        raise ValueError("half word")
    within("bytes", size, 2, _MAX_WRITE_BYTES)
    within("address", address, 0, 0x10000 - (size >> 1))
    pack_into(">BHHB", buf, pos, _WRITE_MULTIPLE_REGISTERS, address, size >> 1, size)
    pos += 6
    for byte in words:
        buf[pos] = byte
        pos += 1
    return pos


def check_function(buf: "Buffer", pos: int, end: int, function: int) -> None:
    """That the PDU at `buf[pos:end]` carries `function`; raises ModbusException for a refusal, ModbusWrongReply for any other."""
    complete(end - pos, 1)
    got = buf[pos]
    if got == function:
        return
    if got == function | 0x80:
        same("length", end - pos, 2)
        raise ModbusException(function, buf[pos + 1])
    same("function", got, function)


def check_reply(buf: "Buffer", pos: int, end: int, function: int, address: int, value: int) -> int:
    """That the PDU at `buf[pos:end]` answers exactly this request; returns the position of the payload's first byte.

    Reads: `value` is the count asked; the payload is 2 bytes a register, or a bit a coil, and ends at `end`.
    Writes: it is the value (function 5, 6) or the quantity (15, 16); the payload is the echo of address and value.
    Raises ModbusException, ModbusWrongReply (function, byte count, echo) or ModbusPartial. Allocates nothing when all is well.
    """
    check_function(buf, pos, end, function)
    length = 5
    if function <= _READ_INPUT_REGISTERS:
        length = 2 + ((value + 7) >> 3 if function <= _READ_DISCRETE_INPUTS else value << 1)
        if end > pos + 1:
            same("byte count", buf[pos + 1], length - 2)
    complete(end - pos, length)
    same("length", end - pos, length)
    if function <= _READ_INPUT_REGISTERS:
        return pos + 2
    if function == _WRITE_SINGLE_COIL and value:
        value = 0xFF00
    same("address", buf[pos + 1] << 8 | buf[pos + 2], address)
    same("value", buf[pos + 3] << 8 | buf[pos + 4], value)
    return pos + 1


def complete(n: int, length: int) -> None:
    """ModbusPartial when too little came."""
    if n < length:
        raise ModbusPartial(f"{n} bytes of {length} came")


def same(name: str, value: int, asked: int) -> None:
    """ModbusWrongReply unless what came is what was asked."""
    if value != asked:
        raise ModbusWrongReply(f"{name} {value} answered, {asked} asked")


def within(name: str, value: int, least: int, most: int) -> None:
    """ValueError for what the protocol cannot carry."""
    if value < least or value > most:
        raise ValueError(f"{name} {value} is not in {least}..{most}")
