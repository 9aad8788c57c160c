"""MODBUS RTU frames on a serial line: unit, PDU, CRC low byte first (MODBUS over serial line V1.02, section 2.5)."""

from ohmcore.crc import crc16
from ohmcore.errors import ModbusCrcError, ModbusPartial, ModbusTimeout, ModbusWrongReply
from ohmcore.pdu import check_function, reply_length

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ohmcore.pdu import Buffer, WritableBuffer

PDU_START = 1
"""Where the PDU begins in a frame: build it there, then call `build`."""
MAX_FRAME = 256

_SHORTEST = 4


def build(buf: "WritableBuffer", unit: int, end_of_pdu: int) -> int:
    """Makes a frame of the PDU at `buf[1:end_of_pdu]`: unit before it, CRC after it. Returns the frame's length."""
    if unit < 0 or unit > 255:
        raise ValueError(f"unit {unit} is not in 0..255")
    buf[0] = unit
    crc = crc16(buf, 0, end_of_pdu)
    buf[end_of_pdu] = crc & 0xFF
    buf[end_of_pdu + 1] = crc >> 8
    return end_of_pdu + 2


def expected_length(buf: "Buffer", n: int, function: int) -> int:
    """How many bytes the frame will have whose first `n` are in `buf`; 0 while that is not known. `function` is the request's."""
    length = reply_length(function, buf, PDU_START, n)
    return 0 if length is None else length + 3


def verify(buf: "Buffer", n: int, unit: int, function: int) -> int:
    """Checks the reply of `n` bytes in `buf`; returns where its PDU ends (it begins at `PDU_START`). Allocates nothing.

    Raises ModbusTimeout (no byte), ModbusPartial (it ended early), ModbusCrcError, ModbusWrongReply (sound, but of another unit or
    function or with a wrong byte count) or ModbusException (the unit refuses).
    """
    if n == 0:
        raise ModbusTimeout(f"unit {unit} does not answer")
    length = expected_length(buf, n, function)
    if n < _SHORTEST or n < length:
        raise ModbusPartial(f"{n} bytes of {length if length else 'an unknown number'} came")
    end = n - 2
    if crc16(buf, 0, end) != buf[end] | buf[end + 1] << 8:
        raise ModbusCrcError(f"wrong checksum over {n} bytes")
    if buf[0] != unit:
        raise ModbusWrongReply(f"unit {buf[0]} answered, {unit} asked")
    check_function(buf, PDU_START, end, function)
    if n != length:
        raise ModbusWrongReply(f"{n} bytes came, the frame says {length}")
    return end


def check(buf: "Buffer", n: int, unit: int, function: int) -> "tuple[int, int]":
    """`verify`, returning (start, end) of the PDU."""
    return PDU_START, verify(buf, n, unit, function)


def char_us(baud: int, bits: int = 11) -> int:
    """How long a character takes, in µs rounded up; 11 bits with parity or a second stop bit, 10 without (8N1)."""
    return -(-bits * 1_000_000 // baud)


def silence_us(baud: int) -> int:
    """The silence between two frames, in µs: 3.5 characters of 11 bits, and 1750 µs above 19200 baud."""
    if baud > 19200:
        return 1750
    return -(-7 * 11 * 1_000_000 // (2 * baud))
