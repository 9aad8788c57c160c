"""MessagePack: an encoder into a buffer of the caller, and a decoder with limits.

Without ext types and timestamps. Map keys are text or integers. The specification is msgpack.org's, revision of 2017-08-09.
"""

from struct import pack_into, unpack_from

from ohmcore import const
from ohmcore.errors import PackError

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview
    WritableBuffer = bytearray | memoryview
    # The packer's methods bear the names of the types they write.
    Int = int
    Text = str

# The type byte whose length has 8 bits; the next ones have 16, 32 and 64. Arrays and maps have none of 8 bits.
_BIN = const(0xC4)
_UINT = const(0xCC)
_INT = const(0xD0)
_STR = const(0xD9)
_ARRAY = const(0xDB)
_MAP = const(0xDD)


class Packer:
    """Writes MessagePack into `buffer`. `length` bytes of it are a message.

    A value that does not fit raises PackError, empties the message (`length` 0) and refuses everything until `reset`: half a message
    can never be sent. Allocates nothing but for texts and for a part of a `bin`.
    """

    def __init__(self, buffer: "WritableBuffer") -> None:
        self.buffer = buffer
        self.reset()

    def reset(self) -> None:
        """Begins a new message."""
        self.length = 0
        self._size = len(self.buffer)  # -1 while nothing is taken

    def message(self) -> bytes:
        """A copy of the message."""
        return bytes(self.buffer[: self.length])

    def int(self, value: "Int") -> None:
        """An integer in the shortest form, -2**63 to 2**64 - 1."""
        self._head(value, 0x80 if value >= -0x20 else value, 0, _UINT if value >= 0 else _INT, 0)

    def str(self, text: "Text") -> None:
        """Text, as UTF-8."""
        try:
            raw = text.encode()
            size = len(raw) if _is_utf8(raw) else -1
        except UnicodeError:
            size = -1
        if size < 0:
            raise self.refusal("surrogate")
        pos = self._head(size, 0x20, 0xA0, _STR, size)
        self.buffer[pos : pos + size] = raw

    def bin(self, raw: "Buffer", start: "Int" = 0, end: "Int | None" = None) -> None:
        """The bytes `raw[start:end]`."""
        if end is None:
            end = len(raw)
        size = end - start
        if start < 0 or size < 0 or end > len(raw):
            raise self.refusal("outside")
        pos = self._head(size, 0, 0, _BIN, size)
        self.buffer[pos : pos + size] = raw if size == len(raw) else memoryview(raw)[start:end]

    def array(self, count: "Int") -> None:
        """The head of an array; `count` values follow."""
        self._head(count, 0x10, 0x90, _ARRAY, 0)

    def value(self, value: object) -> None:
        """Anything made of None, bool, int, float, str, bytes, list, tuple and dict. A float has 64 bits, whatever the port's has."""
        if value is None or value is True or value is False:
            self.buffer[self._claim(1)] = 0xC0 if value is None else 0xC3 if value else 0xC2
        elif isinstance(value, int):
            self.int(value)
        elif isinstance(value, str):
            self.str(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.bin(value)
        elif isinstance(value, float):
            pack_into(">Bd", self.buffer, self._claim(9), 0xCB, value)
        elif isinstance(value, (list, tuple)):
            self.array(len(value))
            for item in value:
                self.value(item)
        elif isinstance(value, dict):
            self._head(len(value), 0x10, 0x80, _MAP, 0)
            for key in value:
                self.value(key)
                self.value(value[key])
        else:
            raise self.refusal("no type")

    def _head(self, number: "Int", limit: "Int", base: "Int", code: "Int", extra: "Int") -> "Int":
        """Packs a number, or a length: below `limit` in the type byte itself, on `base`. Claims `extra` bytes after it, returns where."""
        width = 0
        if number >= limit:
            most = 8 if _UINT <= code <= _INT else 2
            width = 1
            while number >> (8 * width - (number < 0)) not in (0, -1) or (width == 1 and code >= _ARRAY):
                width *= 2
                code += 1
                if width > most:
                    raise self.refusal("too long")
        buffer = self.buffer
        pos = self._claim(1 + width + extra)
        buffer[pos] = code if width else (base | number) & 0xFF
        pos += 1
        while width:
            width -= 1
            buffer[pos] = number >> (8 * width) & 0xFF
            pos += 1
        return pos

    def _claim(self, size: "Int") -> "Int":
        pos = self.length
        if pos + size > self._size:
            raise self.refusal("full" if self._size >= 0 else "not reset")
        self.length = pos + size
        return pos

    def refusal(self, reason: "Text") -> PackError:
        at = self.length
        self.length = 0
        self._size = -1
        return PackError(f"{reason}, at byte {at}")


def unpack(buffer: "Buffer", depth: int = 6, items: int = 256, size: int = 4096) -> object:
    """The one value that `buffer` holds: None, bool, int, float, str, bytes, list or dict.

    `depth`: arrays and maps within each other. `items`: values of the whole message, keys included. `size`: bytes. Raises PackError, and
    nothing else, for whatever is broken or beyond a limit: cut off, followed by more bytes, ext types, doubled keys, broken UTF-8.
    """
    if len(buffer) > size:
        raise PackError("too long")
    reader = _Reader(buffer, items)
    value = reader.value(depth)
    if reader.pos != len(buffer):
        raise reader.refusal("more bytes")
    return value


class _Reader:
    def __init__(self, buffer: "Buffer", items: int) -> None:
        self.pos = 0
        self.buffer = buffer
        self.items = items

    def value(self, depth: int) -> object:
        self.items -= 1
        if self.items < 0:
            raise self.refusal("too many")
        head = self.buffer[self.take(1)]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head < 0xA0:
            return self._several(head & 0x0F, depth, head < 0x90)
        if head < 0xC0:
            return self._octets(head & 0x1F, True)
        if head == 0xC0:
            return None
        if head == 0xC2 or head == 0xC3:
            return head == 0xC3
        if _BIN <= head <= 0xC6:
            return self._octets(self.number(1 << (head - _BIN)), False)
        if head == 0xCA or head == 0xCB:
            return unpack_from(">f" if head == 0xCA else ">d", self.buffer, self.take(4 if head == 0xCA else 8))[0]
        if _UINT <= head <= 0xD3:
            bits = 8 << (head & 3)
            number = self.number(bits >> 3)
            return number - (1 << bits) if head >= _INT and number >> (bits - 1) else number
        if _STR <= head <= 0xDB:
            return self._octets(self.number(1 << (head - _STR)), True)
        if head >= 0xDC:
            return self._several(self.number(4 if head & 1 else 2), depth, head >= 0xDE)
        raise self.refusal("no type")

    def _several(self, count: int, depth: int, keys: bool) -> object:
        values = 2 * count if keys else count
        if depth < 1:
            raise self.refusal("too deep")
        if values > self.items:
            raise self.refusal("too many")
        if values > len(self.buffer) - self.pos:
            raise self.refusal("cut off")
        depth -= 1
        if not keys:
            items = []
            for _ in range(count):
                items.append(self.value(depth))  # noqa: PERF401 - a comprehension is a function more
            return items
        found: dict[object, object] = {}
        for _ in range(count):
            key = self.value(depth)
            if not isinstance(key, str) and type(key) is not int:
                raise self.refusal("key type")
            if key in found:
                raise self.refusal("key twice")
            found[key] = self.value(depth)
        return found

    def _octets(self, size: int, text: bool) -> "bytes | str":
        start = self.take(size)
        raw = bytes(self.buffer[start : self.pos])
        if not text:
            return raw
        if not _is_utf8(raw):
            raise self.refusal("not UTF-8")
        return str(raw, "utf-8")

    def number(self, size: int) -> int:
        number = 0
        start = self.take(size)  # not within range(): MicroPython looks at its end first
        for pos in range(start, self.pos):
            number = number << 8 | self.buffer[pos]
        return number

    def take(self, size: int) -> int:
        start = self.pos
        if size > len(self.buffer) - start:
            raise self.refusal("cut off")
        self.pos = start + size
        return start

    def refusal(self, reason: str) -> PackError:
        return PackError(f"{reason}, at byte {self.pos}")


def _is_utf8(raw: bytes) -> bool:
    """Whether this is UTF-8 as RFC 3629 has it: no longer form than needed, no half of a surrogate pair, nothing beyond 0x10FFFF.

    MicroPython takes all of these. And it never forgets a character of a text that was looked at by itself, so this looks at bytes.
    """
    more = code = least = 0
    for octet in raw:
        if more:
            code = code << 6 | octet & 0x3F
            more -= 1
            if octet >> 6 != 2 or (not more and (code < least or code > 0x10FFFF or 0xD800 <= code < 0xE000)):
                return False
        elif octet >= 0x80:
            more = 1 + (octet >= 0xE0) + (octet >= 0xF0)
            code = octet & 0x3F >> more
            least = 1 << 5 * more + 1 + (more == 1)
            if octet < 0xC0 or octet >= 0xF8:
                return False
    return not more
