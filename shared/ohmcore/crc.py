"""The CRC-16 of MODBUS RTU (MODBUS over serial line V1.02, section 6.2.2: polynomial 0xA001, start 0xFFFF)."""

from array import array

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview

# What four bits make of the checksum. Eight at once would be a third faster and take half a kilobyte of a node's memory.
_TABLE = array(
    "H",
    (0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401, 0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400),
)


def crc16(buffer: "Buffer", start: int, end: int) -> int:
    """The checksum of `buffer[start:end]`; it is sent low byte first. Allocates nothing."""
    table = _TABLE
    crc = 0xFFFF
    for position in range(start, end):
        crc ^= buffer[position]
        crc = crc >> 4 ^ table[crc & 0xF]
        crc = crc >> 4 ^ table[crc & 0xF]
    return crc
