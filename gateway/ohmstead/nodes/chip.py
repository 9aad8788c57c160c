"""MicroPython for a board: which chip an image is for, where it belongs, and esptool, which writes it.

Layout of an image: ESP-IDF, `esp_image_header_t` (magic 0xE9, chip id at offset 12) and `esp_partition_info_t` (0x50AA at flash
offset 0x8000). Chip ids and the bootloader's offset are those of esptool's `targets`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ohmstead.errors import OhmsteadError


class Chip(NamedTuple):
    """A member of the ESP32 family with Wi-Fi that MicroPython runs on. `offset`: of the bootloader in the flash, in bytes."""

    name: str
    identity: int
    offset: int


CHIPS = (
    Chip("ESP32", 0, 0x1000),
    Chip("ESP32-S2", 2, 0x1000),
    Chip("ESP32-C3", 5, 0),
    Chip("ESP32-S3", 9, 0),
    Chip("ESP32-C2", 12, 0),
    Chip("ESP32-C6", 13, 0),
    Chip("ESP32-C5", 23, 0x2000),
)

_MAGIC = 0xE9
_UF2 = b"UF2\n"
_PARTITIONS_AT = 0x8000
_PARTITION = b"\xaa\x50"
_BANNER = re.compile(rb"MicroPython (v[0-9][\x21-\x7e]{1,40}) on ([0-9-]{10})")
_CONNECTED = re.compile(r"Connected to (\S+) on ")
_MAC = re.compile(r"^MAC: +([0-9a-f:]{17})", re.MULTILINE)
_FATAL = re.compile(r"A fatal error occurred: (.+)", re.DOTALL)
_BAUD = 460_800
_DETECT_S = 90.0


class ChipError(OhmsteadError):
    """The image, the chip, or both together cannot be used; nothing was written."""


class FlashError(OhmsteadError):
    """esptool could not do it; its words and what to do."""

    try_again = True


class Image(NamedTuple):
    """A MicroPython image. `version`: as the board itself will say it (`v1.27.0`)."""

    path: Path
    chip: Chip
    version: str
    content: bytes


class FoundChip(NamedTuple):
    """What sits at the port: `name` in esptool's words, the MAC address ("" where it was not said)."""

    name: str
    mac: str


def read_image(path: Path) -> Image:
    """A MicroPython image of the owner's. Raises ChipError for whatever is no complete MicroPython for a known chip."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ChipError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if content.startswith(_UF2):
        raise ChipError(f"{path}: a .uf2 file is for another way of flashing; take the .bin of the same version")
    if len(content) < 16 or content[0] != _MAGIC:
        raise ChipError(f"{path}: this is no image for an ESP32; take the .bin of https://micropython.org/download/?port=esp32")
    identity = int.from_bytes(content[12:14], "little")
    chip = next((chip for chip in CHIPS if chip.identity == identity), None)
    if chip is None:
        raise ChipError(f"{path}: it is for a chip (number {identity}) that no node runs on; possible are {_names(CHIPS)}")
    table = _PARTITIONS_AT - chip.offset
    if content[table : table + 2] != _PARTITION:
        raise ChipError(f"{path}: a part of an image (no partition table in it), as for updates; take the complete .bin")
    banner = _BANNER.search(content)
    if banner is None:
        raise ChipError(f"{path}: there is no MicroPython in it")
    return Image(path, chip, banner[1].decode(), content)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where images are looked for that nobody named: `ohmstead/micropython` in the user's cache."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ohmstead" / "micropython"


def cached_image(folder: Path, chip: str) -> Image | None:
    """The newest image for this chip in a folder; what is no image is passed over."""
    found: list[Image] = []
    for path in sorted(folder.glob("*.bin")):
        try:
            image = read_image(path)
        except ChipError:
            continue
        if image.chip.name == chip:
            found.append(image)
    return max(found, key=lambda image: _number(image.version), default=None)


def must_fit(image: Image, found: FoundChip) -> None:
    """Raises ChipError unless the image is for that chip."""
    if found.name not in {chip.name for chip in CHIPS}:
        raise ChipError(f"the chip at this port is an {found.name}, which cannot be a node; possible are {_names(CHIPS)}")
    if image.chip.name != found.name:
        raise ChipError(
            f"{image.path} is for an {image.chip.name}, the chip at this port is an {found.name}: nothing was written. "
            f"Take the image for the {found.name} from https://micropython.org/download/?port=esp32"
        )


class Esptool:
    """esptool at one port, as a process. `run` starts a command line and gives exit code and output; `echo` gets esptool's words
    (its progress among them) while it erases or writes."""

    def __init__(self, port: str, run: Callable[[Sequence[str], bool], tuple[int, str]] | None = None) -> None:
        self._port = port
        self._run = run or _run

    def detect(self) -> FoundChip:
        """Which chip is there; it starts anew after the question. Raises FlashError."""
        said = self._call(["--port", self._port, "chip-id"], show=False)
        connected = _CONNECTED.search(said)
        if connected is None:
            raise FlashError(f"esptool did not say which chip is at {self._port}:\n{said.strip()}")
        mac = _MAC.search(said)
        return FoundChip(connected[1], mac[1] if mac else "")

    def erase(self, chip: Chip) -> None:
        """All of the flash: MicroPython, the node, its counters and readings. Raises FlashError."""
        self._call([*self._to(chip), "erase-flash"], show=True)

    def write(self, image: Image) -> None:
        """The image at its place; esptool verifies what it wrote. Raises FlashError."""
        self._call([*self._to(image.chip), "write-flash", f"{image.chip.offset:#x}", str(image.path)], show=True)

    def _to(self, chip: Chip) -> list[str]:
        return ["--chip", chip.name.replace("-", "").lower(), "--port", self._port, "--baud", str(_BAUD)]

    def _call(self, arguments: Sequence[str], *, show: bool) -> str:
        code, said = self._run([sys.executable, "-m", "esptool", *arguments], show)
        if code:
            fatal = _FATAL.search(said)
            reason = (fatal[1] if fatal else said).strip() or f"it ended with code {code}"
            raise FlashError(
                f"esptool at {self._port}: {reason}\nIf the chip does not answer: hold the board's BOOT button, press RESET (EN) "
                "shortly, let BOOT go, and run this again. Close whatever else uses the port."
            )
        return said


def _run(command: Sequence[str], show: bool) -> tuple[int, str]:
    """Runs esptool; with `show` its words appear as they come (and are kept nonetheless)."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if not show:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_DETECT_S, env=environment, check=False)  # noqa: S603 - our own Python and esptool
        except subprocess.TimeoutExpired:
            return 1, f"no answer within {_DETECT_S:g} s"
        return done.returncode, done.stdout + done.stderr
    said = bytearray()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:  # noqa: S603 - as above
        assert process.stdout is not None  # noqa: S101 - it was asked for
        while piece := process.stdout.read1():  # type: ignore[attr-defined] # a BufferedReader, whatever the annotation says
            said += piece
            sys.stdout.write(piece.decode(errors="replace"))
            sys.stdout.flush()
    return process.returncode, said.decode(errors="replace")


def _names(chips: Sequence[Chip]) -> str:
    return ", ".join(chip.name for chip in chips)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:3])
