"""Register kinds: which there are, the texts among them, and how values become registers. Numbers are decoded by `ohmcore.registers`."""

from struct import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ohmcore.registers import Buffer, Value

WORDS = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "u64": 4, "i64": 4, "f32": 2, "f64": 4, "str": 1, "bit": 1, "dat": 3, "byte": 1}
"""Registers of each kind. For "str", "bit" and "byte" the least; a point of these kinds may have more."""

_OPEN = ("str", "bit", "byte")
_INFINITY = float("inf")


def decode(kind: str, buf: "Buffer", offset: int, words: int, order: str) -> str:
    """`registers.decode` of "str", "dat" and "byte"; and its ValueError of whatever cannot be decoded."""
    _check(kind, words, order)
    end = offset + 2 * words
    if offset < 0 or end > len(buf):
        raise ValueError(f"{words} registers from byte {offset} leave a buffer of {len(buf)} bytes")
    if kind == "str":
        return _text(buf, offset, end)
    if kind == "dat":
        year, month, day, hour, minute, second = (buf[offset + i] for i in range(6))
        return f"{year:02d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}"
    if kind != "byte":
        raise ValueError(f"{kind} is no text")
    if words != 4:
        return _decimals(buf, offset, end)
    return _decimals(buf, offset, offset + 4) + "  " + _decimals(buf, offset + 4, end)


def encode(kind: str, value: "Value", words: int = 0, order: str = "big") -> bytes:
    """The registers of `value`, high byte first: the inverse of `registers.decode`. `words` 0 means the kind's own number.

    Integers must be ints and fit; floats must fit their width; text must be ASCII and fit, and is filled up with NULs; `dat` and `byte`
    take the text that decoding gives. Raises ValueError otherwise.
    """
    if not words and kind in WORDS:
        words = WORDS[kind]
    _check(kind, words, order)
    if kind == "str":
        return _text_bytes(value, 2 * words)
    if kind == "dat":
        return _date_bytes(value)
    if kind == "byte":
        return _decimal_bytes(value, 2 * words)
    if kind == "f32" or kind == "f64":
        return _ordered(_float_bytes(kind, value), order)
    return _ordered(_integer_bytes(kind, value, 2 * words), order)


def _check(kind: str, words: int, order: str) -> None:
    least = WORDS.get(kind)
    if least is None:
        raise ValueError(f"unknown kind {kind}")
    if words < least or (words != least and kind not in _OPEN):
        raise ValueError(f"{kind} has {least} registers, not {words}")
    if order != "big" and order != "little":
        raise ValueError(f"unknown word order {order}")


def _ordered(raw: bytes, order: str) -> bytes:
    if order == "big":
        return raw
    turned = bytearray()
    for position in range(len(raw) - 2, -2, -2):
        turned.extend(raw[position : position + 2])
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
