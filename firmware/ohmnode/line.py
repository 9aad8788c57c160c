"""One request and its answer at a time on a half-duplex line, each with its exact outcome (MODBUS over serial line V1.02, section 2).

An RTU answer does not say which request it belongs to. What keeps a late one from being taken for the answer to the next request:
- after a request without an answer the line is drained until it is silent;
- an unanswered request is remembered as owed. While it is, nothing of that unit which could be its answer (same function, same number
  of bytes) is accepted, and no request of that shape is made: `ambiguous` tells, and the caller asks something of another shape first.
  The late answer itself pays the debt; so does any answer of another shape, as a device answers in order; else it lapses with time.
Devices on one line may differ in baud rate and format: between them the line is silent for as long as the slower of both demands.
"""

import asyncio

from ohmcore import const, pdu, rtu
from ohmcore.errors import ModbusCrcError, ModbusError, ModbusException, ModbusTimeout, ModbusWrongReply

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal, Uart
    from ohmnode.schedule import Device, Form
    from ohmnode.waiter import Waiter

_GAP_MS = const(40)  # a USB adapter hands over what it has every 16 ms: a shorter silence within a frame is no end
_LAPSE_MS = const(3000)
_LONG_MS = const(19000)  # more than any rest between two exchanges, less than the supervisor's patience
_BABBLE_MS = const(500)
_BUFFER = const(264)
_HEAD = const(3)  # unit, function, byte count: enough to know the length of an answer


class Line:
    """`form`: what `uart` is set to. `waiter`: of the task that asks. The request's PDU goes into `tx` from `rtu.PDU_START`.

    `late_unit`: who answered late at last.
    """

    def __init__(self, hal: "Hal", uart: "Uart", form: "Form", waiter: "Waiter") -> None:
        self.tx = bytearray(_BUFFER)
        self.rx = bytearray(_BUFFER)
        self.late_bytes = 0
        self.late_unit = 0
        self._rx = memoryview(self.rx)
        self._head = self._rx[:_HEAD]
        self._hal = hal
        self._uart = uart
        self._waiter = waiter
        self._take_times(form)
        self._free_at = hal.ticks_ms()
        self._answered = False  # by the unit that was asked, be it with a refusal or with a wrong checksum
        self._owed: "list[tuple[int, int, int, int]]" = []

    def _take_times(self, form: "Form") -> None:
        baud, parity, stop = form
        self._form = form
        self._char_us = rtu.char_us(baud, 9 + stop + (parity != "N"))
        self._silence_ms = (rtu.silence_us(baud) + 999) // 1000
        self._gap_ms = _GAP_MS + self._silence_ms

    def close(self) -> None:
        self._uart.close()

    def ambiguous(self, unit: int, function: int, size: int) -> bool:
        """Whether an answer of `size` payload bytes could be the late one to an earlier request."""
        if not self._owed:
            return False
        self._forget(0)
        found = False
        for owed in self._owed:
            found = found or owed[:3] == (unit, function, size)
        return found

    def lapses_in(self, unit: int) -> int:
        """Milliseconds until nothing that `unit` owes is awaited any more."""
        longest = 0
        for owed in self._owed:
            if owed[0] == unit:
                longest = max(longest, self._hal.ticks_diff(owed[3], self._hal.ticks_ms()))
        return longest

    async def ask(self, device: "Device", function: int, address: int, value: int, size: int, end: int) -> int:
        """Sends the request whose PDU ends at `end`; returns where the payload of its answer (`size` bytes) begins in `rx`.

        `value`: count, value or quantity as for `pdu.check_reply`. Counts the outcome with the device. Raises ModbusError; OSError when
        the line itself has gone.
        """
        ticks_ms, ticks_diff = self._hal.ticks_ms, self._hal.ticks_diff
        if device.form is not None and device.form != self._form:
            await self._turn_to(device.form)
        start = ticks_diff(self._free_at, ticks_ms())
        if 0 < start < _LONG_MS:  # more is the tick counter's wrap, after days in which nothing was asked
            await asyncio.sleep_ms(start)
        start = 0
        self._answered = False
        late_bytes = self.late_bytes
        try:
            deadline = self._send(device, end)
            while not self._uart.sent():
                await asyncio.sleep_ms(1)
            while not start:
                n = await self._frame(ticks_diff(deadline, ticks_ms()))
                start = self._payload(n, device.unit, function, address, value)
            device.count("ok")
        except ModbusError as failure:
            device.count(failure.counter)
            raise
        finally:
            if self._answered:
                self._forget(device.unit)
            else:
                await self._owe(device, function, size)
            device.counters["late_bytes"] += self.late_bytes - late_bytes
            self._free_at = self._hal.ticks_add(ticks_ms(), max(device.pause_ms, self._silence_ms))
        return start

    async def _turn_to(self, form: "Form") -> None:
        """Changes the format of the line once it has been silent as both the old and the new one want it."""
        silence_ms = self._silence_ms
        self._take_times(form)
        rest = self._hal.ticks_diff(self._free_at, self._hal.ticks_ms()) + max(self._silence_ms - silence_ms, 0)
        if 0 < rest < _LONG_MS:
            await asyncio.sleep_ms(rest)
        self._uart.set_format(form[0], form[1], form[2])

    def _send(self, device: "Device", end: int) -> int:
        """Clears the line and sends; returns the moment by which the answer has to begin."""
        self._unasked(self._uart.readinto(self._rx))
        self.late_bytes += self._uart.clear()
        length = rtu.build(self.tx, device.unit, end)
        if not self._uart.write(self.tx, length):
            raise ModbusTimeout("the line takes nothing")
        return self._hal.ticks_add(self._hal.ticks_ms(), length * self._char_us // 1000 + device.timeout_ms)

    def _payload(self, n: int, unit: int, function: int, address: int, value: int) -> int:
        """Where the payload begins in the `n` bytes that came; 0 when they are a late answer. Raises ModbusError."""
        try:
            end = rtu.verify(self.rx, n, unit, function)
            start = pdu.check_reply(self.rx, rtu.PDU_START, end, function, address, value)
            self._answered = True
            return start
        except (ModbusWrongReply, ModbusException) as other:
            if not self._is_owed():
                self._answered = isinstance(other, ModbusException)
                raise
            self.late_bytes += n
            return 0
        except ModbusCrcError:
            self._answered = self.rx[0] == unit
            raise

    async def _owe(self, device: "Device", function: int, size: int) -> None:
        """The request got no answer that is surely its own: one may still come."""
        until = self._hal.ticks_add(self._hal.ticks_ms(), max(_LAPSE_MS, 3 * device.timeout_ms))
        self._owed.append((device.unit, function, size, until))
        await self._drain()

    def _is_owed(self) -> bool:
        """Whether the sound frame in `rx` can be the late answer to an earlier request, refusals included; that debt is paid then."""
        unit, function, size = self.rx[0], self.rx[1], self.rx[2]
        for i in range(len(self._owed)):
            owed = self._owed[i]
            if owed[0] == unit and owed[1] == function & 0x7F and (function & 0x80 or function > 4 or owed[2] == size):
                del self._owed[i]
                self.late_unit = unit
                return True
        return False

    def _unasked(self, n: int) -> None:
        """`n` bytes in `rx` came while nothing was asked: they are late, and may pay a debt."""
        self.late_bytes += n
        if n and self._owed:
            try:
                rtu.verify(self.rx, n, self.rx[0], self.rx[1] & 0x7F)
            except ModbusException:
                pass
            except ModbusError:
                return
            self._is_owed()

    def _forget(self, unit: int) -> None:
        if self._owed:
            now = self._hal.ticks_ms()
            self._owed = [owed for owed in self._owed if owed[0] != unit and self._hal.ticks_diff(owed[3], now) > 0]

    async def _frame(self, first_ms: int) -> int:
        """Collects one frame into `rx`, no byte more than its length says; returns how many came before the line fell silent."""
        self._waiter.deaf = True  # its owner is woken when there is something to write, which comes after this
        await self._waiter.readable(self._uart.stream, max(first_ms, 0))
        self._waiter.deaf = False
        view = self._head
        wanted = _HEAD
        n = silent = 0
        while True:
            got = self._uart.readinto(view)
            if got:
                n += got
                silent = 0
                if n == wanted == _HEAD:
                    wanted = min(rtu.expected_length(self.rx, n), _BUFFER) or _BUFFER
                if n >= wanted:
                    return n
                view = self._rx[n:wanted]
                continue
            if n == 0 or silent > self._gap_ms:
                return n
            # What is missing takes its time on the wire: one nap for all of it, then short ones.
            nap = 1 if silent or wanted == _BUFFER else (wanted - n) * self._char_us // 1000 + 1
            silent = silent + nap if silent else 1
            await asyncio.sleep_ms(nap)

    async def _drain(self) -> None:
        """Until the line has been silent for as long as separates two frames, or babbles on."""
        n = silent = spent = 0
        while silent <= self._silence_ms and spent < _BABBLE_MS:
            await asyncio.sleep_ms(1)
            spent += 1
            got = self._uart.readinto(self._rx[n:]) if n < _BUFFER else self._uart.clear()
            silent = 0 if got else silent + 1
            if n < _BUFFER:
                n += got
            else:
                self.late_bytes += got
        self._unasked(n)
