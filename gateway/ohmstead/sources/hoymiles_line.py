"""Modbus TCP as a Hoymiles DTU speaks it: one connection, one request at a time, each with its own time, and some licence.

Some firmwares say a wrong byte count before right registers; then the registers count. Function 5 carries a number where the standard
has on or off. A DTU that is asked too fast answers no more until it is switched off and on: `gap_s` puts a pause between requests.
"""

from __future__ import annotations

import asyncio
from struct import pack
from typing import NamedTuple

from ohmcore import tcp
from ohmcore.errors import ModbusError, ModbusException
from ohmstead.errors import NoAnswer, Refused, SourceError, Unreachable, WrongAnswer, in_words

_READ_HOLDING = 3
_WRITE_COIL = 5


class Endpoint(NamedTuple):
    """Where a DTU listens, and how it wants to be asked. `timeout_s` is of one request, `gap_s` the pause before the next one."""

    host: str
    port: int = 502
    unit: int = 1
    timeout_s: float = 3.0
    retries: int = 1
    gap_s: float = 0.0


class _Exchange(asyncio.Protocol):
    """One connection: a request goes out, the frame that comes back is its answer. Whatever comes unasked ends it."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.WriteTransport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._came = b""

    def ask(self, frame: bytes, timeout_s: float) -> asyncio.Future[bytes]:
        """The whole frame of the answer; TimeoutError, ConnectionError or ModbusError instead."""
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        timer = loop.call_later(timeout_s, self._fail, TimeoutError())
        answer.add_done_callback(lambda _: timer.cancel())
        if self._transport is None or self.closed:
            self._fail(ConnectionResetError("closed before the request"))
        else:
            self._transport.write(frame)
        return answer

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a TCP connection can be written to

    def data_received(self, data: bytes) -> None:
        came = self._came + data
        if self._answer is None or self._answer.done():
            self.close()
            return
        try:
            length = tcp.expected_length(came, len(came))
        except ModbusError as error:
            self._fail(error)
            return
        if not length or len(came) < length:
            self._came = came
            return
        self._came = b""
        self._answer.set_result(came[:length])
        if len(came) > length:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(ConnectionResetError(str(exc or "closed by the other end")))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class DtuLine:
    """The connection to one DTU. It is opened by the first request and after each failure by the next one. Not for two callers at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._where = f"{endpoint.host}:{endpoint.port}"
        self._exchange: _Exchange | None = None
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
        if self._exchange is not None:
            self._exchange.close()
        self._exchange = None

    def _content(self, answer: bytes, address: int, count: int) -> bytes:
        """What follows the byte count, whatever that says."""
        octets = answer[2:]
        if len(octets) != 2 * count:
            came = f"{len(octets)} bytes" if octets else "nothing"
            raise WrongAnswer(f"{self._where} answers {came} for {count} registers from {address:#06x}")
        return octets

    async def _ask(self, request: bytes) -> bytes:
        """The PDU that answers this one. After anything else there is no connection any more: a late answer would be taken for the next."""
        exchange = await self._connected()
        self._transaction = transaction = tcp.next_transaction(self._transaction)
        unit = self._endpoint.unit
        frame = pack(">HHHB", transaction, 0, len(request) + 1, unit) + request
        try:
            answer = await exchange.ask(frame, self._endpoint.timeout_s)
            tcp.verify(answer, len(answer), transaction, unit, request[0])
        except TimeoutError:
            self.close()
            raise NoAnswer(f"no answer from {self._where} within {self._endpoint.timeout_s:g} s") from None
        except OSError as error:
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
        return answer[tcp.PDU_START :]

    async def _connected(self) -> _Exchange:
        if self._exchange is not None and self._exchange.closed:
            self.close()  # it was closed from there, as many do with whoever says nothing for a while
        if self._exchange is not None:
            if self._endpoint.gap_s:
                await asyncio.sleep(self._endpoint.gap_s)
            return self._exchange
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                _, self._exchange = await loop.create_connection(_Exchange, self._endpoint.host, self._endpoint.port)
        except TimeoutError:
            raise _nobody(self._where, f"it did not come about within {self._endpoint.timeout_s:g} s") from None
        except OSError as error:
            raise _nobody(self._where, in_words(error)) from error
        return self._exchange


def _nobody(where: str, why: str) -> SourceError:
    return Unreachable(f"no connection to {where}: {why}")
