"""What gives a meaning to the frames of a device, and which of its frames is the newest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ohmstead.readings import Snapshot, Value

Key = tuple[str, str]
"""Device and poll group."""


class Decoding(Protocol):
    """What a device's profile does for us."""

    def decode(self, function: int, address: int, buf: bytes, scan: str = "") -> Mapping[str, Value]:
        """The points of one range that was read for the poll group `scan`; FrameError if it covers none."""
        ...

    def missing(self, values: Mapping[str, Value], scan: str) -> Collection[str]:
        """The points of a poll group that was read whole which have no value: what the device says of them is none."""
        ...

    def calculate(self, values: dict[str, Value], time: float) -> None:
        """Adds the calculated points whose inputs are there; `time` is the UTC second of the reading."""
        ...


class Taker(Protocol):
    """What does more with a frame than a profile says: one that lists what is behind the device."""

    def take(self, ranges: Sequence[tuple[int, int, bytes]], at: float, *, live: bool, age: float) -> Sequence[Snapshot]:
        """Snapshots of the device and of what is behind it, of ranges (function, first address, bytes) that were read at `at`, in UTC
        seconds; `live` and `age` as in Snapshot. Frames come in the order of their times. FrameError if the ranges are not the device's."""
        ...


class Newest:
    """The newest frame of each device and poll group: boot, uptime in ms, UTC second."""

    def __init__(self) -> None:
        self._newest: dict[Key, tuple[int, int, float]] = {}

    def is_newer(self, key: Key, boot: int, uptime_ms: int, at: float) -> bool:
        """Whether this one is newer than what is the newest so far."""
        newest = self._newest.get(key)
        return newest is None or (uptime_ms > newest[1] if boot == newest[0] else at > newest[2])

    def note(self, key: Key, boot: int, uptime_ms: int, at: float) -> None:
        """It is the newest now."""
        self._newest[key] = (boot, uptime_ms, at)

    def clock_was_set(self, seconds: float) -> None:
        """UTC jumped by so many seconds: what is known by it moves along."""
        self._newest = {key: (boot, uptime_ms, at + seconds) for key, (boot, uptime_ms, at) in self._newest.items()}
