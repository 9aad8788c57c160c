"""When an endpoint is asked again that did not answer, and how it is said to be. The same for every source.

A first failure is followed by a short pause, each further one by twice as long a pause, never longer than the poll period: what comes
back is found within one poll. The pauses are spread at random, so that many devices behind one switch do not all call at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum
from typing import Literal, NamedTuple

OPENS_AFTER = 3
"""So many failures in a row, and the breaker opens: until its pause is over nobody calls."""


class Health(StrEnum):
    """How a component is. `DEGRADED` works in part or late, `UNKNOWN` has not been tried to its end."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class BackOff(NamedTuple):
    """Pauses after failures in seconds: `first`, then twice the one before, at most `longest`; each between half and all of that."""

    first: float
    longest: float

    @classmethod
    def within(cls, period_s: float) -> BackOff:
        """That of something which is polled every `period_s`."""
        return cls(min(1.0, period_s), max(period_s, 0.5))

    def pause(self, failures: int, chance: float) -> float:
        """After so many failures in a row (1 …); `chance` is a random number from 0 to 1."""
        whole = min(self.first * 2.0 ** min(failures - 1, 30), self.longest)
        return whole * (0.5 + chance / 2)


class Breaker:
    """The circuit breaker of one endpoint: `closed` while all is well, `open` while nobody calls, `half-open` while one call tries it."""

    def __init__(self, back_off: BackOff, *, chance: Callable[[], float] = random.random, opens_after: int = OPENS_AFTER) -> None:
        self.failures = 0
        """In a row."""
        self.opened = 0
        """How often it has opened."""
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self._back_off = back_off
        self._chance = chance
        self._opens_after = opens_after

    def trying(self) -> None:
        """A call begins."""
        if self.state == "open":
            self.state = "half-open"

    def succeeded(self) -> None:
        self.failures = 0
        self.state = "closed"

    def failed(self) -> float:
        """A call failed; the seconds until the next one."""
        self.failures += 1
        if self.failures >= self._opens_after:
            self.opened += self.state == "closed"
            self.state = "open"
        return self._back_off.pause(self.failures, self._chance())
