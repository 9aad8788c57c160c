"""Modbus TCP as a Hoymiles DTU speaks it: one connection, one request at a time, each with its own time, and some licence.

Some firmwares say a wrong byte count before right registers; then the registers count. Function 5 carries a number where the standard
has on or off. A DTU that is asked too fast answers no more until it is switched off and on, so there is a pause between requests.
"""

from __future__ import annotations

import asyncio
from struct import pack
from typing import NamedTuple, TypeVar

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.exceptions import ModbusException as PymodbusError
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from ohmcore.errors import ModbusException
from ohmstead.errors import NoAnswer, Refused, Unreachable, WrongAnswer

Answer = TypeVar("Answer", bound=ModbusPDU)


class Endpoint(NamedTuple):
    """Where a DTU listens, and how it wants to be asked. `timeout_s` is of one request, `gap_s` the pause before the next one."""

    host: str
    port: int = 502
    unit: int = 1
    timeout_s: float = 3.0
    retries: int = 1
    gap_s: float = 0.01


class _Registers(ModbusPDU):
    """An answer to function 3: what follows the byte count, whatever that says."""

    function_code = 3
    octets = b""

    def decode(self, data: bytes) -> None:
        self.octets = data[1:]

    def __str__(self) -> str:  # pymodbus makes the text of each answer for a debug log that is off
        return "registers"


class _Coil(ModbusPDU):
    """Request and answer of function 5 with a number as the coil's value."""

    function_code = 5
    rtu_frame_size = 8

    def __init__(self, dev_id: int = 1, transaction_id: int = 0, address: int = 0, number: int = 0) -> None:
        super().__init__(dev_id=dev_id, transaction_id=transaction_id, address=address)
        self.number = number
        self.whole = False

    def encode(self) -> bytes:
        return pack(">HH", self.address, self.number)

    def decode(self, data: bytes) -> None:
        self.whole = len(data) == 4
        self.address, self.number = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")


class DtuLine:
    """The connection to one DTU. It is opened by the first request and after each failure by the next one. Not for two callers at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: AsyncModbusTcpClient | None = None
        self._asked = False
        self.connections = 0

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.connected

    async def registers(self, address: int, count: int) -> bytes:
        """Holding registers, two bytes each. Asks again after silence or a wrong answer, over a new connection. Raises SourceError."""
        for left in reversed(range(self._endpoint.retries + 1)):
            try:
                return await self._registers(address, count)
            except (NoAnswer, WrongAnswer):
                self.close()
                if not left:
                    raise
        raise NoAnswer("never asked")  # not reached: there is at least one attempt

    async def write(self, address: int, number: int) -> int:
        """Function 5 with a number; the number that the DTU repeats. Never sent twice. Raises SourceError."""
        client = await self._connected()
        request = _Coil(dev_id=self._endpoint.unit, address=address, number=number)
        answer = await self._ask(client.execute(False, request), _Coil)
        if not answer.whole or answer.address != address:
            self.close()
            raise WrongAnswer(f"{self._where} does not repeat what was written to {address:#06x}")
        return answer.number

    def close(self) -> None:
        """Ends the connection, if there is one. Whoever asks next opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _where(self) -> str:
        return f"{self._endpoint.host}:{self._endpoint.port}"

    async def _registers(self, address: int, count: int) -> bytes:
        client = await self._connected()
        unit = self._endpoint.unit
        answer = await self._ask(client.read_holding_registers(address, count=count, device_id=unit), _Registers)
        if len(answer.octets) != 2 * count:
            came = f"{len(answer.octets)} bytes" if answer.octets else "nothing"
            raise WrongAnswer(f"{self._where} answers {came} for {count} registers from {address:#06x}")
        return answer.octets

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and not self._client.connected:
            self.close()  # it was closed from there, as many do with whoever says nothing for a while
        if self._client is None:
            self._client = client = self._new_client()
            try:
                connected = await client.connect()
            except OSError as error:
                self.close()
                raise Unreachable(f"no connection to {self._where}: {error}") from error
            except asyncio.CancelledError:
                self.close()
                raise
            if not connected:
                self.close()
                raise Unreachable(f"no connection to {self._where}")
            self.connections += 1
        elif self._endpoint.gap_s:
            await asyncio.sleep(self._endpoint.gap_s)
        return self._client

    def _new_client(self) -> AsyncModbusTcpClient:
        endpoint = self._endpoint
        client = AsyncModbusTcpClient(endpoint.host, port=endpoint.port, timeout=endpoint.timeout_s, retries=0, reconnect_delay=0)
        client.register(_Registers)
        client.register(_Coil)
        return client

    async def _ask(self, request: object, expected: type[Answer]) -> Answer:
        """One answer of the expected kind, or the error as its type."""
        try:
            answer = await request  # type: ignore[misc]  # pymodbus declares less than it returns
        except asyncio.CancelledError:
            self.close()  # else the next one would get this one's answer
            raise
        except ConnectionException as error:
            raise NoAnswer(f"{self._where} closed the connection") from error
        except PymodbusError as error:
            if not self.connected:
                raise NoAnswer(f"{self._where} closed the connection instead of an answer") from error
            raise NoAnswer(f"no answer from {self._where} within {self._endpoint.timeout_s:g} s") from error
        if isinstance(answer, ExceptionResponse):
            refusal = ModbusException(expected.function_code, answer.exception_code)
            raise Refused(f"{self._where}: {refusal}", answer.exception_code)
        if not isinstance(answer, expected):
            raise WrongAnswer(f"{self._where} answers function {answer.function_code} to one of function {expected.function_code}")
        return answer
