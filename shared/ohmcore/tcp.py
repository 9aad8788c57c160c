"""MODBUS TCP: the header before a PDU (MODBUS messaging on TCP/IP V1.0b, section 3.1.3)."""

from struct import pack_into

from ohmcore.errors import ModbusTimeout, ModbusWrongReply
from ohmcore.pdu import check_function, complete, same, within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ohmcore.pdu import Buffer, WritableBuffer

PDU_START = 7
"""Where the PDU begins in a frame: build it there, then call `build`."""
MAX_FRAME = 260


def next_transaction(transaction: int) -> int:
    """The transaction id after this one; 0 follows 65535."""
    return (transaction + 1) & 0xFFFF


def build(buf: "WritableBuffer", transaction: int, unit: int, end_of_pdu: int) -> int:
    """Puts the header before the PDU at `buf[7:end_of_pdu]`. Returns the frame's length, which is `end_of_pdu`."""
    within("unit", unit, 0, 255)
    pack_into(">HHHB", buf, 0, transaction & 0xFFFF, 0, end_of_pdu - 6, unit)
    return end_of_pdu


def expected_length(buf: "Buffer", n: int) -> int:
    """How many bytes the frame will have whose first `n` are in `buf`; 0 while that is not known.

    Raises ModbusWrongReply when these bytes begin no frame: the stream has lost its step and must be closed.
    """
    if n < 6:
        return 0
    if buf[2] or buf[3]:
        raise ModbusWrongReply(f"protocol {buf[2] << 8 | buf[3]} is not MODBUS")
    length = buf[4] << 8 | buf[5]
    if length < 2 or length > MAX_FRAME - 6:
        raise ModbusWrongReply(f"a frame of {length} bytes")
    return 6 + length


def transaction(buf: "Buffer") -> int:
    """The transaction id of the frame in `buf` (2 bytes or more)."""
    return buf[0] << 8 | buf[1]


def verify(buf: "Buffer", n: int, transaction: int, unit: int, function: int) -> int:
    """Checks the reply of `n` bytes in `buf`; returns where its PDU ends (it begins at `PDU_START`). Allocates nothing.

    Raises ModbusTimeout (no byte), ModbusPartial, ModbusWrongReply (another transaction, unit or function, or no MODBUS at all) or
    ModbusException. A reply with another transaction is a late one: skip it and read on.
    """
    if n == 0:
        raise ModbusTimeout("no answer")
    length = expected_length(buf, n)
    complete(n, length or 7)
    same("length", n, length)
    same("transaction", buf[0] << 8 | buf[1], transaction)
    same("unit", buf[6], unit)
    check_function(buf, PDU_START, n, function)
    return n
