"""What the machines have in common: ticks, sockets that never wait, files that are whole or not there."""

import errno
import gc
import os
import socket
import time

import micropython

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hal import Socket


_PIECE = const(128)


class CommonHal:
    """`folder`: the state directory; it holds the configuration and what has to survive a restart."""

    def __init__(self, folder: str) -> None:
        self.ticks_ms: "Callable[[], Any]" = time.ticks_ms
        self.ticks_diff: "Callable[[Any, Any], int]" = time.ticks_diff
        self.ticks_add: "Callable[[Any, int], Any]" = time.ticks_add
        self.random: "Callable[[int], bytes]" = os.urandom
        self.memory_free: "Callable[[], int]" = gc.mem_free
        self.flash_writes = 0
        self.flash_bytes = 0
        self.folder = folder

    def open_socket(self, stream: bool) -> "Socket":
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        opened.setblocking(False)
        return opened

    def address(self, ip: str, port: int) -> "Any":
        """Of numbers only: nothing is looked up."""
        return socket.getaddrinfo(ip, port)[0][-1]

    def wrap_tls(self, connection: "Socket", host: str) -> "Socket":
        """Certificates are verified against `ca.der` of the state directory; without that file the line is encrypted and no more."""
        from hal import secure

        return secure.wrap(connection, host, self.read)

    def stack(self) -> "int | None":
        asked = getattr(micropython, "stack_use", None)  # a port may be built without it
        return None if asked is None else asked()

    def rssi(self) -> "int | None":
        return None

    def temperature(self) -> "float | None":
        return None

    def wrote(self, size: int) -> None:
        self.flash_writes += 1
        self.flash_bytes += size

    def read(self, name: str, most: int = 1 << 20) -> "bytes | None":
        """A file of the state directory, or the first `most` bytes of it; None if it is not there."""
        path = f"{self.folder}/{name}"
        try:
            size = min(os.stat(path)[6], most)  # known beforehand it is one piece of memory, and not one that grows
            with open(path, "rb") as file:
                content: bytes = file.read(size)
                return content
        except OSError as failure:
            if failure.errno == errno.ENOENT:
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all: a power cut leaves the file as it was before or as it is after."""
        path = f"{self.folder}/{name}"
        with open(path + ".tmp", "wb") as file:
            file.write(content)
            file.flush()
        self.wrote(len(content))
        os.rename(path + ".tmp", path)

    def copy(self, name: str, new: str) -> None:
        """Whole or not at all, as `write`, a small piece at a time."""
        piece = bytearray(_PIECE)
        view = memoryview(piece)
        size = 0
        with open(f"{self.folder}/{name}", "rb") as source, open(f"{self.folder}/{new}.tmp", "wb") as target:
            while True:
                got = source.readinto(piece)
                if not got:
                    break
                target.write(view[:got])
                size += got
            target.flush()
        self.wrote(size)
        os.rename(f"{self.folder}/{new}.tmp", f"{self.folder}/{new}")

    def remove(self, name: str) -> bool:
        """Takes a file of the state directory away; False if it is not there."""
        try:
            os.remove(f"{self.folder}/{name}")
        except OSError as failure:
            if failure.errno == errno.ENOENT:
                return False
            raise
        return True

    def rename(self, name: str, new: str) -> None:
        """Whole or not at all, as `write`."""
        os.rename(f"{self.folder}/{name}", f"{self.folder}/{new}")
