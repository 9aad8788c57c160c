"""What the gateway has not confirmed yet: frames in two rings of bytes, allocated once, and behind them the flash.

Data and events have a ring each, so that a long outage costs the oldest readings and not what happened. A frame leaves when the gateway
has committed it (`acknowledge`) or when there is no room for newer ones. What the gateway has not confirmed for half a minute is on flash
as well (`flash.py`), in batches, and what a ring pushes out stays there; without flash its number goes into `dropped`, to be reported.
Time is in whole seconds of uptime.
"""

import gc
from array import array

from ohmcore import const
from ohmnode import overlay

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from ohmnode.flash import Flash

    Frame = tuple["Ring", int]

_RANGES = const(16)  # runs of dropped numbers that are kept apart before events between them are given up as well
_TOLD = const(8)  # of them in one event
_RESEND_MOST_S = const(120)
NEVER = 0
_EVENT_BYTES = const(1600)  # a quarter is the events', but in a small spool up to a half, as much as this
_BATCH = const(2048)  # bytes that are worth a write to flash
_WAIT_S = const(30)
_PAUSE_S = const(5)
_RETRY_S = const(2)


class Ring:
    """Records in the order they came: number, bytes, when to send them again (`NEVER`: not sent yet), how often they were sent."""

    def __init__(self, frames: int, size: int) -> None:
        self.count = 0
        self.frames = frames
        self._size = size
        self._view = memoryview(bytearray(size))
        self._seqs = array("I", bytes(4 * frames))
        self._starts = array("I", bytes(4 * frames))
        self._lengths = array("H", bytes(2 * frames))
        self._again = array("I", bytes(4 * frames))
        self._times = bytearray(frames)
        self._first = 0
        self._end = 0  # where the next record's bytes may go

    def _slot(self, position: int) -> int:
        return (self._first + position) % self.frames

    def seq(self, position: int) -> int:
        return self._seqs[self._slot(position)]

    def frame(self, position: int) -> memoryview:
        start = self._starts[self._slot(position)]
        return self._view[start : start + self._lengths[self._slot(position)]]

    def again(self, position: int) -> int:
        return self._again[self._slot(position)]

    def times(self, position: int) -> int:
        return self._times[self._slot(position)]

    def mark(self, position: int, again: int, times: int) -> None:
        slot = self._slot(position)
        self._again[slot] = again
        self._times[slot] = times

    def add(self, seq: int, frame: memoryview) -> bool:
        """False when there is no room."""
        start = self._room(len(frame))
        if start < 0 or self.count == self.frames:
            return False
        slot = self._slot(self.count)
        self._view[start : start + len(frame)] = frame
        self._seqs[slot] = seq
        self._starts[slot] = start
        self._lengths[slot] = len(frame)
        self._again[slot] = NEVER
        self._times[slot] = 0
        self._end = start + len(frame)
        self.count += 1
        return True

    def drop_oldest(self) -> int:
        """Returns its number."""
        seq = self._seqs[self._first]
        self._first = self._slot(1)
        self.count -= 1
        return seq

    def _room(self, length: int) -> int:
        """Where `length` bytes fit in one piece, or -1. Oldest and newest never touch at the end: then full would look like empty."""
        if self.count == 0:
            return 0 if length <= self._size else -1
        oldest = self._starts[self._first]
        if self._end > oldest:
            if length <= self._size - self._end:
                return self._end
            return 0 if length < oldest else -1
        return self._end if length < oldest - self._end else -1


class Spool:
    """`resend_s`: how long an acknowledgement may take before a frame is sent again; for each frame it doubles every time.

    `away`: nobody has acknowledged anything since the link was last gone. `stored`: up to this number frames are on flash, or were settled.
    """

    def __init__(self, frames: int, size: int, resend_s: int = 15) -> None:
        few = max(frames // 4, 8)
        octets = _EVENT_BYTES if size // 4 < _EVENT_BYTES <= size // 2 else size // 4
        self.data = Ring(max(frames - few, 8), size - octets)
        self.events = Ring(few, octets)
        self.next_seq = 1
        self.highest_sent = 0
        self._gaps = array("I", bytes(8 * (_RANGES + 1)))  # first and last number of each run that is gone, the lowest first
        self._runs = self.dropped_count = 0
        self.away = True
        self.linked = True  # False: the connection has gone, and there is no new one
        self.flash: "Flash | None" = None
        self.opener: "Callable[[], None] | None" = None  # makes `flash` when it is needed
        self.lost = [0, 0, 0]  # to be counted on when `flash` is made anew: frames thinned out, dropped, failures
        self.acknowledged = 0
        self.stored = 0
        self.fresh = 0  # bytes that are not on flash yet
        self.since_s = 0  # when something was acknowledged last, or put on flash
        self.now_s = self.retry_s = 0
        self.postponed = 0  # how often
        self.resend_s = resend_s
        self._live_from = 1

    def __len__(self) -> int:
        return self.data.count + self.events.count

    def add(self, frame: memoryview, event: bool) -> int:
        """Keeps the frame whose number is `next_seq`, at the cost of the oldest of its kind; returns the number."""
        ring = self.events if event else self.data
        seq = self.next_seq
        while not ring.add(seq, frame):
            if ring.count == 0:  # larger than the whole ring
                self._lost(seq)
                break
            if ring.seq(0) > self.stored:
                self._store()
            oldest = ring.drop_oldest()
            if oldest > self.stored:
                self._lost(oldest)
            elif self.flash is not None:
                self.flash.replay_s = 0  # the gateway acknowledges nothing beyond it before it has come from there
        self.next_seq = seq + 1
        self.fresh += len(frame)
        return seq

    def tend(self, now_s: int, urgent: bool) -> None:
        """Puts on flash what it is time for: what is `urgent` while nobody listens, a batch, or what has waited for long."""
        self.now_s = now_s
        waited = now_s - self.since_s
        if waited >= _WAIT_S and self.fresh:
            self.away = True
        if self.away and self.fresh and (urgent or waited >= _WAIT_S or (waited >= _PAUSE_S and self.fresh >= _BATCH)):
            self._store()
        elif self.flash is not None and now_s >= self.retry_s:
            try:
                self.flash.tidy()
            except MemoryError:
                self.put_off(True)

    def _store(self) -> None:
        """Frames that are not on flash yet go there."""
        if self.flash is None and self.opener is not None:
            self.opener()
        if self.flash is not None and self.now_s >= self.retry_s:
            try:
                overlay.lay("shelve")
                self.flash.store(self)
            except MemoryError:
                self.put_off(True)
            overlay.lift("shelve")

    def put_off(self, flash: bool = False) -> None:
        """Something that can wait found no memory, and is tried again later. `flash`: its part, in a while."""
        self.postponed += 1
        if flash:
            self.retry_s = self.now_s + _RETRY_S
        gc.collect()

    def crowded(self) -> bool:
        """Whether more events wait than should be joined by what is merely nice to know."""
        return 2 * self.events.count > self.events.frames

    def first_seq(self) -> int:
        """The lowest number that is still held; the next one if none is."""
        if self.stored > self.acknowledged:
            return self.acknowledged + 1
        first = self.next_seq
        for ring in (self.data, self.events):
            if ring.count:
                first = min(first, ring.seq(0))
        return first

    def acknowledge(self, seq: int) -> bool:
        """All up to `seq` is in the gateway's store. False for what was never sent: such a word is not to be believed."""
        if seq > self.highest_sent:
            return False
        for ring in (self.data, self.events):
            while ring.count and ring.seq(0) <= seq:
                ring.drop_oldest()
        if len(self) == 0:
            self.fresh = 0
        self.away = False
        if seq > self.acknowledged:
            self.acknowledged = seq
            self.since_s = self.now_s
            if self.flash is not None and self.flash.count:
                self.flash.acknowledge(self.flash.own, seq)
        self._settle()
        return True

    def acknowledge_earlier(self, boot: int, seq: int) -> bool:
        """The same of an earlier life of the node. False: nothing of it is here."""
        known = self.flash is not None and self.flash.acknowledge_earlier(self, boot, seq)
        self._settle()
        return known

    def _settle(self) -> None:
        """Where nothing is left on flash its part of the memory is given back."""
        flash = self.flash
        if flash is not None and not flash.count and self.opener is not None:
            self.lost = [flash.thinned, flash.dropped, flash.failures]
            self.flash = None
            overlay.lift("fetch")
            overlay.lift("flash")

    def connected(self) -> None:
        """A new connection: nothing that is held is known to have arrived."""
        self.away = self.linked = True
        if self.flash is not None:
            self.flash.rewind(True, True)
        self._live_from = self.next_seq
        for ring in (self.data, self.events):
            for position in range(ring.count):
                ring.mark(position, NEVER, 0)

    def due(self, now_s: int, live: bool) -> "Frame | None":
        """The oldest frame that wants to be sent: a `live` one (made in this connection, never sent), or one of the backlog."""
        found = None
        lowest = self.next_seq
        for ring in (self.data, self.events):
            for position in range(ring.count):
                seq = ring.seq(position)
                if seq >= lowest:
                    break
                again = ring.again(position)
                fresh = again == NEVER and seq >= self._live_from
                if fresh if live else (not fresh and again <= now_s):
                    found = (ring, position)
                    lowest = seq
                    break
        return found

    def sent(self, frame: "Frame", now_s: int) -> None:
        """That `frame`, as `due` gave it, has been handed to the connection."""
        ring, position = frame
        times = ring.times(position)
        ring.mark(position, now_s + min(self.resend_s << times, _RESEND_MOST_S), min(times + 1, 8))
        self.highest_sent = max(self.highest_sent, ring.seq(position))

    def take_dropped(self) -> "list[list[int]]":
        """The lowest runs [first, last] of numbers that were given up and not taken yet."""
        runs = [[self._gaps[i], self._gaps[i + 1]] for i in range(0, 2 * min(self._runs, _TOLD), 2)]
        for _ in runs:
            self._cut(0)
        return runs

    def gap(self, first: int, last: int) -> None:
        """These numbers are to be told."""
        gaps = self._gaps
        i = 2 * self._runs
        while i and gaps[i - 2] > first:
            gaps[i], gaps[i + 1] = gaps[i - 2], gaps[i - 1]
            i -= 2
        if i and gaps[i - 1] + 1 == first:
            gaps[i - 1] = last
            self._runs += 1
            self._cut(i)
            return
        gaps[i], gaps[i + 1] = first, last
        self._runs += 1
        if self._runs > _RANGES:
            # One run of the two oldest. What is between them goes with it, else a run would name what is still held.
            for ring in (self.events, self.data):
                while ring.count and ring.seq(0) <= gaps[3]:
                    gaps[0] = min(gaps[0], ring.drop_oldest())
                    self.dropped_count += 1
            gaps[1] = gaps[3]
            self._cut(2)

    def _cut(self, at: int) -> None:
        """Takes out one run."""
        self._runs -= 1
        for i in range(at, 2 * self._runs):
            self._gaps[i] = self._gaps[i + 2]

    def _lost(self, seq: int) -> None:
        self.dropped_count += 1
        self.gap(seq, seq)
