"""How often: requests of an author, writes of a control. Both are counted before anything is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ohmstead.control.target import Target
from ohmstead.errors import Reason, Rejected

DAY_S = 86_400.0
BURST = 60
"""Requests that an author may make at once."""

REFILL_S = 2.0
"""Seconds until one more is allowed."""

_AUTHORS = 1000


class Authors:
    """A bucket of requests for each author; time is monotonic, in seconds."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[float, float]] = {}

    def admit(self, author: str, now: float) -> None:
        """Counts a request. Raises Rejected when there were too many."""
        used, at = self._used.get(author, (0.0, now))
        used = max(0.0, used - (now - at) / REFILL_S)
        if used + 1 > BURST:
            self._used[author] = (used, now)
            raise Rejected(Reason.RATE_LIMIT, f"more than {BURST} requests at once; one more every {REFILL_S:g} s")
        if author not in self._used and len(self._used) >= _AUTHORS:
            del self._used[next(iter(self._used))]
        self._used[author] = (used + 1, now)


class Writes:
    """The writes of each control over the last 24 hours; time is monotonic, in seconds: a clock that is set gives nobody another budget."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str], deque[float]] = {}

    def resume(self, entries: Iterable[tuple[str, str, float]]) -> None:
        """Takes in the writes (device, control, time) that were made before a restart; their times lie before that of now, or even zero."""
        for device, control, time in sorted(entries, key=lambda entry: entry[2]):
            self._times.setdefault((device, control), deque()).append(time)

    def admit(self, target: Target, now: float) -> None:
        """Raises Rejected when this control may not be written now. Does not count."""
        times = self._times.get((target.device, target.control))
        if not times:
            return
        while times and times[0] <= now - DAY_S:
            times.popleft()
        if len(times) >= target.budget:
            raise Rejected(Reason.RATE_LIMIT, f"{len(times)} writes within 24 h; the device's budget is {target.budget} a day")
        if times and now - times[-1] < target.interval_s:
            raise Rejected(Reason.RATE_LIMIT, f"written {now - times[-1]:.0f} s ago; at most one write in {target.interval_s:g} s")

    def count(self, target: Target, now: float) -> None:
        """A write goes out now, whatever becomes of it."""
        self._times.setdefault((target.device, target.control), deque()).append(now)

    def refund(self, target: Target) -> None:
        """The write that was counted last was none."""
        times = self._times.get((target.device, target.control))
        if times:
            times.pop()

    def used(self, target: Target) -> int:
        return len(self._times.get((target.device, target.control), ()))
