"""Stands in an image for its main.py (which is `image_main.py` then) and says when the node's guard looks at its limits.

At the begin of each evaluation a line: `evaluated <microseconds, the machine's monotonic clock> <which task>`. What the linker called the
guard and its evaluation the environment says, from the image's map. Nothing is allocated for it.
"""

import gc
import os
import time
from asyncio import core  # type: ignore[attr-defined] # the stub lacks it

gc.threshold(4096)  # as main.py does it

import node  # noqa: E402 - after the threshold. The image's own

GUARD = getattr(node, os.getenv("OHM_PROBE_GUARD"))
EVALUATE = os.getenv("OHM_PROBE_EVALUATE")
evaluate = getattr(GUARD, EVALUATE)


def stamped(guard: object) -> None:
    print("evaluated", time.ticks_us(), id(core.cur_task))
    evaluate(guard)


setattr(GUARD, EVALUATE, stamped)
print("evaluated by a new life")

import image_main  # noqa: E402, F401 - after the probe is in its place: running the node is its whole purpose
