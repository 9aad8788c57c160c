"""Whatever a Shelly or a SunSpec device says: there is a reading of finite numbers and texts, each of them what the device said, or an
error of the sources' own."""

from __future__ import annotations

import asyncio
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ohmstead.errors import Refused, SourceError
from ohmstead.profiles import library
from ohmstead.profiles.model import Profile
from ohmstead.profiles.sunspec import Model, rows
from ohmstead.readings import Snapshot
from ohmstead.sim.shelly import KINDS, Shelly
from ohmstead.sim.sunspec import SunSpec, grid_meter, inverter, storage
from ohmstead.sources.polling import Member
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_rpc import Notified
from ohmstead.sources.sunspec import SunSpecReader
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine
from tests.unit.shelly_rig import NOON, Kept

LOAD = cache(library.load)
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 1e308]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
VALUES = st.one_of(NUMBERS, JSON, st.just(["power_meter_failure"]), st.just(["out_of_range:voltage"]))
CHANGES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40), VALUES), max_size=8)
"""Which component (counted round), which of its keys (one more than there are: the whole component), and what it says instead."""


def spoilt(status: Mapping[str, Any], changes: Sequence[tuple[int, int, object]]) -> dict[str, Any]:
    said = {component: dict(state) for component, state in status.items()}
    for number, place, value in changes:
        component = sorted(said)[number % len(said)]
        keys = [*sorted(said[component]), "errors", "a_errors", None] if isinstance(said[component], dict) else [None]
        key = keys[place % len(keys)]
        if key is None:
            said[component] = value  # type: ignore[assignment]  # garbage
        else:
            said[component][key] = value
    return said


class Says:
    """A channel to a device that says what it is told to."""

    address = "192.0.2.12"

    def __init__(self) -> None:
        self.said: Mapping[str, Any] = {}
        self.info: Mapping[str, Any] = {}
        self.notified: Notified | None = None

    def start(self, notified: Notified) -> None:
        self.notified = notified

    async def call(self, method: str) -> Mapping[str, Any]:
        return self.info if method == "Shelly.GetDeviceInfo" else self.said

    async def close(self) -> None:
        """Nothing is open."""


def is_sound(snapshots: Sequence[Snapshot]) -> bool:
    values = [value for snapshot in snapshots for value in snapshot.values.values()]
    return all(isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value)) for value in values)


def is_what_it_said(snapshots: Sequence[Snapshot], kind: str, *said: object) -> bool:
    """Whether each number stands in what the device has said (its own scale, the latest first), and no sum is below 0. Truth values are
    those of a switch."""
    points = LOAD({"triphase": "shelly-em", "monophase": "shelly-em1", "switch": "shelly-pm1"}[kind]).points
    for snapshot in snapshots:
        for name, value in snapshot.values.items():
            field = points[name].field
            assert field is not None
            if field.startswith("info."):
                continue
            if field.endswith(".sum"):
                assert isinstance(value, int | float)
                assert value >= 0.0
                continue
            stated = [number for status in said if type(number := _at(status, field)) in (int, float, bool)]
            point = points[name]
            expected = [point.values.get(number, point.otherwise) if point.values else number * point.scale for number in stated]
            assert any(_same(value, one) for one in expected), (name, value, stated)
    return True


def _same(value: float | str, other: float | str) -> bool:
    return value == other if isinstance(value, str) or isinstance(other, str) else math.isclose(value, other)


def _at(status: object, field: str) -> Any:
    first, *keys = field.split(".")
    for component in (first, first.replace("pm1:", "switch:")):
        found: Any = status.get(component) if isinstance(status, Mapping) else None
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is not None:
            return found
    return None


@given(
    kind=st.sampled_from(KINDS), at_first=CHANGES, then=CHANGES, info=st.dictionaries(st.sampled_from(["mac", "gen", "name", "app"]), JSON)
)
@settings(max_examples=60)
def test_whatever_a_shelly_says(kind: str, at_first: Sequence[Any], then: Sequence[Any], info: dict[str, Any]) -> None:
    async def story() -> None:
        channel, emitted = Says(), list[Snapshot]()
        device = Shelly(kind, clock=lambda: NOON)
        reader = ShellyReader("house", channel, lambda _: None, emitted.append, Kept(), load=LOAD, wall=lambda: NOON)
        reader.start()
        whole = device.status()
        for who, said in ((device.info() | info, whole), (device.info(), spoilt(whole, at_first)), (device.info(), whole)):
            channel.info, channel.said = who, said
            assert channel.notified is not None
            try:
                polled = await reader.read()
            except SourceError:
                told = len(emitted)
                channel.notified(spoilt(whole, then))
                assert len(emitted) == told, "nobody knows who speaks"
                continue
            assert is_sound(polled)
            assert is_what_it_said(polled, kind, said)
            channel.notified(spoilt(whole, then))
        assert is_sound(emitted)
        assert is_what_it_said(emitted, kind, spoilt(whole, then))
        again = ShellyReader("house", channel, lambda _: None, emitted.append, reader_memory(reader), load=LOAD, wall=lambda: NOON)
        again.start()
        assert is_sound(await again.read()), "what was kept does not stand in the way"

    asyncio.run(story())


def reader_memory(reader: ShellyReader) -> Kept:
    kept = reader._memory
    assert isinstance(kept, Kept)
    return kept


class Image(RegisterLine):
    """A line to registers in memory."""

    def __init__(self, words: Mapping[int, int]) -> None:
        super().__init__(Endpoint("192.0.2.20"))
        self.words = words

    async def read(self, address: int, count: int) -> bytes:
        try:
            return b"".join(self.words[at].to_bytes(2, "big") for at in range(address, address + count))
        except KeyError:
            raise Refused("illegal address", 2) from None


MODELS = (1, 103, 111, 120, 122, 123, 124, (160, 48), 203, 213, 701, 704, 713, 802)
_CODES = {"u16": "H", "i16": "h", "enum16": "H", "bits16": "H", "u32": "I", "i32": "i", "bits32": "I", "f32": "f", "acc32": "I"} | {
    "u64": "Q", "i64": "q", "acc64": "Q",
}  # fmt: skip
WORDS = st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 0x8000, 0x7FFF, 0xFFFF, 0x7F80, 0x7FC0]))


def is_what_its_registers_say(snapshots: Sequence[Snapshot], profile: Profile, words: Mapping[int, int]) -> bool:
    """Whether each value is what its registers say, with the scale factor that stands there; reckoned otherwise than by the reader."""
    there = {row.field: (model.address, row) for model in _walked(words) for row in rows(model)}
    for snapshot in snapshots:
        for name, value in snapshot.values.items():
            point = profile.points[name]
            assert point.field is not None
            address, row = there[point.field]
            octets = b"".join(words[address + at].to_bytes(2, "big") for at in range(row.at, row.end))
            if point.is_text and not point.values:
                assert value
                continue
            number = struct.unpack(f">{_CODES[row.kind]}", octets)[0]
            assert octets.hex() not in ("ffff", "8000") or row.kind[0] != {"ffff": "u", "8000": "i"}[octets.hex()]
            if row.factor_at is not None:
                number *= 10.0 ** ((words[address + row.factor_at] ^ 0x8000) - 0x8000)
            assert _same(value, point.values.get(number, point.otherwise) if point.values else number * point.scale), (name, value, number)
    return True


def _walked(words: Mapping[int, int]) -> Iterator[Model]:
    address, met = 40002, Counter[int]()
    while words.get(address, 0xFFFF) != 0xFFFF and met.total() < 64:
        number, length = words[address], words[address + 1]
        met[number] += 1
        yield Model(number, address, length, met[number])
        address += 2 + length


@given(st.dictionaries(st.integers(40004, 41100), WORDS, max_size=200))
@settings(max_examples=30)
def test_whatever_is_in_a_sunspec_device_s_registers(spoilt: dict[int, int]) -> None:
    async def story() -> None:
        device = SunSpec(MODELS, inverter() | storage(50.0) | grid_meter(100.0))
        line, memory = Image(device.words | {at: word for at, word in spoilt.items() if at in device.words}), Kept()
        for words in (line.words, device.words):
            line.words = words
            members: list[Member] = []
            reader = SunSpecReader("roof", line, LOAD("sunspec"), members.append, memory, wall=lambda: NOON)
            reader.start()
            try:
                polled = await reader.read()
                assert is_sound(polled)
                assert is_what_its_registers_say(polled, members[-1].profile, words)
            except SourceError:
                assert words is not device.words

    asyncio.run(story())
