"""How many requests a cloud still takes from us: counted by the minute, kept over restarts, spent with a margin.

Viessmann counts requests in a day and in ten minutes (1450 and 120 for a free account) and locks out who asks for more. Both windows
slide here, and both are counted a minute too wide, which is the safe side.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ohmstead.errors import RateLimited

if TYPE_CHECKING:
    from ohmstead.sources.polling import Memory

_DAY, _SHORT = 1440, 10
"""Minutes."""

_LONGEST_BAN_S = 86_400.0


class Allowance(NamedTuple):
    """What is granted: requests within 24 hours and within 10 minutes. `margin` is the share of both that is never used."""

    day: int = 1450
    ten_minutes: int = 120
    margin: float = 0.1

    @property
    def usable_day(self) -> int:
        return max(int(self.day * (1 - self.margin)), 1)

    @property
    def usable_ten_minutes(self) -> int:
        return max(int(self.ten_minutes * (1 - self.margin)), 1)


class Budget:
    """Counts requests. `spend` is called before each one and refuses what is too many; `ban` says that the other side has refused.

    What was counted is written to `memory` before the request goes out: a restart forgets none. A clock that was set back makes no
    room: what seems to lie in the future counts as of now. May be used by several threads; `spend` and `ban` block as long as `memory`
    does, `used` waits for neither of them.
    """

    def __init__(self, allowance: Allowance, memory: Memory, key: str, wall: Callable[[], float]) -> None:
        self.allowance = allowance
        self._memory = memory
        self._key = key
        self._wall = wall
        self._order = threading.Lock()
        self._lock = threading.Lock()
        self._minutes: dict[int, int] | None = None
        self._banned_until = 0.0

    def spend(self) -> None:
        """Counts one request. Raises RateLimited, and counts nothing, when there is no room for it."""
        with self._order:
            with self._lock:
                now = self._wall()
                minutes = self._current(now)
                if (wait := self._wait(minutes, now)) > 0:
                    raise RateLimited(self._reason(minutes, now), wait)
                minute = int(now // 60)
                minutes[minute] = minutes.get(minute, 0) + 1
                text = self._text(minutes)
            self._memory.write(self._key, text)

    def ban(self, seconds: float) -> float:
        """Nothing goes out for so long, at most a day; the seconds that it is."""
        with self._order:
            with self._lock:
                now = self._wall()
                minutes = self._current(now)
                seconds = min(max(seconds, 1.0), _LONGEST_BAN_S)
                self._banned_until = now + seconds
                text = self._text(minutes)
            self._memory.write(self._key, text)
        return seconds

    def used(self) -> tuple[int, int]:
        """Requests of the last 24 hours and of the last 10 minutes."""
        with self._lock:
            now = self._wall()
            minutes = self._current(now)
            return sum(minutes.values()), _within(minutes, now, _SHORT)

    def _wait(self, minutes: dict[int, int], now: float) -> float:
        """Seconds until there is room for one more; 0 if there is."""
        wait = max(self._banned_until - now, 0.0)
        for window, most in ((_DAY, self.allowance.usable_day), (_SHORT, self.allowance.usable_ten_minutes)):
            over = _within(minutes, now, window) - most + 1
            for minute in sorted(minute for minute in minutes if minute >= int(now // 60) - window):
                if over <= 0:
                    break
                over -= minutes[minute]
                wait = max(wait, 60.0 * (minute + window + 1) - now)
        return wait

    def _reason(self, minutes: dict[int, int], now: float) -> str:
        if self._banned_until > now:
            return "the cloud takes no more requests from this account for now"
        day, short = sum(minutes.values()), _within(minutes, now, _SHORT)
        used = f"{day} of {self.allowance.usable_day} requests in 24 h, {short} of {self.allowance.usable_ten_minutes} in 10 min"
        return f"the budget of requests is used up ({used})"

    def _current(self, now: float) -> dict[int, int]:
        """What counts still; what seems to lie in the future counts as of now."""
        if self._minutes is None:
            self._minutes, self._banned_until = _read(self._memory.read(self._key))
        self._banned_until = min(self._banned_until, now + _LONGEST_BAN_S)
        this = int(now // 60)
        current: dict[int, int] = {}
        for minute, count in self._minutes.items():
            if minute >= this - _DAY:
                counted = min(minute, this)
                current[counted] = current.get(counted, 0) + count
        self._minutes = current
        return current

    def _text(self, minutes: dict[int, int]) -> str:
        counts = " ".join(f"{minute}:{count}" for minute, count in sorted(minutes.items()))
        return f"{math.ceil(self._banned_until)} {counts}".strip()


def _within(minutes: dict[int, int], now: float, window: int) -> int:
    first = int(now // 60) - window
    return sum(count for minute, count in minutes.items() if minute >= first)


def _read(kept: str | None) -> tuple[dict[int, int], float]:
    """What `_text` says; nothing of it where it cannot be read."""
    try:
        banned, *counts = (kept or "0").split()
        minutes = {int(minute): int(count) for minute, _, count in (one.partition(":") for one in counts)}
        return minutes, float(int(banned))
    except ValueError:
        return {}, 0.0
