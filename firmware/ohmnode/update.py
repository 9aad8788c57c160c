"""An update: a package of files, signed (RSA-2048, PKCS#1 v1.5, SHA-256; RFC 8017, 8.2). Loaded when one has come.

A package is `OHMPACK1`, the size of the manifest (4 bytes), the manifest, the files' bytes in a row, and the signature over all of that
(256 bytes). The manifest has an entry for each file: the length of its name (1 byte), its name, its size (4 bytes), its SHA-256.
Numbers have their high byte first. Made by `images/node/package.py`.
"""

import asyncio
import os
import sys

from ohmcore import const
from ohmnode import overlay, slots
from ohmnode.digest import digest_of

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal

_MAGIC = b"OHMPACK1"
_HEAD = const(12)
_SIGNATURE = const(256)
_PIECE = const(512)
_FOLDER = const(0x4000)
_DIGEST_INFO = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"


async def install(hal: "Hal", path: str, size: int, modulus: bytes) -> str:
    """Puts the package into the slot that does not run, and makes that the next one to start. Why not; empty: done.

    Nothing is touched before the signature was found to be right; the slot that runs, and `safe`, never are. Raises OSError where the
    flash fails; the node then starts as it would have.
    """
    end = size - _SIGNATURE
    if end < _HEAD:
        return "no package"
    digest = await digest_of(path, 0, end)
    with open(path, "rb") as file:
        file.seek(end)
        signature = file.read(_SIGNATURE)
        if not await genuine(digest, signature, modulus):
            return "wrong signature"
        file.seek(0)
        head = file.read(_HEAD)
        if head[:8] != _MAGIC:
            return "no package"
        manifest = int.from_bytes(head[8:], "big")
        position = _HEAD + manifest
        while file.tell() < _HEAD + manifest:
            name, length, _ = _entry(file)
            if not _decent(name):
                return f"no name: {name}"
            position += length
        if position != end:
            return "no package"
        slot, _, tries, confirmed = slots.read(hal)
        if slots.running() not in (
            slot,
            slots.SAFE,
            "",
        ):  # the flash took nothing at the start
            return "restart it first"
        target = "b" if slot == "a" else "a"
        folder = f"{sys.path[0].rpartition('/')[0]}/{target}"
        slots.write(hal, slot, slots.SAFE, tries, confirmed)  # what is there now cannot be gone back to any more
        await asyncio.sleep_ms(0)
        _clear(folder)
        file.seek(_HEAD)
        if not await _unpack(path, file, manifest, folder):
            return "the flash does not keep it"
    slots.write(hal, target, slot, 0, False)
    return ""


async def genuine(digest: bytes, signature: bytes, modulus: bytes) -> bool:
    """Whether the signature is that of the key with this modulus (and the exponent 65537) for this SHA-256. Lets others run in between."""
    n = int.from_bytes(modulus, "big")
    s = int.from_bytes(signature, "big")
    if len(modulus) != _SIGNATURE or s >= n:
        return False
    padding = b"\xff" * (_SIGNATURE - 3 - len(_DIGEST_INFO) - 32)
    power = s
    for _ in range(16):  # 65537 is 2 ** 16 + 1
        power = power * power % n
        overlay.calm()
        await asyncio.sleep_ms(0)
    return (power * s % n).to_bytes(_SIGNATURE, "big") == b"\x00\x01" + padding + b"\x00" + _DIGEST_INFO + digest


async def _unpack(path: str, manifest: "Any", size: int, folder: str) -> bool:
    """Writes the files and reads them again. `manifest`: the package, open where its first entry is. False: a file is not what it was."""
    buffer = memoryview(bytearray(_PIECE))
    with open(path, "rb") as source:
        source.seek(_HEAD + size)
        while manifest.tell() < _HEAD + size:
            name, length, digest = _entry(manifest)
            target = f"{folder}/{name}"
            _make_folders(target)
            left = length
            with open(target, "wb") as file:
                while left:
                    got = source.readinto(buffer[: min(left, _PIECE)]) or 0
                    if not got:
                        return False
                    file.write(buffer[:got])
                    left -= got
                    overlay.calm()
                    await asyncio.sleep_ms(0)
            if await digest_of(target, 0, length + 1) != digest:
                return False
    return True


def _entry(file: "Any") -> "tuple[str, int, bytes]":
    name = str(file.read(file.read(1)[0]), "utf-8")
    return name, int.from_bytes(file.read(4), "big"), file.read(32)


def _decent(name: str) -> bool:
    """A relative path that stays where it is."""
    for part in name.split("/"):
        if not part or part[0] == ".":
            return False
    return len(name) < 100


def _make_folders(path: str) -> None:
    at = 0
    while True:
        at = path.find("/", at + 1)
        if at < 0:
            return
        try:
            os.stat(path[:at])
        except OSError:
            os.mkdir(path[:at])


def _clear(folder: str) -> None:
    """Takes away all that is in a folder."""
    try:
        found = list(os.ilistdir(folder))
    except OSError:
        return
    for entry in found:
        path = f"{folder}/{entry[0]}"
        if entry[1] == _FOLDER:
            _clear(path)
            os.rmdir(path)
        else:
            os.remove(path)
