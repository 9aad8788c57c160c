"""MessagePack: an encoder into a buffer of the caller, and a decoder with limits.

Without ext types and timestamps. Map keys are text or integers. The specification is msgpack.org's, revision of 2017-08-09.
"""

from struct import pack_into, unpack_from

from ohmcore.errors import PackError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview
    WritableBuffer = bytearray | memoryview
    # The packer's methods bear the names of the types they write.
    Int = int
    Float = float
    Text = str

_BYTES = (bytes, bytearray, memoryview)
_SEQUENCE = (list, tuple)
_TOO_LONG = "longer than 65535"


class Packer:
    """Writes MessagePack into `buffer`. `length` bytes of it are a message.

    A value that does not fit raises PackError, empties the message (`length` 0) and refuses everything until `reset`: half a message
    can never be sent. Allocates nothing but for text beyond ASCII and for a part of a `bin`.
    """

    def __init__(self, buffer: "WritableBuffer") -> None:
        self.buffer = buffer
        self.length = 0
        self._size = len(buffer)
        self._spoiled = False

    def reset(self) -> None:
        """Begins a new message."""
        self.length = 0
        self._spoiled = False

    def message(self) -> bytes:
        """A copy of the message."""
        return bytes(self.buffer[: self.length])

    def nil(self) -> None:
        self.buffer[self._claim(1)] = 0xC0

    def bool(self, value: object) -> None:
        self.buffer[self._claim(1)] = 0xC3 if value else 0xC2

    def int(self, value: "Int") -> None:
        """An integer in the shortest form, -2**63 to 2**64 - 1."""
        if value >= 0:
            if value < 0x80:
                self.buffer[self._claim(1)] = value
            elif value < 0x100:
                pack_into(">BB", self.buffer, self._claim(2), 0xCC, value)
            elif value < 0x10000:
                pack_into(">BH", self.buffer, self._claim(3), 0xCD, value)
            elif value >> 32 == 0:
                pack_into(">BI", self.buffer, self._claim(5), 0xCE, value)
            elif value >> 64 == 0:
                pack_into(">BQ", self.buffer, self._claim(9), 0xCF, value)
            else:
                raise self._refusal("an integer beyond 64 bits")
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
            raise self._refusal("an integer beyond 64 bits")

    def float(self, value: "Float") -> None:
        """A float in 64 bits, whatever the port's own precision."""
        pack_into(">Bd", self.buffer, self._claim(9), 0xCB, value)

    def str(self, text: "Text") -> None:
        """Text, as UTF-8."""
        size = len(text)
        for character in text:
            if ord(character) > 0x7F:
                raw = self._utf8(text)
                pos = self._text_head(len(raw))
                self.buffer[pos : pos + len(raw)] = raw
                return
        pos = self._text_head(size)
        buffer = self.buffer
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
        if size < 0x100:
            pos = self._claim(2 + size)
            pack_into(">BB", self.buffer, pos, 0xC4, size)
            pos += 2
        elif size < 0x10000:
            pos = self._claim(3 + size)
            pack_into(">BH", self.buffer, pos, 0xC5, size)
            pos += 3
        else:
            raise self._refusal(_TOO_LONG)
        self.buffer[pos : pos + size] = raw if size == len(raw) else memoryview(raw)[start:end]

    def array(self, count: "Int") -> None:
        """The head of an array; `count` values follow."""
        self._head(count, 0x90, 0xDC)

    def map(self, count: "Int") -> None:
        """The head of a map; `count` keys follow, each with its value."""
        self._head(count, 0x80, 0xDE)

    def value(self, value: object) -> None:
        """Anything made of None, bool, int, float, str, bytes, list, tuple and dict."""
        if value is None:
            self.nil()
        elif value is True or value is False:
            self.bool(value)
        elif isinstance(value, int):
            self.int(value)
        elif isinstance(value, str):
            self.str(value)
        elif isinstance(value, _BYTES):
            self.bin(value)
        elif isinstance(value, float):
            self.float(value)
        elif isinstance(value, _SEQUENCE):
            self.array(len(value))
            for item in value:
                self.value(item)
        elif isinstance(value, dict):
            self.map(len(value))
            for key in value:
                self.value(key)
                self.value(value[key])
        else:
            raise self._refusal("a type that MessagePack has not")

    def _utf8(self, text: "Text") -> bytes:
        try:
            raw = text.encode()
        except UnicodeError:
            raise self._refusal("text with half a surrogate pair") from None
        if not _is_utf8(raw, 0, len(raw)):  # MicroPython encodes surrogates without a word
            raise self._refusal("text with half a surrogate pair")
        return raw

    def _claim(self, size: "Int") -> "Int":
        pos = self.length
        if self._spoiled:
            raise PackError("refused: the message failed before and was not reset")
        if pos + size > self._size:
            raise self._refusal("the buffer is full")
        self.length = pos + size
        return pos

    def _head(self, count: "Int", short: "Int", long: "Int") -> None:
        if count < 0x10:
            self.buffer[self._claim(1)] = short | count
        elif count < 0x10000:
            pack_into(">BH", self.buffer, self._claim(3), long, count)
        else:
            raise self._refusal(_TOO_LONG)

    def _text_head(self, size: "Int") -> "Int":
        if size < 0x20:
            pos = self._claim(1 + size)
            self.buffer[pos] = 0xA0 | size
            return pos + 1
        if size < 0x100:
            pos = self._claim(2 + size)
            pack_into(">BB", self.buffer, pos, 0xD9, size)
            return pos + 2
        if size < 0x10000:
            pos = self._claim(3 + size)
            pack_into(">BH", self.buffer, pos, 0xDA, size)
            return pos + 3
        raise self._refusal(_TOO_LONG)

    def _refusal(self, why: "Text") -> PackError:
        at = self.length
        self.length = 0
        self._spoiled = True
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
        raise PackError(f"{len(buffer) - reader.pos} bytes after the end, at byte {reader.pos}")
    return value


class _Reader:
    def __init__(self, buffer: "Buffer", items: int) -> None:
        self.pos = 0
        self._buffer = buffer
        self._items = items

    def value(self, depth: int) -> object:
        self._items -= 1
        if self._items < 0:
            raise self._refusal("too many values")
        head = self._buffer[self._take(1)]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head < 0x90:
            return self._map(head & 0x0F, depth)
        if head < 0xA0:
            return self._array(head & 0x0F, depth)
        if head < 0xC0:
            return self._text(head & 0x1F)
        if head == 0xC0:
            return None
        if head == 0xC2:
            return False
        if head == 0xC3:
            return True
        if 0xC4 <= head <= 0xC6:
            size = self._unsigned(1 << (head - 0xC4))
            start = self._take(size)
            return bytes(self._buffer[start : self.pos])
        if head == 0xCA or head == 0xCB:
            size = 4 if head == 0xCA else 8
            return unpack_from(">f" if size == 4 else ">d", self._buffer, self._take(size))[0]
        if 0xCC <= head <= 0xCF:
            return self._unsigned(1 << (head - 0xCC))
        if 0xD0 <= head <= 0xD3:
            bits = 8 << (head - 0xD0)
            number = self._unsigned(bits >> 3)
            return number - (1 << bits) if number >> (bits - 1) else number
        if 0xD9 <= head <= 0xDB:
            return self._text(self._unsigned(1 << (head - 0xD9)))
        if head == 0xDC or head == 0xDD:
            return self._array(self._unsigned(2 << (head - 0xDC)), depth)
        if head == 0xDE or head == 0xDF:
            return self._map(self._unsigned(2 << (head - 0xDE)), depth)
        raise self._refusal(f"type 0x{head:02x} is not allowed")

    def _array(self, count: int, depth: int) -> "list[object]":
        self._enter(count, depth)
        return [self.value(depth - 1) for _ in range(count)]

    def _map(self, count: int, depth: int) -> "dict[object, object]":
        self._enter(2 * count, depth)
        found: dict[object, object] = {}
        for _ in range(count):
            key = self.value(depth - 1)
            if not isinstance(key, str) and type(key) is not int:
                raise self._refusal("a key that is neither text nor integer")
            if key in found:
                raise self._refusal("a doubled key")
            found[key] = self.value(depth - 1)
        return found

    def _enter(self, count: int, depth: int) -> None:
        if depth < 1:
            raise self._refusal("too deep")
        if count > self._items:
            raise self._refusal("too many values")
        if count > len(self._buffer) - self.pos:
            raise self._refusal("cut off")

    def _text(self, size: int) -> str:
        start = self._take(size)
        if not _is_utf8(self._buffer, start, self.pos):
            raise self._refusal("broken UTF-8")
        return str(bytes(self._buffer[start : self.pos]), "utf-8")

    def _unsigned(self, size: int) -> int:
        number = 0
        start = self._take(size)
        for pos in range(start, self.pos):
            number = number << 8 | self._buffer[pos]
        return number

    def _take(self, size: int) -> int:
        start = self.pos
        if size > len(self._buffer) - start:
            raise self._refusal("cut off")
        self.pos = start + size
        return start

    def _refusal(self, why: str) -> PackError:
        return PackError(f"{why}, at byte {self.pos}")


def _is_utf8(buffer: "Buffer", pos: int, end: int) -> bool:
    """Unicode 15, table 3-7. Interpreters differ in how much of it they check themselves."""
    while pos < end:
        head = buffer[pos]
        pos += 1
        if head < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= head <= 0xDF:
            more = 1
        elif 0xE0 <= head <= 0xEF:
            more = 2
            if head == 0xE0:
                low = 0xA0
            elif head == 0xED:
                high = 0x9F
        elif 0xF0 <= head <= 0xF4:
            more = 3
            if head == 0xF0:
                low = 0x90
            elif head == 0xF4:
                high = 0x8F
        else:
            return False
        if pos + more > end or not low <= buffer[pos] <= high:
            return False
        for position in range(pos + 1, pos + more):
            if buffer[position] & 0xC0 != 0x80:
                return False
        pos += more
    return True
