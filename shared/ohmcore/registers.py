"""Register kinds: what the words of a device mean as numbers and text, both directions.

A buffer holds registers as they came over the line: two bytes each, high byte first. Integers never pass through a float, so they are
exact on ports with single precision floats; there `f32` is exact and `f64` is rounded to single precision (infinite beyond 3.4e38).
"""

from struct import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview
    Value = int | float | str

WORDS = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "u64": 4, "i64": 4, "f32": 2, "f64": 4, "str": 1, "bit": 1, "dat": 3, "byte": 1}
"""Registers of each kind. For "str", "bit" and "byte" the least; a point of these kinds may have more."""

_OPEN = ("str", "bit", "byte")
_INFINITY = float("inf")


def decode(kind: str, buf: "Buffer", offset: int, words: int, word_order: str = "big") -> "Value":
    """The value of `words` registers that begin at byte `offset` of `buf`.

    u16, i16, u32, i32, u64, i64 → int; f32, f64 → float; bit → int, the mask of all registers (highest word first);
    str → ASCII without trailing blanks and NULs, `?` for every other byte; dat → "YY-MM-DD hh:mm:ss" of three registers of two bytes;
    byte → every byte as two decimal digits, with two blanks in the middle of four registers ("27 52 04 00  20 01 10 03").
    `word_order` "little" means that the lowest word of a number comes first; text kinds ignore it.
    Raises ValueError for an unknown kind or order, a wrong number of words, or a buffer too short.
    """
    _check(kind, words, word_order)
    end = offset + 2 * words
    if offset < 0 or end > len(buf):
        raise ValueError(f"{words} registers from byte {offset} leave a buffer of {len(buf)} bytes")
    if kind == "str":
        return _text(buf, offset, end)
    if kind == "dat":
        year, month, day, hour, minute, second = (buf[offset + i] for i in range(6))
        return f"{year:02d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}"
    if kind == "byte":
        if words != 4:
            return _decimals(buf, offset, end)
        return _decimals(buf, offset, offset + 4) + "  " + _decimals(buf, offset + 4, end)
    if kind == "f32" or kind == "f64":
        number = unpack(">f" if kind == "f32" else ">d", _ordered(buf, offset, words, word_order))[0]
        return float(number)
    return _integer(kind, buf, offset, words, word_order)


def encode(kind: str, value: "Value", words: int = 0, word_order: str = "big") -> bytes:
    """The registers of `value`, high byte first: the inverse of `decode`. `words` 0 means the kind's own number.

    Integers must be ints and fit; floats must fit their width; text must be ASCII and fit, and is filled up with NULs; `dat` and `byte`
    take the text that `decode` gives. Raises ValueError otherwise.
    """
    if not words and kind in WORDS:
        words = WORDS[kind]
    _check(kind, words, word_order)
    if kind == "str":
        return _text_bytes(value, 2 * words)
    if kind == "dat":
        return _date_bytes(value)
    if kind == "byte":
        return _decimal_bytes(value, 2 * words)
    if kind == "f32" or kind == "f64":
        return _ordered(_float_bytes(kind, value), 0, words, word_order)
    return _ordered(_integer_bytes(kind, value, 2 * words), 0, words, word_order)


def _check(kind: str, words: int, word_order: str) -> None:
    least = WORDS.get(kind)
    if least is None:
        raise ValueError(f"unknown kind {kind}")
    if words < least or (words != least and kind not in _OPEN):
        raise ValueError(f"{kind} has {least} registers, not {words}")
    if word_order != "big" and word_order != "little":
        raise ValueError(f"unknown word order {word_order}")


def _integer(kind: str, buf: "Buffer", offset: int, words: int, word_order: str) -> int:
    number = 0
    for word in range(words):
        position = offset + 2 * (word if word_order == "big" else words - 1 - word)
        number = number << 16 | buf[position] << 8 | buf[position + 1]
    if kind[0] == "i" and number >> (16 * words - 1):
        number -= 1 << (16 * words)
    return number


def _ordered(buf: "Buffer", offset: int, words: int, word_order: str) -> bytes:
    if word_order == "big":
        return bytes(buf[offset : offset + 2 * words])
    turned = bytearray(2 * words)
    for word in range(words):
        position = offset + 2 * (words - 1 - word)
        turned[2 * word] = buf[position]
        turned[2 * word + 1] = buf[position + 1]
    return bytes(turned)


def _text(buf: "Buffer", start: int, end: int) -> str:
    while end > start and buf[end - 1] in (0x00, 0x20):
        end -= 1
    return "".join(chr(buf[i]) if 0x20 <= buf[i] < 0x7F else "?" for i in range(start, end))


def _decimals(buf: "Buffer", start: int, end: int) -> str:
    return " ".join(f"{buf[i]:02d}" for i in range(start, end))


def _text_bytes(value: "Value", size: int) -> bytes:
    if not isinstance(value, str) or len(value) > size:
        raise ValueError(f"str takes text of at most {size} characters")
    raw = bytearray(size)
    for i in range(len(value)):
        code = ord(value[i])
        if not 0x20 <= code < 0x7F:
            raise ValueError("str takes ASCII")
        raw[i] = code
    return bytes(raw)


def _date_bytes(value: "Value") -> bytes:
    if not isinstance(value, str) or len(value) != 17 or (value[2], value[5], value[8], value[11], value[14]) != ("-", "-", " ", ":", ":"):
        raise ValueError("dat takes YY-MM-DD hh:mm:ss")
    return bytes(_decimal(value[i : i + 2]) for i in range(0, 17, 3))


def _decimal_bytes(value: "Value", size: int) -> bytes:
    fields = [field for field in value.split(" ") if field] if isinstance(value, str) else ()
    if len(fields) != size:
        raise ValueError(f"byte takes {size} decimal numbers")
    return bytes(_decimal(field) for field in fields)


def _decimal(text: str) -> int:
    number = 0
    for character in text:
        if not "0" <= character <= "9":
            raise ValueError("not a decimal number")
        number = 10 * number + ord(character) - 48
    if not text or number > 255:
        raise ValueError("not a byte")
    return number


def _float_bytes(kind: str, value: "Value") -> bytes:
    form = ">f" if kind == "f32" else ">d"
    try:
        number = float(value)
        raw = pack(form, number)
    except OverflowError:
        raise ValueError(f"{value} does not fit {kind}") from None
    if isinstance(value, str) or (abs(unpack(form, raw)[0]) == _INFINITY and abs(number) != _INFINITY):
        raise ValueError(f"{value} does not fit {kind}")
    return raw


def _integer_bytes(kind: str, value: "Value", size: int) -> bytes:
    span = 1 << (8 * size)
    low = -(span >> 1) if kind[0] == "i" else 0
    if not isinstance(value, int) or value < low or value >= low + span:
        raise ValueError(f"{value} is no integer in {low}..{low + span - 1}")
    raw = bytearray(size)
    rest = value & (span - 1)
    for i in range(size - 1, -1, -1):
        raw[i] = rest & 0xFF
        rest >>= 8
    return bytes(raw)
