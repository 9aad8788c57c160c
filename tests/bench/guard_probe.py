"""Stands in an image for its main.py (which is `image_main.py` then) and says when the node's guard looks at its limits.

At the begin of each evaluation a line: `evaluated <microseconds, the machine's monotonic clock> <which task>`. What the linker called the
guard and its evaluation the environment says, from the image's map. Nothing is allocated for it.
"""

import gc
import os
import time
from asyncio import core  # type: ignore[attr-defined] # the stub lacks it

gc.threshold(4096)  # as main.py does it

import control  # noqa: E402 - the image's file of what writes
import node  # noqa: E402 - and of all else

EVALUATE, BEAT = os.getenv("OHM_PROBE_EVALUATE"), os.getenv("OHM_PROBE_BEAT")
Guard = getattr(control, os.getenv("OHM_PROBE_GUARD"))
Ward = getattr(node, os.getenv("OHM_PROBE_WARD"))
beat = getattr(Ward, BEAT)


def first_beat(ward: object) -> None:
    """Tasks begin: by now all methods are where they are called, which the image does as late as it can."""
    setattr(Ward, BEAT, beat)
    evaluate = getattr(Guard, EVALUATE)

    def stamped(guard: object) -> None:
        print("evaluated", time.ticks_us(), id(core.cur_task))
        evaluate(guard)

    setattr(Guard, EVALUATE, stamped)
    beat(ward)


setattr(Ward, BEAT, first_beat)
print("evaluated by a new life")

import image_main  # noqa: E402, F401 - after the probe is in its place: running the node is its whole purpose
