"""One request and its answer at a time over MODBUS TCP, with the face of `line.Line` (MODBUS messaging on TCP/IP V1.0b).

An answer carries its request's transaction number, so a late one is known and skipped, and nothing is ever ambiguous. The connection is
made when something is to be asked, without waiting for anything but asyncio. A connection that fails is tried again after 1 to 8 s,
one on which nothing was answered three times in a row is made anew.
"""

import asyncio
import errno

from ohmcore import const, pdu, tcp
from ohmcore.errors import ModbusError, ModbusPartial, ModbusTimeout, ModbusWrongReply
from ohmnode.waiter import Waiter

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal, Socket
    from ohmnode.schedule import Device

_LONG_MS = const(19000)
_BUFFER = const(260)
_BEFORE = const(6)  # bytes of the header before the unit, which is where an RTU frame begins
_HEAD = const(8)  # enough to know the length of a frame, and no frame is shorter
_CONNECT_MS = const(3000)
_FIRST_MS = const(1000)
_MOST_MS = const(8000)
_DEAF = const(3)


class TcpLine:
    """The request's PDU goes into `tx` from `rtu.PDU_START`, as on a serial line. Errors of the connection count as no answer."""

    def __init__(self, hal: "Hal", host: str, port: int) -> None:
        self._out = memoryview(bytearray(_BUFFER))
        self.tx = self._out[_BEFORE:]
        self.rx = bytearray(_BUFFER)
        self.late_bytes = 0
        self.late_unit = 0
        self._rx = memoryview(self.rx)
        self._n = 0  # bytes in `rx` of a frame that has begun and not ended
        self._hal = hal
        self._host = host
        self._port = port
        self._waiter = Waiter()
        self._connection: "Socket | None" = None
        self._found: "dict[str, str]" = {}
        self._transaction = int.from_bytes(hal.random(2), "big")
        self._silent = 0
        self._backoff_ms = _FIRST_MS
        self._retry_at: "int | None" = None
        self._free_at = hal.ticks_ms()

    def close(self) -> None:
        self._waiter.close()
        self._hang_up()

    def ambiguous(self, unit: int, function: int, size: int) -> bool:
        return False

    def lapses_in(self, unit: int) -> int:
        return 0

    async def ask(self, device: "Device", function: int, address: int, value: int, size: int, end: int) -> int:
        """As `line.Line.ask`; the whole answer has to come within the device's time-out. Raises ModbusError and nothing else."""
        hal = self._hal
        rest = hal.ticks_diff(self._free_at, hal.ticks_ms())
        if 0 < rest < _LONG_MS:  # as in `line`
            await asyncio.sleep_ms(rest)
        late_bytes = self.late_bytes
        try:
            start = await self._exchange(device, function, address, value, end)
            device.count("ok")
        except ModbusError as failure:
            device.count(failure.counter)
            raise
        finally:
            device.counters["late_bytes"] += self.late_bytes - late_bytes
            self._free_at = hal.ticks_add(hal.ticks_ms(), device.pause_ms)
        return start

    async def _exchange(self, device: "Device", function: int, address: int, value: int, end: int) -> int:
        hal = self._hal
        try:
            connection = self._connection or await self._connect(device.timeout_ms)
            self._transaction = tcp.next_transaction(self._transaction)
            length = tcp.build(self._out, self._transaction, device.unit, end + _BEFORE)
            deadline = hal.ticks_add(hal.ticks_ms(), device.timeout_ms)
            await self._send(connection, length, deadline)
            self._retry_at = None
            self._backoff_ms = _FIRST_MS
            while True:
                n = await self._frame(connection, deadline)
                if tcp.transaction(self.rx) == self._transaction:
                    break
                self.late_bytes += n
                self.late_unit = self.rx[_BEFORE]
                await asyncio.sleep_ms(0)
            self._silent = 0
            tcp.verify(self.rx, n, self._transaction, device.unit, function)
            return pdu.check_reply(self.rx, tcp.PDU_START, n, function, address, value)
        except OSError as gone:
            self._hang_up()
            raise ModbusTimeout(f"{self._host}: {gone}") from None
        except (ModbusTimeout, ModbusPartial):
            self._silent += 1
            if self._silent >= _DEAF:
                self._hang_up()
            raise

    async def _connect(self, patience_ms: int) -> "Socket":
        """Raises OSError when there is no connection, or none is tried yet."""
        hal = self._hal
        if self._retry_at is not None:
            rest = hal.ticks_diff(self._retry_at, hal.ticks_ms())
            if rest > 0:
                await asyncio.sleep_ms(min(rest, patience_ms))
            if rest > patience_ms:
                raise OSError(errno.ENOTCONN)
        self._retry_at = hal.ticks_add(hal.ticks_ms(), self._backoff_ms)
        self._backoff_ms = min(2 * self._backoff_ms, _MOST_MS)
        address = hal.address(await self._address(), self._port)
        connection = self._connection = hal.open_socket(True)
        try:
            connection.connect(address)
        except OSError as pending:
            if pending.errno != errno.EINPROGRESS:
                raise
        await self._waiter.writable(connection, _CONNECT_MS)
        if self._waiter.timed_out:
            raise OSError(errno.ETIMEDOUT)
        return connection

    async def _address(self) -> str:
        if self._host.replace(".", "").isdigit():
            return self._host
        if self._backoff_ms > 2 * _FIRST_MS:
            self._found.pop(self._host, None)
        from ohmnode.resolver import Resolver  # memory that is needed for a moment

        return await Resolver(self._hal, self._found).resolve(self._host, self._waiter)

    def _hang_up(self) -> None:
        self._n = self._silent = 0
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _send(self, connection: "Socket", length: int, deadline: int) -> None:
        sent = 0
        while True:
            sent += connection.write(self._out[sent:length]) or 0
            if sent == length:
                return
            left = self._hal.ticks_diff(deadline, self._hal.ticks_ms())
            if left <= 0:
                raise OSError(errno.ETIMEDOUT)  # half a request is out: this connection is of no more use
            await self._waiter.writable(connection, left)

    async def _frame(self, connection: "Socket", deadline: int) -> int:
        """Collects one frame into `rx`, no byte more than its header says; returns its length. What has begun is continued."""
        hal = self._hal
        while True:
            try:
                wanted = tcp.expected_length(self.rx, self._n) or _HEAD
            except ModbusWrongReply:
                self._hang_up()  # out of step: nothing that follows can be understood
                raise
            if self._n == wanted:
                self._n = 0
                return wanted
            left = hal.ticks_diff(deadline, hal.ticks_ms())
            if left <= 0:
                if self._n:
                    raise ModbusPartial(f"{self._n} bytes came")
                raise ModbusTimeout("no answer")
            got = connection.readinto(self._rx[self._n : wanted])
            if got is None:
                await self._waiter.readable(connection, left)
            elif got:
                self._n += got
            else:
                raise OSError(errno.ECONNRESET)
