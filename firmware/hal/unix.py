"""The node on a PC or a single-board computer: MicroPython's unix port, a serial device or pty, the system's sockets and files."""

import os
import select
import sys
import termios

from hal.common import CommonHal
from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BAUDS = (2400, 4800, 9600, 19200, 38400)  # Linux numbers these rates 11 to 15 (asm-generic/termbits.h); the port names only one of them
_LINUX = termios.B9600 != 9600
_VTIME, _VMIN = (5, 6) if _LINUX else (17, 16)
_PARENB, _PARODD, _CSTOPB = (0x100, 0x200, 0x40) if _LINUX else (0x1000, 0x2000, 0x400)

_RESTART = const(85)


class Uart:
    """A tty by its path. Without VMIN = VTIME = 0 a read would wait for its whole buffer."""

    def __init__(self, path: str, baud: int, parity: str, stop: int) -> None:
        self.stream = open(path, "r+b")
        self._writable = select.poll()
        self._writable.register(self.stream, select.POLLOUT)
        self._scrap = bytearray(64)
        termios.setraw(self.stream.fileno())
        self.set_format(baud, parity, stop)

    def set_format(self, baud: int, parity: str, stop: int) -> None:
        fd = self.stream.fileno()
        attributes = termios.tcgetattr(fd)
        attributes[2] &= ~(_PARENB | _PARODD | _CSTOPB)
        if parity != "N":
            attributes[2] |= _PARENB | (_PARODD if parity == "O" else 0)
        if stop == 2:
            attributes[2] |= _CSTOPB
        attributes[4] = attributes[5] = _speed(baud)
        attributes[6][_VTIME] = attributes[6][_VMIN] = 0
        termios.tcsetattr(fd, termios.TCSANOW, attributes)

    def readinto(self, buffer: memoryview) -> int:
        """How many bytes came; 0 for none. OSError when the device has gone."""
        return int(self.stream.readinto(buffer) or 0)

    def write(self, buffer: bytearray, size: int) -> bool:
        """False when the line takes nothing, as a pty that nobody reads: a write would wait for ever."""
        for _, event in self._writable.ipoll(0):
            if event & select.POLLOUT:
                self.stream.write(buffer, size)
                return True
        return False

    def sent(self) -> bool:
        return True

    def clear(self) -> int:
        count = 0
        while True:
            got = self.stream.readinto(self._scrap)
            if not got:
                return count
            count += int(got)
            if count > 4096:
                return count

    def close(self) -> None:
        self.stream.close()


def _speed(baud: int) -> int:
    if not _LINUX:
        return baud
    if baud in _BAUDS:
        return 11 + _BAUDS.index(baud)
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise ValueError(f"no baud rate {baud} here")
    return int(speed)


class UnixHal(CommonHal):
    name = "unix"

    def uart(self, bus: "dict[str, Any]") -> Uart:
        return Uart(bus["port"], bus["baud"], bus.get("parity", "N"), bus.get("stop", 1))

    def network_start(self, wifi: "dict[str, str] | None") -> None:
        """The system's business here."""

    def network_ready(self) -> bool:
        return True

    def known_host(self, host: str) -> "str | None":
        from hal import names

        return names.known_host(host)

    def nameserver(self) -> "tuple[str, int] | None":
        from hal import names

        return names.nameserver()

    def stop_pin(self, pin: "dict[str, int]") -> "Callable[[], bool]":
        """A file `pin` of the state directory that holds 0 or 1; without it the input is not active."""
        active = str(pin["active"]).encode()
        return lambda: (self.read("pin") or b"").strip() == active

    def watchdog_start(self, ms: int) -> None:
        """There is none: the supervisor gives up instead, and the exit code tells whoever started it."""

    def watchdog_feed(self) -> None:
        """See `watchdog_start`."""

    def reset_cause(self) -> str:
        return "start"

    def restart(self) -> None:
        """Whoever started this starts it again."""
        sys.exit(_RESTART)

    def setting(self, name: str, default: int) -> int:
        """A duration that tests shorten: `OHM_NODE_<NAME>` of the environment."""
        text = os.getenv("OHM_NODE_" + name.upper())
        return int(text) if text else default

    def give_up(self, code: int) -> bool:
        return True
