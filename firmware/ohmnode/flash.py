"""The spool's part on flash: what waits for the gateway for long is put into `spool/<n>`, segments that only grow, 16 kB at most.

A segment belongs to one boot. Its head (12 bytes): `OS`, how often it was thinned, 0, the boot, the number up to which all was
acknowledged when it was begun. A record: size, number, CRC-32 of the frame (which begins with the boot and the number), the frame.
What a power cut left of a record is seen by its size and CRC; behind it nothing is read. A restart begins a new segment.
The table of the segments is allocated once; records are read into the buffer that frames are made in.
"""

import os
from array import array
from binascii import crc32
from struct import pack_into, unpack_from

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal
    from ohmnode.outbox import Outbox
    from ohmnode.spool import Ring, Spool
    from ohmnode.thinning import Thinning

# A row of the table: the segment's number, boot, last frame, bytes, uptime of the last frame in s, frames, times it was thinned, and the
# number up to which its boot is settled.
_ROW = const(8)
_BOOT = const(1)
_LAST = const(2)
_SIZE = const(3)
_UPTIME = const(4)
_FRAMES = const(5)
_SETTLED = const(7)
_HEAD = const(12)
_RECORD = const(10)
_EVENT = const(0x97)  # an array of seven; readings have eight fields
_RUNS = const(16)
_ONCE = const(4096)  # bytes of frames that are written in one go, before others get their turn
_LOOK = const(16)  # records that one call of `next` looks at


class Flash:
    """`most`: bytes that may be used. `buffer`: as large as the largest frame; `next` reads into it.

    `total`: bytes used; `thinned` and `dropped` count frames given up since the start; `failures` what the flash refused.
    `runs`: numbers [first, last] of `boot` that are gone, to be told before `next` goes on; `first` is not 0 when that boot is an
    earlier one that has not been spoken of: all numbers before it were settled, and it began `ago_s` before this one.
    """

    def __init__(self, hal: "Hal", most: int, boot: int, buffer: memoryview) -> None:
        self.hal = hal
        self.folder = hal.folder + "/spool/"
        self.buffer = buffer
        self.most = most
        self.segment = min(16384, max(most // 8, 2048))
        self.rows = array("I", bytes(4 * _ROW * (most // self.segment + 8)))
        self.count = self.total = self.thinned = self.dropped = self.failures = 0
        self.number = 1  # of the next segment
        self.runs: "list[list[int]]" = []
        self.boot = self.first = self.ago_s = 0
        self.thinning: "Thinning | None" = None
        self.own = boot
        self._head = bytearray(_HEAD)
        self._writing: "Any" = None
        self._reading: "Any" = None
        self.open = False  # whether the last segment takes more
        self.told_to = 0  # of the segments up to this one it has been told what is gone
        self._at = self._position = self._previous = self._settled = self.seq = self.replay_s = 0
        try:
            names = os.listdir(hal.folder + "/spool")
        except OSError:  # not there yet, or nothing that can be used: then that is raised here
            os.mkdir(hal.folder + "/spool")
            names = []
        if names:
            from ohmnode.thinning import recover  # memory that a node without an outage behind it need not spend

            recover(self, names)

    def path(self, number: int) -> str:
        return self.folder + str(number)

    def report(self) -> "list[int]":
        """Segments, bytes, frames thinned out, frames dropped, failures."""
        return [self.count, self.total, self.thinned, self.dropped, self.failures]

    # For the spool

    def store(self, spool: "Spool") -> None:
        """Writes the spool's oldest frames that are not on flash yet, `_ONCE` bytes of them at most."""
        stored = spool.stored
        size = frames = data = events = 0
        try:
            self.begin(spool.acknowledged)
            while size < _ONCE:
                data = _after(spool.data, stored, data)
                events = _after(spool.events, stored, events)
                ring, position = spool.data, data
                if data == ring.count or (events < spool.events.count and spool.events.seq(events) < ring.seq(data)):
                    ring, position = spool.events, events
                if position == ring.count:
                    spool.fresh = size
                    break
                stored = ring.seq(position)
                frame = ring.frame(position)
                self.write(stored, frame)
                size += len(frame)
                frames += 1
            if frames:
                self.end(stored, frames, size, spool.now_s)
                spool.stored = stored
        except OSError:
            self.fail()
            size = 0
        except MemoryError:
            self.fail()
            raise
        spool.fresh = max(spool.fresh - size, 0)
        if not spool.fresh or not size:
            spool.since_s = spool.now_s

    def replay(self, outbox: "Outbox", now_s: int) -> int:
        """A frame into the outbox's buffer, as `next` says it. After the last one comes a pause."""
        spool = outbox.spool
        try:
            found = self.next(spool)
        except OSError:
            self.failures += 1
            found = 0
        if found == 0:
            self.replay_s = now_s + 2 * spool.resend_s
            self.rewind(spool.since_s + spool.resend_s < now_s)
        elif found > 0 and self.boot == self.own:
            spool.highest_sent = max(spool.highest_sent, self.seq)
        elif found == -1:
            detail: "dict[str, Any]" = {"ranges": self.runs}
            if self.boot != self.own:
                detail["boot"] = self.boot
                if self.first:
                    detail["first"] = self.first
                    detail["ago_s"] = self.ago_s
            self.runs = []
            self.first = 0
            outbox.event("", "dropped", detail)
        return found

    def acknowledge_earlier(self, spool: "Spool", boot: int, seq: int) -> bool:
        """All up to `seq` of an earlier life of the node is in the gateway's store. False: nothing of it is here."""
        if not any(self.rows[i] == boot for i in range(_BOOT, self.count * _ROW, _ROW)):
            return False
        spool.away = False
        if self.acknowledge(boot, seq):
            spool.since_s = spool.now_s
        return True

    # Writing

    def begin(self, acknowledged: int) -> None:
        """Records follow, and `end` or `fail`. Raises OSError, as the two others do."""
        self.pause()
        rows = self.rows
        while self.count and (self.total > self.most or self.count * _ROW == len(rows)):
            self.dropped += rows[_FRAMES]
            self.remove(0)
        if self.open and rows[self.count * _ROW - _ROW + _SIZE] < self.segment:
            self._writing = open(self.path(self.number - 1), "ab")
            return
        self.open = False
        self._writing = open(self.path(self.number), "wb")
        self._settled = acknowledged
        pack_into(">2sBBII", self._head, 0, b"OS", 0, 0, self.own, acknowledged)
        self._writing.write(self._head)

    def write(self, seq: int, frame: memoryview) -> None:
        pack_into(">HII", self._head, 0, len(frame), seq, crc32(frame))
        self._writing.write(memoryview(self._head)[:_RECORD])
        self._writing.write(frame)

    def end(self, seq: int, frames: int, size: int, now_s: int) -> None:
        """All that was written, `frames` of together `size` bytes up to number `seq`, is on flash when this returns."""
        file = self._writing
        self._writing = None
        file.close()
        size += frames * _RECORD
        if not self.open:
            self.rows[self.add(self.number, self.own, _HEAD) + _SETTLED] = self._settled
            self.open = True
        row = self.count * _ROW - _ROW
        rows = self.rows
        rows[row + _LAST] = seq
        rows[row + _SIZE] += size
        rows[row + _UPTIME] = now_s
        rows[row + _FRAMES] += frames
        self.total += size
        self.hal.wrote(size)

    def fail(self) -> None:
        """After an OSError: what was not ended is not there. The next `begin` takes a new file."""
        self.failures += 1
        self.open = False
        file = self._writing
        self._writing = None
        if file is not None:
            try:
                file.close()
            except OSError:
                self.failures += 1

    def add(self, number: int, boot: int, size: int) -> int:
        """A new row at the end of the table, which has room; returns where it begins."""
        row = self.count * _ROW
        self.count += 1
        self.number = number + 1
        for i in range(_ROW):
            self.rows[row + i] = 0
        self.rows[row] = number
        self.rows[row + _BOOT] = boot
        self.rows[row + _SIZE] = size
        self.total += size
        return row

    def remove(self, index: int) -> None:
        """Takes a segment away, file and row."""
        self.pause()
        if self.thinning is not None:
            self.thinning.abandon()
        rows = self.rows
        row = index * _ROW
        self.total -= rows[row + _SIZE]
        number = rows[row]
        self.count -= 1
        if index == self.count:
            self.open = False
        for i in range(row, self.count * _ROW):
            rows[i] = rows[i + _ROW]
        try:
            os.remove(self.path(number))
        except OSError:  # it will be found, sent and acknowledged once more after a restart
            self.failures += 1

    def acknowledge(self, boot: int, seq: int) -> bool:
        """Frees the segments of that boot that hold nothing beyond `seq`. Whether there were any."""
        freed = False
        if boot == self.boot:
            self._previous = max(self._previous, seq)
        for index in range(self.count - 1, -1, -1):
            row = index * _ROW
            if self.rows[row + _BOOT] == boot:
                self.rows[row + _SETTLED] = max(self.rows[row + _SETTLED], seq)
                if self.rows[row + _LAST] <= seq:
                    self.remove(index)
                    freed = True
        return freed

    def crowded(self) -> bool:
        """Whether there is less room than for two segments, or hardly a row left in the table."""
        return self.total + 2 * self.segment > self.most or (self.count + 3) * _ROW > len(self.rows)

    def tidy(self) -> None:
        """One small step of making room, where there is little."""
        if self.thinning is None:
            if not self.crowded():
                return
            from ohmnode.thinning import Thinning  # memory that a node without a long outage need not spend

            self.thinning = Thinning(self)
        self.thinning.step()

    # Reading

    def pause(self) -> None:
        """Nothing is kept open that may go away or grow."""
        file = self._reading
        self._reading = None
        if file is not None:
            file.close()

    def rewind(self, again: bool, soon: bool = False) -> None:
        """`next` begins with the oldest. `again`: what is gone is told once more. `soon`: without a pause before."""
        self.pause()
        if soon:
            self.replay_s = 0
        self._at = self.boot = self.first = 0
        self.runs = []
        if again:
            self.told_to = 0

    def next(self, spool: "Spool") -> int:
        """Reads the next frame that `spool` does not have in RAM; its size. 0: the end; -1: `runs` or `first` is to be told; -2: go on."""
        rows = self.rows
        for _ in range(_LOOK):
            if self.first or len(self.runs) >= _RUNS:
                return -1
            row = 0
            end = self.count * _ROW
            while row < end and rows[row] < self._at:
                row += _ROW
            if row < end and rows[row] == self._at and self._position >= rows[row + _SIZE]:
                row += _ROW
            if row == end or rows[row] != self._at:
                if self.runs:
                    return -1
                self.told_to = max(self.told_to, self._at)
                self.pause()
                if row == end:
                    return 0
                self._at = rows[row]
                self._position = _HEAD
                self._begin(row)
                continue
            size = self._record(row)
            if size > 0 and (self.boot != self.own or not self._in_memory(spool)):
                return size
        return -2

    def _in_memory(self, spool: "Spool") -> bool:
        """Whether the frame that was just read is in RAM as well, or settled."""
        ring = spool.events if self.buffer[0] == _EVENT else spool.data
        return self.seq <= spool.acknowledged or (ring.count > 0 and self.seq >= ring.seq(0))

    def _begin(self, row: int) -> None:
        rows = self.rows
        boot = rows[row + _BOOT]
        if boot == self.boot:
            return
        self.boot = boot
        self._previous = rows[row + _SETTLED]
        if boot != self.own and self._at > self.told_to:
            self.first = self._previous + 1
            self.ago_s = 0
            for i in range(row, self.count * _ROW, _ROW):
                last = i + _ROW == self.count * _ROW or rows[i + _ROW + _BOOT] != rows[i + _BOOT]
                if last and rows[i + _BOOT] != self.own:
                    self.ago_s += rows[i + _UPTIME]

    def _record(self, row: int) -> int:
        """Its size; 0 for one that is damaged: then the segment ends before it."""
        file = self._reading
        if file is None:
            file = self._reading = open(self.path(self._at), "rb")
        file.seek(self._position)
        size = self.read(file, self._head)
        if size == 0:
            self.rows[row + _SIZE] = self._position
            self.rows[row + _LAST] = self._previous
            return 0
        self.seq = seq = unpack_from(">I", self._head, 2)[0]
        if seq > self._previous + 1 and self._at > self.told_to:
            self.runs.append([self._previous + 1, seq - 1])
        self._position += _RECORD + size  # after all that a lack of memory may interrupt: it is read again then
        self._previous = max(self._previous, seq)
        return size

    def read(self, file: "Any", head: bytearray) -> int:
        """The record where `file` is: its head, its frame into the buffer; the frame's size, 0 if it is not whole."""
        buffer = self.buffer
        if file.readinto(memoryview(head)[:_RECORD]) != _RECORD:
            return 0
        size: int = unpack_from(">H", head, 0)[0]
        crc = unpack_from(">I", head, 6)[0]
        if not 0 < size <= len(buffer) or file.readinto(buffer[:size]) != size or crc32(buffer[:size]) != crc:
            return 0
        return size


def _after(ring: "Ring", seq: int, position: int) -> int:
    """The first frame from `position` on whose number is greater; the ring's count if there is none."""
    while position < ring.count and ring.seq(position) <= seq:
        position += 1
    return position
