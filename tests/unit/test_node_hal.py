"""The node's hardware layer of the ESP32, with machines that only note what is done to them."""

from __future__ import annotations

import gc
import importlib
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.unit import node_modules

BUS = {"port": 1, "baud": 9600, "parity": "E", "stop": 1, "pins": {"tx": 17, "rx": 16, "de": 4}}
HOME = {"ssid": "At home", "password": "secret"}


class Pin:
    OUT = 1

    def __init__(self, number: int, _mode: int, value: int) -> None:
        self.number, self.level = number, value

    def __call__(self, level: int) -> None:
        self.level = level


class Uart:
    """As the port's: pins that nobody names are the default ones. `room`: bytes that it still takes."""

    made: list[dict[str, Any]]

    def __init__(self, port: int, **named: Any) -> None:
        self.made.append({"port": port} | named)
        self.room = 512

    def write(self, content: memoryview) -> int:
        return min(len(content), self.room)


class Wlan:
    """As the port's: it refuses to connect while it is connecting or connected."""

    def __init__(self, _interface: int) -> None:
        self.busy = True  # a soft restart leaves it so
        self.joined: list[tuple[str, str]] = []
        self.settings: dict[str, int] = {}

    def active(self, _up: bool) -> None: ...

    def config(self, **settings: int) -> None:
        self.settings |= settings

    def disconnect(self) -> None:
        self.busy = False

    def connect(self, ssid: str, password: str) -> None:
        if self.busy:
            raise OSError("Wifi Internal Error")
        self.busy = True
        self.joined.append((ssid, password))


def forget(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The module is not loaded now, and after the test it is what it was."""
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    del sys.modules[name]


def fresh(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    forget(monkeypatch, name)
    return importlib.import_module(name)


@pytest.fixture
def esp32(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`hal.esp32` on a board of ours."""
    assert node_modules
    Uart.made = []
    causes = {name: number for number, name in enumerate(("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET"))}
    fakes = {
        "machine": SimpleNamespace(UART=Uart, Pin=Pin, **causes),
        "network": SimpleNamespace(WLAN=Wlan, STA_IF=0),
        "esp32": SimpleNamespace(),
        "micropython": SimpleNamespace(),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    for name in ("ticks_ms", "ticks_diff", "ticks_add"):
        monkeypatch.setattr(time, name, None, raising=False)
    monkeypatch.setattr(gc, "mem_free", None, raising=False)
    forget(monkeypatch, "hal.common")
    return fresh(monkeypatch, "hal.esp32")


def test_a_serial_line_is_made_on_its_own_pins_and_never_on_the_default_ones(esp32: ModuleType, tmp_path: Path) -> None:
    esp32.Esp32Hal(str(tmp_path)).uart(BUS)
    (made,) = Uart.made
    assert (made["port"], made["tx"], made["rx"], made["baudrate"], made["parity"]) == (1, 17, 16, 9600, 0)
    assert made["txbuf"] == made["rxbuf"] == 512


@pytest.mark.parametrize(("room", "taken"), [(512, True), (3, False)])
def test_a_line_that_does_not_take_a_request_is_let_go(esp32: ModuleType, tmp_path: Path, room: int, taken: bool) -> None:
    line = esp32.Esp32Hal(str(tmp_path)).uart(BUS)
    line.stream.room = room
    assert line.write(bytearray(8), 8) is taken
    assert line._driver.level == taken


def test_a_request_that_finds_no_memory_does_not_take_the_line(esp32: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(_buffer: bytearray) -> memoryview:
        raise MemoryError

    line = esp32.Esp32Hal(str(tmp_path)).uart(BUS)
    monkeypatch.setattr(esp32, "memoryview", no_memory, raising=False)
    with pytest.raises(MemoryError):
        line.write(bytearray(8), 8)
    assert line._driver.level == 0, "or nobody else could say a word on it"


def test_another_wifi_is_joined_while_one_is_and_the_radio_does_not_sleep(esp32: ModuleType, tmp_path: Path) -> None:
    hal = esp32.Esp32Hal(str(tmp_path))
    hal.network_start(HOME)
    hal.network_start(dict(HOME))
    hal.network_start(HOME | {"password": "changed"})
    assert hal._wlan.joined == [("At home", "secret"), ("At home", "changed")]
    assert hal._wlan.settings == {"reconnects": -1, "pm": 0}


# TLS


EPOCH_2000 = 946_684_800
NOW = 1_795_000_000


class Context:
    def __init__(self, _protocol: int) -> None:
        self.verify_mode = -1

    def load_verify_locations(self, _authority: bytes) -> None: ...

    def wrap_socket(self, connection: object, **_named: object) -> tuple[object, int]:
        return connection, self.verify_mode


TLS = SimpleNamespace(SSLContext=Context, PROTOCOL_TLS_CLIENT=0, CERT_NONE=0, CERT_REQUIRED=2)


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`hal.secure` on a board whose clock has just begun."""
    monkeypatch.setitem(sys.modules, "tls", TLS)
    module = fresh(monkeypatch, "hal.secure")
    set_to: list[tuple[int, ...]] = []
    monkeypatch.setitem(sys.modules, "machine", SimpleNamespace(RTC=lambda: SimpleNamespace(datetime=set_to.append)))
    monkeypatch.setattr(module, "time", clock(0), raising=True)
    monkeypatch.setattr(module, "set_to", set_to, raising=False)
    return module


def clock(now: int, epoch: int = EPOCH_2000) -> SimpleNamespace:
    """Time as a port with this epoch has it."""
    return SimpleNamespace(gmtime=lambda seconds: time.gmtime(seconds + epoch)[:8], time=lambda: now)


@pytest.mark.parametrize("epoch", [0, EPOCH_2000])
def test_before_a_certificate_is_verified_the_clock_is_no_older_than_the_last_command(
    secure: ModuleType, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    monkeypatch.setattr(secure, "time", clock(30, epoch))
    files = {"ca.der": b"authority", "command.counter": str(NOW).encode()}
    assert secure.wrap("line", "nas", files.get) == ("line", TLS.CERT_REQUIRED)
    year, month, day, _, hour, minute, second, _ = secure.set_to[0]
    assert (year, month, day, hour, minute, second) == time.gmtime(NOW)[:6]


@pytest.mark.parametrize("counter", [None, b"", b"damaged", str(1 << 63).encode(), str(NOW - 10).encode()])
def test_a_clock_that_is_later_stays_and_a_damaged_counter_sets_none(
    secure: ModuleType, monkeypatch: pytest.MonkeyPatch, counter: bytes | None
) -> None:
    monkeypatch.setattr(secure, "time", clock(NOW - EPOCH_2000))
    assert secure.wrap("line", "nas", {"ca.der": b"authority", "command.counter": counter}.get)
    assert secure.set_to == []


def test_where_nothing_is_verified_or_the_machine_has_a_clock_nobody_sets_one(secure: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"command.counter": str(NOW).encode()}
    assert secure.wrap("line", "nas", files.get) == ("line", TLS.CERT_NONE)
    monkeypatch.setitem(sys.modules, "machine", SimpleNamespace())
    assert secure.wrap("line", "nas", (files | {"ca.der": b"authority"}).get) == ("line", TLS.CERT_REQUIRED)
    assert secure.set_to == []


def test_an_older_micropython_has_tls_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tls", None)
    monkeypatch.setitem(sys.modules, "ssl", TLS)
    assert fresh(monkeypatch, "hal.secure").wrap("line", "nas", {}.get) == ("line", TLS.CERT_NONE)
