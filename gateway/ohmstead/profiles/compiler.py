"""From a profile to the groups of reads that a node or a direct connection polls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ohmstead.profiles.model import Line, Profile
from ohmstead.profiles.planner import Cost, LineCost, PlanError, Read, Span, plan

MAX_FRAME = 1000
"""Bytes of a frame on the wire, at most (1 kB, less what MQTT puts before it)."""

PARITY = {"none": "N", "even": "E", "odd": "O"}
_NAME_BYTES = 32
"""What a device's name is taken for where none is said."""


class FrameTooLong(PlanError):  # noqa: N818 - says what is wrong with the plan
    """What must travel together does not fit into one frame of a node."""

    def __init__(self, groups: Sequence[str], length: int, most: int) -> None:
        named = f"the group {groups[0]} is" if len(groups) == 1 else f"the groups {', '.join(groups)}, which calculated points join, are"
        super().__init__(
            f"{named} {length} bytes long, and a node's message takes {most}: divide the points of the profile among more groups,"
            " or reach the device over tcp://"
        )


@dataclass(frozen=True)
class PollGroup:
    """What is read together and travels as one snapshot: the points of the profile's `groups`, every `period_s` seconds.

    `priority` 0 goes first when several are due: the shorter the period, the sooner.
    """

    name: str
    period_s: float
    priority: int
    reads: tuple[Read, ...]
    groups: tuple[str, ...]


def line_cost(line: Line) -> LineCost:
    """The cost of a read on the serial line of a profile."""
    return LineCost.of_line(line.baud, PARITY[line.parity], line.stop, turnaround_s=line.turnaround, pause_s=line.gap)


def periods(profile: Profile, every: float | Mapping[str, float] | None = None) -> dict[str, float]:
    """The period of each group in seconds, after what the owner says (`every`).

    A number is the period of the profile's fastest groups, and none is read more often than that. A map gives groups periods of
    their own; its key `*`, if any, is such a number and goes first.
    """
    wanted = dict(every) if isinstance(every, Mapping) else {} if every is None else {"*": every}
    result = dict(profile.groups)
    fastest = min(result.values())
    if (floor := wanted.pop("*", None)) is not None:
        result = {group: floor if period == fastest else max(period, floor) for group, period in result.items()}
    return result | {group: period for group, period in wanted.items() if group in result}


def poll_groups(
    profile: Profile,
    cost: Cost,
    every: float | Mapping[str, float] | None = None,
    device: str = "x" * _NAME_BYTES,
    *,
    max_frame: int | None = MAX_FRAME,
) -> list[PollGroup]:
    """The poll groups of a profile, by priority.

    All groups of one period are one poll group, named by the period ("10s", "5min", "1h"): what belongs together is read in one
    scan, and calculated points see inputs of one moment. Groups whose frame would be longer than `max_frame` bytes (None: no frame
    carries them) are given to several, "10s", "10s.2", …: each group whole, and with it those that a calculated point needs.

    A group keeps to its own scan: a slow group's registers that a fast scan reads over are not taken for fresh there, and are read
    again in their own time. That costs a few bytes and spares every reader the question which scan a value came from.

    `every` as in `periods`; `device` is the name that the frames carry. Raises `PlanError`, `FrameTooLong` for a group that no frame
    can carry.
    """
    period_of = periods(profile, every)
    readable = [*profile.line.readable, *_runs(profile)]

    def planned(groups: Collection[str]) -> list[Read]:
        points = (Span(p.function, p.address, p.words) for p in profile.points.values() if p.group in groups and p.table)
        return plan(points, profile.line.max_read, readable, cost)

    found: list[PollGroup] = []
    for period in sorted(set(period_of.values())):
        bundles = _bundles(profile, [group for group in profile.groups if period_of[group] == period])
        for number, (groups, reads) in enumerate(_scans(bundles, planned, device, period_name(period), max_frame), start=1):
            name = period_name(period) + (f".{number}" if number > 1 else "")
            found.append(PollGroup(name, period, len(found), tuple(reads), groups))
    return found


def _bundles(profile: Profile, groups: Sequence[str]) -> list[tuple[str, ...]]:
    """`groups` in their order, those together that share a calculated point: it has a value only where all its inputs are."""
    joined = {group: {group} for group in groups}
    for point in profile.points.values():
        inputs = point.formula.names if point.formula else ()
        named = [point.group, *(profile.points[name].group for name in inputs if name in profile.points)]
        together = {other for group in named for other in joined.get(group, ())}
        joined.update(dict.fromkeys(together, together))
    return list(dict.fromkeys(tuple(group for group in groups if group in joined[first]) for first in groups))


def _scans(
    bundles: Iterable[tuple[str, ...]], planned: Callable[[Collection[str]], list[Read]], device: str, name: str, max_frame: int | None
) -> Iterator[tuple[tuple[str, ...], list[Read]]]:
    """The bundles in their order, as many together as one frame carries, with their reads."""

    def length(reads: list[Read]) -> int:
        return frame_bound(reads, device, f"{name}.99")

    scan: tuple[str, ...] = ()
    reads: list[Read] = []
    for bundle in bundles:
        more = planned(scan + bundle)
        if reads and max_frame is not None and length(more) > max_frame:
            yield scan, reads
            scan, more = (), planned(bundle)
        if max_frame is not None and length(more) > max_frame:
            raise FrameTooLong(bundle, length(more), max_frame)
        scan, reads = scan + bundle, more
    if reads:
        yield scan, reads


def _runs(profile: Profile) -> Iterator[tuple[int, int]]:
    """Ranges of addresses that points of the profile cover without a gap: known to answer, whoever asks."""
    spans = sorted((p.function, p.address, p.last) for p in profile.points.values() if p.table)
    run: tuple[int, int, int] | None = None
    for function, first, last in spans:
        if run is not None and function == run[0] and first <= run[2] + 1:
            run = (function, run[1], max(run[2], last))
            continue
        if run is not None:
            yield run[1:]
        run = (function, first, last)
    if run is not None:
        yield run[1:]


def period_name(seconds: float) -> str:
    """A period in its largest whole unit: "500ms", "10s", "5min", "1h"."""
    milliseconds = round(seconds * 1000)
    for unit, length in (("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"


def frame_bound(reads: Iterable[Read], device: str, group: str) -> int:
    """Bytes of the data frame that carries these reads, at most (the longest form of every number in it)."""
    reads = list(reads)
    header = 1 + 1 + 5 + 5 + 9  # array, protocol, boot (31 bits), seq (32 bits), uptime in ms (64 bits)
    header += _text_bound(device) + _text_bound(group) + 1  # and the quality
    return header + _count_bound(len(reads)) + sum(1 + 5 + _bin_bound(read.reply_bytes) for read in reads)


def _text_bound(text: str) -> int:
    length = len(text.encode())
    return length + (1 if length < 32 else 2)


def _bin_bound(length: int) -> int:
    return length + (2 if length < 256 else 3)


def _count_bound(count: int) -> int:
    return 1 if count < 16 else 3
