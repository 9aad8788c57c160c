"""The battery's state of charge as it was last read: unknown when it is old, never a guess."""

from __future__ import annotations

from collections.abc import Callable

from ohmstead.readings import Snapshot


class StateOfCharge:
    """`take` subscribes to the readings. A reading is as old as its snapshot says, on a clock that nobody sets (`mono`, seconds)."""

    def __init__(self, device: str, point: str | None, oldest_s: float, mono: Callable[[], float]) -> None:
        self._device = device
        self._point = point
        self._oldest_s = oldest_s
        self._mono = mono
        self._read: tuple[float, float] | None = None

    def take(self, snapshot: Snapshot) -> None:
        if snapshot.device != self._device or self._point is None or self._point not in snapshot.values:
            return
        value, read_at = snapshot.values[self._point], self._mono() - max(snapshot.age, 0.0)
        if not isinstance(value, str) and 0 <= value <= 100 and (self._read is None or read_at >= self._read[1]):
            self._read = (float(value), read_at)

    def percent(self) -> float | None:
        """In %, None where it is unknown or older than `oldest_s`."""
        if self._read is None or self._mono() - self._read[1] > self._oldest_s:
            return None
        return self._read[0]
