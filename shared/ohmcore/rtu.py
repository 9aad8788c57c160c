"""MODBUS RTU frames on a serial line: unit, PDU, CRC low byte first (MODBUS over serial line V1.02, section 2.5)."""

from ohmcore import const
from ohmcore.crc import crc16
from ohmcore.errors import ModbusCrcError, ModbusTimeout
from ohmcore.pdu import check_function, complete, same, within

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ohmcore.pdu import Buffer, WritableBuffer

PDU_START = 1
"""Where the PDU begins in a frame: build it there, then call `build`."""

_PDU_START = const(1)
_SHORTEST = const(4)


def build(buf: "WritableBuffer", unit: int, end: int) -> int:
    """Makes a frame of the PDU at `buf[1:end]`: unit before it, CRC after it. Returns the frame's length."""
    within("unit", unit, 0, 255)
    buf[0] = unit
    crc = crc16(buf, 0, end)
    buf[end] = crc & 0xFF
    buf[end + 1] = crc >> 8
    return end + 2


def expected_length(buf: "Buffer", n: int) -> int:
    """How many bytes the reply's frame will have whose first `n` are in `buf`; 0 while that is not known.

    A reply to another request (a late one) gets the length of its own function, so that it is consumed whole; a function code that
    no reply of ours can carry stays 0.
    """
    if n < 2:
        return 0
    function = buf[_PDU_START]
    if function & 0x80:
        return 5
    if 1 <= function <= 4:  # a read
        return 5 + buf[2] if n > 2 else 0
    return 8 if function in (5, 6, 15, 16) else 0


def verify(buf: "Buffer", n: int, unit: int, function: int) -> int:
    """Checks the reply of `n` bytes in `buf`; returns where its PDU ends (it begins at `PDU_START`). Allocates nothing.

    Raises ModbusTimeout (no byte), ModbusPartial (it ended early), ModbusCrcError, ModbusWrongReply (sound, but of another unit or
    function or with a wrong byte count) or ModbusException (the unit refuses).
    """
    if n == 0:
        raise ModbusTimeout("no answer")
    length = expected_length(buf, n)
    complete(n, length or _SHORTEST)
    end = n - 2
    if crc16(buf, 0, end) != buf[end] | buf[end + 1] << 8:
        raise ModbusCrcError("checksum")
    same("unit", buf[0], unit)
    check_function(buf, _PDU_START, end, function)
    same("length", n, length)
    return end


def char_us(baud: int, bits: int = 11) -> int:
    """How long a character takes, in µs rounded up; 11 bits with parity or a second stop bit, 10 without (8N1)."""
    return -(-bits * 1_000_000 // baud)


def silence_us(baud: int) -> int:
    """The silence between two frames, in µs: 3.5 characters of 11 bits, and 1750 µs above 19200 baud."""
    return 1750 if baud > 19200 else -(-77_000_000 // (2 * baud))
