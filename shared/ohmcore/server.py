"""The server's side of MODBUS: requests taken apart, replies built. For simulated devices, bridges and tests."""

from struct import pack_into

from ohmcore.coils import (
    COIL_OFF,
    COIL_ON,
    MAX_READ_BITS,
    MAX_WRITE_BITS,
    READ_COILS,
    READ_DISCRETE_INPUTS,
    WRITE_MULTIPLE_COILS,
    WRITE_SINGLE_COIL,
)
from ohmcore.errors import ModbusException, ModbusPartial
from ohmcore.pdu import WRITE_SINGLE_REGISTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ohmcore.pdu import Buffer, WritableBuffer

READ_INPUT_REGISTERS = 4
WRITE_MULTIPLE_REGISTERS = 16

MAX_READ_REGISTERS = 125
MAX_WRITE_REGISTERS = 123


def request_length(buf: "Buffer", pos: int = 0, end: "int | None" = None) -> "int | None":
    """How many bytes the request's PDU at `buf[pos:end]` will have, or None while its first bytes do not tell."""
    if end is None:
        end = len(buf)
    if end <= pos:
        return None
    function = buf[pos]
    if READ_COILS <= function <= WRITE_SINGLE_REGISTER:
        return 5
    if function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        return 6 + buf[pos + 5] if end > pos + 5 else None
    return None


def parse_request(buf: "Buffer", pos: int, end: int) -> "tuple[int, int, int, int]":
    """(function, address, count or value, position of the values of a multiple write) of the request at `buf[pos:end]`.

    Raises ModbusException with the code that a server answers: 1 for a function outside 1 to 6, 15, 16; 3 for a bad count or
    length; 2 for a span that leaves 0..65535. The value of a coil (function 5) is 0xFF00 or 0.
    """
    if end <= pos:
        raise ModbusPartial("an empty request")
    function = buf[pos]
    length = request_length(buf, pos, end)
    if length is None and function not in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
        raise ModbusException(function, 1)
    if length is None or length != end - pos:
        raise ModbusException(function, 3)
    address = buf[pos + 1] << 8 | buf[pos + 2]
    count = buf[pos + 3] << 8 | buf[pos + 4]
    if function == WRITE_SINGLE_REGISTER:
        return function, address, count, end
    if function == WRITE_SINGLE_COIL:
        if count not in (COIL_OFF, COIL_ON):
            raise ModbusException(function, 3)
        return function, address, count, end
    if not 1 <= count <= _most(function):
        raise ModbusException(function, 3)
    if length > 5 and buf[pos + 5] != _size(function, count):
        raise ModbusException(function, 3)
    if address + count > 0x10000:
        raise ModbusException(function, 2)
    return function, address, count, pos + 6 if length > 5 else end


def build_read_reply(buf: "WritableBuffer", pos: int, function: int, payload: "Buffer") -> int:
    """The reply to a read: `payload` is 2 bytes a register (high byte first), or 8 coils a byte (lowest bit first)."""
    if len(payload) < 1 or len(payload) > 2 * MAX_READ_REGISTERS:
        raise ValueError(f"{len(payload)} bytes do not fit a reply")
    buf[pos] = function
    buf[pos + 1] = len(payload)
    pos += 2
    for byte in payload:
        buf[pos] = byte
        pos += 1
    return pos


def build_write_reply(buf: "WritableBuffer", pos: int, function: int, address: int, count_or_value: int) -> int:
    """The reply to a write: the echo of address and value (5, 6) or quantity (15, 16)."""
    pack_into(">BHH", buf, pos, function, address, count_or_value)
    return pos + 5


def build_exception(buf: "WritableBuffer", pos: int, function: int, code: int) -> int:
    """The refusal of a request with that function code."""
    buf[pos] = function | 0x80
    buf[pos + 1] = code
    return pos + 2


def _most(function: int) -> int:
    if function <= READ_DISCRETE_INPUTS:
        return MAX_READ_BITS
    if function <= READ_INPUT_REGISTERS:
        return MAX_READ_REGISTERS
    return MAX_WRITE_BITS if function == WRITE_MULTIPLE_COILS else MAX_WRITE_REGISTERS


def _size(function: int, count: int) -> int:
    return (count + 7) >> 3 if function == WRITE_MULTIPLE_COILS else count << 1
