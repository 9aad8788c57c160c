"""The last reading of every point, and when something new came: what the page, `/stats` and the metrics show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ohmstead.readings import Snapshot, Value


class LatestValue(NamedTuple):
    """A value and the UTC second it was read."""

    value: Value
    time: float


class Latest:
    """`take` subscribes to the readings. `snapshots` and `readings` count what came, `version` grows with each snapshot."""

    def __init__(self, devices: Iterable[str]) -> None:
        self.snapshots = dict.fromkeys(devices, 0)
        self.readings = dict.fromkeys(self.snapshots, 0)
        self.version = 0
        self._groups: dict[str, dict[str, Snapshot]] = {device: {} for device in self.snapshots}
        self._waiters: set[asyncio.Future[None]] = set()

    def take(self, snapshot: Snapshot) -> None:
        groups = self._groups.get(snapshot.device)
        if groups is None:
            return
        self.snapshots[snapshot.device] += 1
        self.readings[snapshot.device] += len(snapshot.values)
        known = groups.get(snapshot.group)
        if known is None or snapshot.time >= known.time:
            groups[snapshot.group] = snapshot
            self.version += 1
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()

    def values(self, device: str) -> Mapping[str, LatestValue]:
        """Each point's newest value. A point that the last reading of its group did not bring keeps its older value and time."""
        merged: dict[str, LatestValue] = {}
        for snapshot in self._groups[device].values():
            for point, value in snapshot.values.items():
                known = merged.get(point)
                if known is None or snapshot.time >= known.time:
                    merged[point] = LatestValue(value, snapshot.time)
        return merged

    def last_time(self, device: str) -> float | None:
        """UTC second of the device's newest reading; None if there was none."""
        return max((snapshot.time for snapshot in self._groups[device].values()), default=None)

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
