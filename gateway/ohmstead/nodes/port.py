"""Which serial port a board is plugged into, and why it cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ohmstead.errors import OhmsteadError

_DIALOUT = "dialout"


class PortError(OhmsteadError):
    """No port can be used; the text says which, why, and what to do."""

    try_again = True


class MissingToolError(OhmsteadError):
    """A program that only this computer needs is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this needs {name}, which is not installed here: pip install 'ohmstead[node]'")


def choose(port: str | None) -> str:
    """The port that was named, or the only board that is plugged in; it can be opened by us. Raises PortError, MissingToolError."""
    chosen = port if port is not None else _only_one()
    if "://" not in chosen:  # socket://… and rfc2217://… are a serial server's
        _must_be_open_to_us(Path(chosen))
    return chosen


def boards() -> list[tuple[str, str]]:
    """(port, what the board's USB chip calls itself) of everything on USB that looks like a serial port."""
    try:
        from serial.tools import list_ports  # type: ignore[import-untyped] # it comes without types
    except ImportError:
        raise MissingToolError("pyserial") from None
    return sorted((found.device, found.description or "") for found in list_ports.comports() if found.vid is not None)


def _only_one() -> str:
    found = boards()
    if not found:
        raise PortError(
            "no board found on USB. Plug it in with a cable that carries more than power; "
            "some boards need the driver of their USB chip (CP210x, CH340). Or name the port: --port /dev/ttyUSB0"
        )
    if len(found) > 1:
        listed = "\n".join(f"  --port {device}  ({description})" for device, description in found)
        raise PortError(f"more than one board is plugged in; which one?\n{listed}")
    return found[0][0]


def _must_be_open_to_us(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        others = ", ".join(device for device, _ in boards()) or "none"
        raise PortError(f"{path}: there is no such port. Ports with a board: {others}") from None
    if not stat.S_ISCHR(found.st_mode):
        raise PortError(f"{path}: this is no serial port")
    if not os.access(path, os.R_OK | os.W_OK):
        group = _group(found.st_gid)
        raise PortError(
            f"{path}: permission denied. Its group is {group}: `sudo usermod -aG {group} $USER`, then log in again "
            "(or, for this once, `sudo chmod a+rw` the port)"
        )


def _group(number: int) -> str:
    try:
        import grp

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return _DIALOUT
