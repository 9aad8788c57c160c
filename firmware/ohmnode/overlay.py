"""Methods that are in memory only while they are needed.

The image's linker takes them out of their classes and puts them into files of their own (`images/node/build.py` says which). Whoever is
about to call them lays the file over the classes, and lifts it when they have done their work. From sources everything is there always.
"""

import gc
import sys

from ohmcore import const
from ohmnode import LINKED

_LITTLE = const(65536)
_TIDY_BYTES = const(512)
_KEPT = const(1536)
_PIECE = const(640)  # bytes: the largest of what a task allocates in one piece while it runs
SPARE = const(6)  # so many pieces what can wait leaves to what cannot
FEW = const(3)


def lay(name: str, spare: int = 0) -> None:
    """From now on the methods are there. MemoryError where there is no room for them and `spare` pieces beside them; then nothing has
    changed.
    """
    if not LINKED or name in sys.modules:
        return
    before = gc.threshold()
    if gc.mem_free() < _LITTLE:  # what comes fills the holes from below then, and leaves none between what stays of it
        gc.collect()
        gc.threshold(_TIDY_BYTES)
    try:
        __import__(name)
        room(spare)
    except MemoryError:
        lift(name)
        raise
    finally:
        gc.threshold(before)


# Memory that nobody uses, for what cannot wait: polls, writes, what comes from the broker. While it is spent, what can wait gets none.
_reserve: "bytes | bytearray" = b""


def reserve(keep: bool) -> bool:
    """Keeps the reserve, from now on or again, where there is room for it; or gives it up, for who found no memory and cannot wait. Whether
    that changed anything.
    """
    global _reserve
    if not LINKED or (len(_reserve) > 0) == keep:
        return False
    _reserve = b""
    gc.collect()
    if keep:
        try:
            _reserve = bytearray(_KEPT)
        except MemoryError:  # another time, then
            return False
    return True


def calm() -> None:
    """For what can wait, now and then on its way: MemoryError while the reserve is spent."""
    if LINKED and not _reserve:
        raise MemoryError


def room(spare: int) -> None:
    """MemoryError where there is no room for so many pieces, or for many while the reserve is spent."""
    if LINKED:
        if spare >= SPARE:
            calm()
        pieces = [bytearray(_PIECE) for _ in range(spare)]
        del pieces


def lift(name: str) -> None:
    """They are not needed for now."""
    if LINKED:
        part = sys.modules.pop(name, None)
        if part is not None:
            part.close()
