"""The last reading of every point, and when something new came: what the page, `/stats` and the metrics show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ohmstead.readings import Quality, Snapshot, Value


class LatestValue(NamedTuple):
    """A value and the UTC second it was read."""

    value: Value
    time: float


class Latest:
    """`take` subscribes to the readings. `snapshots` and `readings` count what came, `version` grows with each snapshot.

    What is newer is told by `mono` (seconds) and the age that a snapshot came with: a wall clock that was set back changes nothing.
    """

    def __init__(self, devices: Iterable[str], mono: Callable[[], float] = time.monotonic) -> None:
        self.snapshots = dict.fromkeys(devices, 0)
        self.readings = dict.fromkeys(self.snapshots, 0)
        self.polled: dict[tuple[str, str, Quality], int] = {}
        """How often each poll group of each device came, by its quality."""
        self.version = 0
        self._mono = mono
        self._groups: dict[str, dict[str, tuple[float, Snapshot]]] = {device: {} for device in self.snapshots}  # read at, on that clock
        self._waiters: set[asyncio.Future[None]] = set()

    def add(self, device: str) -> None:
        """One more device."""
        if device not in self._groups:
            self.snapshots[device] = self.readings[device] = 0
            self._groups[device] = {}

    def take(self, snapshot: Snapshot) -> None:
        groups = self._groups.get(snapshot.device)
        if groups is None:
            return
        self.snapshots[snapshot.device] += 1
        polled = snapshot.device, snapshot.group, snapshot.quality
        self.polled[polled] = self.polled.get(polled, 0) + 1
        self.readings[snapshot.device] += len(snapshot.values)
        read_at = self._mono() - max(snapshot.age, 0.0)
        known = groups.get(snapshot.group)
        if known is None or read_at >= known[0]:
            groups[snapshot.group] = read_at, snapshot
            self.version += 1
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    def values(self, device: str) -> Mapping[str, LatestValue]:
        """Each point's newest value. A point that the last reading of its group did not bring keeps its older value and time."""
        oldest_first = sorted(self._groups[device].values(), key=lambda read: read[0])
        return {point: LatestValue(value, snapshot.time) for _, snapshot in oldest_first for point, value in snapshot.values.items()}

    def age(self, device: str) -> float | None:
        """Seconds since the device's newest reading; None if there was none."""
        newest = max((read_at for read_at, _ in self._groups[device].values()), default=None)
        return None if newest is None else max(0.0, self._mono() - newest)

    async def changed(self, timeout_s: float) -> None:
        """Returns with the next snapshot, or after `timeout_s`."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.add(waiter)
        timer = loop.call_later(timeout_s, lambda: None if waiter.done() else waiter.set_result(None))
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)
