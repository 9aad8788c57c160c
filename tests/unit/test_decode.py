"""From registers to values: every kind and order, and absent where there is no value."""

from __future__ import annotations

import math
import struct
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmcore import registers
from ohmcore.errors import FrameError
from ohmcore.kinds import WORDS
from ohmstead.profiles import library
from ohmstead.profiles.compiler import poll_groups
from ohmstead.profiles.decode import Decoder, UnknownRange
from ohmstead.profiles.model import Profile
from ohmstead.profiles.planner import TcpCost
from ohmstead.readings import Value


def profile(**points: dict[str, Any]) -> Profile:
    named = {name: {"name": name, "group": "live", **point} for name, point in points.items()}
    head = {"profile": "toy", "name": "Toy", "manufacturer": "Acme", "model": "T1", "groups": {"live": "5 s", "slow": "1 h"}}
    return Profile.model_validate({**head, "points": named})


def words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def one(raw: bytes, **point: Any) -> Any:
    """The value of a single point at holding register 10, or None when it is absent."""
    return Decoder(profile(x={"holding": 10, **point})).decode(3, 10, raw).get("x")


def test_points_inside_a_range_are_decoded_and_gaps_are_skipped() -> None:
    decoder = Decoder(
        profile(
            power={"holding": 11000, "as": "i32", "unit": "W", "sign": "export positive"},
            voltage={"holding": 11006, "as": "u16", "scale": 0.1, "unit": "V"},
            before={"holding": 10999, "as": "u16"},
            after={"holding": 11008, "as": "u16"},
        )
    )
    buf = words(0xFFFF, 0xFF38, 1, 2, 3, 4, 4012, 9)
    assert decoder.decode(3, 11000, buf) == {"power": -200, "voltage": 401.2}


def test_a_point_that_is_only_partly_in_the_range_is_absent() -> None:
    decoder = Decoder(profile(a={"holding": 10, "as": "u16"}, b={"holding": 11, "as": "u32"}))
    assert decoder.decode(3, 10, words(1, 2)) == {"a": 1}


def test_holding_and_input_registers_of_one_address_are_different_things() -> None:
    decoder = Decoder(profile(a={"holding": 10, "as": "u16"}, b={"input": 10, "as": "i16"}))
    assert decoder.decode(3, 10, words(0xFFFF)) == {"a": 65535}
    assert decoder.decode(4, 10, words(0xFFFF)) == {"b": -1}


@pytest.mark.parametrize("function", [0, 1, 2, 3, 4, 6])
def test_a_range_without_a_point_is_unknown(function: int) -> None:
    decoder = Decoder(profile(a={"holding": 10, "as": "u32"}))
    with pytest.raises(UnknownRange, match="no point of toy"):
        decoder.decode(function, 11, words(1, 2))


def test_half_a_register_is_refused() -> None:
    with pytest.raises(FrameError, match="3 bytes"):
        Decoder(profile(a={"holding": 10, "as": "u16"})).decode(3, 10, b"\0\0\0")


def test_garbage_ranges_do_not_fill_the_memory() -> None:
    decoder = Decoder(profile(a={"holding": 500, "as": "u16"}))
    for before in range(400):
        for after in range(2):
            assert decoder.decode(3, 500 - before, bytes(2 * (before + 1 + after))) == {"a": 0}
    assert len(decoder._layouts) <= 512


@pytest.mark.parametrize("kind", ["u16", "i16", "u32", "i32", "u64", "i64", "bit"])
@pytest.mark.parametrize("order", ["big", "little"])
@given(raw=st.binary(min_size=8, max_size=8))
def test_integers_agree_with_ohmcore_in_either_order(kind: str, order: str, raw: bytes) -> None:
    size = WORDS[kind]
    assert one(raw[: 2 * size], **{"as": kind, "order": order}) == registers.decode(kind, raw, 0, size, order)


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("order", ["big", "little"])
@given(raw=st.binary(min_size=8, max_size=8))
def test_floats_agree_with_ohmcore_and_are_absent_when_they_are_no_number(kind: str, order: str, raw: bytes) -> None:
    size = WORDS[kind]
    expected = registers.decode(kind, raw, 0, size, order)
    assert isinstance(expected, float)
    assert one(raw[: 2 * size], **{"as": kind, "order": order}) == (expected if math.isfinite(expected) else None)


@given(st.integers(1, 8).flatmap(lambda size: st.binary(min_size=2 * size, max_size=2 * size)))
def test_bytes_agree_with_ohmcore_and_so_do_texts_as_far_as_they_are_ascii(raw: bytes) -> None:
    size = len(raw) // 2
    ascii_only = bytes(octet & 0x7F for octet in raw)
    assert one(raw, **{"as": "byte", "words": size}) == registers.decode("byte", raw, 0, size)
    assert one(ascii_only, **{"as": "str", "words": size}) == registers.decode("str", ascii_only, 0, size)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("Zähler 1\0 \0".encode(), "Zähler 1"),
        ("Zähler 1".encode("latin-1") + b"\0 ", "Zähler 1"),
        (b"  AB \0 \0\0\0", "  AB"),
        (b"A\0B\nC\x7fD ", "A?B?C?D"),
        (b"\x85\xc3\xff ", "?Ãÿ"),
        (b"\0\0    ", ""),
    ],
)
def test_a_text_is_utf_8_or_else_latin_1_and_holds_nothing_that_a_topic_cannot(octets: bytes, text: str) -> None:
    assert one(octets, **{"as": "str", "words": len(octets) // 2}) == text


@given(st.integers(0, 65535), st.sampled_from([1, 10, 100, 1000]))
def test_scaling_divides_so_that_the_text_is_exact(raw: int, divisor: int) -> None:
    value = one(words(raw), **{"as": "u16", "scale": 1 / divisor})
    assert value == raw / divisor
    assert type(value) is (int if divisor == 1 else float)


def test_other_scales_multiply() -> None:
    assert one(words(7), **{"as": "u16", "scale": 10}) == 70
    assert type(one(words(7), **{"as": "u16", "scale": 10})) is int
    assert one(words(7), **{"as": "u16", "scale": 1.5}) == 10.5
    assert one(words(1, 0), **{"as": "u32", "order": "little", "scale": 0.1}) == 0.1
    assert one(struct.pack(">f", 2.5), **{"as": "f32", "scale": 0.1}) == 0.25


def test_a_date_is_a_text() -> None:
    assert one(words(6662, 5389, 1289), **{"as": "dat"}) == "26-06-21 13:05:09"


def test_values_have_names_and_others_are_unknown() -> None:
    values = {0: "Discharge", 1: "Charge"}
    assert [one(words(raw), **{"as": "u16", "values": values}) for raw in (0, 1, 2)] == ["Discharge", "Charge", "Unknown"]
    assert one(words(2), **{"as": "u16", "values": values, "otherwise": "?"}) == "?"
    assert one(words(0xFFFF), **{"as": "i16", "values": {-1: "off"}}) == "off"
    assert one(words(7687), **{"as": "byte", "values": {"30 07": "12K-40A-3P"}, "otherwise": "unknown"}) == "12K-40A-3P"
    assert one(words(1), **{"as": "byte", "values": {"30 07": "12K-40A-3P"}, "otherwise": "unknown"}) == "unknown"


def test_bits_are_numbered_and_not_masks() -> None:
    bits = {0: "Relay", 1: "Fan", 5: "Heat", 31: "Top"}
    told = {mask: one(struct.pack(">I", mask), **{"as": "bit", "words": 2, "bits": bits}) for mask in (0, 1, 2, 3, 32, 1 << 31, 4)}
    assert told == {0: "OK", 1: "Relay", 2: "Fan", 3: "Relay, Fan", 32: "Heat", 1 << 31: "Top", 4: "OK"}


def test_bits_of_an_unusual_width_and_order() -> None:
    assert one(words(0, 0, 1), **{"as": "bit", "words": 3, "bits": {0: "low", 32: "high"}}) == "low"
    assert one(words(0, 0, 1), **{"as": "bit", "words": 3, "order": "little", "bits": {0: "low", 32: "high"}}) == "high"
    assert one(words(1), **{"as": "bit"}) == 1


@pytest.mark.parametrize(("raw", "value"), [(0, 0.0), (1000, 100.0), (1001, None), (65535, None)])
def test_an_implausible_value_is_absent(raw: int, value: float | None) -> None:
    assert one(words(raw), **{"as": "u16", "scale": 0.1, "unit": "%", "valid": "0..100 %"}) == value
    assert one(words(raw), **{"as": "u16", "valid": "0..1000"}) == (None if value is None else raw)


def test_a_decoder_in_code_reads_what_data_cannot_say_and_the_raw_text_stays() -> None:
    decoder = Decoder(profile(firmware={"holding": 10, "as": "byte", "words": 4, "decoder": "mtec-firmware", "raw": True}))
    assert decoder.decode(3, 9, words(0, 6964, 1024, 5121, 2563)) == {
        "firmware": "V27.52.04.00-V20.01.10.03",
        "firmware.raw": "27 52 04 00  20 01 10 03",
    }


CALCULATED = profile(
    a={"holding": 1, "as": "u16"},
    b={"holding": 2, "as": "u16"},
    total={"calc": "double + b"},
    double={"calc": "a * 2"},
    rate={"calc": "a / b", "valid": "0..10"},
)


def test_calculated_points_follow_in_the_order_of_their_dependencies() -> None:
    values: dict[str, Any] = {"a": 3, "b": 4}
    Decoder(CALCULATED).calculate(values)
    assert values == {"a": 3, "b": 4, "double": 6, "total": 10, "rate": 0.75}


def test_a_missing_input_makes_calculated_points_absent_and_not_zero() -> None:
    values: dict[str, Any] = {"a": 3}
    Decoder(CALCULATED).calculate(values)
    assert values == {"a": 3, "double": 6}


def test_no_result_and_no_plausible_result_are_absent() -> None:
    for b in (0, 100):
        values: dict[str, Any] = {"a": 2000, "b": b}
        Decoder(CALCULATED).calculate(values)
        assert "rate" not in values


def test_the_clock_is_that_of_the_home_at_the_moment_of_the_reading() -> None:
    clocked = profile(a={"holding": 1, "as": "u16"}, b={"holding": 2, "as": "u16", "group": "slow"}, now={"clock": "%Y-%m-%d %H:%M:%S"})
    told = []
    for moment in (1761436800.0, 1761440400.0, 1761444000.0):  # around the hour that comes twice
        values: dict[str, Any] = {"a": 1}
        Decoder(clocked, ZoneInfo("Europe/Prague")).calculate(values, moment)
        told.append(values["now"])
    assert told == ["2025-10-26 02:00:00", "2025-10-26 02:00:00", "2025-10-26 03:00:00"]


def test_the_clock_appears_only_with_its_group_and_with_a_time() -> None:
    clocked = profile(a={"holding": 1, "as": "u16"}, b={"holding": 2, "as": "u16", "group": "slow"}, now={"clock": "%H"})
    for values, time in (({"b": 1}, 0.0), ({}, 0.0), ({"a": 1}, None)):
        found: dict[str, Any] = dict(values)
        Decoder(clocked).calculate(found, time)
        assert "now" not in found


def test_a_text_that_a_reader_gives_can_be_passed_on() -> None:
    named = {"x": {"name": "X", "field": "info.x", "as": "str", "group": "live"}}
    head = {"profile": "toy", "name": "Toy", "manufacturer": "Acme", "model": "T1", "reader": "shelly", "groups": {"live": "5 s"}}
    decoder = Decoder(Profile.model_validate({**head, "points": named}))
    assert decoder.decode_fields({"info.x": "Kühl\ud83d \x07 \0"}) == {"x": "Kühl? ?"}


def test_what_is_read_and_is_no_value_is_missing_and_so_is_what_follows_from_it() -> None:
    """A meter's NaN: the old value must not stand for it."""
    profile = library.load("eastron-sdm120")
    groups = poll_groups(profile, TcpCost(), max_frame=None)
    decoder = Decoder(profile, scans=groups)
    live = next(group for group in groups if "live" in group.groups)
    values: dict[str, Value] = {}
    for read in live.reads:
        words = bytearray(2 * read.count)
        at = 2 * (profile.points["power"].address - read.address)
        if 0 <= at < len(words):
            words[at : at + 4] = bytes.fromhex("7fc00000")
        values.update(decoder.decode(read.function, read.address, words, live.name))
    assert decoder.missing(values, live.name) == {"power"}
    assert decoder.missing({**values, "power": 1.0}, live.name) == ()
    assert decoder.missing({}, "another") == ()
