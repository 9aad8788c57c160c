"""Modbus TCP: the same devices behind a socket, for several clients at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import structlog
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU

from .station import Answer, Station

log = structlog.get_logger(service="sim")

_HEADER = 7
_LONGEST = 254
"""Unit and PDU, in bytes: what a length field may say at most (Modbus messaging on TCP/IP V1.0b)."""


class TcpServer:
    """Devices by unit number behind one TCP port; `latency` seconds pass before every answer. A wrong unit is silence.

    Requests of one client are answered one after the other, clients do not wait for each other. Port 0 takes a free one.
    """

    def __init__(self, stations: Mapping[int, Station], *, host: str = "127.0.0.1", port: int = 0, latency: float = 0.0) -> None:
        self._stations = dict(stations)
        self.host = host
        self.port = port
        self.latency = latency
        self.requests = 0
        self._framer = FramerSocket(DecodePDU(is_server=True))
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens. Raises `OSError` where the port is taken."""
        self._server = await asyncio.start_server(self._client, self.host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Ends listening and every connection."""
        if self._server is None:
            return
        self._server.close()
        self.disconnect()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def disconnect(self) -> None:
        """Throws every client out, as a device that restarts does."""
        for client in self._clients:
            client.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """The server in a thread of its own, for whoever has no event loop. Raises what `start` raises."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="modbus tcp", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result()
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            log.debug("client gone")
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            header = await reader.readexactly(_HEADER)
            protocol, length = int.from_bytes(header[2:4], "big"), int.from_bytes(header[4:6], "big")
            if protocol != 0 or not 2 <= length <= _LONGEST:
                log.debug("not Modbus", header=header.hex(" "))
                return
            body = await reader.readexactly(length - 1)
            station = self._stations.get(header[6])
            if station is None:
                continue
            self.requests += 1
            answer = station.answer(header[6], body)
            if answer is None:
                continue
            await asyncio.sleep(self.latency + answer.delay - station.turnaround)
            writer.write(self._frame(int.from_bytes(header[:2], "big"), answer))
            await writer.drain()

    def _frame(self, transaction: int, answer: Answer) -> bytes:
        frame = self._framer.encode(answer.pdu, answer.unit, transaction)
        if answer.half:
            frame = frame[: len(frame) // 2]
        return answer.noise + frame
