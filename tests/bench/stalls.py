"""Networks that are worse than broken: they accept and say nothing, or deliver half a packet and then nothing more."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 4096


class BlackHole:
    """Accepts every connection, takes everything, says nothing."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # nobody is connected to a listening socket, and some systems say so
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # closed: this is over
            self.accepted += 1
            self._open.append(connection)
            self.met(connection)

    def met(self, connection: socket.socket) -> None:
        """What becomes of a new connection: nothing."""


class Stalling(BlackHole):
    """Hands everything on to and from the broker at `port`. Once `stalling`, of what comes next from the broker the first half goes
    on, and then nothing any more; the other direction stays as it is."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.stalling = False
        self.halves = 0
        self._broker = port

    def met(self, connection: socket.socket) -> None:
        broker = socket.create_connection(("127.0.0.1", self._broker))
        self._open.append(broker)
        for source, target, to_node in ((connection, broker, False), (broker, connection, True)):
            threading.Thread(target=self._pump, args=(source, target, to_node), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, to_node: bool) -> None:
        stalled = False
        with contextlib.suppress(OSError):  # either side has gone: so does the other, below
            while chunk := source.recv(_CHUNK):
                if stalled:
                    continue
                if to_node and self.stalling:
                    stalled = True
                    self.halves += 1
                    chunk = chunk[: max(len(chunk) // 2, 1)]
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):  # it has gone already
                end.shutdown(socket.SHUT_RDWR)


class SilentNameServer:
    """Takes questions and answers none. `write` makes the file in which a node on a PC finds it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def write(self, file: Path) -> Path:
        file.write_text(f"nameserver 127.0.0.1#{self._socket.getsockname()[1]}\n")
        return file

    def asked(self) -> int:
        """How many questions have come since the last time."""
        count = 0
        with contextlib.suppress(TimeoutError):  # no more of them
            while self._socket.recv(512):
                count += 1
        return count
