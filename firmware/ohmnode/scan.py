"""Which units answer on a bus: one harmless read of one register each, between the polls. Loaded only by who scans."""

from ohmcore import const, pdu, rtu
from ohmcore.errors import ModbusError, ModbusException
from ohmnode.schedule import Device

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal
    from ohmnode.bus import AnyLine
    from ohmnode.outbox import Outbox

_TIMEOUT_MS = const(200)
_PAUSE_MS = const(5)
_PIECE = const(16)
_SECOND_MS = const(1000)
_FIRST_FUNCTION = const(3)
_LAST_FUNCTION = const(4)
_GATEWAY_PATH = const(10)  # refusals of a converter whose line is silent: nobody is there
_GATEWAY_TARGET = const(11)


class Scan:
    """Of the bus `name`, from unit `first` to unit `last`. `devices`, which the bus polls anyway, are not asked again."""

    def __init__(self, name: str, devices: "list[Device]", first: int, last: int) -> None:
        self._name = name
        self._devices = devices
        self._unit = first
        self._last = last
        self._function = _FIRST_FUNCTION
        self._found: "list[int]" = []
        self._at: "int | None" = None
        self._probe = Device("", first, _TIMEOUT_MS, 0, _PAUSE_MS, [])

    def ready(self, hal: "Hal") -> bool:
        """Between two snapshots, so that none is drawn out; once a second where there is always one under way."""
        now = hal.ticks_ms()
        begun = sum([group.position >= 0 for device in self._devices for group in device.groups])
        if begun and self._at is not None and hal.ticks_diff(now, self._at) < _SECOND_MS:
            return False
        self._at = now
        return True

    async def step(self, line: "AnyLine", outbox: "Outbox") -> bool:
        """At most one probe. Tells what was found in pieces; true when all is told."""
        known = self._known()
        if known is not None:
            self._next(known)
        else:
            line.late_unit = 0
            there = await self._ask(line)
            if line.late_unit and line.late_unit not in self._found:
                self._found.append(line.late_unit)  # slower than a probe waits, and there all the same
            if there or self._function == _LAST_FUNCTION:
                self._next(there)
            else:
                self._function = _LAST_FUNCTION
        done = self._unit > self._last
        if done or len(self._found) >= _PIECE:
            outbox.event("", "scan", {"bus": self._name, "units": self._found, "done": done})
            self._found = []
        return done

    def _known(self) -> "bool | None":
        """Whether the unit to probe answers, as far as the polls tell; None: it has not been asked."""
        for device in self._devices:
            if device.unit == self._unit and device.counters["requests"]:
                return device.online and device.counters["ok"] + device.counters["exception"] > 0
        return None

    def _next(self, there: bool) -> None:
        if there and self._unit not in self._found:
            self._found.append(self._unit)
        self._unit += 1
        self._function = _FIRST_FUNCTION

    async def _ask(self, line: "AnyLine") -> bool:
        self._probe.unit = self._unit
        line.ambiguous(self._unit, self._function, 2)  # lets go of what is not owed any more
        end = pdu.build_read(line.tx, rtu.PDU_START, self._function, 0, 1)
        try:
            await line.ask(self._probe, self._function, 0, 1, 2, end)
        except ModbusException as refused:
            return refused.code not in (_GATEWAY_PATH, _GATEWAY_TARGET)
        except ModbusError:
            return False
        return True
