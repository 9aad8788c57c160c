"""What was measured, as it was: for exports. (For charts there is `Store.history`.)"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from ohmstead.readings import Value

Read = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]

_PAGE_MS = 3_600_000


class Row(NamedTuple):
    """What of a device was kept at one moment (UTC s)."""

    time: float
    values: Mapping[str, Value]


class Samples(Protocol):
    """Everything may block and raises StoreError when the medium fails."""

    def devices(self) -> list[str]:
        """All that anything is kept of, also those that are gone."""
        ...

    def units(self, device: str) -> dict[str, str]:
        """The points that anything is kept of, and their units."""
        ...

    def rows(self, device: str, start: float, end: float) -> Iterator[Row]:
        """The moments from `start` (included) to `end` (excluded) at which something was kept, in their order. Some hundred thousand in a
        day: they are read an hour at a time."""
        ...

    def before(self, device: str, moment: float, seconds: float) -> dict[str, tuple[float, Value]]:
        """Each point's last value in the `seconds` before a moment, and when that was."""
        ...


class SqliteSamples:
    """`Samples` in the tables `series` and `samples`."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def devices(self) -> list[str]:
        return [device for (device,) in self._read("SELECT DISTINCT device FROM series ORDER BY device", ())]

    def units(self, device: str) -> dict[str, str]:
        return dict(self._read("SELECT point, unit FROM series WHERE device = ? ORDER BY point", (device,)))

    def rows(self, device: str, start: float, end: float) -> Iterator[Row]:
        first, last = round(start * 1000), round(end * 1000)
        query = (
            "SELECT ts, point, value FROM series JOIN samples ON series_id = series.id AND ts >= ? AND ts < ?"
            " WHERE device = ? ORDER BY ts, series.id"
        )
        for page in range(first, last, _PAGE_MS):
            moment, values = -1, dict[str, Value]()
            for ts, point, value in self._read(query, (page, min(page + _PAGE_MS, last), device)):
                if ts != moment:
                    if values:
                        yield Row(moment / 1000, values)
                    moment, values = ts, {}
                values[point] = value
            if values:
                yield Row(moment / 1000, values)

    def before(self, device: str, moment: float, seconds: float) -> dict[str, tuple[float, Value]]:
        at = round(moment * 1000)
        found = self._read(
            "SELECT point, ts, value FROM series JOIN samples ON series_id = series.id AND ts ="
            " (SELECT max(ts) FROM samples WHERE series_id = series.id AND ts >= ? AND ts < ?) WHERE device = ?",
            (at - round(seconds * 1000), at, device),
        )
        return {point: (ts / 1000, value) for point, ts, value in found}
