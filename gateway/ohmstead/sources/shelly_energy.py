"""Energy over the resets of a device's counters.

A Shelly's counters begin anew when somebody clears them, after some updates, and in another device at the same place. The sum goes on: it
grows by what a counter grows by, and by nothing when the counter falls, or jumps further than any of these devices could have measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from ohmstead.sources.lasting import Remembered
from ohmstead.sources.polling import Memory

_MOST_W = 300_000.0
_SLACK_WH = 1000.0
_SET_BACK_S = 60.0
_UNKNOWN_S = 7 * 86400.0
"""What is taken for the time between two readings where the clock was set back by more than a little: nobody knows it."""


class Count(NamedTuple):
    """Of one counter: its last reading in Wh, when that was (seconds since 1970), what makes the sum of it, and whose it is."""

    last: float
    time: float
    offset: float
    serial: str

    @property
    def sum(self) -> float:
        return self.last + self.offset


class Sums:
    """The sums of one device's counters, known from `memory` under `key`. `wall` gives seconds since 1970.

    `news` is to be kept together with the reading that it comes from: a sum that is older than its reading lacks what was counted between,
    should the counter be reset before the next start.
    """

    def __init__(self, memory: Memory, key: str, device: str, *, wall: Callable[[], float] = time.time) -> None:
        self._key = key
        self._remembered = Remembered(memory, key, device)
        self._wall = wall
        self._counts: dict[str, Count] | None = None
        self._changed = False
        self._log = structlog.get_logger(service="shelly").bind(device=device)

    @property
    def loaded(self) -> bool:
        """Whether it is known what was kept."""
        return self._counts is not None

    def load(self) -> None:
        """What was kept; blocks for a moment. What is not as it was written is left, and the log says so. Where the store cannot be read
        no sum is known until it can be."""
        kept = self._remembered.recall()
        if self._counts is not None or not self._remembered.known:
            return
        counts: dict[str, Count] = {}
        try:
            if kept is not None:
                content = json.loads(kept)
                counts = {
                    str(name): Count(float(last), float(time), float(offset), str(serial))
                    for name, (last, time, offset, serial) in content["counts"].items()
                }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            counts = {}
            self._log.warning("what was kept of its counters is unreadable; its sums begin anew", reason=str(error))
        self._counts = counts

    def add(self, counters: Mapping[str, float], serial: str) -> dict[str, float]:
        """The sums in Wh after these readings, in Wh, of the device with this serial number; none before `load`."""
        counts = self._counts
        if counts is None:
            return {}
        now = self._wall()
        former: set[str] = set()
        for name, reading in counters.items():
            known = counts.get(name)
            if known is None:
                counts[name] = Count(reading, now, 0.0, serial)
            elif known.serial == serial and 0.0 <= reading - known.last <= _most(now - known.time):
                counts[name] = Count(reading, now, known.offset, serial)
            else:
                if known.serial == serial:
                    self._log.warning("a counter was reset; its sum goes on", counter=name, was=known.last, now=reading)
                else:
                    former.add(known.serial)
                counts[name] = Count(reading, now, known.sum - reading, serial)
        if former:
            self._log.warning("another device is there; its sums go on", was=", ".join(sorted(former)), now=serial)
        self._changed = True
        return {name: counts[name].sum for name in counters}

    def news(self) -> Mapping[str, str]:
        """What has to be kept since this was asked last, by its key."""
        if not self._changed:
            return {}
        self._changed = False
        return {self._key: json.dumps({"counts": self._counts}, separators=(",", ":"))}


def _most(seconds: float) -> float:
    """What a counter may have grown by meanwhile, in Wh."""
    elapsed = _UNKNOWN_S if seconds < -_SET_BACK_S else max(seconds, 0.0)
    return _SLACK_WH + _MOST_W * elapsed / 3600.0
