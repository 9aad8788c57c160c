"""What belongs on a node's board, what of it is there already, and how the rest gets there.

The layout on the board (`firmware/root`): `main.py` and `starter.py` at the root pick one of the slots `a` and `b`, or `safe` (the image
as it was flashed); `state` holds the configuration and whatever has to outlive a restart. Flashing fills `a` and `safe`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ohmstead.errors import OhmsteadError
from ohmstead.nodes.board import Board, BoardError

MAIN = "main.py"
ROOT = "root/"
STARTERS = ("main.py", "starter.py")
"""What of an image belongs in the root of the flash: it picks the slot."""

SLOT, SAFE, STATE = "a", "safe", "state"
BOOT = f"{STATE}/boot"
"""Which slot runs; without it the one that was flashed does."""

COUNTER = f"{STATE}/command.counter"
CONFIG = f"{STATE}/config.ohm"

SUMS = "SHA256SUMS"
_SPARE = 65_536


class ImageError(OhmsteadError):
    """The node's software cannot be used as it lies there."""


class Piece(NamedTuple):
    """A file of the board. `twin`: the name under which the board has the same content by then; `first`: only where there is none."""

    name: str
    content: bytes
    twin: str = ""
    first: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What a flash will do: `missing` in this order, `stale` files of older software removed; `same` need nothing."""

    missing: tuple[Piece, ...]
    same: tuple[Piece, ...]
    stale: tuple[str, ...]

    @property
    def octets(self) -> int:
        """What has to go over the cable."""
        return sum(len(piece.content) for piece in self.missing if not piece.twin)


@dataclass(frozen=True)
class Software:
    """What a node runs, by name: the files of an image, and those of the root (`STARTERS`), which pick the image."""

    image: dict[str, bytes]
    root: dict[str, bytes]


def read_software(folder: Path, checkout: Path) -> Software:
    """An image as `just node-image` built it, each file as its SHA256SUMS says; those of the root with it or from the checkout.

    Raises ImageError.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise ImageError(f"{folder}: there is no node image (no {SUMS}); `just node-image` builds it, --image names another place")
    files = {}
    for line in sums.read_text(encoding="utf-8").splitlines():
        wanted, _, name = line.partition("  ")
        try:
            content = (folder / name).read_bytes()
        except OSError:
            raise ImageError(f"{folder / name}: {SUMS} names it, but it cannot be read; build the image again") from None
        if hashlib.sha256(content).hexdigest() != wanted:
            raise ImageError(f"{folder / name}: not as it was built (SHA-256); build the image again")
        files[name] = content
    if MAIN not in files:
        raise ImageError(f"{folder}: a node image without {MAIN}; build it again")
    root = {}
    for name in STARTERS:
        try:
            root[name] = files.pop(ROOT + name) if ROOT + name in files else (checkout / "firmware" / ROOT / name).read_bytes()
        except OSError:
            raise ImageError(f"{folder}: neither in it nor in a checkout there is {ROOT}{name}, which starts it; build it again") from None
    return Software(files, root)


def pieces(software: Software, configuration: bytes, now: float, authority: bytes | None = None) -> list[Piece]:
    """All files that flashing is about, `main.py` last: a board that got only a part of them starts nothing.

    `configuration`: the content of `config.ohm`; `authority`: the certificate (DER) that a broker's must be signed by. A board without
    a command counter gets one of `now` (UTC seconds): an erased one would obey whoever recorded commands of the past and repeats them.
    """
    modules = sorted(software.image.items())
    wanted = [Piece(f"{SLOT}/{name}", content) for name, content in modules]
    wanted += [Piece(f"{SAFE}/{name}", content, f"{SLOT}/{name}") for name, content in modules]
    if authority is not None:
        wanted.append(Piece(f"{STATE}/ca.der", authority))
    wanted.append(Piece(COUNTER, str(int(now)).encode(), first=True))
    wanted.append(Piece(CONFIG, configuration))
    wanted += [Piece(name, content) for name, content in sorted(software.root.items(), key=lambda piece: piece[0] == MAIN)]
    return wanted


def compare(board: Board, wanted: list[Piece]) -> Plan:
    """What of it is missing or different on the board. Changes nothing."""
    there = board.sums([piece.name for piece in wanted])
    wanted = [piece for piece in wanted if not piece.first or there[piece.name] is None]
    names = {piece.name for piece in wanted}
    stale = tuple(sorted(name for folder in (SLOT, SAFE) for name in board.files(folder) if name not in names))
    different = {piece.name for piece in wanted if there[piece.name] != piece.sha256}
    if stale or any(not name.startswith(f"{STATE}/") for name in different):
        different.add(MAIN)  # taken away first and written last, so that a half-changed board starts nothing
    return Plan(
        missing=tuple(piece for piece in wanted if piece.name in different),
        same=tuple(piece for piece in wanted if piece.name not in different),
        stale=stale,
    )


def carry_out(board: Board, plan: Plan, progress: Callable[[str, int], None]) -> None:
    """Makes the board as planned; `progress` gets the name of the file and how many bytes more of it are there.

    Interrupted anywhere it leaves whole files and, if the software was to change, no `main.py`; the next run goes on from there.
    Raises BoardError.
    """
    room = board.free()
    needed = sum(len(piece.content) for piece in plan.missing) + _SPARE
    if needed > room:
        raise BoardError(f"the board has room for {room} bytes, {needed} are needed: --erase makes room. Nothing was changed")
    if any(piece.name == MAIN for piece in plan.missing):
        board.remove(MAIN)
    for name in plan.stale:
        board.remove(name)
    if plan.missing or not (board.read(BOOT) or b"").startswith(f"{SLOT} ".encode()):
        board.remove(BOOT)
    for piece in plan.missing:
        if piece.twin:
            board.copy(piece.twin, piece.name, piece.content)
        else:
            board.put(piece.name, piece.content, partial(progress, piece.name))
    _verify(board, (*plan.missing, *plan.same))


def _verify(board: Board, all_of_them: tuple[Piece, ...]) -> None:
    there = board.sums([piece.name for piece in all_of_them])
    wrong = [piece.name for piece in all_of_them if there[piece.name] != piece.sha256]
    if wrong:
        raise BoardError(f"not as they should be after writing: {', '.join(wrong)}. Run this again; if it stays so, the flash is worn")
