"""A flash in a file of the host whose power goes at a chosen program or erase. Runs on MicroPython, under the node of `cut_node.py`."""

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from random import Random as Chance

_BLOCK = 4096
_BLOCKS = 96
CUT_CODE = 3
"""How the process ends when the power has gone."""


class Flash:
    """Blocks in the file `path`; at the change number `cut` (0: never) a part of it, chosen by `chance`, happens, and nothing after it."""

    def __init__(self, path: str, cut: int, chance: "Chance") -> None:
        self.file = open(path, "r+b")  # noqa: SIM115 - open as long as this process lives
        self.cut = cut
        self.chance = chance
        self.programs = self.erases = 0
        self.dead = False

    def readblocks(self, block: int, buffer: bytearray, offset: int = 0) -> None:
        self.file.seek(block * _BLOCK + offset)
        self.file.readinto(buffer)

    def writeblocks(self, block: int, buffer: bytearray, offset: int = 0) -> None:
        self.programs += 1
        self._change(block * _BLOCK + offset, buffer)

    def ioctl(self, order: int, block: int) -> int:
        if order == 4:
            return _BLOCKS
        if order == 5:
            return _BLOCK
        if order == 6:
            self.erases += 1
            self._change(block * _BLOCK, b"\xff" * _BLOCK)
        return 0

    def _change(self, position: int, content: "bytes | bytearray") -> None:
        if self.dead:
            raise OSError(5)
        last = self.programs + self.erases == self.cut
        if last:
            part = self.chance.randrange(len(content) + 1)
            content = bytes(content[:part]) + bytes([self.chance.getrandbits(8)] * min(len(content) - part, self.chance.randrange(3)))
        self.file.seek(position)
        self.file.write(content)
        self.file.flush()
        if last:
            self.dead = True
            raise SystemExit(CUT_CODE)
