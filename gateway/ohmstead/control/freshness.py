"""What a control's register said last, for nodes: is it so already, freshly enough not to write it again?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from ohmcore.errors import FrameError
from ohmstead.control.target import Target
from ohmstead.readings import Snapshot, Value

_MARGIN_S = 2.0
_PERIODS = 1.5


class Decoding(Protocol):
    """The part of `profiles.decode.Decoder` that is needed here."""

    def decode(self, function: int, address: int, buf: bytes, /) -> Mapping[str, Value]: ...


class LastRead:
    """Remembers the last reading of each control's point; `take` subscribes to the readings. A reading is as old as its
    snapshot says, not as its arrival. `mono` is in seconds."""

    def __init__(self, targets: Iterable[Target], decoders: Mapping[str, Decoding], mono: Callable[[], float] = time.monotonic) -> None:
        self._decoders = decoders
        self._mono = mono
        self._points: dict[str, list[str]] = {}
        self._read: dict[tuple[str, str], tuple[Value, float]] = {}
        for target in targets:
            self._points.setdefault(target.device, []).append(target.point)

    def take(self, snapshot: Snapshot) -> None:
        if not snapshot.live:
            return
        read_at = self._mono() - max(snapshot.age, 0.0)
        for point in self._points.get(snapshot.device, ()):
            if point in snapshot.values:
                self._read[snapshot.device, point] = (snapshot.values[point], read_at)

    def holds(self, target: Target, raw: int) -> bool:
        """Whether the last reading is fresh and says what `raw` means. A value is asked once: whoever goes on to write makes it stale."""
        read = self._read.pop((target.device, target.point), None)
        if read is None or self._mono() - read[1] > _PERIODS * target.period_s + _MARGIN_S:
            return False
        octets = b"".join(word.to_bytes(2, "big") for word in target.registers(raw))
        try:
            wanted = self._decoders[target.device].decode(3, target.address, octets).get(target.point)
        except FrameError:
            return False
        if wanted != read[0]:
            return False
        self._read[target.device, target.point] = read
        return True
