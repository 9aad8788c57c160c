"""What of a talkative device is worth keeping: its changes, and every now and then what stays the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from typing import NamedTuple

from ohmstead.readings import Snapshot, Value
from ohmstead.store.protocol import Bucket

TALKATIVE = ("luxtronik",)
"""Readers whose devices say far more than changes: of those only the changes are stored."""

AGAIN_S = 300.0
"""A value that stays is kept again after so long."""

STANDS_LONG_S = 90_000.0
"""For so long a value stands that is told once a day."""


class Standing(NamedTuple):
    """For how long a stored value of a device holds: `usual_s` seconds for the `usual` points that each poll tells, a day for the rest."""

    usual: Collection[str]
    usual_s: float

    @classmethod
    def of(cls, points: Collection[str], period_s: float) -> Standing:
        """For a device that is polled every `period_s`: one poll may fail."""
        return cls(points, AGAIN_S + 2.5 * period_s)

    def seconds(self, point: str) -> float:
        return self.usual_s if point in self.usual else STANDS_LONG_S


class Changes:
    """Stands before `record` for some `devices`; what the others say goes through whole. A heat pump that says 80 values every 30 s changes
    about ten of them."""

    def __init__(self, record: Callable[[Snapshot], None], devices: Collection[str], again_s: float = AGAIN_S) -> None:
        self._record = record
        self._kept: dict[str, dict[str, tuple[Value, float]]] = {device: {} for device in devices}
        self._again_s = again_s

    def record(self, snapshot: Snapshot) -> None:
        """Passes on what changed, or was passed on too long ago; nothing at all where there is nothing."""
        kept = self._kept.get(snapshot.device)
        if kept is None:
            self._record(snapshot)
            return
        values: dict[str, Value] = {}
        for point, value in snapshot.values.items():
            before = kept.get(point)
            if before is None or before[0] != value or abs(snapshot.time - before[1]) >= self._again_s:  # also when the clock was set
                values[point] = value
                kept[point] = value, snapshot.time
        if values:
            self._record(snapshot._replace(values=values))


class _Span:
    """What a point was in one span of time."""

    __slots__ = ("high", "lasted", "low", "samples", "total")

    def __init__(self, value: Value) -> None:
        self.low = self.high = value
        self.total = 0.0
        self.lasted = 0
        self.samples = 0


def steps(rows: Iterable[tuple[int, Value]], first: int, last: int, width: int, stands: int) -> list[Bucket]:
    """The spans of `width` between `first` (included) and `last` (excluded), from stored changes: each value counts by how long it stood,
    until the next one or for `stands`. All in ms since 1970; `rows` in their order, beginning `stands` before `first`. Spans of which
    nothing is known are absent. Where there are numbers, texts do not count.
    """
    told = list(rows)
    if any(not isinstance(value, str) for _, value in told):
        told = [(ts, value) for ts, value in told if not isinstance(value, str)]
    spans: dict[int, _Span] = {}
    for (ts, value), (following, _) in pairwise([*told, (last, 0)]):
        begin, end = max(ts, first), min(following, ts + stands, last)
        while begin < end:
            at = begin // width * width
            until = min(end, at + width)
            span = spans.get(at) or spans.setdefault(at, _Span(value))
            _stood(span, value, until - begin)
            begin = until
    return [
        Bucket(at / 1000, span.high if isinstance(span.high, str) else span.total / span.lasted, span.low, span.high, span.samples)
        for at, span in spans.items()
    ]


def _stood(span: _Span, value: Value, lasted: int) -> None:
    span.samples += 1
    span.lasted += lasted
    if isinstance(value, str) or isinstance(span.low, str) or isinstance(span.high, str):
        span.low = span.high = value
        return
    span.total += value * lasted
    span.low, span.high = min(span.low, value), max(span.high, value)
