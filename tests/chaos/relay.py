"""Between a node and its broker: passes everything on, notes what the gateway acknowledges, and can be a black hole."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types

from tests.conftest import free_port

_PUBLISH = 0x30
_PIECE = 65536
_POLL_S = 0.2


class Relay:
    """Listens on `port`. `acknowledged`: boot → the highest number that was promised to it. `hole`: nothing gets through, nothing ends."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self.acknowledged: dict[int, int] = {}
        self.acknowledgements = 0
        self.hole = False
        self._broker_port = broker_port
        self._ended = False
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", self.port))

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended = True
        self._server.close()
        self.drop()

    def drop(self) -> None:
        """Ends all connections."""
        with self._lock:
            for connection in self._connections:
                self._end(connection)

    def _serve(self) -> None:
        while not self._ended:
            try:
                node, _ = self._server.accept()
            except OSError:
                return  # it was closed
            threading.Thread(target=self._connect, args=(node,), daemon=True).start()

    def _connect(self, node: socket.socket) -> None:
        while self.hole and not self._ended:
            time.sleep(_POLL_S)
        try:
            broker = socket.create_connection(("127.0.0.1", self._broker_port), 5)
        except OSError:
            node.close()  # there is none at the moment
            return
        with self._lock:
            self._connections |= {node, broker}
        threading.Thread(target=self._pump, args=(node, broker, None), daemon=True).start()
        self._pump(broker, node, Packets())
        with self._lock:
            self._connections -= {node, broker}

    def _pump(self, source: socket.socket, target: socket.socket, packets: Packets | None) -> None:
        """Until either side ends; then both do."""
        with contextlib.suppress(OSError):
            source.settimeout(None)
            while piece := source.recv(_PIECE):
                while self.hole and not self._ended:
                    time.sleep(_POLL_S)
                for topic, body in packets.take(piece) if packets else ():
                    if topic.endswith(b"/down/ack"):
                        self._note(body)
                target.sendall(piece)
        self._end(source)
        self._end(target)

    def _note(self, body: bytes) -> None:
        try:
            _, boot, seq, _ = unpackb(body)
        except (ValueError, TypeError):  # a campaign that sends garbage sends it here as well
            return
        if not (isinstance(boot, int) and isinstance(seq, int)):
            return
        with self._lock:
            self.acknowledged[boot] = max(seq, self.acknowledged.get(boot, 0))
            self.acknowledgements += 1

    @staticmethod
    def _end(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class Packets:
    """MQTT 3.1.1 packets out of a stream of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> list[tuple[bytes, bytes]]:
        """The messages (topic, body) that are whole with this piece."""
        self._rest += piece
        found = []
        while packet := self._next():
            head, body = packet
            if head & 0xF0 == _PUBLISH:
                size = int.from_bytes(body[:2], "big")
                found.append((body[2 : 2 + size], body[2 + size + (2 if head & 6 else 0) :]))
        return found

    def _next(self) -> tuple[int, bytes] | None:
        size = shift = 0
        for index in range(1, 5):
            if index >= len(self._rest):
                return None
            octet = self._rest[index]
            size |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                break
        end = index + 1 + size
        if len(self._rest) < end:
            return None
        packet = self._rest[0], self._rest[index + 1 : end]
        self._rest = self._rest[end:]
        return packet
