"""The CRC-16 of MODBUS RTU (MODBUS over serial line V1.02, section 6.2.2: polynomial 0xA001, start 0xFFFF)."""

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview


def _table() -> "array[int]":
    table = array("H", bytes(512))
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table[byte] = crc
    return table


_TABLE = _table()
del _table  # a node has use for its bytes


def crc16(buffer: "Buffer", start: int, end: int) -> int:
    """The checksum of `buffer[start:end]`; it is sent low byte first. Allocates nothing."""
    table = _TABLE
    crc = 0xFFFF
    for position in range(start, end):
        crc = (crc >> 8) ^ table[(crc ^ buffer[position]) & 0xFF]
    return crc
