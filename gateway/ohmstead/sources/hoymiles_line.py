"""Modbus TCP as a Hoymiles DTU speaks it: one connection, one request at a time, each with its own time, and some licence.

Some firmwares say a wrong byte count before right registers; then the registers count. Function 5 carries a number where the standard
has on or off. A DTU that is asked too fast answers no more until it is switched off and on, so there is a pause between requests.
"""

from __future__ import annotations

import asyncio
from struct import pack, unpack
from typing import NamedTuple

from ohmcore import pdu, tcp
from ohmcore.errors import ModbusError, ModbusException
from ohmstead.errors import NoAnswer, Refused, SourceError, Unreachable, WrongAnswer

_READ_HOLDING = 3
_WRITE_COIL = 5
_HEADER = tcp.PDU_START


class Endpoint(NamedTuple):
    """Where a DTU listens, and how it wants to be asked. `timeout_s` is of one request, `gap_s` the pause before the next one."""

    host: str
    port: int = 502
    unit: int = 1
    timeout_s: float = 3.0
    retries: int = 1
    gap_s: float = 0.01


class DtuLine:
    """The connection to one DTU. It is opened by the first request and after each failure by the next one. Not for two callers at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._where = f"{endpoint.host}:{endpoint.port}"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._transaction = 0

    async def registers(self, address: int, count: int) -> bytes:
        """Holding registers, two bytes each. Asks again after silence or a wrong answer, over a new connection. Raises SourceError."""
        for left in reversed(range(self._endpoint.retries + 1)):
            try:
                answer = await self._ask(pack(">BHH", _READ_HOLDING, address, count))
                return self._content(answer, address, count)
            except (NoAnswer, WrongAnswer):
                self.close()
                if not left:
                    raise
        raise NoAnswer("never asked")  # not reached: there is at least one attempt

    async def write(self, address: int, number: int) -> int:
        """Function 5 with a number; the number that the DTU repeats. Never sent twice. Raises SourceError."""
        answer = await self._ask(pack(">BHH", _WRITE_COIL, address, number))
        if len(answer) != 5 or answer[1:3] != address.to_bytes(2, "big"):
            self.close()
            raise WrongAnswer(f"{self._where} does not repeat what was written to {address:#06x}")
        return int.from_bytes(answer[3:5], "big")

    def close(self) -> None:
        """Ends the connection, if there is one. Whoever asks next opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def _content(self, answer: bytes, address: int, count: int) -> bytes:
        """What follows the byte count, whatever that says."""
        octets = answer[2:]
        if len(octets) != 2 * count:
            came = f"{len(octets)} bytes" if octets else "nothing"
            raise WrongAnswer(f"{self._where} answers {came} for {count} registers from {address:#06x}")
        return octets

    async def _ask(self, request: bytes) -> bytes:
        """The PDU that answers this one. After anything else there is no connection any more: a late answer would be taken for the next."""
        try:
            reader, writer = await self._connected()
            async with asyncio.timeout(self._endpoint.timeout_s):
                self._transaction = tcp.next_transaction(self._transaction)
                writer.write(pack(">HHHB", self._transaction, 0, len(request) + 1, self._endpoint.unit) + request)
                await writer.drain()
                answer = await self._answer(reader)
            pdu.check_function(answer, 0, len(answer), request[0])
        except TimeoutError:
            self.close()
            raise NoAnswer(f"no answer from {self._where} within {self._endpoint.timeout_s:g} s") from None
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close()
            raise NoAnswer(f"{self._where} closed the connection instead of an answer") from error
        except ModbusException as error:
            raise Refused(f"{self._where}: {error}", error.code) from error
        except ModbusError as error:
            self.close()
            raise WrongAnswer(f"{self._where}: {error}") from error
        except asyncio.CancelledError:
            self.close()
            raise
        return answer

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        header = await reader.readexactly(_HEADER)
        length = tcp.expected_length(header, _HEADER)
        answer = await reader.readexactly(length - _HEADER)
        transaction, _, _, unit = unpack(">HHHB", header)
        pdu.same("transaction", transaction, self._transaction)
        pdu.same("unit", unit, self._endpoint.unit)
        return answer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is not None and (self._reader.at_eof() or self._reader.exception() is not None):
            self.close()  # it was closed from there, as many do with whoever says nothing for a while
        if self._reader is not None and self._writer is not None:
            if self._endpoint.gap_s:
                await asyncio.sleep(self._endpoint.gap_s)
            return self._reader, self._writer
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                self._reader, self._writer = await asyncio.open_connection(self._endpoint.host, self._endpoint.port)
        except TimeoutError:
            raise _nobody(self._where, f"it did not come about within {self._endpoint.timeout_s:g} s") from None
        except OSError as error:
            raise _nobody(self._where, error.strerror or str(error)) from error
        return self._reader, self._writer


def _nobody(where: str, why: str) -> SourceError:
    return Unreachable(f"no connection to {where}: {why}")
