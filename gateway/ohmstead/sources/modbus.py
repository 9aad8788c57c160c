"""A device read directly over Modbus TCP, with the same profile and the same readings as through a node.

One task a device: it polls what is due, one request after the other, so that a time-out counts from the moment a request
is sent and never includes a queue. Two reads in a row without an answer mean that the device is away; then it is asked
for its most urgent group with the pauses of `resilience`, and the first answer brings everything back at once. A group goes out
when its scan is over and the device is there; what it lacks then is what the device refuses, or never answers for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException
from pymodbus.exceptions import ModbusException as PymodbusError
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from ohmcore.errors import FrameError, ModbusError, ModbusException, ModbusTimeout, ModbusWrongReply
from ohmstead.profiles.planner import Read
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sources.resilience import BackOff, Breaker, Health

if TYPE_CHECKING:
    from ohmstead.profiles.compiler import PollGroup

_FIRST_PAUSE_S = 0.5
"""After a device that went away; later pauses are up to its shortest period."""

_SILENT_READS = 2
"""So many reads in a row, each tried again, without an answer: the device counts as away."""


class Away(ModbusError):  # noqa: N818 - says where the device is, not what broke
    """The device cannot be reached: no connection, or it no longer answers."""

    counter = "no_answer"


class Endpoint(NamedTuple):
    """Where a device listens and how it wants to be spoken to; times in seconds."""

    host: str
    port: int = 502
    unit: int = 1
    timeout_s: float = 1.0
    retries: int = 1


class ReadingDecoder(Protocol):
    """The part of `profiles.decode.Decoder` that a source needs."""

    def decode(self, function: int, address: int, registers: bytes, scan: str, /) -> Mapping[str, Value]: ...

    def calculate(self, values: dict[str, Value], time: float, /) -> None: ...

    def missing(self, values: Mapping[str, Value], scan: str, /) -> Collection[str]: ...


class _Registers(ModbusPDU):
    """An answer to function 3 or 4 that keeps its octets as they came: the decoder unpacks them once, pymodbus not at all."""

    octets = b""

    def decode(self, data: bytes) -> None:
        self.octets = data[1:] if data and data[0] == len(data) - 1 else b""

    def __str__(self) -> str:  # pymodbus makes the text of each answer for a debug log that is off
        return "registers"


class _HoldingRegisters(_Registers):
    function_code = 3


class _InputRegisters(_Registers):
    function_code = 4


class ModbusSource:
    """Polls one device and hands each snapshot to `emit`. `run` until cancelled.

    `counters` are those of a node's bus report: requests, ok, no_answer, wrong, exception, and connections.
    `wall` gives UTC seconds, for the time of a snapshot.
    """

    def __init__(
        self,
        device: str,
        endpoint: Endpoint,
        groups: Sequence[PollGroup],
        decoder: ReadingDecoder,
        emit: Callable[[Snapshot], None],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.device = device
        self.endpoint = endpoint
        self.online: bool | None = None
        """None until the first attempt has ended."""
        self.trouble = ""
        """Why the device is away; empty while it answers."""
        self.timed: Callable[[str, float], None] | None = None
        """Is told how long each poll group took that came, in seconds."""
        shortest_s = min((group.period_s for group in groups), default=60.0)
        self.breaker = Breaker(BackOff(_FIRST_PAUSE_S, max(shortest_s, _FIRST_PAUSE_S)))
        self.counters = dict.fromkeys(("connections", "requests", "ok", "no_answer", "wrong", "exception"), 0)
        self._groups = sorted(groups, key=lambda group: (group.priority, group.period_s))
        self._decoder = decoder
        self._emit = emit
        self._wall = wall
        self._due: list[float] = []
        self._sleeper: asyncio.Future[None] | None = None
        self._silent = 0
        self._gaps: set[Read] = set()
        self._connecting = asyncio.Lock()
        self._log = structlog.get_logger(service="modbus").bind(device=device)
        self._client = AsyncModbusTcpClient(
            endpoint.host, port=endpoint.port, timeout=endpoint.timeout_s, retries=0, reconnect_delay=0, name=device
        )
        self._client.register(_HoldingRegisters)
        self._client.register(_InputRegisters)

    @property
    def health(self) -> Health:
        """Degraded while ranges are missing."""
        if self.online is None:
            return Health.UNKNOWN
        return Health.UNHEALTHY if not self.online else Health.DEGRADED if self._gaps else Health.HEALTHY

    async def run(self) -> None:
        """Polls for ever; a device that is absent, now or later, is waited for."""
        clock = asyncio.get_running_loop().time
        self._due = due = [clock()] * len(self._groups)
        try:
            while True:
                await self._sleep_until(min(due, default=clock() + 60.0))
                begin = clock()
                self.breaker.trying()
                for index, group in enumerate(self._groups):
                    if due[index] > begin:
                        continue
                    if not await self._poll(group):
                        break
                    due[index] = _next(group.period_s, clock())
                if self.online:
                    self.breaker.succeeded()
                else:
                    due[:] = [clock() + self.breaker.failed()] * len(self._groups)
        finally:
            self._client.close()

    def close(self) -> None:
        """Hangs up, for who reads without `run`."""
        self._client.close()

    async def write(self, function: int, address: int, words: Sequence[int]) -> list[int]:
        """Writes registers (function 6 or 16) and returns what they read back as. Raises `ModbusError`."""
        unit = self.endpoint.unit
        if function == 6:
            (word,) = words
            await self._request(lambda: self._client.write_register(address, word, device_id=unit), function)
        elif function == 16:
            await self._request(lambda: self._client.write_registers(address, list(words), device_id=unit), function)
        else:
            raise ValueError(f"function {function} does not write registers")
        return await self.holding(address, len(words))

    async def holding(self, address: int, count: int) -> list[int]:
        """Holding registers as they are now. Raises `ModbusError`."""
        octets = await self.read(Read(3, address, count))
        return [int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)]

    def poll_soon(self, address: int) -> None:
        """Has the group that reads this holding register polled next, for instance after a write."""
        for index, group in enumerate(self._groups):
            if index < len(self._due) and any(read.function == 3 and read.address <= address <= read.last for read in group.reads):
                self._due[index] = 0.0
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def read(self, read: Read) -> bytes:
        """Registers as they are now, two bytes each, high byte first. Raises `ModbusError`."""
        client, unit = self._client, self.endpoint.unit
        ask = client.read_holding_registers if read.function == 3 else client.read_input_registers
        answer = await self._request(lambda: ask(read.address, count=read.count, device_id=unit), read.function)
        if not isinstance(answer, _Registers) or len(answer.octets) != 2 * read.count:
            self.counters["ok"] -= 1
            self.counters["wrong"] += 1
            raise ModbusWrongReply(f"not the {read.count} registers from {read.address} that were asked for")
        return answer.octets

    async def _sleep_until(self, moment: float) -> None:
        """Sleeps on the loop's clock, or until `poll_soon`."""
        loop = asyncio.get_running_loop()
        if moment <= loop.time():
            return
        self._sleeper = sleeper = loop.create_future()
        timer = loop.call_at(moment, lambda: None if sleeper.done() else sleeper.set_result(None))
        try:
            await sleeper
        finally:
            timer.cancel()

    async def _poll(self, group: PollGroup) -> bool:
        """Reads a group and emits it. False when the device turns out to be away: then nothing of the group goes out.

        A range that is refused is left out. One that is met with silence is asked again after the others, unless it was silent in
        the last scan too; only if it is silent once more, while the device answers for another range, does the group go without it.
        """
        begin = asyncio.get_running_loop().time()
        values: dict[str, Value] = {}
        quality = Quality.GOOD
        silent: list[Read] = []
        for ask, reads in ((self._patiently, group.reads), (self._once_more, silent)):
            for read in reads:
                try:
                    octets = await ask(read)
                except Away as error:
                    self._is_away(str(error))
                    return False
                except ModbusError as error:
                    if isinstance(error, ModbusTimeout) and reads is not silent and read not in self._gaps:
                        silent.append(read)
                        continue
                    quality = Quality.PARTIAL
                    self._has_gap(read, error)
                    continue
                values.update(self._decode(group, read, octets))
                self._gaps.discard(read)
        if values:
            now = self._wall()
            self._decoder.calculate(values, now)
            if self.timed is not None:
                self.timed(group.name, asyncio.get_running_loop().time() - begin)
            gone = self._decoder.missing(values, group.name) if quality is Quality.GOOD else ()
            self._emit(Snapshot(self.device, group.name, now, quality, values, gone=gone))
        return self.online is not False

    def _decode(self, group: PollGroup, read: Read, octets: bytes) -> Mapping[str, Value]:
        try:
            return self._decoder.decode(read.function, read.address, octets, group.name)
        except FrameError as error:
            self._has_gap(read, error)
            return {}

    async def _patiently(self, read: Read) -> bytes:
        """A read with its retries; `Away` when the one before it was not answered either."""
        retries = 0 if self._silent else self.endpoint.retries
        for left in reversed(range(retries + 1)):
            try:
                octets = await self.read(read)
            except (ModbusTimeout, ModbusWrongReply):
                if not left:
                    break
            else:
                self._silent = 0
                return octets
        self._silent += 1
        reason = f"no answer within {self.endpoint.timeout_s:g} s"
        raise Away(reason) if self._silent >= _SILENT_READS else ModbusTimeout(reason)

    async def _once_more(self, read: Read) -> bytes:
        """A range that was met with silence. If it is again, another range tells whose silence it is: `Away` if that one is silent too."""
        try:
            octets = await self.read(read)
        except (ModbusTimeout, ModbusWrongReply):
            self._silent = _SILENT_READS - 1
            await self._sign_of_life(read)
            raise ModbusTimeout(f"no answer within {self.endpoint.timeout_s:g} s, though the device answers for others") from None
        self._silent = 0
        return octets

    async def _sign_of_life(self, silent: Read) -> None:
        """Returns if the device answers for a range other than `silent`, with registers or with an exception; else raises `Away`."""
        others = (read for group in self._groups for read in group.reads if read != silent and read not in self._gaps)
        other = next(others, None)
        if other is None:
            raise Away(f"no answer within {self.endpoint.timeout_s:g} s")
        with contextlib.suppress(ModbusException):
            await self._patiently(other)

    async def _request(self, ask: Callable[[], object], function: int) -> object:
        """One request, one answer, each failure as its type and counted. pymodbus keeps the order among callers."""
        client = self._client
        if not client.connected:
            async with self._connecting:
                await self._connect()
        counters = self.counters
        counters["requests"] += 1
        try:
            answer = await ask()  # type: ignore[misc]  # pymodbus declares less than it returns
        except ConnectionException as error:
            counters["no_answer"] += 1
            raise Away("the connection was closed") from error
        except PymodbusError as error:
            counters["no_answer"] += 1
            if not client.connected:
                raise Away("the connection was closed") from error
            raise ModbusTimeout(f"no answer within {self.endpoint.timeout_s:g} s") from error
        if self.online is not True:
            self._is_back()
        if isinstance(answer, ExceptionResponse):
            self._silent = 0
            counters["exception"] += 1
            raise ModbusException(function, answer.exception_code)
        if answer.function_code != function:
            counters["wrong"] += 1
            raise ModbusWrongReply(f"function {answer.function_code} answers a request of function {function}")
        counters["ok"] += 1
        result: object = answer
        return result

    async def _connect(self) -> None:
        if self._client.connected:
            return
        self._silent = 0
        try:
            connected = await self._client.connect()
        except OSError as error:
            raise Away(str(error)) from error
        if not connected:
            raise Away(f"no connection to {self.endpoint.host}:{self.endpoint.port}")
        self.counters["connections"] += 1

    def _is_away(self, reason: str) -> None:
        if self.online is not False:
            self._log.warning("away", reason=reason)
        self.online = False
        self.trouble = reason
        self._client.close()

    def _is_back(self) -> None:
        self._log.info("answers")
        self.online = True
        self.trouble = ""

    def _has_gap(self, read: Read, error: Exception) -> None:
        """One line for each range that begins to fail, not one for each poll."""
        if read not in self._gaps:
            self._gaps.add(read)
            self._log.warning("range not read, its group goes out without it", first=read.address, count=read.count, reason=str(error))


def _next(period: float, now: float) -> float:
    """The next multiple of `period` after `now`: what is due together is due in one wake-up, and a poll that took long skips, it
    never piles up."""
    return (now // period + 1) * period
