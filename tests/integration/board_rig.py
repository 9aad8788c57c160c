"""A board at a serial port that is none: MicroPython's unix port on a pseudo terminal, behaving as an ESP32 does at its USB plug.

It starts `main.py` when there is one; Ctrl-C ends that and leaves a prompt; a soft reboot gives a fresh interpreter; `machine.reset()`
starts all anew; the power and the cable can be cut. Its flash is a folder.
"""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import subprocess
import termios
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

PRELUDE = """
import binascii, sys
class Machine:
    def reset(self):
        open(RESET, 'w').close()
        raise SystemExit
    def WDT(self, id=0, timeout=5000):
        with open(WATCHDOG, 'w') as file:
            file.write(str(timeout))
class Sys:
    platform = PLATFORM
    version = VERSION or sys.version
    implementation = sys.implementation
    modules = sys.modules
    exit = sys.exit
decode = binascii.a2b_base64  # the name `binascii` is what the prompt imports
class Worn:
    hexlify = binascii.hexlify
    def a2b_base64(self, text):
        return bytes(1) + decode(text)[1:]
if WORN:
    sys.modules['binascii'] = Worn()
sys.modules['machine'] = Machine()
sys.modules['sys'] = Sys()
"""
_PROMPT = b">>> "
_RESTART = 85
_FAR = (100, 300)
_CTRL_A, _CTRL_B, _CTRL_C = b"\x01", b"\x02", b"\x03"


def far_pty() -> tuple[int, int]:
    """A pty with a number that nobody else knows. The kernel gives away the lowest free one, and the node or the board of another test
    that ends just now may still try to open the line that it had: what it then read would be missing here. Therefore one far away, and
    each time elsewhere.
    """
    far = random.randrange(*_FAR)
    near: list[int] = []
    try:
        while True:
            outer, inner = pty.openpty()
            if int(os.ttyname(inner).rpartition("/")[2]) >= far:
                return outer, inner
            near += [outer, inner]
    finally:
        for descriptor in near:
            os.close(descriptor)


class Board:
    """`flash`: the folder that is its file system. `port`: what to open while it is plugged in. `received`: bytes that came to it."""

    def __init__(self, micropython: list[str], folder: Path, platform: str = "esp32", version: str = "", worn: bool = False) -> None:
        """`worn`: its flash keeps something else than what is written."""
        self.flash = folder / "flash"
        self.flash.mkdir(parents=True)
        (self.flash / "state").mkdir()
        self.port = ""
        self.received = 0
        self.cut_at: int | None = None
        """Power and cable go when so many bytes have come."""
        self.starts = 0
        """How often `main.py` was started."""
        self.console = bytearray()
        self._reset, self.watchdog = folder / "reset", folder / "watchdog"
        self._prelude = folder / "prelude.py"
        names: dict[str, object] = {
            "RESET": str(self._reset),
            "WATCHDOG": str(self.watchdog),
            "PLATFORM": platform,
            "VERSION": version,
            "WORN": worn,
        }
        self._prelude.write_text("".join(f"{name} = {value!r}\n" for name, value in names.items()) + PRELUDE)
        self._micropython = micropython
        self._environment = {name: value for name, value in os.environ.items() if name != "MICROPYPATH"}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.power_off()

    def power_on(self) -> None:
        """Plugs it in, at a port with a new name."""
        self._outer, self._slave = far_pty()
        attributes = termios.tcgetattr(self._slave)
        attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
        attributes[0] &= ~(termios.ICRNL | termios.IXON)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)
        self.port = os.ttyname(self._slave)
        self._wake, self._end = os.pipe()
        self._raw = False
        self._held = b""
        self._start(main=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def power_off(self) -> None:
        if self._thread is not None:
            os.write(self._end, b"x")
            self._thread.join(10)
            self._thread = None
            os.close(self._end)

    def _start(self, main: bool) -> None:
        """Starts `main.py` if it is to run and is there, else a prompt."""
        self._main = main and (self.flash / "main.py").exists()
        self._ready = False
        self._tail = b""
        self.starts += self._main
        command = [*self._micropython, *(["main.py", "state"] if self._main else ["-i", str(self._prelude)])]
        self._inner, slave = pty.openpty()
        plain = termios.tcgetattr(slave)
        plain[1] &= ~termios.OPOST  # a serial line adds nothing to what is said
        termios.tcsetattr(slave, termios.TCSANOW, plain)
        self._process = subprocess.Popen(
            command, cwd=self.flash, env=self._environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)

    def _run(self) -> None:
        try:
            while True:
                readable, _, _ = select.select([self._outer, self._inner, self._wake], [], [])
                if self._wake in readable:
                    return
                if self._inner in readable:
                    self._from_micropython()
                if self._outer in readable and not self._from_host():
                    return
        finally:
            self._process.kill()
            self._process.wait(30)
            for descriptor in (self._outer, self._slave, self._inner, self._wake):
                os.close(descriptor)

    def _from_micropython(self) -> None:
        try:
            said = os.read(self._inner, 4096)
        except OSError:  # it has ended
            said = b""
        if not said:
            self._ended()
            return
        self.console += said
        os.write(self._outer, said)
        self._tail = (self._tail + said)[-64:]
        if not self._main and not self._ready and self._tail.endswith(_PROMPT):
            self._ready = True
            held, self._held = (_CTRL_A if self._raw else b"") + self._held, b""
            self._to_prompt(held)

    def _ended(self) -> None:
        os.close(self._inner)
        code = self._process.wait(30)
        reset = self._reset.exists()
        self._reset.unlink(missing_ok=True)
        if reset:
            self._raw = False
        elif not self._main:
            os.write(self._outer, b"MPY: soft reboot\r\n")
        self._start(main=reset or (self._main and code == _RESTART) or (not self._main and not self._raw))

    def _from_host(self) -> bool:
        """False when the power has gone."""
        came = os.read(self._outer, 4096)
        self.received += len(came)
        if self.cut_at is not None and self.received >= self.cut_at:
            self.cut_at = None
            return False
        if self._main and not self._held:
            _, interrupt, came = came.partition(_CTRL_C)
            if not interrupt:
                return True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)
            self._held = b"\r"
        if self._ready:
            self._to_prompt(came)
        else:
            self._held += came
        return True

    def _to_prompt(self, octets: bytes) -> None:
        if octets.endswith(b"\r" + _CTRL_A):
            self._raw = True
        elif octets.endswith(b"\r" + _CTRL_B):
            self._raw = False
        os.write(self._inner, octets)
