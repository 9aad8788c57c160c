"""Register kinds: what the words of a device mean. Numbers here; texts, and the way back, in `ohmcore.kinds`.

A buffer holds registers as they came over the line: two bytes each, high byte first. Integers never pass through a float, so they are
exact on ports with single precision floats; there `f32` is exact and `f64` is rounded to single precision (infinite beyond 3.4e38).
"""

from struct import unpack

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    Buffer = bytes | bytearray | memoryview
    Value = int | float | str


def decode(kind: str, buf: "Buffer", offset: int, words: int, order: str = "big") -> "Value":
    """The value of `words` registers that begin at byte `offset` of `buf`.

    u16, i16, u32, i32, u64, i64 → int; f32, f64 → float; bit → int, the mask of all registers (highest word first);
    str → ASCII without trailing blanks and NULs, `?` for every other byte; dat → "YY-MM-DD hh:mm:ss" of three registers of two bytes;
    byte → every byte as two decimal digits, with two blanks in the middle of four registers ("27 52 04 00  20 01 10 03").
    `order` "little" means that the lowest word of a number comes first; text kinds ignore it.
    Raises ValueError for an unknown kind or order, a wrong number of words, or a buffer too short.
    """
    if (
        0 <= offset <= len(buf) - 2 * words
        and order in ("big", "little")
        and ((kind == "bit" and words > 0) or (kind in "u16 i16 u32 i32 u64 i64 f32 f64" and kind[1:] == str(16 * words)))
    ):
        number = 0
        for word in range(words):
            position = offset + 2 * (word if order == "big" else words - 1 - word)
            number = number << 16 | buf[position] << 8 | buf[position + 1]
        if kind[0] == "f":
            return float(unpack(">f" if words == 2 else ">d", number.to_bytes(2 * words, "big"))[0])
        if kind[0] == "i" and number >> (16 * words - 1):
            number -= 1 << (16 * words)
        return number
    from ohmcore import kinds  # most nodes never need it

    return kinds.decode(kind, buf, offset, words, order)
