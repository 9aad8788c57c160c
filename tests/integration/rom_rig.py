"""The first steps of an ESP32's chip, for the real esptool: its ROM's loader and the stub that esptool sends, with a flash behind them.

Only what detecting, erasing and writing need (esptool, "Serial Protocol"): SLIP packets `direction, command, length, value, data`.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import zlib
from types import TracebackType
from typing import Self

_SYNC, _READ, _WRITE, _SECURITY = 0x08, 0x0A, 0x09, 0x14
_MEM_END, _DEFLATE_BEGIN, _DEFLATE_DATA, _MD5, _ERASE = 0x06, 0x10, 0x11, 0x13, 0xD0
_FLASH_BEGIN, _FLASH_DATA = 0x02, 0x03
_SYNC_ANSWERS = 8
_ROM_VALUE = 0x20120707
_MAGIC_AT, _ESP32_MAGIC = 0x40001000, 0x00F01D83
# Where the registers of the flash's SPI are, and its first data register: the old ESP32; the -S3 and -C3.
_SPI = {0: (0x3FF42000, 0x80)}
_SPI_SINCE = (0x60002000, 0x58)
_SPI_RUN = 1 << 18
_FLASH_ID = 0x16_40_20  # 4 MB
FLASH_BYTES = 4 * 1024 * 1024


class Rom:
    """A chip that has the number `identity` (esptool's IMAGE_CHIP_ID), at `port`. `flash`: what is in it;
    `erased`: how often it was erased; `written`: (address, bytes) of each block."""

    def __init__(self, identity: int) -> None:
        self.identity = identity
        self.flash = bytearray(b"\xff" * FLASH_BYTES)
        self.erased = 0
        self.written: list[tuple[int, int]] = []
        self._registers = {_MAGIC_AT: _ESP32_MAGIC} if identity == 0 else {}
        base, first = _SPI.get(identity, _SPI_SINCE)
        self._spi_command, self._spi_data = base, base + first
        self._stub = False
        self._inflate = zlib.decompressobj()
        self._offset = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = f"socket://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:  # closed: the test is over
                return
            self._stub = False  # opening the port resets a board
            with line:
                self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        waiting = b""
        while came := line.recv(65536):
            waiting += came
            *packets, waiting = waiting.split(b"\xc0")
            for packet in packets:
                packet = packet.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
                if len(packet) >= 8 and packet[0] == 0:
                    self._answer(line, packet[1], packet[8:])

    def _answer(self, line: socket.socket, command: int, asked: bytes) -> None:
        value, said = 0, b""
        if command == _SYNC:
            value = _ROM_VALUE
        elif command == _READ:
            value = self._registers.get(int.from_bytes(asked[:4], "little"), 0)
        elif command == _WRITE:
            address, written = struct.unpack("<II", asked[:8])
            self._registers[address] = 0 if address == self._spi_command else written
            if address == self._spi_command and written & _SPI_RUN:
                self._registers[self._spi_data] = _FLASH_ID
        elif command == _SECURITY and self.identity == 0:
            _send(line, struct.pack("<BBHI", 1, command, 4, 0) + b"\x01\x05\0\0")  # it does not know that command yet
            return
        elif command == _SECURITY:
            said = struct.pack("<IB7sII", 0, 0, bytes(7), self.identity, 0)
        elif command in (_DEFLATE_BEGIN, _FLASH_BEGIN):
            self._inflate = zlib.decompressobj()
            self._offset = struct.unpack("<I", asked[12:16])[0]
        elif command in (_DEFLATE_DATA, _FLASH_DATA):
            block = asked[16:]
            self._program(self._inflate.decompress(block) if command == _DEFLATE_DATA else block)
        elif command == _MD5:
            offset, size = struct.unpack("<II", asked[:8])
            digest = hashlib.md5(self.flash[offset : offset + size], usedforsecurity=False)
            said = digest.digest() if self._stub else digest.hexdigest().encode()
        elif command == _ERASE:
            self.flash[:] = b"\xff" * FLASH_BYTES
            self.erased += 1
        said += bytes(2 if self._stub else 4)
        for _ in range(_SYNC_ANSWERS if command == _SYNC else 1):
            _send(line, struct.pack("<BBHI", 1, command, len(said), value) + said)
        if command == _MEM_END:
            self._stub = True
            _send(line, b"OHAI")

    def _program(self, block: bytes) -> None:
        self.flash[self._offset : self._offset + len(block)] = block
        self.written.append((self._offset, len(block)))
        self._offset += len(block)


def _send(line: socket.socket, packet: bytes) -> None:
    line.sendall(b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")
