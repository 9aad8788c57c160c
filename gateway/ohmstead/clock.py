"""Both clocks, in one place, so that whoever needs time can be given another one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """`wall` is UTC seconds since 1970 and may jump; `mono` is seconds that only grow."""

    wall: Callable[[], float] = time.time
    mono: Callable[[], float] = time.monotonic
