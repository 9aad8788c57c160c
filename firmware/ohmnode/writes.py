"""What is written on a bus between its polls: each value is read back, and said what came of it."""

from ohmcore import const, pdu, rtu
from ohmcore.errors import ModbusError, ModbusException

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ohmnode.bus import Bus
    from ohmnode.commands import Command
    from ohmnode.line import Line


async def obey(bus: "Bus", line: "Line", command: "Command") -> None:
    """Writes, reads back and says what came of it."""
    reason, value = await _write(bus, line, command)
    control = command.control
    if bus.commands is not None:
        stage = "failed" if reason else "done"
        bus.commands.result(command.identity, control.device.name, control.name, stage, reason, value)


async def _write(bus: "Bus", line: "Line", command: "Command") -> "tuple[str, int | None]":
    """Why it failed (empty: it did not) and what was read back. Silence is asked again: the same value twice is the same."""
    device = command.control.device
    reason = ""
    for _ in range(device.retries + 1):
        try:
            await _set(bus, line, command)
            value = await _get(line, command)
            return "" if value == int.from_bytes(command.raw, "big") else "reads back otherwise", value
        except ModbusException as refused:
            return refused.name, None
        except ModbusError as failure:
            reason = failure.counter.replace("_", " ")
            bus.missed(device, None, failure)
    return reason, None


async def _set(bus: "Bus", line: "Line", command: "Command") -> None:
    control = command.control
    raw = command.raw
    if control.function == pdu.WRITE_SINGLE_REGISTER:
        value = int.from_bytes(raw, "big")
        end = pdu.build_write_single(line.tx, rtu.PDU_START, control.function, control.address, value)
    else:
        value = control.words
        end = pdu.build_write_multiple_registers(line.tx, rtu.PDU_START, control.address, raw)
    await line.ask(control.device, control.function, control.address, value, 4, end)
    bus.back(control.device, bus.schedule.answered(control.device, bus.hal.ticks_ms()))


async def _get(line: "Line", command: "Command") -> int:
    control = command.control
    size = 2 * control.words
    end = pdu.build_read(line.tx, rtu.PDU_START, pdu.READ_HOLDING_REGISTERS, control.address, control.words)
    start = await line.ask(control.device, pdu.READ_HOLDING_REGISTERS, control.address, control.words, size, end)
    return int.from_bytes(line.rx[start : start + size], "big")
