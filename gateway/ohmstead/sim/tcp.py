"""Modbus TCP: the same devices behind a socket, for several clients at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from pymodbus.framer.socket import FramerSocket
from pymodbus.pdu import DecodePDU

from .listening import Listening
from .station import Answer, Station

log = structlog.get_logger(service="sim")

_HEADER = 7
_LONGEST = 254
"""Unit and PDU, in bytes: what a length field may say at most (Modbus messaging on TCP/IP V1.0b)."""


class TcpServer(Listening):
    """Devices by unit number behind one TCP port; `latency` seconds pass before every answer. A wrong unit is silence.

    Requests of one client are answered one after the other, clients do not wait for each other. Port 0 takes a free one.
    """

    def __init__(self, stations: Mapping[int, Station], *, host: str = "127.0.0.1", port: int = 0, latency: float = 0.0) -> None:
        super().__init__(host, port)
        self._stations = dict(stations)
        self.latency = latency
        self.requests = 0
        self._framer = FramerSocket(DecodePDU(is_server=True))

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
