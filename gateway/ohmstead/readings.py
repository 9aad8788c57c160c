"""The one stream that everything consumes: what was read, of which device, when.

A reading that could not be taken is absent, never zero. Time is UTC, in seconds since 1970; the home's zone is a matter of
whoever shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

Value = int | float | str
"""What a point can be: a number in the point's unit, or a text (state, serial number)."""


class Quality(IntEnum):
    """How complete a snapshot is. The numbers are those of the wire."""

    GOOD = 0
    PARTIAL = 1


class Reading(NamedTuple):
    """One value of one point, as people and exports see it."""

    device: str
    point: str
    value: Value
    unit: str
    time: float
    quality: Quality


class Snapshot(NamedTuple):
    """What one poll group of one device said at one moment, decoded and with its calculated points.

    `values` maps a point's id to its value in the point's unit. `live` is False for a frame that arrives so late from a spool that
    a newer one is due: it belongs into the store, not onto a state topic. `age` is how many seconds it was under way. `gone` are the points
    that had a value until now, or before a restart, and have none any more, because the device says so: nothing has to be said of what is
    just not in `values`. `kept` is what its source has to know after a restart as of this reading, by the keys of its memory: it is stored
    together with the values.
    """

    device: str
    group: str
    time: float
    quality: Quality
    values: Mapping[str, Value]
    live: bool = True
    age: float = 0.0
    gone: Collection[str] = ()
    kept: Mapping[str, str] = {}

    def readings(self, units: Mapping[str, str]) -> Iterator[Reading]:
        """Each value as a `Reading`; `units` maps a point's id to its unit (absent: no unit)."""
        for point, value in self.values.items():
            yield Reading(self.device, point, value, units.get(point, ""), self.time, self.quality)


Subscriber = Callable[[Snapshot], None]


class Stream:
    """Hands each snapshot to each subscriber, in the order they subscribed, in the caller's thread (the event loop's).

    A subscriber that raises is reported to `on_error` and does not keep the others from their snapshot.
    """

    def __init__(self, on_error: Callable[[Subscriber, Snapshot, Exception], None]) -> None:
        self._subscribers: list[Subscriber] = []
        self._on_error = on_error

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def publish(self, snapshot: Snapshot) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(snapshot)
            except Exception as error:  # noqa: BLE001 - any subscriber may fail in any way; it is reported, never swallowed
                self._on_error(subscriber, snapshot, error)
