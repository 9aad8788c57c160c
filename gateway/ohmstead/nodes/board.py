"""A board with MicroPython at a serial port, over mpremote's raw REPL: what it is, its files, its restart.

Names of files are relative to the board's root. A file is written beside its name, verified by SHA-256 on the board, then renamed:
a cable pulled at any moment leaves it as it was before or as it is after.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import io
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from ohmstead.errors import OhmsteadError
from ohmstead.nodes.port import MissingToolError, PortError

PLATFORM = "esp32"
OLDEST = (1, 22)
"""The oldest MicroPython that a node runs on."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_BAUD = 115_200
_CHUNK = 512
_SILENCE_S = 3.0
_ATTEMPTS = 2
_ENTER_S = 6.0
_PATIENCE_MS = 600_000
_ASKED_AT_ONCE = 24
_PREFIX = "_ohm_"

# What the board has to know beyond MicroPython. No file: errno 2, on every port.
_FUNCTIONS = """
import binascii, hashlib, os, sys
def _ohm_sum(name):
    digest = hashlib.sha256()
    buffer = bytearray(512)
    try:
        with open(name, 'rb') as file:
            while True:
                size = file.readinto(buffer)
                if not size:
                    return binascii.hexlify(digest.digest()).decode()
                digest.update(memoryview(buffer)[:size])
    except OSError as error:
        if error.errno != 2:
            raise
def _ohm_files(folder):
    try:
        entries = list(os.ilistdir(folder))
    except OSError as error:
        if error.errno != 2:
            raise
        return
    for entry in entries:
        name = folder + '/' + entry[0]
        if entry[1] & 0x4000:
            _ohm_files(name)
        else:
            print(name)
def _ohm_folders(name):
    at = name.find('/')
    while at > 0:
        try:
            os.mkdir(name[:at])
        except OSError as error:
            if error.errno != 17:
                raise
        at = name.find('/', at + 1)
def _ohm_remove(name):
    try:
        os.remove(name)
    except OSError as error:
        if error.errno != 2:
            raise
def _ohm_copy(source, name):
    buffer = bytearray(512)
    with open(source, 'rb') as old, open(name, 'wb') as new:
        while True:
            size = old.readinto(buffer)
            if not size:
                return
            new.write(memoryview(buffer)[:size])
"""


class BoardError(OhmsteadError):
    """The board does not do what it should; the text says what to do."""

    try_again = True


class Identity(NamedTuple):
    """What the board says it is: `sys.platform`, the board's name, `sys.version` and MicroPython's number."""

    platform: str
    machine: str
    text: str
    version: tuple[int, ...]


class Board:
    """The board at `port` while the context is open; its program stands still meanwhile. Leaving it does not start it again: `reset` does.

    Raises PortError when the port cannot be opened, BoardError when no MicroPython answers or the board fails in between.
    """

    def __init__(self, port: str) -> None:
        self._port = port
        self._transport: Any = None

    def __enter__(self) -> Self:
        try:
            from mpremote.transport import TransportError  # type: ignore[import-untyped] # it comes without types
            from mpremote.transport_serial import SerialTransport  # type: ignore[import-untyped] # it comes without types
        except ImportError:
            raise MissingToolError("mpremote") from None
        try:
            self._transport = SerialTransport(self._port, baudrate=_BAUD)
        except (TransportError, OSError) as error:
            raise PortError(f"{self._port}: cannot be opened; is another program using it? ({error})") from None
        self._transport.serial.timeout = self._transport.serial.write_timeout = _SILENCE_S
        try:
            self._enter(TransportError)
            self._call(_FUNCTIONS)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _enter(self, refused: type[Exception]) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # it prints what it got instead of a prompt
                    self._transport.enter_raw_repl(soft_reset=True, timeout_overall=_ENTER_S)
            except refused:
                if attempt + 1 == _ATTEMPTS:
                    raise BoardError(
                        f"{self._port}: no MicroPython answers. Write it first: --firmware FILE "
                        "(a .bin of https://micropython.org/download/?port=esp32), or press the board's RESET (EN) and try again"
                    ) from None
            except OSError as error:
                raise self._gone(error) from None
            else:
                return

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # the cable may be out already
            self._transport.close()

    def identity(self) -> Identity:
        asked = "(sys.platform, getattr(sys.implementation, '_machine', ''), sys.version, tuple(sys.implementation[1]))"
        platform, machine, text, version = self._answer(asked)
        return Identity(str(platform), str(machine), str(text), tuple(part for part in version if isinstance(part, int)))

    def hold_watchdog(self) -> None:
        """A node's watchdog runs on while its program stands still, and would bite in the middle of our work: it gets ten minutes."""
        self._call(f"import machine\nmachine.WDT(timeout={_PATIENCE_MS})")

    def sums(self, names: Sequence[str]) -> dict[str, str | None]:
        """SHA-256 of files, hexadecimal; None where there is no such file."""
        found: dict[str, str | None] = {}
        for first in range(0, len(names), _ASKED_AT_ONCE):
            some = [_checked(name) for name in names[first : first + _ASKED_AT_ONCE]]
            found |= zip(some, self._answer(f"[_ohm_sum(name) for name in {some!r}]"), strict=True)
        return found

    def files(self, folder: str) -> list[str]:
        """All files below a folder; none where there is no such folder."""
        return self._call(f"_ohm_files({_checked(folder)!r})").decode().split()

    def read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        if self.sums([name])[name] is None:
            return None
        found = self._answer(f"(lambda file: (file.read(), file.close())[0])(open({name!r}, 'rb'))")
        return found if isinstance(found, bytes) else None

    def free(self) -> int:
        """Bytes that are free on the board's file system."""
        block, free = self._answer("(lambda found: (found[1], found[3]))(os.statvfs('.'))")
        return int(block) * int(free)

    def put(self, name: str, content: bytes, progress: Callable[[int], None]) -> None:
        """Writes a file, its folders as well. `progress` gets the bytes of each piece that is there."""
        self._call(f"_ohm_folders({_checked(name)!r})\n{_PREFIX}file = open({name + '.tmp'!r}, 'wb')")
        for first in range(0, len(content), _CHUNK):
            piece = content[first : first + _CHUNK]
            self._call(f"{_PREFIX}file.write(binascii.a2b_base64({base64.b64encode(piece)!r}))")
            progress(len(piece))
        self._call(f"{_PREFIX}file.close()")
        self._settle(name, content)

    def copy(self, source: str, name: str, content: bytes) -> None:
        """Writes a file that the board has under another name already."""
        self._call(f"_ohm_folders({_checked(name)!r})\n_ohm_copy({_checked(source)!r}, {name + '.tmp'!r})")
        self._settle(name, content)

    def _settle(self, name: str, content: bytes) -> None:
        wanted, found = hashlib.sha256(content).hexdigest(), self._answer(f"_ohm_sum({name + '.tmp'!r})")
        if found != wanted:
            raise BoardError(f"{name}: not what was sent (SHA-256 {str(found)[:12]}… instead of {wanted[:12]}…). Run this again")
        self._call(f"os.rename({name + '.tmp'!r}, {name!r})")

    def remove(self, name: str) -> None:
        self._call(f"_ohm_remove({_checked(name)!r})")

    def reset(self) -> None:
        """Starts the board anew, as its button does; nothing can be asked of it after that."""
        from mpremote.transport import TransportError  # see above

        try:
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        except (TransportError, OSError) as error:
            raise self._gone(error) from None

    def _answer(self, expression: str) -> Any:
        return ast.literal_eval(self._call(f"print(repr({expression}))").decode())

    def _call(self, code: str) -> bytes:
        """Runs code on the board and gives what it printed. Raises BoardError."""
        from mpremote.transport import TransportError, TransportExecError  # see above

        try:
            said: bytes = self._transport.exec(code)
        except TransportExecError as error:
            raise BoardError(f"the board at {self._port} says: {_last_line(error)}{_full(error)}") from None
        except (TransportError, OSError, struct.error) as error:  # mpremote unpacks what it got, however little that is
            raise self._gone(error) from None
        return said

    def _gone(self, error: Exception) -> BoardError:
        return BoardError(f"the board at {self._port} answers no more ({error}). Is its cable in? Run this again, it goes on there")


def must_run_a_node(found: Identity) -> None:
    """Raises BoardError for a board that no node runs on."""
    if found.platform != PLATFORM:
        raise BoardError(f"this board is no ESP32 ({found.machine}, {found.platform}): no node runs on it. Nothing was changed")
    if found.version[:2] < OLDEST:
        wanted, here = ".".join(map(str, OLDEST)), ".".join(map(str, found.version))
        raise BoardError(f"the board has MicroPython {here}, a node needs {wanted} or newer: write it with --firmware FILE")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"no name of a file on a board: {name!r}")
    return name


def _last_line(error: Exception) -> str:
    lines: Iterator[str] = (line for line in reversed(str(error).splitlines()) if line.strip())
    return next(lines, "an error without words").strip()


def _full(error: Exception) -> str:
    return " (its file system is full; --erase makes room)" if "ENOSPC" in str(error) or str(error).rstrip().endswith(" 28") else ""
