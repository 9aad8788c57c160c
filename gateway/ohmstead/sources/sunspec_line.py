"""Holding registers over Modbus TCP for a reader that polls: one connection, one request at a time, every failure as its type."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.exceptions import ModbusException as PymodbusError
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import WriteMultipleRegistersResponse

from ohmcore.errors import ModbusException
from ohmstead.errors import NoAnswer, Refused, Unreachable, WrongAnswer

_READ_HOLDING, _WRITE = 3, 16


class Endpoint(NamedTuple):
    """Where a device listens. `timeout_s` is of one request, which is asked again `retries` times."""

    host: str
    port: int = 502
    unit: int = 1
    timeout_s: float = 3.0
    retries: int = 1


class _Registers(ModbusPDU):
    """An answer to function 3 that keeps its octets as they came; none where their number is not the one that is said."""

    function_code = _READ_HOLDING
    octets = b""

    def decode(self, data: bytes) -> None:
        self.octets = data[1:] if data and data[0] == len(data) - 1 else b""

    def __str__(self) -> str:  # pymodbus makes the text of each answer for a debug log that is off
        return "registers"


class RegisterLine:
    """The connection to one device, opened by the first request and by the first one after a failure. Not for two callers at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client: AsyncModbusTcpClient | None = None

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.endpoint.host}:{self.endpoint.port}"

    async def read(self, address: int, count: int) -> bytes:
        """`count` holding registers from `address`, two bytes each. Raises SourceError; Refused carries the exception's code."""
        for left in reversed(range(self.endpoint.retries + 1)):
            try:
                return await self._read(address, count)
            except (NoAnswer, WrongAnswer):
                self.close()
                if not left:
                    raise
        raise NoAnswer("never asked")  # not reached: there is at least one attempt

    async def write(self, address: int, words: Sequence[int]) -> None:
        """Writes holding registers with function 16, once: what was not answered may have been obeyed. Raises SourceError."""
        client = await self._connected()
        answer = await self._ask(client.write_registers(address, list(words), device_id=self.endpoint.unit), _WRITE)
        if not isinstance(answer, WriteMultipleRegistersResponse) or (answer.address, answer.count) != (address, len(words)):
            self.close()
            raise WrongAnswer(f"{self.where} does not repeat what was written to {address}")

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _read(self, address: int, count: int) -> bytes:
        client = await self._connected()
        answer = await self._ask(client.read_holding_registers(address, count=count, device_id=self.endpoint.unit), _READ_HOLDING)
        if not isinstance(answer, _Registers) or len(answer.octets) != 2 * count:
            raise WrongAnswer(f"{self.where} does not answer with the {count} registers from {address} that were asked for")
        return answer.octets

    async def _ask(self, request: Awaitable[ModbusPDU], function: int) -> ModbusPDU:
        """An answer that is no exception, or the error as its type."""
        try:
            answer = await request
        except asyncio.CancelledError:
            self.close()  # else the next request would get this one's answer
            raise
        except ConnectionException as error:
            raise NoAnswer(f"{self.where} closed the connection") from error
        except PymodbusError as error:
            if self._client is None or not self._client.connected:
                raise NoAnswer(f"{self.where} closed the connection instead of an answer") from error
            raise NoAnswer(f"no answer from {self.where} within {self.endpoint.timeout_s:g} s") from error
        if isinstance(answer, ExceptionResponse):
            raise Refused(f"{self.where}: {ModbusException(function, answer.exception_code)}", answer.exception_code)
        return answer

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        endpoint = self.endpoint
        client = self._client = AsyncModbusTcpClient(
            endpoint.host, port=endpoint.port, timeout=endpoint.timeout_s, retries=0, reconnect_delay=0
        )
        client.register(_Registers)
        try:
            connected = await client.connect()
        except asyncio.CancelledError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise Unreachable(f"no connection to {self.where}: {error}") from error
        if not connected:
            self.close()
            raise Unreachable(f"no connection to {self.where}")
        return client
