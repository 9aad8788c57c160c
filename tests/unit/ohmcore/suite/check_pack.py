from ohmcore.errors import PackError
from ohmcore.pack import Packer, unpack
from tests.unit.ohmcore.suite.expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def packed(value: object, size: int = 200) -> bytes:
    packer = Packer(bytearray(size))
    packer.value(value)
    return packer.message()


def size_of(value: "Any") -> int:
    return len(value)


def same(value: object, raw: bytes) -> None:
    assert packed(value) == raw, packed(value)
    back = unpack(raw)
    assert back == value
    assert type(back) is type(value)


def test_integers_take_their_shortest_form() -> None:
    for value, raw in (
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (255, b"\xcc\xff"),
        (256, b"\xcd\x01\x00"),
        (65535, b"\xcd\xff\xff"),
        (65536, b"\xce\x00\x01\x00\x00"),
        (4294967295, b"\xce\xff\xff\xff\xff"),
        (4294967296, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (18446744073709551615, b"\xcf" + b"\xff" * 8),
        (-1, b"\xff"),
        (-32, b"\xe0"),
        (-33, b"\xd0\xdf"),
        (-128, b"\xd0\x80"),
        (-129, b"\xd1\xff\x7f"),
        (-32768, b"\xd1\x80\x00"),
        (-32769, b"\xd2\xff\xff\x7f\xff"),
        (-2147483648, b"\xd2\x80\x00\x00\x00"),
        (-2147483649, b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        (-9223372036854775808, b"\xd3\x80" + bytes(7)),
    ):
        same(value, raw)


def test_integers_beyond_64_bits_are_refused() -> None:
    for value in (1 << 64, -(1 << 63) - 1, 1 << 200, -(1 << 200)):
        says("too long", raises(PackError, packed, value))


def test_nothing_and_truth() -> None:
    same(None, b"\xc0")
    same(True, b"\xc3")
    same(False, b"\xc2")


def test_floats_have_64_bits() -> None:
    same(1.5, b"\xcb\x3f\xf8" + bytes(6))
    assert unpack(b"\xca\x3f\xc0\x00\x00") == 1.5


def test_text_is_utf8() -> None:
    same("", b"\xa0")
    same("10s", b"\xa310s")
    same("31" + "x" * 29, b"\xbf31" + b"x" * 29)
    same("x" * 32, b"\xd9\x20" + b"x" * 32)
    same("°", b"\xa2\xc2\xb0")
    same("a\u20acb\U0001f50b", b"\xa9a\xe2\x82\xacb\xf0\x9f\x94\x8b")
    assert packed("x" * 256, 300) == b"\xda\x01\x00" + b"x" * 256


def test_bytes() -> None:
    same(b"", b"\xc4\x00")
    same(b"\x00\xff", b"\xc4\x02\x00\xff")
    assert packed(bytes(256), 300) == b"\xc5\x01\x00" + bytes(256)
    for raw in (bytearray(b"ab"), memoryview(b"ab")):
        assert packed(raw) == b"\xc4\x02ab"


def test_a_part_of_bytes() -> None:
    packer = Packer(bytearray(20))
    packer.bin(b"abcdef", 2, 4)
    packer.bin(bytearray(b"abcdef"), 4)
    packer.bin(memoryview(b"abcdef"), 0, 0)
    assert packer.message() == b"\xc4\x02cd\xc4\x02ef\xc4\x00"
    for start, end in ((-1, 2), (0, 7), (3, 2)):
        packer.reset()
        raises(PackError, packer.bin, b"abcdef", start, end)


def test_arrays_and_maps() -> None:
    same([], b"\x90")
    same([1, [2, []]], b"\x92\x01\x92\x02\x90")
    same({}, b"\x80")
    same({"a": {"b": 1}}, b"\x81\xa1a\x81\xa1b\x01")
    same({5: None}, b"\x81\x05\xc0")
    same(list(range(16)), b"\xdc\x00\x10" + bytes(range(16)))
    assert packed((1, 2)) == b"\x92\x01\x02"
    many = dict.fromkeys(range(16), 0)
    assert packed(many)[:3] == b"\xde\x00\x10"
    assert unpack(packed(many)) == many


def test_longer_forms_than_needed_are_read() -> None:
    for raw in (b"\xcc\x05", b"\xcd\x00\x05", b"\xce\0\0\0\5", b"\xcf\0\0\0\0\0\0\0\5", b"\xd0\5", b"\xd1\0\5", b"\xd2\0\0\0\5"):
        assert unpack(raw) == 5
    assert unpack(b"\xd3" + b"\xff" * 8) == -1
    assert unpack(b"\xda\x00\x01x") == unpack(b"\xdb\0\0\0\1x") == "x"
    assert unpack(b"\xc5\x00\x01x") == unpack(b"\xc6\0\0\0\1x") == b"x"
    assert unpack(b"\xdd\0\0\0\1\5") == [5]
    assert unpack(b"\xdf\0\0\0\1\5\6") == {5: 6}


def test_any_kind_of_buffer_is_read() -> None:
    for buffer in (b"\x91\xc4\x01x", bytearray(b"\x91\xc4\x01x"), memoryview(b"\x91\xc4\x01x")):
        assert unpack(buffer) == [b"x"]


def test_types_that_messagepack_has_not_are_refused() -> None:
    raises(PackError, packed, packed)
    raises(PackError, packed, {1, 2})


def test_half_a_surrogate_pair_is_refused() -> None:
    raises(PackError, packed, chr(0xD800))


def test_a_full_buffer_leaves_no_half_message() -> None:
    packer = Packer(bytearray(4))
    packer.int(1)
    says("full, at byte 1", raises(PackError, packer.str, "four"))
    assert packer.length == 0
    raises(PackError, packer.int, 1)
    assert packer.length == 0
    packer.reset()
    packer.int(2)
    assert packer.message() == b"\x02"


def test_a_buffer_may_be_filled_to_the_last_byte() -> None:
    packer = Packer(bytearray(4))
    packer.bin(b"ab")
    assert packer.length == 4
    packer.reset()
    packer.array(2)
    packer.str("ab")
    assert packer.message() == b"\x92\xa2ab"


def test_what_never_fits_its_length_is_refused() -> None:
    packer = Packer(bytearray(10))
    for write, count in (
        (packer.array, 65536),
        (packer.value, dict.fromkeys(range(65536))),
        (packer.str, "x" * 65536),
        (packer.bin, bytes(65536)),
    ):
        packer.reset()
        says("too long", raises(PackError, write, count))


def test_a_message_cut_off_anywhere_is_refused() -> None:
    whole = packed([1, "text", b"bytes", 1.5, {"key": [70000, None]}])
    for size in range(len(whole)):
        says("cut off", raises(PackError, unpack, whole[:size]))


def test_more_after_the_end_is_refused() -> None:
    says("more bytes, at byte 1", raises(PackError, unpack, b"\x01\x02"))


def test_ext_types_and_the_unused_byte_are_refused() -> None:
    for head in (0xC1, 0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8):
        says("no type, at byte 1", raises(PackError, unpack, bytes([head]) + bytes(20)))


def test_deeper_than_allowed_is_refused() -> None:
    assert unpack(b"\x91" * 6 + b"\x01") == [[[[[[1]]]]]]
    says("too deep, at byte 7", raises(PackError, unpack, b"\x91" * 7 + b"\x01"))
    says("too deep", raises(PackError, unpack, b"\x81\x01" * 7 + b"\x01"))
    assert unpack(b"\x01", 0) == 1
    raises(PackError, unpack, b"\x90", 0)
    raises(PackError, unpack, b"\x91" * 4000)


def test_more_values_than_allowed_are_refused() -> None:
    assert size_of(unpack(b"\xdc\x00\xff" + bytes(255))) == 255
    says("too many", raises(PackError, unpack, b"\xdc\x01\x00" + bytes(256)))
    says("too many", raises(PackError, unpack, b"\x92\x92\x01\x01\x01", 6, 4))
    assert unpack(b"\x92\x92\x01\x01\x01", 6, 5) == [[1, 1], 1]
    raises(PackError, unpack, b"\x81\x01\x01", 6, 2)


def test_a_length_that_lies_is_refused_at_once() -> None:
    for head in (b"\xdd", b"\xdf", b"\xdb", b"\xc6"):
        raises(PackError, unpack, head + b"\xff\xff\xff\xff", 6, 1 << 40)


def test_more_bytes_than_allowed_are_refused() -> None:
    says("too long", raises(PackError, unpack, b"\xc5\x0f\xfe" + bytes(4094)))
    assert size_of(unpack(b"\xc5\x0f\xfd" + bytes(4093))) == 4093
    assert size_of(unpack(b"\xc5\x0f\xfe" + bytes(4094), size=4097)) == 4094


def test_keys_are_text_or_integers_and_come_once() -> None:
    for key in (b"\x90", b"\x80", b"\xc0", b"\xc3", b"\xc4\x01x", b"\xcb" + bytes(8)):
        says("key type", raises(PackError, unpack, b"\x81" + key + b"\x01"))
    says("key twice", raises(PackError, unpack, b"\x82\xa1a\x01\xa1a\x02"))
    says("key twice", raises(PackError, unpack, b"\x82\x01\x01\xcc\x01\x02"))


def test_broken_utf8_is_refused() -> None:
    for raw in (b"\x80", b"\xff", b"\xc2", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x80\x80\x80"):
        says("not UTF-8", raises(PackError, unpack, bytes([0xA0 | len(raw)]) + raw))
    for raw in (b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\xe2\x28\xa1", b"\xe2\x82\x28", b"a\xc3("):
        raises(PackError, unpack, bytes([0xA0 | len(raw)]) + raw)
