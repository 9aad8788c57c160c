"""The node on an ESP32 under MicroPython 1.22 or newer. RS485 drivers are switched by a pin: the port's UART has no mode for it."""

import errno
import os

import esp32
import machine
import network

from hal.common import CommonHal
from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CAUSES = {
    machine.PWRON_RESET: "power on",  # a brownout shows as this one
    machine.HARD_RESET: "hard",
    machine.WDT_RESET: "watchdog",
    machine.DEEPSLEEP_RESET: "deep sleep",
    machine.SOFT_RESET: "soft",
}
_PARITY = {"N": None, "E": 0, "O": 1}
_BUFFER = const(512)
_MOST_CLEARED = const(4096)


class Uart:
    """A UART with the pins `tx` and `rx`, and `de` if a pin enables the driver."""

    def __init__(self, port: int, baud: int, parity: str, stop: int, pins: "dict[str, int | None]") -> None:
        # All at once: by itself the constructor takes default pins, and some of those are the PSRAM's (micropython #18544).
        self.stream = machine.UART(
            port,
            baudrate=baud,
            bits=8,
            parity=_PARITY[parity],
            stop=stop,
            tx=pins["tx"],
            rx=pins["rx"],
            txbuf=_BUFFER,
            rxbuf=_BUFFER,
            timeout=0,
            timeout_char=0,
        )
        self._driver = None if pins.get("de") is None else machine.Pin(pins["de"], machine.Pin.OUT, value=0)
        self._scrap = bytearray(64)

    def set_format(self, baud: int, parity: str, stop: int) -> None:
        """Names neither pins nor buffers: the port would install its driver anew."""
        self.stream.init(baudrate=baud, parity=_PARITY[parity], stop=stop)

    def readinto(self, buffer: memoryview) -> int:
        return self.stream.readinto(buffer) or 0  # None: nothing has come

    def write(self, buffer: bytearray, size: int) -> bool:
        frame = memoryview(buffer)[:size]  # there may be no memory for it: then the line is not taken
        if self._driver is not None:
            self._driver(1)
        if self.stream.write(frame) == size:
            return True
        if self._driver is not None:  # nobody will ask whether it is `sent`
            self._driver(0)
        return False

    def sent(self) -> bool:
        """Takes the driver off the line with the last bit."""
        if not self.stream.txdone():
            return False
        if self._driver is not None:
            self._driver(0)
        return True

    def clear(self) -> int:
        count = 0
        while self.stream.any() and count < _MOST_CLEARED:  # a line that babbles never ends
            count += self.stream.readinto(self._scrap) or 0
        return count

    def close(self) -> None:
        if self._driver is not None:
            self._driver(0)
        self.stream.deinit()


class Esp32Hal(CommonHal):
    """State lives in `/state` on the flash."""

    name = "esp32"

    def __init__(self, folder: str = "/state") -> None:
        super().__init__(folder)
        self._wlan = network.WLAN(network.STA_IF)
        self._watchdog: "machine.WDT | None" = None
        self._joined: "dict[str, str] | None" = None
        try:
            os.mkdir(folder)
        except OSError as there:
            if there.errno != errno.EEXIST:
                raise

    def uart(self, bus: "dict[str, Any]") -> Uart:
        return Uart(bus["port"], bus["baud"], bus.get("parity", "N"), bus.get("stop", 1), bus["pins"])

    def network_start(self, wifi: "dict[str, str] | None") -> None:
        """The driver keeps trying by itself, and listens all the time: where it sleeps between beacons, commands wait for the next one."""
        self._wlan.active(True)
        if wifi is not None and wifi != self._joined:
            self._joined = wifi
            self._wlan.config(reconnects=-1, pm=0)  # WLAN.PM_NONE
            self._wlan.disconnect()  # a connection that is there or being made refuses another (micropython #17661)
            self._wlan.connect(wifi["ssid"], wifi["password"])

    def network_ready(self) -> bool:
        return self._wlan.isconnected()

    def known_host(self, host: str) -> "str | None":
        return "127.0.0.1" if host == "localhost" else None

    def nameserver(self) -> "tuple[str, int] | None":
        server = self._wlan.ifconfig()[3]
        return None if server in ("", "0.0.0.0") else (server, 53)

    def watchdog_start(self, ms: int) -> None:
        self._watchdog = machine.WDT(timeout=ms)

    def watchdog_feed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.feed()

    def reset_cause(self) -> str:
        return _CAUSES.get(machine.reset_cause(), "unknown")

    def rssi(self) -> "int | None":
        return self._wlan.status("rssi") if self._wlan.isconnected() else None

    def stop_pin(self, pin: "dict[str, int]") -> "Callable[[], bool]":
        """Pulled up: with `active` 1 and a contact to ground that opens, a broken wire stops, too."""
        contact = machine.Pin(pin["pin"], machine.Pin.IN, machine.Pin.PULL_UP)
        active = pin["active"]
        return lambda: contact() == active

    def temperature(self) -> "float | None":
        """The first ESP32 measures in degrees Fahrenheit, those after it in degrees Celsius, and some firmware has neither."""
        if hasattr(esp32, "mcu_temperature"):
            return float(esp32.mcu_temperature())
        return (esp32.raw_temperature() - 32) / 1.8 if hasattr(esp32, "raw_temperature") else None

    def restart(self) -> None:
        machine.reset()

    def setting(self, name: str, default: int) -> int:
        return default

    def give_up(self, code: int) -> bool:
        """There is nobody to give up to."""
        return False
