"""ohmcore's MessagePack beside the `msgpack` package: byte for byte the same, and stricter where the wire asks for it."""

from __future__ import annotations

import contextlib
import struct

import msgpack  # type: ignore[import-untyped] # it comes without types
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ohmcore import frames
from ohmcore.errors import FrameError, PackError
from ohmcore.pack import Packer, unpack

from .strategies import depth, items, messages

ROOM = 1 << 20
UNLIMITED = {"depth": 60, "items": 1 << 20, "size": ROOM}


def packed(value: object, room: int = ROOM) -> bytes:
    packer = Packer(bytearray(room))
    packer.value(value)
    return packer.message()


def exactly(value: object) -> str:
    """A text that tells 1 from True and 1.0, and two NaNs apart from nothing."""
    return repr(value)


@given(messages)
def test_both_packages_write_the_same_bytes(value: object) -> None:
    assert packed(value) == msgpack.packb(value)


@given(messages)
def test_each_reads_what_the_other_wrote(value: object) -> None:
    assert exactly(unpack(msgpack.packb(value), **UNLIMITED)) == exactly(value)
    assert exactly(msgpack.unpackb(packed(value), strict_map_key=False)) == exactly(value)


@given(st.floats(width=32))
def test_single_precision_floats_are_read(value: float) -> None:
    assert exactly(unpack(msgpack.packb(value, use_single_float=True))) == exactly(value)


@given(messages)
def test_a_message_just_within_every_limit_is_read_and_one_less_is_not(value: object) -> None:
    raw = packed(value)
    limits = {"depth": depth(value), "items": items(value), "size": len(raw)}
    assert exactly(unpack(raw, **limits)) == exactly(value)
    for name, limit in limits.items():
        if limit:
            with pytest.raises(PackError):
                unpack(raw, **{**limits, name: limit - 1})


@given(messages, st.data())
def test_a_message_cut_off_anywhere_is_refused(value: object, data: st.DataObject) -> None:
    raw = packed(value)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(PackError):
        unpack(raw[:cut], **UNLIMITED)


@given(messages, st.binary(min_size=1, max_size=4))
def test_bytes_after_a_message_are_refused(value: object, more: bytes) -> None:
    with pytest.raises(PackError, match="more bytes"):
        unpack(packed(value) + more, **UNLIMITED)


@given(st.binary(max_size=200))
@example(b"\xc7\x00\x05")
@example(b"\xd6\xff\x00\x00\x00\x00")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x82\xa0\x01\xa0\x02")
def test_garbage_is_read_as_msgpack_reads_it_or_refused(garbage: bytes) -> None:
    agrees_or_refuses(garbage)


@given(messages, st.data())
def test_a_message_with_a_wrong_byte_is_read_as_msgpack_reads_it_or_refused(value: object, data: st.DataObject) -> None:
    raw = bytearray(packed(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    agrees_or_refuses(bytes(raw))


def agrees_or_refuses(raw: bytes) -> None:
    try:
        value = unpack(raw)
    except PackError:
        return
    assert exactly(msgpack.unpackb(raw, strict_map_key=False)) == exactly(value)


@given(messages, st.data())
def test_a_buffer_too_small_shows_no_half_message(value: object, data: st.DataObject) -> None:
    size = len(packed(value))
    packer = Packer(bytearray(data.draw(st.integers(0, size - 1))))
    with pytest.raises(PackError):
        packer.value(value)
    assert packer.length == 0
    with pytest.raises(PackError):
        packer.value(None)
    assert packer.message() == b""
    packer.reset()
    if packer.buffer:
        packer.value(None)
        assert packer.message() == b"\xc0"


@given(messages)
def test_a_buffer_of_the_right_size_is_enough(value: object) -> None:
    size = len(packed(value))
    assert len(packed(value, size)) == size


@given(st.text(alphabet=st.characters(codec=None), max_size=5))
def test_text_with_half_a_surrogate_pair_is_refused_like_any_other_mistake(text: str) -> None:
    with contextlib.suppress(PackError):
        assert packed(text) == msgpack.packb(text)


@given(st.binary(max_size=6))
def test_text_is_utf8_exactly_where_cpython_says_so(raw: bytes) -> None:
    message = bytes([0xA0 | len(raw)]) + raw
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(PackError, match="not UTF-8"):
            unpack(message)
    else:
        assert unpack(message) == text


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(0, 40))
def test_a_part_of_bytes_is_what_a_slice_is(raw: bytes, start: int, end: int) -> None:
    packer = Packer(bytearray(64))
    if start > end or end > len(raw):
        with pytest.raises(PackError):
            packer.bin(raw, start, end)
    else:
        packer.bin(raw, start, end)
        assert packer.message() == msgpack.packb(raw[start:end])


@given(st.floats())
def test_floats_keep_every_bit(value: float) -> None:
    back = unpack(packed(value))
    assert isinstance(back, float)
    assert struct.pack(">d", back) == struct.pack(">d", value)


ACKS = st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 200), min_size=3, max_size=3)


@given(ACKS, st.integers(0, 40), st.integers(0, 255), st.booleans())
def test_an_ack_is_the_same_unpacked_and_as_it_came(numbers: list[int], place: int, octet: int, whole: bool) -> None:
    raw = bytearray(msgpack.packb([1, *numbers]))
    if not whole:
        raw[place % len(raw)] = octet
    try:
        expected: object = frames.parse_ack(unpack(bytes(raw)))[:2]
    except (FrameError, PackError):
        expected = None
    try:
        read: object = frames.read_ack(bytes(raw))
    except FrameError:
        read = None
    if expected is not None:
        assert read == expected
    elif read is not None:
        assert msgpack.unpackb(bytes(raw))[3] > (1 << 63) - 1, "only the time, which no node needs, is not looked at"
