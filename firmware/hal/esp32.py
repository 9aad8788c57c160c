"""The node on an ESP32 under MicroPython 1.22 or newer. RS485 drivers are switched by a pin: the port's UART has no mode for it."""

import errno
import gc
import os
import socket
import time

import machine
import network

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hal import Socket

_CAUSES = {
    machine.PWRON_RESET: "power on",  # a brownout shows as this one
    machine.HARD_RESET: "hard",
    machine.WDT_RESET: "watchdog",
    machine.DEEPSLEEP_RESET: "deep sleep",
    machine.SOFT_RESET: "soft",
}
_PARITY = {"N": None, "E": 0, "O": 1}
_BUFFER = const(512)


class Uart:
    """A UART with the pins `tx` and `rx`, and `de` if a pin enables the driver."""

    def __init__(self, port: int, baud: int, parity: str, stop: int, pins: "dict[str, int | None]") -> None:
        self._settings: "dict[str, Any]" = {
            "bits": 8,
            "parity": _PARITY[parity],
            "stop": stop,
            "tx": pins["tx"],
            "rx": pins["rx"],
            "txbuf": _BUFFER,
            "rxbuf": _BUFFER,
            "timeout": 0,
            "timeout_char": 0,
        }
        self.stream = machine.UART(port)
        self._driver = None if pins.get("de") is None else machine.Pin(pins["de"], machine.Pin.OUT, value=0)
        self._scrap = bytearray(64)
        self.set_baud(baud)

    def set_baud(self, baud: int) -> None:
        self.stream.init(baudrate=baud, **self._settings)

    def readinto(self, buffer: memoryview) -> int:
        return self.stream.readinto(buffer) or 0  # None: nothing has come

    def write(self, buffer: bytearray, size: int) -> bool:
        if self._driver is not None:
            self._driver(1)
        return self.stream.write(memoryview(buffer)[:size]) == size

    def sent(self) -> bool:
        """Takes the driver off the line with the last bit."""
        if not self.stream.txdone():
            return False
        if self._driver is not None:
            self._driver(0)
        return True

    def clear(self) -> int:
        count = 0
        while self.stream.any():
            count += self.stream.readinto(self._scrap) or 0
        return count

    def close(self) -> None:
        if self._driver is not None:
            self._driver(0)
        self.stream.deinit()


class Esp32Hal:
    """State lives in `/state` on the flash."""

    name = "esp32"

    def __init__(self, folder: str = "/state") -> None:
        self.ticks_ms: "Callable[[], Any]" = time.ticks_ms
        self.ticks_diff: "Callable[[Any, Any], int]" = time.ticks_diff
        self.ticks_add: "Callable[[Any, int], Any]" = time.ticks_add
        self._folder = folder
        self._wlan = network.WLAN(network.STA_IF)
        self._watchdog: "machine.WDT | None" = None
        try:
            os.mkdir(folder)
        except OSError as there:
            if there.errno != errno.EEXIST:
                raise

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def uart(self, bus: "dict[str, Any]") -> Uart:
        return Uart(bus["port"], bus["baud"], bus.get("parity", "N"), bus.get("stop", 1), bus["pins"])

    def network_start(self, wifi: "dict[str, str] | None") -> None:
        """The driver keeps trying by itself."""
        self._wlan.active(True)
        if wifi is not None:
            self._wlan.config(reconnects=-1)
            self._wlan.connect(wifi["ssid"], wifi["password"])

    def network_ready(self) -> bool:
        return self._wlan.isconnected()

    def open_socket(self, stream: bool) -> "Socket":
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        opened.setblocking(False)
        return opened

    def address(self, ip: str, port: int) -> "Any":
        """Of numbers only: nothing is looked up."""
        return socket.getaddrinfo(ip, port)[0][-1]

    def known_host(self, host: str) -> "str | None":
        """An address itself; there is no list of hosts here."""
        return host if host.replace(".", "").isdigit() else None

    def nameserver(self) -> "tuple[str, int] | None":
        server = self._wlan.ifconfig()[3]
        return None if server in ("", "0.0.0.0") else (server, 53)

    def wrap_tls(self, connection: "Socket", host: str) -> "Socket":
        """Certificates are verified against `ca.der` of the state folder; without that file the line is encrypted and no more."""
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
        self._watchdog = machine.WDT(timeout=ms)

    def watchdog_feed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed()

    def reset_cause(self) -> str:
        return _CAUSES.get(machine.reset_cause(), "unknown")

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
        """Whole or not at all: littlefs renames in one step, a power cut leaves the old file or the new one."""
        path = f"{self._folder}/{name}"
        with open(path + ".tmp", "wb") as file:
            file.write(content)
            file.flush()
        os.rename(path + ".tmp", path)

    def setting(self, name: str, default: int) -> int:
        return default

    def give_up(self, code: int) -> bool:
        """There is nobody to give up to."""
        return False
