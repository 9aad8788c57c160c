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
_STR = const(0xD9)
_ARRAY = const(0xDB)
_MAP = const(0xDD)


class Packer:
    """Writes MessagePack into `buffer`. `length` bytes of it are a message.

    A value that does not fit raises PackError, empties the message (`length` 0) and refuses everything until `reset`: half a message
    can never be sent. Allocates nothing but for text beyond ASCII and for a part of a `bin`.
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
        if value >= 0:
            self._head(value, 0x80, 0, _UINT, 0)
        elif value >= -0x20:
            self.buffer[self._claim(1)] = value & 0xFF
        elif value >= -0x80:
            pack_into(">Bb", self.buffer, self._claim(2), 0xD0, value)
        elif value >= -0x8000:
            pack_into(">Bh", self.buffer, self._claim(3), 0xD1, value)
        elif value >> 31 == -1:
            pack_into(">Bi", self.buffer, self._claim(5), 0xD2, value)
        elif value >> 63 == -1:
            pack_into(">Bq", self.buffer, self._claim(9), 0xD3, value)
        else:
            raise self._refusal("beyond 64 bits")

    def str(self, text: "Text") -> None:
        """Text, as UTF-8."""
        size = _utf8_size(text)
        if size < 0:
            raise self._refusal("half a surrogate pair")
        pos = self._head(size, 0x20, 0xA0, _STR, size)
        buffer = self.buffer
        if size != len(text):
            buffer[pos : pos + size] = text.encode()
            return
        for character in text:
            buffer[pos] = ord(character)
            pos += 1

    def bin(self, raw: "Buffer", start: "Int" = 0, end: "Int | None" = None) -> None:
        """The bytes `raw[start:end]`."""
        if end is None:
            end = len(raw)
        size = end - start
        if start < 0 or size < 0 or end > len(raw):
            raise self._refusal("a part outside its bytes")
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
            raise self._refusal("a type that MessagePack has not")

    def _head(self, number: "Int", few: "Int", short: "Int", code: "Int", follow: "Int") -> "Int":
        """Packs a number, or a length: below `few` in the type byte itself, `short`. Claims `follow` bytes after it, returns where."""
        size = 2
        form = ">BB"
        if number < few:
            size = 1
        elif number >= 0x100 or code >= _ARRAY:
            size = 3
            form = ">BH"
            code += 1
            if number >= 0x10000:
                if code != _UINT + 1:
                    raise self._refusal("longer than 65535")
                if number >> 64:
                    raise self._refusal("beyond 64 bits")
                if number >> 32:
                    size = 9
                    form = ">BQ"
                    code += 2
                else:
                    size = 5
                    form = ">BI"
                    code += 1
        pos = self._claim(size + follow)
        if size == 1:
            self.buffer[pos] = short | number
        else:
            pack_into(form, self.buffer, pos, code, number)
        return pos + size

    def _claim(self, size: "Int") -> "Int":
        pos = self.length
        if pos + size > self._size:
            raise self._refusal("the buffer is full" if self._size >= 0 else "refused: not reset after a failure")
        self.length = pos + size
        return pos

    def _refusal(self, why: "Text") -> PackError:
        at = self.length
        self.length = 0
        self._size = -1
        return PackError(f"{why}, at byte {at}")


def unpack(buffer: "Buffer", max_depth: int = 6, max_items: int = 256, max_bytes: int = 4096) -> object:
    """The one value that `buffer` holds: None, bool, int, float, str, bytes, list or dict.

    `max_depth`: arrays and maps within each other. `max_items`: values of the whole message, keys included. Raises PackError, and
    nothing else, for whatever is broken or beyond a limit: cut off, followed by more bytes, ext types, doubled keys, broken UTF-8.
    """
    if len(buffer) > max_bytes:
        raise PackError(f"{len(buffer)} bytes, more than {max_bytes}")
    reader = _Reader(buffer, max_items)
    value = reader.value(max_depth)
    if reader.pos != len(buffer):
        raise reader.refusal(f"{len(buffer) - reader.pos} bytes after the end")
    return value


class _Reader:
    def __init__(self, buffer: "Buffer", items: int) -> None:
        self.pos = 0
        self._buffer = buffer
        self._items = items

    def value(self, depth: int) -> object:
        self._items -= 1
        if self._items < 0:
            raise self.refusal("too many values")
        head = self._buffer[self._take(1)]
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
            return self._octets(self._number(1 << (head - _BIN)), False)
        if head == 0xCA or head == 0xCB:
            return unpack_from(">f" if head == 0xCA else ">d", self._buffer, self._take(4 if head == 0xCA else 8))[0]
        if _UINT <= head <= 0xCF:
            return self._number(1 << (head - _UINT))
        if 0xD0 <= head <= 0xD3:
            bits = 8 << (head - 0xD0)
            number = self._number(bits >> 3)
            return number - (1 << bits) if number >> (bits - 1) else number
        if _STR <= head <= 0xDB:
            return self._octets(self._number(1 << (head - _STR)), True)
        if head >= 0xDC:
            return self._several(self._number(4 if head & 1 else 2), depth, head >= 0xDE)
        raise self.refusal(f"type 0x{head:02x} is not allowed")

    def _several(self, count: int, depth: int, keyed: bool) -> object:
        values = 2 * count if keyed else count
        if depth < 1:
            raise self.refusal("too deep")
        if values > self._items:
            raise self.refusal("too many values")
        if values > len(self._buffer) - self.pos:
            raise self.refusal("cut off")
        depth -= 1
        if not keyed:
            return [self.value(depth) for _ in range(count)]
        found: dict[object, object] = {}
        for _ in range(count):
            key = self.value(depth)
            if not isinstance(key, str) and type(key) is not int:
                raise self.refusal("a key that is neither text nor integer")
            if key in found:
                raise self.refusal("a doubled key")
            found[key] = self.value(depth)
        return found

    def _octets(self, size: int, text: bool) -> "bytes | str":
        start = self._take(size)
        raw = bytes(self._buffer[start : self.pos])
        if not text:
            return raw
        try:
            decoded = str(raw, "utf-8")
        except UnicodeError:
            size = -1
        if size < 0 or _utf8_size(decoded) != size:  # MicroPython takes surrogates, and longer forms than needed
            raise self.refusal("broken UTF-8")
        return decoded

    def _number(self, size: int) -> int:
        number = 0
        start = self._take(size)  # not within range(): MicroPython looks at its end first
        for pos in range(start, self.pos):
            number = number << 8 | self._buffer[pos]
        return number

    def _take(self, size: int) -> int:
        start = self.pos
        if size > len(self._buffer) - start:
            raise self.refusal("cut off")
        self.pos = start + size
        return start

    def refusal(self, why: str) -> PackError:
        return PackError(f"{why}, at byte {self.pos}")


def _utf8_size(text: str) -> int:
    """The bytes of `text` in UTF-8; -1 for what is no Unicode: half a surrogate pair, or beyond 0x10FFFF. MicroPython has both."""
    size = 0
    for character in text:
        code = ord(character)
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            return -1
        size += 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
    return size
