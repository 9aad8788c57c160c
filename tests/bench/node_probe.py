"""Runs the node as main.py does (MicroPython, unix port) and says what memory it takes.

The node collects its garbage when the bus is quiet. At each collection a line: `probe <bytes allocated since the last one> <bytes
free before> <bytes live after>`.
"""

import gc
import sys

if ".frozen" not in sys.path:
    sys.path.append(".frozen")  # asyncio lives there; setting MICROPYPATH takes it off the path


class Probe:
    """Stands for the module `gc`, before anything else imports it."""

    mem_alloc = gc.mem_alloc
    mem_free = gc.mem_free
    threshold = gc.threshold

    def __init__(self) -> None:
        self.live = 0

    def collect(self) -> None:
        used, free = gc.mem_alloc(), gc.mem_free()
        gc.collect()
        print("probe", used - self.live, free, gc.mem_alloc())
        self.live = gc.mem_alloc()


sys.modules["gc"] = Probe()

del sys.path[0]  # this folder has a `node` of its own; the first is the image now, as MICROPYPATH says

import main  # noqa: F401 - that is its whole purpose
