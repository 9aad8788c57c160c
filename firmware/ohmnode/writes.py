"""Writing to controls between a bus's polls: read what is there, write what differs, read back. One exchange at a time, so that
what is more urgent never waits for the rest of it. The guard (`guard.py`) says what to write and is told what came of it.
"""

from ohmcore import const, pdu, rtu
from ohmcore.errors import ModbusError, ModbusException
from ohmcore.limits import Budget, integer, ramped

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ohmnode.bus import AnyLine, Bus
    from ohmnode.commands import Command
    from ohmnode.guard import Guard
    from ohmnode.schedule import Device

# What a work does; above _CHECK it has nothing in hand.
_READ = const(0)
_WRITE = const(1)
_CHECK = const(2)
_VERIFY = const(3)
_IDLE = const(4)

_UNSETTLED_MS = const(500)
_UNSETTLED = const(8)
_AGAIN_MS = const(300)
_RAMP_MS = const(1000)


class Control:
    """A writable target, as the configuration describes it (`firmware/README.md`). `work` None: nobody wants anything of it."""

    def __init__(self, device: "Device", spec: "dict[str, Any]") -> None:
        self.device = device
        self.name = str(spec["name"])
        self.blocks: "list[list[int]]" = spec["blocks"]
        self.fields: "list[list[Any]]" = spec["fields"]
        self.safe: "bytes | None" = spec.get("safe")
        self.required = bool(spec.get("lease"))
        self.home: "bytes | None" = spec.get("reversion")  # where it goes when nobody wants anything; None: it stays
        self.interval_ms = int(spec.get("interval_ms", 0))
        self.ramp = int(spec.get("ramp", 0))
        self.most = int(spec.get("budget") or 0)  # writes in any 24 hours; 0: as many as one likes
        self.budget: "Budget | None" = None  # None: nothing spent yet
        self.kept = 0  # what the state file says of it: 1 under lease, 2 set without one to what is not safe
        self.gap_ms = 0  # until the next write
        self.words = sum([block[2] for block in self.blocks])
        self.waiting: "Command | None" = None
        self.work: "Work | None" = None
        if self.home is None and self.required:
            self.home = self.safe
        if self.ramp and self.fields[0][6]:
            raise ValueError(f"control {device.name} {self.name}: between some values only there is no ramp")
        for value in (self.safe, self.home):
            if value is not None and len(value) != 2 * self.words:
                raise ValueError(f"control {device.name} {self.name}: its values do not fit its blocks")
        if self.safe is not None or self.required:
            Work(self)  # what an emergency needs is there before it

    def end(self) -> "bytes | None":
        """What it gets at the end of a lease."""
        return self.safe if self.home is None else self.home

    def left(self) -> int:
        """Writes that are left of the budget."""
        return self.most if self.budget is None else self.budget.left()

    def spend(self, writes: int) -> "Budget":
        """So many writes are done, where there is a budget."""
        if self.budget is None:
            self.budget = Budget(self.most)
        self.budget.spend(writes)
        return self.budget

    def value(self, raw: "bytes | bytearray") -> int:
        """The first field, which is what the control is about, as a raw number."""
        field = self.fields[0]
        return integer(raw, 2 * field[0], field[1], field[2])


class Work:
    """What is being done for a control. `state` is the guard's; `epoch` tells one thing to do from the next."""

    def __init__(self, control: Control) -> None:
        control.work = self
        self.control = control
        self.state = 0
        self.phase = _IDLE
        self.epoch = 0
        self.target = b""
        self.out = b""  # what is written: the target, or a step of the ramp to it
        self.seen = bytearray(b"\xff" * (2 * control.words))  # what it may hold, as far as anybody knows
        self.block = 0
        self.dirty = 0  # bit by block: to be written
        self.tries = 0
        self.pause_ms = 0
        self.absent = False  # the pause ends when the device is back
        self.wrote = False
        self.told = False
        self.identity: "int | str | None" = None  # whose result is still owed
        self.lease_ms = 0
        self.left_ms = 0  # while it is idle: until the next look; before the first write: of the command's time to live
        self.differs = 0
        self.rewrites = 0
        self.reason = ""

    def begin(self, state: int, target: bytes, quick: bool, reason: str) -> None:
        """Something new to do. `quick`: written without reading first."""
        self.state = state
        self.target = self.out = target
        self.reason = reason
        self.differs = 0
        self.absent = self.wrote = self.told = False
        self.again(0, quick)

    def again(self, ms: int, quick: bool) -> None:
        """The same once more, in `ms`. What is written without reading first is taken back: from the last block on."""
        self.epoch += 1
        self.tries = 0
        self.block = len(self.control.blocks) - 1 if quick else 0
        self.dirty = (1 << len(self.control.blocks)) - 1
        self.phase = _WRITE if quick else _READ
        self.pause_ms = ms

    def verify(self) -> None:
        """Looks whether the value is still there."""
        self.block = self.tries = 0
        self.phase = _VERIFY

    def rest(self, left_ms: int) -> None:
        self.phase = _IDLE
        self.left_ms = left_ms

    def in_hand(self) -> bool:
        """Whether an exchange of what is to be written has been done, and the last has not."""
        return self.phase < _VERIFY and bool(self.phase or self.block or self.tries)

    def idle(self) -> bool:
        return self.phase == _IDLE

    def verifying(self) -> bool:
        return self.phase == _VERIFY


async def step(bus: "Bus", line: "AnyLine", guard: "Guard", work: Work) -> None:
    """One exchange. Raises what the line raises when it goes (OSError); the exchange is repeated then."""
    control = work.control
    device = control.device
    epoch = work.epoch
    reading = work.phase != _WRITE
    offset = 0
    for i in range(work.block):
        offset += 2 * control.blocks[i][2]
    function, address, count = control.blocks[work.block]
    size = 2 * count
    try:
        if reading:
            if line.ambiguous(device.unit, pdu.READ_HOLDING_REGISTERS, size) and not await bus.settle(line, device, None):
                work.pause_ms = _UNSETTLED_MS
                work.tries += 1
                if work.epoch == epoch and work.tries > device.retries + _UNSETTLED:
                    guard.failed(work, "no answer", False)
                return
            end = pdu.build_read(line.tx, rtu.PDU_START, pdu.READ_HOLDING_REGISTERS, address, count)
            start = await line.ask(device, pdu.READ_HOLDING_REGISTERS, address, count, size, end)
        else:
            raw = work.out[offset : offset + size]
            if function == pdu.WRITE_SINGLE_REGISTER:
                count = integer(raw, 0, 1)
                end = pdu.build_write_single(line.tx, rtu.PDU_START, function, address, count)
            else:
                end = pdu.build_write_multiple_registers(line.tx, rtu.PDU_START, address, raw)
            control.gap_ms = pace_ms(control) if control.ramp else control.interval_ms  # whoever commands the next step
            work.wrote = True
            if guard.owned(work):  # from now on it may hold that, whatever it answers
                work.seen[offset : offset + size] = raw
            start = await line.ask(device, function, address, count, 4, end)
    except ModbusException as refused:
        bus.back(device, bus.schedule.answered(device, bus.hal.ticks_ms()))
        if work.epoch == epoch:
            guard.failed(work, refused.name, True)
        return
    except ModbusError as failure:
        bus.missed(device, None, failure)
        if work.epoch == epoch:
            work.tries += 1
            if work.tries > device.retries:
                guard.failed(work, failure.counter.replace("_", " "), False)
        return
    bus.back(device, bus.schedule.answered(device, bus.hal.ticks_ms()))
    if work.epoch != epoch:
        return
    if reading:
        for i in range(size):
            work.seen[offset + i] = line.rx[start + i]
        work.block += 1
        if work.block == len(control.blocks):
            work.block = 0
            _compare(guard, work)
    else:
        work.dirty &= ~(1 << work.block)
        if work.dirty:
            _next_dirty(guard, work)
        else:
            work.phase = _CHECK
            work.block = 0


def _next_dirty(guard: "Guard", work: Work) -> None:
    """What is commanded is written from the first block on; what is taken back from the last, so that no more is in force in between."""
    back = guard.returns(work)
    work.block = 0
    while work.dirty >> work.block > 1 if back else not work.dirty >> work.block & 1:
        work.block += 1


def _compare(guard: "Guard", work: Work) -> None:
    """All that belongs to the control has been read."""
    phase = work.phase
    if work.seen == work.target:
        guard.settled(work, phase == _VERIFY)
    elif phase == _VERIFY:
        guard.differs(work)
    elif phase == _READ:
        _prepare(guard, work)
    elif work.seen == work.out:  # a step of a ramp
        work.again(pace_ms(work.control), False)
    else:
        work.tries += 1
        work.pause_ms = _AGAIN_MS
        if work.tries > work.control.device.retries:
            guard.failed(work, "reads back otherwise", True)


def pace_ms(control: Control) -> int:
    """Between two steps of a ramp; at least so long that one step of the field is allowed."""
    step = control.fields[0][5] or 1
    return max(_RAMP_MS, control.interval_ms, -(-1000 * step // control.ramp))


def _prepare(guard: "Guard", work: Work) -> None:
    """Something else is there than is wanted: what to write of it, and whether that is allowed now."""
    control = work.control
    out = work.target
    if control.ramp and guard.owned(work):
        field = control.fields[0]
        value = ramped(control.value(work.seen), control.value(out), control.ramp * pace_ms(control) // 1000, field)
        if value != control.value(out):
            guard.limited(work, "ramp", value)
            first, end = 2 * field[0], 2 * (field[0] + field[1])
            out = out[:first] + (value & ((1 << 16 * field[1]) - 1)).to_bytes(end - first, "big") + out[end:]
    work.out = out
    work.dirty = offset = 0
    writes = 0
    for i in range(len(control.blocks)):
        end = offset + 2 * control.blocks[i][2]
        if work.seen[offset:end] != out[offset:end]:
            work.dirty |= 1 << i
            writes += 1
        offset = end
    if guard.may(work, writes):
        work.phase = _WRITE
        work.tries = 0
        _next_dirty(guard, work)
