"""MODBUS of single bits: what `ohmcore.pdu` leaves out because a node reads and writes registers."""

from struct import pack_into

from ohmcore.pdu import within

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ohmcore.pdu import WritableBuffer

READ_COILS = 1
READ_DISCRETE_INPUTS = 2
WRITE_SINGLE_COIL = 5
WRITE_MULTIPLE_COILS = 15

MAX_READ_BITS = 2000
MAX_WRITE_BITS = 1968

COIL_ON = 0xFF00
COIL_OFF = 0x0000


def build_write_multiple_coils(buf: "WritableBuffer", pos: int, address: int, coils: "Sequence[int]") -> int:
    """A request to write coils from `address` on (function 15); any true value means on. ValueError beyond the protocol's limits."""
    count = len(coils)
    within("count", count, 1, MAX_WRITE_BITS)
    within("address", address, 0, 0x10000 - count)
    size = (count + 7) >> 3
    pack_into(">BHHB", buf, pos, WRITE_MULTIPLE_COILS, address, count, size)
    pos += 6
    for position in range(pos, pos + size):
        buf[position] = 0
    for index in range(count):
        if coils[index]:
            buf[pos + (index >> 3)] |= 1 << (index & 7)
    return pos + size
