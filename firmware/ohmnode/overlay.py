"""Methods that are in memory only while they are needed.

The image's linker takes them out of their classes and puts them into files of their own (`images/node/build.py` says which). Whoever is
about to call them lays the file over the classes, and lifts it when they have done their work. From sources everything is there always.
"""

import gc
import sys

from ohmcore import const
from ohmnode import LINKED

SPARE = const(4096)  # bytes that what can wait leaves to what cannot


def lay(name: str, spare: int = 0) -> None:
    """From now on the methods are there. MemoryError where there is no room for them, or less than `spare` bytes beside them; then nothing
    has changed.
    """
    if LINKED and name not in sys.modules:
        __import__(name)
        try:
            room(spare)
        except MemoryError:
            lift(name)
            raise


def room(spare: int) -> None:
    """MemoryError where less than that is free."""
    if LINKED and gc.mem_free() < spare:
        gc.collect()
        if gc.mem_free() < spare:
            raise MemoryError


def lift(name: str) -> None:
    """They are not needed for now."""
    if LINKED:
        part = sys.modules.pop(name, None)
        if part is not None:
            part.close()
