"""Runs the node as main.py does (MicroPython, unix port) and says what memory it takes.

Between two collections of garbage, which the node does when the bus is quiet, what was allocated is counted; the smallest free heap
is what was left just before one. A line after each: `probe <bytes allocated> <bytes free before> <bytes live after>`.
"""

import sys

if ".frozen" not in sys.path:
    sys.path.append(".frozen")  # asyncio lives there; setting MICROPYPATH takes it off the path

import asyncio
import gc

from hal.unix import UnixHal
from ohmnode import bus, start


class Probe:
    """Stands for the module `gc` in the bus task."""

    def __init__(self) -> None:
        self.live = 0

    def collect(self) -> None:
        used, free = gc.mem_alloc(), gc.mem_free()
        gc.collect()
        if self.live:
            print("probe", used - self.live, free, gc.mem_alloc())
        self.live = gc.mem_alloc()


bus.gc = Probe()
sys.exit(asyncio.run(start.run(UnixHal(sys.argv[1]))))
