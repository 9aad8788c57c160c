from ohmcore.kinds import WORDS, encode
from ohmcore.registers import decode
from tests.unit.ohmcore.suite.expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def both(kind: str, raw: bytes, value: "Any", words: int = 0, order: str = "big") -> None:
    """That `raw` is `value`, in both directions, wherever it lies in a buffer."""
    words = words or WORDS[kind]
    for buf in (raw, bytearray(raw), memoryview(raw)):
        assert decode(kind, buf, 0, words, order) == value
    assert decode(kind, b"\xa5\xa5" + raw + b"\xa5", 2, words, order) == value
    assert encode(kind, value, words, order) == raw
    assert isinstance(encode(kind, value, words, order), bytes)


def refused(kind: str, *values: object) -> None:
    for value in values:
        raises(ValueError, encode, kind, value)


def test_sixteen_bits() -> None:
    both("u16", b"\xff\xfe", 65534)
    both("i16", b"\xff\xfe", -2)
    both("i16", b"\x7f\xff", 32767)
    both("i16", b"\x80\x00", -32768)


def test_thirty_two_bits() -> None:
    both("u32", b"\xff\xff\xff\xff", 4294967295)
    both("i32", b"\xff\xff\xfc\x18", -1000)
    both("i32", b"\x80\x00\x00\x00", -2147483648)


def test_counters_beyond_single_precision_are_exact() -> None:
    both("u32", b"\x01\x00\x00\x01", 16777217)
    both("u64", b"\xff" * 8, 18446744073709551615)
    both("u64", b"\x00\x20\x00\x00\x00\x00\x00\x01", 9007199254740993)
    both("i64", b"\xff\xdf\xff\xff\xff\xff\xff\xff", -9007199254740993)
    both("i64", b"\x80" + bytes(7), -9223372036854775808)


def test_the_lowest_word_first() -> None:
    both("u32", b"\x03\x04\x01\x02", 0x01020304, order="little")
    both("i64", b"\x00\x04\x00\x03\x00\x02\x80\x01", -0x7FFEFFFDFFFCFFFC, order="little")
    both("f32", b"\x00\x00\x3f\xc0", 1.5, order="little")
    both("u16", b"\x01\x02", 0x0102, order="little")


def test_floats() -> None:
    both("f32", b"\xc0\x20\x00\x00", -2.5)
    both("f64", b"\xc0\x04" + bytes(6), -2.5)
    assert decode("f32", b"\x7f\x80\x00\x00", 0, 2) == float("inf")
    assert decode("f32", b"\x7f\xc0\x00\x00", 0, 2) != decode("f32", b"\x7f\xc0\x00\x00", 0, 2)
    assert encode("f32", 3) == b"\x40\x40\x00\x00"


def test_bits_are_the_mask_of_all_registers() -> None:
    both("bit", b"\x00\x05", 5)
    both("bit", b"\x00\x01\x00\x02", 0x10002, 2)
    both("bit", b"\x80" + bytes(7), 1 << 63, 4)


def test_text_ends_before_blanks_and_nuls() -> None:
    both("str", b"MTEC\0\0", "MTEC", 3)
    assert decode("str", b"MTEC \0", 0, 3) == "MTEC"
    assert decode("str", b" A B  ", 0, 3) == " A B"
    assert decode("str", bytes(6), 0, 3) == ""


def test_what_is_not_ascii_shows_as_a_question_mark() -> None:
    assert decode("str", b"A\xe4\x00B\x1f\x7f", 0, 3) == "A??B??"


def test_text_ignores_the_word_order() -> None:
    assert decode("str", b"ABCD", 0, 2, "little") == "ABCD"
    assert encode("str", "ABCD", 2, "little") == b"ABCD"


def test_a_date_has_hours() -> None:
    both("dat", bytes([25, 1, 31, 9, 5, 59]), "25-01-31 09:05:59")


def test_bytes_are_decimal() -> None:
    both("byte", bytes([30, 7]), "30 07")
    both("byte", bytes([1, 2, 3, 4]), "01 02 03 04", 2)
    both("byte", bytes([1, 2, 3, 4, 255, 6]), "01 02 03 04 255 06", 3)


def test_four_registers_of_bytes_have_a_gap_in_the_middle() -> None:
    both("byte", bytes([27, 52, 4, 0, 20, 1, 10, 3]), "27 52 04 00  20 01 10 03", 4)


def test_a_value_that_does_not_fit_is_refused() -> None:
    refused("u16", -1, 65536, 1.0, "1", None)
    refused("i16", -32769, 32768)
    refused("u32", -1, 1 << 32)
    refused("i32", None, -(1 << 31) - 1)
    refused("u64", -1, 1 << 64)
    refused("bit", -1, 65536)
    refused("f32", "1", "x", 1e39, -1e39)
    refused("str", "ABC", "\u00e4", "\0", 5)
    refused("dat", "25-01-31", "25-01-31T09:05:59", "25-01-31 09:05:5x", "25-01-31 09:05: 9", 5)
    refused("byte", "30", "30 07 01", "30 256", "30 -1", "30 x", "30\x1f07", "30\t07", "", 5)


def test_kinds_words_and_orders_that_are_none_are_refused() -> None:
    says("unknown kind u8", raises(ValueError, decode, "u8", bytes(8), 0, 1))
    says("u32 has 2 registers, not 1", raises(ValueError, decode, "u32", bytes(8), 0, 1))
    says("unknown word order middle", raises(ValueError, decode, "u32", bytes(8), 0, 2, "middle"))
    raises(ValueError, decode, "u16", bytes(8), 0, 2)
    raises(ValueError, decode, "str", bytes(8), 0, 0)
    raises(ValueError, encode, "u8", 1)
    raises(ValueError, encode, "u16", 1, 2)


def test_registers_beyond_the_buffer_are_refused() -> None:
    for offset in (-2, 6, 7, 8, 100):
        raises(ValueError, decode, "u32", bytes(8), offset, 2)


def test_the_first_and_the_last_printable_character() -> None:
    both("str", b"~ ~!", "~ ~!", 2)


def test_the_text_names_the_span() -> None:
    says("65536 is no integer in 0..65535", raises(ValueError, encode, "u16", 65536))
    says("5 is no integer", raises(ValueError, encode, "u16", "5"))
