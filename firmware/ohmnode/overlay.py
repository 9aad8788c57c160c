"""Methods that are in memory only while they are needed.

The image's linker takes them out of their classes and puts them into files of their own (`images/node/build.py` says which). Whoever is
about to call them lays the file over the classes, and lifts it when they have done their work. From sources everything is there always.
"""

import sys

from ohmnode import LINKED


def lay(name: str) -> None:
    """From now on the methods are there. MemoryError where there is no room for them; then nothing has changed."""
    if LINKED:
        __import__(name)


def lift(name: str) -> None:
    """They are not needed for now."""
    if LINKED:
        part = sys.modules.pop(name, None)
        if part is not None:
            part.close()
