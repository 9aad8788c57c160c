"""What was measured as a table: a line for each moment, a column for each point.

Of many devices only changes are stored. So a value stands in the lines after it as well, until the next one or until it is too old to be
believed; what is not known is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ohmstead.readings import Value
from ohmstead.store.samples import Samples

STANDS_S = 900.0
"""What stays is stored every five minutes; three of those."""


class Line(NamedTuple):
    """A moment (UTC s) and the value of each column, None where it is not known."""

    time: float
    values: Sequence[Value | None]


def table(
    samples: Samples, device: str, columns: Sequence[str], start: float, end: float, *, every_s: float = 0.0, stands_s: Mapping[str, float]
) -> Iterator[Line]:
    """The lines of a device from `start` to `end` (UTC s): one for each moment at which it said something, or the first of each `every_s`
    seconds. `stands_s`: for how long a point's value stands where it is not `STANDS_S`."""
    longest = max([STANDS_S, *(stands_s.get(point, STANDS_S) for point in columns)])
    known = samples.before(device, start, longest)
    due = start
    for row in samples.rows(device, start, end):
        for point, value in row.values.items():
            known[point] = row.time, value
        if row.time < due:
            continue
        if every_s:
            due = start + ((row.time - start) // every_s + 1) * every_s
        yield Line(row.time, [_standing(known.get(point), row.time, stands_s.get(point, STANDS_S)) for point in columns])


def _standing(known: tuple[float, Value] | None, now: float, stands_s: float) -> Value | None:
    return known[1] if known is not None and now - known[0] <= stands_s else None
