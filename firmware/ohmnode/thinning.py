"""The rare work on the flash's segments: finding what earlier lives of the node left, and making room. Loaded when it is needed."""

import os
from binascii import crc32
from struct import unpack_from

from ohmcore import const
from ohmcore.errors import PackError
from ohmcore.pack import unpack

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ohmnode.flash import Flash

_HEAD = const(12)
_RECORD = const(10)
_ROW = const(8)
_BOOT = const(1)
_LAST = const(2)
_SIZE = const(3)
_UPTIME = const(4)
_FRAMES = const(5)
_THINNED = const(6)
_SETTLED = const(7)
_STEP = const(2048)
_OFTEN = const(8)
_EVENT = const(0x97)


def recover(flash: "Flash", names: "list[str]") -> None:
    """Fills the table. Files that hold nothing go, and so does a segment whose frames are in the one before it as well."""
    buffer = flash.buffer
    flash.buffer = memoryview(bytearray(len(buffer)))  # the frame that opened the flash is still in the other one
    numbers = []
    for name in names:
        if name.isdigit():
            numbers.append(int(name))
        else:
            os.remove(flash.folder + name)
    numbers.sort()
    for number in numbers:
        if flash.count * _ROW == len(flash.rows):
            flash.dropped += flash.rows[_FRAMES]
            flash.remove(0)
        row = flash.add(number, 0, 0)
        with open(flash.path(number), "rb") as file:
            _scan(flash, row, file)
        rows = flash.rows
        flash.total += rows[row + _SIZE]
        merged = row and rows[row + _BOOT] == rows[row + _BOOT - _ROW] and rows[row + _LAST] <= rows[row + _LAST - _ROW]
        if merged or not rows[row + _FRAMES]:
            flash.remove(flash.count - 1)
    flash.buffer = buffer


def _scan(flash: "Flash", row: int, file: "Any") -> None:
    """Every record up to the first that is not whole."""
    rows = flash.rows
    head = bytearray(_HEAD)
    if file.readinto(head) != _HEAD or head[:2] != b"OS":
        return
    rows[row + _THINNED] = head[2]
    rows[row + _BOOT], rows[row + _SETTLED] = unpack_from(">II", head, 4)
    position = last = _HEAD
    while True:
        size = flash.read(file, head)
        if not size:
            break
        rows[row + _LAST] = unpack_from(">I", head, 2)[0]
        rows[row + _FRAMES] += 1
        last = position
        position += _RECORD + size
    rows[row + _SIZE] = position
    file.seek(last)
    size = flash.read(file, head)
    if size:
        try:
            frame = unpack(flash.buffer[:size])
            rows[row + _UPTIME] = frame[3] // 1000  # type: ignore[index] # its CRC is right: the node made it
        except PackError:
            rows[row + _FRAMES] = 0


class Thinning:
    """Of the segments that were thinned least the oldest: of every group of a device each second frame stays, and every event. A
    neighbour of the same boot joins it where that makes one segment. The new file takes the name of the first in one step."""

    def __init__(self, flash: "Flash") -> None:
        self._flash = flash
        self._head = bytearray(_HEAD)
        self._seen: "dict[int, bool]" = {}
        self._source: "Any" = None
        self._target: "Any" = None
        self._first = self._index = self._end = self._least = 0  # the rows
        self._position = self._size = self._frames = self._last = 0

    def step(self) -> None:
        """Deals with two kilobytes; begins anew where the work is done and there still is little room."""
        try:
            if self._target is None:
                if self._flash.crowded():
                    self._choose()
                return
            work = 0
            while work < _STEP:
                if self._source is None and not self._next():
                    self._finish()
                    return
                work += self._copy()
        except MemoryError:  # in the middle of a record, maybe
            self.abandon()
            raise
        except OSError:
            flash = self._flash
            flash.failures += 1
            if self._target is not None:
                flash.rows[self._first * _ROW + _THINNED] += 1  # the next ones first
            self.abandon()

    def abandon(self) -> None:
        """The segments are about to change: nothing of this has happened."""
        source, target = self._source, self._target
        self._source = self._target = None
        try:
            if source is not None:
                source.close()
            if target is not None:
                target.close()
                os.remove(self._flash.folder + "tmp")
        except OSError:
            self._flash.failures += 1

    def _choose(self) -> None:
        rows = self._flash.rows
        closed = self._flash.count - self._flash.open
        least = _OFTEN
        first = 0
        for i in range(closed):
            if rows[i * _ROW + _THINNED] < least:
                least = rows[i * _ROW + _THINNED]
                first = i
        if least == _OFTEN:
            return
        end = first + 1
        if first and self._fit(first - 1):
            first -= 1
        elif end < closed and self._fit(first):
            end += 1
        self._first = self._index = first
        self._end = end
        self._least = least
        with open(self._flash.path(rows[first * _ROW]), "rb") as file:
            file.readinto(self._head)
        self._head[2] = least + 1
        self._seen = {}
        self._size = _HEAD
        self._frames = 0
        self._target = open(self._flash.folder + "tmp", "wb")
        self._target.write(self._head)

    def _fit(self, index: int) -> bool:
        """Whether this segment and the next make one: half of both is no more than that."""
        rows = self._flash.rows
        row = index * _ROW
        return rows[row + _BOOT] == rows[row + _ROW + _BOOT] and rows[row + _SIZE] + rows[row + _ROW + _SIZE] <= 2 * self._flash.segment

    def _next(self) -> bool:
        """Opens the next segment to read."""
        if self._index == self._end:
            return False
        self._source = open(self._flash.path(self._flash.rows[self._index * _ROW]), "rb")
        self._source.seek(_HEAD)
        self._position = _HEAD
        return True

    def _copy(self) -> int:
        """One record, if it stays; the bytes that were read."""
        flash = self._flash
        size: int = 0
        if self._position < flash.rows[self._index * _ROW + _SIZE]:
            size = flash.read(self._source, self._head)
        if not size:
            self._source.close()
            self._source = None
            self._index += 1
            return 0
        size += _RECORD
        self._position += size
        frame = flash.buffer[: size - _RECORD]
        seq = unpack_from(">I", self._head, 2)[0]
        row = self._index * _ROW
        if frame[0] != _EVENT and flash.rows[row + _THINNED] == self._least:
            group = _group(frame)
            self._seen[group] = keep = not self._seen.get(group, False)
            if not keep and seq != flash.rows[row + _LAST]:  # the last stays: what is gone before it can be told
                return size
        self._target.write(memoryview(self._head)[:_RECORD])
        self._target.write(frame)
        self._last = seq
        self._size += size
        self._frames += 1
        return size

    def _finish(self) -> None:
        flash = self._flash
        rows = flash.rows
        row = self._first * _ROW
        self._target.close()
        self._target = None
        flash.rewind(False)
        os.rename(flash.folder + "tmp", flash.path(rows[row]))
        flash.hal.wrote(self._size)
        flash.told_to = min(flash.told_to, rows[row] - 1)
        flash.total += self._size - rows[row + _SIZE]
        flash.thinned += rows[row + _FRAMES] - self._frames
        rows[row + _LAST] = self._last
        rows[row + _SIZE] = self._size
        rows[row + _FRAMES] = self._frames
        rows[row + _THINNED] = self._least + 1
        if self._end - self._first == 2:
            flash.thinned += rows[row + _ROW + _FRAMES]
            rows[row + _UPTIME] = rows[row + _ROW + _UPTIME]
            flash.remove(self._first + 1)


def _group(frame: memoryview) -> int:
    """A number for the device and the group of a data frame: what follows protocol, boot, number and uptime."""
    start = 2
    for _ in range(3):
        head = frame[start]
        start += 1 if head < 0x80 else 1 + (1 << (head & 3))
    end = start
    for _ in range(2):
        head = frame[end]
        end += 1 + (head & 0x1F) if head < 0xC0 else 2 + frame[end + 1]
    number: int = crc32(frame[start:end]) & 0x3FFFFFFF
    return number
