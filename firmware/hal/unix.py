"""The node on a PC or a single-board computer: MicroPython's unix port, a serial device or pty, the system's sockets and files."""

import errno
import gc
import os
import select
import socket
import termios
import time

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hal import Socket

_BAUDS = (2400, 4800, 9600, 19200, 38400)  # Linux numbers these rates 11 to 15 (asm-generic/termbits.h); the port names only one of them
_LINUX = termios.B9600 != 9600
_VTIME, _VMIN = (5, 6) if _LINUX else (17, 16)
_PARENB, _PARODD, _CSTOPB = (0x100, 0x200, 0x40) if _LINUX else (0x1000, 0x2000, 0x400)


class Uart:
    """A tty by its path. Without VMIN = VTIME = 0 a read would wait for its whole buffer."""

    def __init__(self, path: str, baud: int, parity: str, stop: int) -> None:
        self.stream = open(path, "r+b")
        self._writable = select.poll()
        self._writable.register(self.stream, select.POLLOUT)
        self._scrap = bytearray(64)
        fd = self.stream.fileno()
        termios.setraw(fd)
        attributes = termios.tcgetattr(fd)
        attributes[2] &= ~(_PARENB | _PARODD | _CSTOPB)
        if parity != "N":
            attributes[2] |= _PARENB | (_PARODD if parity == "O" else 0)
        if stop == 2:
            attributes[2] |= _CSTOPB
        attributes[6][_VTIME] = attributes[6][_VMIN] = 0
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
        self.set_baud(baud)

    def set_baud(self, baud: int) -> None:
        fd = self.stream.fileno()
        attributes = termios.tcgetattr(fd)
        attributes[4] = attributes[5] = _speed(baud)
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


class UnixHal:
    """`folder`: the state directory; it holds the configuration and what has to survive a restart."""

    name = "unix"

    def __init__(self, folder: str) -> None:
        self.ticks_ms: "Callable[[], Any]" = time.ticks_ms
        self.ticks_diff: "Callable[[Any, Any], int]" = time.ticks_diff
        self.ticks_add: "Callable[[Any, int], Any]" = time.ticks_add
        self._folder = folder

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def uart(self, bus: "dict[str, Any]") -> Uart:
        return Uart(str(bus["port"]), int(bus["baud"]), str(bus.get("parity", "N")), int(bus.get("stop", 1)))

    def network_start(self, wifi: "dict[str, str] | None") -> None:
        """The system's business here."""

    def network_ready(self) -> bool:
        return True

    def open_socket(self, stream: bool) -> "Socket":
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        opened.setblocking(False)
        return opened

    def address(self, ip: str, port: int) -> "Any":
        """Of numbers only: nothing is looked up."""
        return socket.getaddrinfo(ip, port)[0][-1]

    def known_host(self, host: str) -> "str | None":
        """An address itself, /etc/hosts, and `localhost` whatever is in there."""
        if host.replace(".", "").isdigit():
            return host
        for words in _words("/etc/hosts"):
            if host in words[1:] and ":" not in words[0]:
                return words[0]
        return "127.0.0.1" if host == "localhost" else None

    def nameserver(self) -> "tuple[str, int] | None":
        """The first of IPv4 in resolv.conf; a port may follow after `#`."""
        for words in _words(os.getenv("OHM_NODE_RESOLV_CONF") or "/etc/resolv.conf"):
            if words[0] == "nameserver" and len(words) > 1 and ":" not in words[1]:
                ip, _, port = words[1].partition("#")
                return ip, int(port or 53)
        return None

    def wrap_tls(self, connection: "Socket", host: str) -> "Socket":
        """Certificates are verified against `ca.der` of the state directory; without that file the line is encrypted and no more."""
        import tls

        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        authority = self.read("ca.der")
        if authority is None:
            context.verify_mode = tls.CERT_NONE  # type: ignore[attr-defined] # the stub lacks it
        else:
            context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined] # the stub lacks it
            context.load_verify_locations(authority)
        wrapped: "Socket" = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
        return wrapped

    def watchdog_start(self, ms: int) -> None:
        """There is none: the supervisor gives up instead, and the exit code tells whoever started it."""

    def watchdog_feed(self) -> None:
        """See `watchdog_start`."""

    def reset_cause(self) -> str:
        return "start"

    def memory_free(self) -> int:
        return gc.mem_free()

    def read(self, name: str) -> "bytes | None":
        try:
            with open(f"{self._folder}/{name}", "rb") as file:
                content: bytes = file.read()
                return content
        except OSError as failure:
            if failure.errno == errno.ENOENT:
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all: a power cut leaves the file as it was before or as it is after."""
        path = f"{self._folder}/{name}"
        with open(path + ".tmp", "wb") as file:
            file.write(content)
            file.flush()
        os.rename(path + ".tmp", path)

    def setting(self, name: str, default: int) -> int:
        """A duration that tests shorten: `OHM_NODE_<NAME>` of the environment."""
        text = os.getenv("OHM_NODE_" + name.upper())
        return int(text) if text else default

    def give_up(self, code: int) -> bool:
        return True


def _words(path: str) -> "list[list[str]]":
    try:
        with open(path) as file:
            lines = file.read().split("\n")
    except OSError:
        return []
    return [line.split() for line in lines if line.strip() and line.strip()[0] != "#"]
