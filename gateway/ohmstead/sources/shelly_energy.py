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

from ohmstead.sources.polling import Memory

_SAVE_EVERY_S = 300.0
"""A sum is its counter plus an offset. The offset is kept at once; the counter, only needed to see a reset, so often: flash wears out."""

_MOST_W = 300_000.0
_SLACK_WH = 1000.0


class Count(NamedTuple):
    """Of one counter: its last reading in Wh, when that was (seconds since 1970), and what makes the sum of it."""

    last: float
    time: float
    offset: float

    @property
    def sum(self) -> float:
        return self.last + self.offset


class Sums:
    """The sums of one device's counters, kept in `memory` under `key`. `wall` gives seconds since 1970."""

    def __init__(self, memory: Memory, key: str, device: str, *, wall: Callable[[], float] = time.time) -> None:
        self._memory = memory
        self._key = key
        self._wall = wall
        self._counts: dict[str, Count] | None = None
        self._serial = ""
        self._saved = ""
        self._saved_at = 0.0
        self._urgent = False
        self._log = structlog.get_logger(service="shelly").bind(device=device)

    def load(self) -> None:
        """What was kept; blocks for a moment. What is not as it was written is left, and the log says so."""
        if self._counts is not None:
            return
        kept = self._memory.read(self._key)
        counts: dict[str, Count] = {}
        try:
            if kept is not None:
                content = json.loads(kept)
                counts = {str(name): Count(*(float(figure) for figure in count)) for name, count in content["counts"].items()}
                self._serial = str(content["serial"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            counts = {}
            self._log.warning("what was kept of its counters is unreadable; its sums begin anew", reason=str(error))
        self._counts = counts

    def add(self, counters: Mapping[str, float], serial: str) -> dict[str, float]:
        """The sums in Wh after these readings, in Wh, of the device with this serial number."""
        counts = self._counts if self._counts is not None else {}
        now = self._wall()
        another = self._serial not in ("", serial)
        if another:
            self._log.warning("another device is there; its sums go on", was=self._serial, now=serial)
        self._serial = serial
        for name, reading in counters.items():
            known = counts.get(name)
            if known is None:
                counts[name] = Count(reading, now, 0.0)
                continue
            most = _SLACK_WH + _MOST_W * max(now - known.time, 0.0) / 3600.0
            if another or not 0.0 <= reading - known.last <= most:
                if not another:
                    self._log.warning("a counter was reset; its sum goes on", counter=name, was=known.last, now=reading)
                counts[name] = Count(reading, now, known.sum - reading)
                self._urgent = True
            else:
                counts[name] = Count(reading, now, known.offset)
        self._counts = counts
        return {name: counts[name].sum for name in counters}

    @property
    def due(self) -> bool:
        """Whether it is time to `save`."""
        return bool(self._counts) and (self._urgent or abs(self._wall() - self._saved_at) >= _SAVE_EVERY_S)

    def save(self) -> None:
        """Keeps what is not kept yet; blocks for a moment."""
        if not self._counts:
            return
        text = json.dumps({"serial": self._serial, "counts": self._counts}, separators=(",", ":"))
        self._urgent = False
        self._saved_at = self._wall()
        if text != self._saved:
            self._memory.write(self._key, text)
            self._saved = text
