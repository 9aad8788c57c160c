"""From the points somebody wants to the cheapest list of Modbus reads.

Runs when a profile is compiled for a node or for a direct connection, never while polling.

Sources of the cost model: Modbus over serial line V1.02, 2.5.1.1 (character of 10 to 12 bits, silence of 3.5 characters between
frames, fixed at 1.75 ms above 19200 baud); Modbus application protocol V1.1b3, 6.1 to 6.4 (length of requests and replies);
Modbus messaging on TCP/IP V1.0b, 3.1 (header of 7 bytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

COILS, DISCRETE_INPUTS, HOLDING, INPUT = 1, 2, 3, 4
"""Function codes that read; the tables of a device are named by them."""

_PDU_REQUEST = 5  # function, address, count
_PDU_REPLY = 2  # function, byte count; the values follow
_RTU = 3  # unit, CRC
_TCP_HEADER = 7
_FAST_LINE_BAUD = 19200
_FAST_LINE_SILENCE_S = 0.00175
_SILENCE_CHARS = 3.5


class Span(NamedTuple):
    """The registers of one point: function code that reads them, first address, number of registers (or of coils)."""

    function: int
    address: int
    words: int

    @property
    def last(self) -> int:
        return self.address + self.words - 1


@dataclass(frozen=True, order=True, slots=True)
class Read:
    """One request: function code, first address, number of registers (or of coils)."""

    function: int
    address: int
    count: int

    @property
    def last(self) -> int:
        return self.address + self.count - 1

    @property
    def reply_bytes(self) -> int:
        """Bytes of register values in the answer: two a register, or a bit a coil."""
        return (self.count + 7) // 8 if self.function in (COILS, DISCRETE_INPUTS) else 2 * self.count


class Cost(Protocol):
    """What a read takes. Must not fall when a read gets longer (the planner's optimality rests on that)."""

    def read_s(self, read: Read) -> float:
        """Seconds from the begin of the request until the next request may begin."""
        ...


@dataclass(frozen=True)
class LineCost:
    """Time of a read on a serial line: characters, the silence that ends each of the two frames, the device's turnaround, a pause.

    `turnaround_s`: from the moment the device knows that the request is complete (the silence has passed) to the begin of its answer;
    `pause_s`: from the end of the answer to the next request, never shorter than the silence.
    """

    baud: int
    bits_per_char: int = 10
    turnaround_s: float = 0.0
    pause_s: float = 0.0

    @classmethod
    def of_line(cls, baud: int, parity: str = "N", stop: int = 1, turnaround_s: float = 0.0, pause_s: float = 0.0) -> LineCost:
        """`parity` is `N`, `E` or `O`: a start bit, 8 bits, parity unless `N`, and `stop` stop bits make a character."""
        return cls(baud, 9 + stop + (parity != "N"), turnaround_s, pause_s)

    @property
    def char_s(self) -> float:
        return self.bits_per_char / self.baud

    @property
    def silence_s(self) -> float:
        return _FAST_LINE_SILENCE_S if self.baud > _FAST_LINE_BAUD else _SILENCE_CHARS * self.char_s

    def read_s(self, read: Read) -> float:
        characters = _RTU + _PDU_REQUEST + _RTU + _PDU_REPLY + read.reply_bytes
        return characters * self.char_s + self.silence_s + self.turnaround_s + max(self.pause_s, self.silence_s)


@dataclass(frozen=True)
class TcpCost:
    """Time of a read on Modbus TCP: a round trip (network and device) and the bytes at `bytes_per_s`, and a fixed pause."""

    round_trip_s: float = 0.005
    bytes_per_s: float = 1e6
    pause_s: float = 0.0

    def read_s(self, read: Read) -> float:
        octets = 2 * _TCP_HEADER + _PDU_REQUEST + _PDU_REPLY + read.reply_bytes
        return self.round_trip_s + octets / self.bytes_per_s + self.pause_s


class PlanError(ValueError):
    """A point is longer than the device's largest read, or a span is no span of the address space."""


def seconds(reads: Iterable[Read], cost: Cost) -> float:
    """Time of these reads one after the other."""
    return sum(cost.read_s(read) for read in reads)


def plan(points: Iterable[Span], max_read: int, readable: Sequence[tuple[int, int]], cost: Cost) -> list[Read]:
    """The cheapest reads that hold every point whole, by function and ascending address.

    - A point is never split over two reads, and no read is longer than `max_read` registers.
    - A gap (registers between two points that belong to no point) is read over only if one of the `readable` ranges
      (first, last address, both included) holds it whole; any other register is never asked for. Two ranges that touch stay two.
    - Points may overlap. The order and repetition of `points` do not matter.

    Optimal: no other set of reads under these rules takes less time by `cost`, and of those that take the same time none has
    fewer reads. Why: let a point inside another be dropped (whoever reads the other reads it). Of the rest, sorted, both first and
    last addresses ascend. Take the reads of a best plan, none inside another, and give each point to the first read that holds it:
    if a later point q went to an earlier read than p, that read would hold p as well. So each read serves a run of neighbours;
    shrunk to the run it costs no more. Dynamic programming over the runs therefore meets a best plan, in O(points x longest run).

    Raises `PlanError`.
    """
    reads: list[Read] = []
    for function, spans in groupby(_outermost(points), key=lambda span: span.function):
        reads += _plan_table(function, list(spans), max_read, readable, cost)
    return reads


def _outermost(points: Iterable[Span]) -> list[Span]:
    """The points that lie in no other, sorted: first and last addresses ascend strictly within a function."""
    kept: list[Span] = []
    for span in sorted(set(points), key=lambda span: (span.function, span.address, -span.words)):
        if span.words < 1 or span.address < 0 or span.last > 0xFFFF:
            raise PlanError(f"{span.words} registers from {span.address} are no registers of a device (0 to 65535)")
        if not kept or kept[-1].function != span.function or span.last > kept[-1].last:
            kept.append(span)
    return kept


def _plan_table(function: int, spans: list[Span], max_read: int, readable: Sequence[tuple[int, int]], cost: Cost) -> list[Read]:
    """`best[i]` is the cheapest way to read the first i spans: (seconds, number of reads), `cut[i]` where its last read begins."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    cut: list[int] = [0]
    for end, last in enumerate(spans, start=1):
        if last.words > max_read:
            raise PlanError(f"a point of {last.words} registers at {last.address} is longer than the largest read ({max_read})")
        choices: list[tuple[float, int, int]] = []
        for begin in range(end - 1, -1, -1):
            first = spans[begin]
            if last.last - first.address + 1 > max_read:
                break
            spent, reads = best[begin]
            choices.append((spent + cost.read_s(_hull(function, first, last)), reads + 1, begin))
            if begin and not _joinable(spans[begin - 1], first, readable):
                break
        spent, reads, begin = min(choices)
        best.append((spent, reads))
        cut.append(begin)

    plan_backwards: list[Read] = []
    end = len(spans)
    while end:
        plan_backwards.append(_hull(function, spans[cut[end]], spans[end - 1]))
        end = cut[end]
    return plan_backwards[::-1]


def _hull(function: int, first: Span, last: Span) -> Read:
    return Read(function, first.address, last.last - first.address + 1)


def _joinable(before: Span, after: Span, readable: Sequence[tuple[int, int]]) -> bool:
    """Whether nothing lies between two neighbours, or only registers of one readable range."""
    first, last = before.last + 1, after.address - 1
    return first > last or any(low <= first and last <= high for low, high in readable)
