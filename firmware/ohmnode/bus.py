"""The bus task: reads what is due, one request at a time, and writes what was commanded in between."""

import gc

from ohmcore import const, pdu, rtu
from ohmcore.errors import ModbusError, ModbusException
from ohmnode import overlay
from ohmnode.schedule import COUNTERS, READ, START, Device, Group, Schedule, payload_size
from ohmnode.waiter import Waiter

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal
    from ohmnode.guard import Guard
    from ohmnode.line import Line
    from ohmnode.outbox import Outbox
    from ohmnode.scan import Scan
    from ohmnode.schedule import Form
    from ohmnode.supervisor import Ward
    from ohmnode.tcpline import TcpLine
    from ohmnode.vitals import Vitals

    AnyLine = Line | TcpLine

_BEAT_MS = const(1000)
_QUIET_MS = const(30)
_LEFT = const(-2)  # the position of a snapshot that has yet to be published as far as it came
_UNITS = const(247)
_URGENT = const(3)  # states of a work from which on nobody's command is carried out, but what was is taken back (`leases`)
_STREAK = const(12)  # exchanges for commands before one of what is due: telemetry stays fresh in a flood of them


class Bus:
    """`spec`: a bus of the configuration, kind `rtu` (a serial line) or `tcp` (a device or a converter on the network)."""

    def __init__(self, hal: "Hal", spec: "dict[str, Any]", outbox: "Outbox", vitals: "Vitals", guard: "Guard | None") -> None:
        self.name = str(spec["name"])
        self.opened = 0
        self.hal = hal
        self._port = spec
        self._outbox = outbox
        self._vitals = vitals
        self._guard = guard
        self._waiter: "Waiter | None" = None
        self._scan: "Scan | None" = None
        self._form = None if spec.get("kind") == "tcp" else _form(spec, (9600, "N", 1))
        self._busy = False  # since the last collection of garbage
        self.hold = False  # whether to stop between two transactions, and whether it has
        self.parked = False
        now = hal.ticks_ms()
        if guard is not None:
            guard.wakes.append(self.wake)
        self.devices = [self._device(device, now) for device in spec.pop("devices")]
        self.schedule = Schedule(hal, self.devices, rtu.char_us(self._form[0]) if self._form is not None else 0)

    def _device(self, spec: "dict[str, Any]", now: int) -> Device:
        groups = [Group(group["name"], group["period_ms"], group["priority"], group["reads"], now) for group in spec["groups"]]
        groups.sort(key=lambda group: group.period_ms)
        device = Device(spec["name"], spec["unit"], spec["timeout_ms"], spec["retries"], spec["turnaround_ms"], groups)
        if self._form is not None:
            device.form = _form(spec, self._form)
        for vital in spec["vitals"]:
            self._vitals.add(device.name, vital)
        if self._guard is not None and not spec.get("read_only"):
            for control in spec["controls"]:
                self._guard.add(device, control)
        return device

    def scan(self, first: int, last: int) -> str:
        """Looks for devices between the polls, from unit `first` to unit `last`; events tell which are there. Why not; empty: begun."""
        if not 1 <= first <= last <= _UNITS:
            return "out of range"
        if self._scan is not None:
            return "busy"
        from ohmnode.scan import Scan  # memory that is spent by whoever scans

        self._scan = Scan(self.name, self.devices, first, last)
        self.wake()
        return ""

    def wake(self) -> None:
        """Something waits to be written."""
        if self._waiter is not None:
            self._waiter.wake()

    async def run(self, ward: "Ward") -> None:
        """For ever. Raises what the line raises when its device goes (OSError), to be started again."""
        waiter = self._waiter = Waiter()
        line = None
        probed = False
        streak = 0
        try:
            line = self._open(waiter)
            self.opened += 1
            while True:
                ward.beat()
                if self.hold:
                    self.parked = True
                    await waiter.pause(_BEAT_MS)
                    continue
                try:
                    work = None if self._guard is None else self._guard.next(self.devices)
                    if work is not None and self._guard is not None and (work.state >= _URGENT or streak < _STREAK):
                        streak += 1
                        await self._guard.step(self, line, work)
                        continue
                    streak = 0
                    if self._scan is not None and not probed and self._scan.ready(self.hal):
                        probed = True  # one probe at most between two reads
                        if await self._scan.step(line, self._outbox):
                            self._scan = None
                        continue
                    probed = False
                    chosen = self.schedule.pick(self.hal.ticks_ms())
                    if chosen is not None:
                        self._busy = True
                        await self._read(line, chosen[0], chosen[1])
                    elif self._scan is None and work is None:
                        await waiter.pause(self._quiet_ms())
                except MemoryError:  # that one comes again
                    waiter.deaf = False
                    if not overlay.reserve(False):
                        raise
                    self._outbox.spool.put_off()
        finally:
            waiter.close()
            self._waiter = None
            if line is not None:
                line.close()

    def _open(self, waiter: Waiter) -> "AnyLine":
        spec = self._port
        if self._form is None:
            from ohmnode.tcpline import TcpLine  # memory that a node on serial lines need not spend

            self._outbox.log(self.name, f"{spec['host']}:{spec['port']}")
            return TcpLine(self.hal, spec["host"], spec["port"])
        from ohmnode.line import Line  # not before the node is built, for which memory is needed as well

        baud, parity, stop = self._form
        self._outbox.log(self.name, f"opened {spec['port']} at {baud} baud 8{parity}{stop}")
        return Line(self.hal, self.hal.uart(spec), self._form, waiter)

    def _quiet_ms(self) -> int:
        """How long nothing is due; the first such time after a read is used to tidy up."""
        wait = self.schedule.wait_ms(self.hal.ticks_ms())
        if self._busy and wait > _QUIET_MS:
            self._busy = False
            gc.collect()
            wait = self.schedule.wait_ms(self.hal.ticks_ms())
        return min(wait, _BEAT_MS)

    async def _read(self, line: "AnyLine", device: Device, group: Group) -> None:
        """The next read of a group."""
        if group.attempts:
            device.counters["retries"] += 1
        reads = group.reads
        place = READ * group.position
        function, address, count = reads[place], reads[place + 1], reads[place + 2]
        size = payload_size(function, count)
        if line.ambiguous(device.unit, function, size) and not await self.settle(line, device, group):
            self._finish(device, group)
            return
        end = pdu.build_read(line.tx, rtu.PDU_START, function, address, count)
        back = False
        try:
            start = await line.ask(device, function, address, count, size, end)
        except ModbusException:
            back = self.schedule.refused(device, group, self.hal.ticks_ms())
        except ModbusError as failure:
            self.missed(device, group, failure)
        else:
            image, rx, offset = group.image, line.rx, reads[place + START]
            for i in range(size):
                image[offset + i] = rx[start + i]
            if self._guard is not None:
                self._guard.fresh(group)
            back = self.schedule.read(device, group, self.hal.ticks_ms())
        self._finish(device, group)
        self.back(device, back)

    def _finish(self, device: Device, group: Group) -> None:
        """Publishes the snapshot if it has all it will get."""
        if self.schedule.complete(group):
            self.schedule.close(group)
            self._publish(device, group)

    async def settle(self, line: "AnyLine", device: Device, group: "Group | None") -> bool:
        """Asks something whose answer cannot be taken for a late one. False when the device has to wait or did not answer."""
        function, address, count = self._unlike(line, device)
        size = payload_size(function, count)
        if not count:
            device.hold(self.hal.ticks_add(self.hal.ticks_ms(), line.lapses_in(device.unit)))
            return False
        end = pdu.build_read(line.tx, rtu.PDU_START, function, address, count)
        try:
            await line.ask(device, function, address, count, size, end)
        except ModbusException:
            pass
        except ModbusError as failure:
            self.missed(device, group, failure)
            return False
        self.back(device, self.schedule.answered(device, self.hal.ticks_ms()))
        return True

    def _unlike(self, line: "AnyLine", device: Device) -> "tuple[int, int, int]":
        """A read of the device (or a shorter form of one) that has an answer of its own shape; count 0 if there is none."""
        longest = 0
        for group in device.groups:
            for place in range(2, len(group.reads), READ):
                longest = max(longest, group.reads[place])
        for shorter in range(longest):
            for group in device.groups:
                for place in range(0, len(group.reads), READ):
                    function, count = group.reads[place], group.reads[place + 2] - shorter
                    size = payload_size(function, max(count, 0))
                    if size and not line.ambiguous(device.unit, function, size):
                        return function, group.reads[place + 1], count
        return 0, 0, 0

    def _publish(self, device: Device, group: Group) -> None:
        if self._outbox.snapshot(device, group):
            self._vitals.update(device, group)

    def back(self, device: Device, back: bool) -> None:
        """After an answer; `back`: what the schedule made of it."""
        if back:
            self._outbox.log(self.name, f"{device.name} answers again")
            self._outbox.event(device.name, "online", {})

    def missed(self, device: Device, group: "Group | None", failure: ModbusError) -> None:
        """After a request without a usable answer; `group` None: it was no poll."""
        if not self.schedule.missed(device, group, self.hal.ticks_ms()):
            return
        for begun in device.groups:  # first of all: what is left begun would be gone on with when the device is back
            begun.position = _LEFT if begun.position >= 0 else -1
        self._outbox.log(self.name, f"{device.name} does not answer: {failure}")
        self._outbox.event(device.name, "offline", {"reason": failure.counter})
        for begun in device.groups:
            if begun.position == _LEFT:
                begun.abandon()
                self._publish(device, begun)

    def report(self, lag_ms: int) -> None:
        """The counters as events: one for each device, one for the bus with their sum and how the node is doing."""
        total: "dict[str, Any]" = dict.fromkeys(COUNTERS, 0)
        for device in self.devices:
            for name in COUNTERS:
                total[name] += device.counters[name]
            detail: "dict[str, Any]" = dict(device.counters)
            detail["online"] = device.online
            detail["skipped"] = sum([group.skipped for group in device.groups])
            self._outbox.event(device.name, "bus", detail)
        total["bus"] = self.name
        total["opened"] = self.opened
        total["lag_max_ms"] = lag_ms
        total["memory_free"] = self.hal.memory_free()
        self._outbox.event("", "bus", total)


def _form(spec: "dict[str, Any]", default: "Form") -> "Form":
    """The serial format of a bus or of a device on it; one object for all that have the same as the bus."""
    form = (spec.get("baud", default[0]), spec.get("parity", default[1]), spec.get("stop", default[2]))
    return default if form == default else form
