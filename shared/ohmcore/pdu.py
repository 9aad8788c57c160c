"""MODBUS protocol data units: function code and content, without the frame of a line (MODBUS application protocol V1.1b3).

The client's side builds requests and checks replies. The server's side is in `ohmcore.server`.
Positions are byte positions in a buffer of the caller; builders return the position after the last byte they wrote.
"""

from struct import pack_into

from ohmcore.errors import ModbusException, ModbusPartial, ModbusWrongReply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Buffer = bytes | bytearray | memoryview
    WritableBuffer = bytearray | memoryview

READ_COILS = 1
READ_DISCRETE_INPUTS = 2
READ_HOLDING_REGISTERS = 3
READ_INPUT_REGISTERS = 4
WRITE_SINGLE_COIL = 5
WRITE_SINGLE_REGISTER = 6
WRITE_MULTIPLE_COILS = 15
WRITE_MULTIPLE_REGISTERS = 16

MAX_READ_BITS = 2000
MAX_READ_REGISTERS = 125
MAX_WRITE_BITS = 1968
MAX_WRITE_REGISTERS = 123
MAX_PDU = 253

COIL_ON = 0xFF00
COIL_OFF = 0x0000

_WRITES = (WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS)
_BYTES = (bytes, bytearray, memoryview)


def build_read(buf: "WritableBuffer", pos: int, function: int, address: int, count: int) -> int:
    """A request to read `count` coils, inputs or registers (function 1 to 4) from `address`. ValueError beyond the protocol's limits."""
    if function < READ_COILS or function > READ_INPUT_REGISTERS:
        raise ValueError(f"function {function} does not read")
    _check_span(address, count, MAX_READ_BITS if function <= READ_DISCRETE_INPUTS else MAX_READ_REGISTERS)
    pack_into(">BHH", buf, pos, function, address, count)
    return pos + 5


def build_write_single(buf: "WritableBuffer", pos: int, function: int, address: int, value: int) -> int:
    """A request to write one coil (function 5; any true value means on) or one register (function 6, 0 to 65535)."""
    if address < 0 or address > 0xFFFF:
        raise ValueError(f"address {address} is not in 0..65535")
    pack_into(">BHH", buf, pos, function, address, _single(function, value))
    return pos + 5


def build_write_multiple_registers(buf: "WritableBuffer", pos: int, address: int, words: "Sequence[int] | Buffer") -> int:
    """A request to write registers from `address` on (function 16).

    `words`: register values 0 to 65535, or as bytes the registers as they go over the line (two bytes each, high byte first).
    """
    raw = isinstance(words, _BYTES)
    size = len(words) if raw else 2 * len(words)
    if size & 1:
        raise ValueError("half a register")
    _check_span(address, size >> 1, MAX_WRITE_REGISTERS)
    pack_into(">BHHB", buf, pos, WRITE_MULTIPLE_REGISTERS, address, size >> 1, size)
    pos += 6
    if raw:
        for byte in words:
            buf[pos] = byte
            pos += 1
    else:
        for word in words:
            if word < 0 or word > 0xFFFF:
                raise ValueError(f"register value {word} is not in 0..65535")
            buf[pos] = word >> 8
            buf[pos + 1] = word & 0xFF
            pos += 2
    return pos


def build_write_multiple_coils(buf: "WritableBuffer", pos: int, address: int, coils: "Sequence[int]") -> int:
    """A request to write coils from `address` on (function 15); any true value means on."""
    _check_span(address, len(coils), MAX_WRITE_BITS)
    size = (len(coils) + 7) >> 3
    pack_into(">BHHB", buf, pos, WRITE_MULTIPLE_COILS, address, len(coils), size)
    pos += 6
    for position in range(pos, pos + size):
        buf[position] = 0
    for index in range(len(coils)):
        if coils[index]:
            buf[pos + (index >> 3)] |= 1 << (index & 7)
    return pos + size


def reply_length(function: int, buf: "Buffer", pos: int = 0, end: "int | None" = None) -> "int | None":
    """How many bytes the reply's PDU at `buf[pos:end]` will have, or None while its first bytes do not tell.

    `function` is the request's. A reply to another request (a late one) gets the length of its own function, so that it is
    consumed whole; a function code that no reply of ours can carry stays None.
    """
    if end is None:
        end = len(buf)
    if end <= pos:
        return None
    got = buf[pos]
    if got & 0x80:
        return 2
    if READ_COILS <= got <= READ_INPUT_REGISTERS:
        return 2 + buf[pos + 1] if end > pos + 1 else None
    if got in _WRITES:
        return 5
    return None


def check_function(buf: "Buffer", pos: int, end: int, function: int) -> None:
    """That the PDU at `buf[pos:end]` carries `function`; raises ModbusException for a refusal, ModbusWrongReply for any other."""
    if end <= pos:
        raise ModbusPartial("an empty reply")
    got = buf[pos]
    if got == function:
        return
    if got != function | 0x80:
        raise ModbusWrongReply(f"function {got} answered, {function} asked")
    if end - pos != 2:
        raise ModbusWrongReply(f"an exception of {end - pos} bytes")
    raise ModbusException(function, buf[pos + 1])


def check_reply(buf: "Buffer", pos: int, end: int, function: int, address: int, count_or_value: int) -> int:
    """That the PDU at `buf[pos:end]` answers exactly this request; returns the position of the payload's first byte.

    Reads: `count_or_value` is the count asked; the payload is 2 bytes a register, or a bit a coil, and ends at `end`.
    Writes: it is the value (function 5, 6) or the quantity (15, 16); the payload is the echo of address and value.
    Raises ModbusException, ModbusWrongReply (function, byte count, echo) or ModbusPartial. Allocates nothing when all is well.
    """
    check_function(buf, pos, end, function)
    if function <= READ_INPUT_REGISTERS:
        size = (count_or_value + 7) >> 3 if function <= READ_DISCRETE_INPUTS else count_or_value << 1
        if end - pos < 2:
            raise ModbusPartial("a reply without its byte count")
        if buf[pos + 1] != size:
            raise ModbusWrongReply(f"{buf[pos + 1]} bytes answered, {size} asked")
        if end - pos < 2 + size:
            raise ModbusPartial(f"{end - pos - 2} bytes of {size} came")
        if end - pos > 2 + size:
            raise ModbusWrongReply(f"{end - pos - 2 - size} bytes too many")
        return pos + 2
    if end - pos < 5:
        raise ModbusPartial(f"{end - pos} bytes of 5 came")
    if end - pos > 5:
        raise ModbusWrongReply(f"{end - pos - 5} bytes too many")
    got = buf[pos + 1] << 8 | buf[pos + 2]
    if got != address:
        raise ModbusWrongReply(f"address {got} answered, {address} asked")
    wanted = count_or_value if function >= WRITE_MULTIPLE_COILS else _single(function, count_or_value)
    got = buf[pos + 3] << 8 | buf[pos + 4]
    if got != wanted:
        raise ModbusWrongReply(f"{got} confirmed at address {address}, {wanted} asked")
    return pos + 1


def _single(function: int, value: int) -> int:
    if function == WRITE_SINGLE_COIL:
        return COIL_ON if value else COIL_OFF
    if function != WRITE_SINGLE_REGISTER:
        raise ValueError(f"function {function} does not write a single value")
    if value < 0 or value > 0xFFFF:
        raise ValueError(f"register value {value} is not in 0..65535")
    return value


def _check_span(address: int, count: int, most: int) -> None:
    if count < 1 or count > most:
        raise ValueError(f"{count} at once; 1 to {most} are possible")
    if address < 0 or address + count > 0x10000:
        raise ValueError(f"{count} from address {address} leave 0..65535")
