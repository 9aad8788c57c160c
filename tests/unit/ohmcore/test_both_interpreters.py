"""CPython and MicroPython give the same answer to every question: values, errors and their texts."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohmcore import frames, gateway, rtu, server
from ohmcore.kinds import WORDS, encode
from ohmcore.pack import Packer

from .strategies import keys, kinds, messages, orders, scalars, without_maps
from .suite import answers

REPOSITORY = Path(__file__).resolve().parents[3]


class Interpreter:
    """A MicroPython that answers line by line."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            [*command, "-X", "heapsize=8M", "-m", "tests.unit.ohmcore.suite.answers"],
            env={"MICROPYPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'shared'}", "PATH": os.environ.get("PATH", "")},
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def answer(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        ready, _, _ = select.select([self._process.stdout], [], [], 20)
        assert ready, f"no answer within 20 s to {line}"
        return self._process.stdout.readline().decode()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(30)


@pytest.fixture(scope="module")
def interpreter(micropython: list[str]) -> Iterator[Interpreter]:
    started = Interpreter(micropython)
    yield started
    started.end()


def agree(interpreter: Interpreter, *question: object) -> object:
    line = json.dumps([answers.written(part) for part in question])
    here = json.loads(answers.answer(line))
    there = interpreter.answer(line)
    assert there, f"MicroPython ended over {line}"
    assert json.loads(there) == here, line
    return here


many = settings(max_examples=200)


@many
@given(raw=st.binary(max_size=300))
def test_checksums(interpreter: Interpreter, raw: bytes) -> None:
    agree(interpreter, "crc", raw)


@many
@given(data=st.data(), kind=kinds, order=orders)
def test_registers_that_are_there(interpreter: Interpreter, data: st.DataObject, kind: str, order: str) -> None:
    words = WORDS[kind] + (data.draw(st.integers(0, 8)) if kind in ("str", "bit", "byte") else 0)
    raw = data.draw(st.binary(min_size=2 * words, max_size=2 * words + 6))
    offset = data.draw(st.integers(0, len(raw) - 2 * words))
    here = agree(interpreter, "decode", kind, raw, offset, words, order)
    assert isinstance(here, list)
    assert here[0] != "error"


@many
@given(
    kind=kinds | st.just("u8"),
    raw=st.binary(max_size=12),
    offset=st.integers(-3, 12),
    words=st.integers(-1, 6),
    order=orders | st.just("none"),
)
def test_registers_that_may_not_be_there(interpreter: Interpreter, kind: str, raw: bytes, offset: int, words: int, order: str) -> None:
    agree(interpreter, "decode", kind, raw, offset, words, order)


@many
@given(
    kind=st.sampled_from(["u16", "i16", "u32", "i32", "u64", "i64", "bit"]),
    value=st.integers(-(1 << 65), 1 << 65),
    words=st.just(0),
    order=orders,
)
def test_integers_encoded(interpreter: Interpreter, kind: str, value: int, words: int, order: str) -> None:
    agree(interpreter, "encode", kind, value, words, order)


@many
@given(kind=st.sampled_from(["f32", "f64"]), value=st.floats(width=64), order=orders)
def test_floats_encoded(interpreter: Interpreter, kind: str, value: float, order: str) -> None:
    line = json.dumps([answers.written(part) for part in ("encode", kind, value, 0, order)])
    here, there = json.loads(answers.answer(line)), json.loads(interpreter.answer(line))
    if here[0] == "error":
        assert there[:2] == here[:2]  # the text has the number in it, and each interpreter writes floats its own way
    else:
        assert there == here


@many
@given(
    kind=st.sampled_from(["str", "dat", "byte"]),
    value=st.text(max_size=20) | st.text("0123456789 :-", max_size=20),
    words=st.integers(0, 6),
)
def test_text_encoded(interpreter: Interpreter, kind: str, value: str, words: int) -> None:
    agree(interpreter, "encode", kind, value, words, "big")


@many
@given(value=without_maps, size=st.integers(0, 400))
def test_messages_packed(interpreter: Interpreter, value: object, size: int) -> None:
    agree(interpreter, "pack", value, size)


@many
@given(value=messages, size=st.integers(0, 400))
def test_messages_packed_and_unpacked(interpreter: Interpreter, value: object, size: int) -> None:
    agree(interpreter, "around", value, size)


@many
@given(value=messages, depth=st.integers(0, 8), items=st.integers(0, 300))
def test_messages_unpacked(interpreter: Interpreter, value: object, depth: int, items: int) -> None:
    packer = Packer(bytearray(1 << 18))
    packer.value(value)
    agree(interpreter, "unpack", packer.message(), depth, items, 4096)


@many
@given(raw=st.binary(max_size=60))
def test_garbage_unpacked(interpreter: Interpreter, raw: bytes) -> None:
    agree(interpreter, "unpack", raw)


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-.", min_size=1, max_size=20)
ranges = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 65000), st.integers(1, 60).map(lambda words: bytes(2 * words))), min_size=1, max_size=5
)


@many
@given(
    data=st.data(),
    boot=st.integers(1, frames.MAX_BOOT),
    seq=st.integers(1, 1 << 40),
    uptime=st.integers(0, 1 << 45),
    device=names,
    group=names,
    read=ranges,
)
def test_frames_sound_and_broken(
    interpreter: Interpreter,
    data: st.DataObject,
    boot: int,
    seq: int,
    uptime: int,
    device: str,
    group: str,
    read: list[tuple[int, int, bytes]],
) -> None:
    packer = Packer(bytearray(2048))
    gateway.pack_data(packer, boot, seq, uptime, device, group, frames.GOOD, read)
    raw = bytearray(packer.message())
    here = agree(interpreter, "frame", bytes(raw))
    assert isinstance(here, list)
    assert here[1] == answers.written((boot, seq, uptime, device, group, 0, tuple(read)))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    agree(interpreter, "frame", bytes(raw))


@many
@given(value=st.lists(scalars | st.lists(scalars, max_size=2) | st.dictionaries(keys, scalars, max_size=1), min_size=4, max_size=9))
def test_messages_that_are_hardly_frames(interpreter: Interpreter, value: list[object]) -> None:
    packer = Packer(bytearray(1 << 18))
    packer.value([frames.PROTOCOL, *value[1:]])
    agree(interpreter, "frame", packer.message())


@many
@given(data=st.data(), function=st.integers(1, 4), payload=st.binary(min_size=1, max_size=30).map(lambda half: half + half))
def test_replies_sound_and_broken(interpreter: Interpreter, data: st.DataObject, function: int, payload: bytes) -> None:
    buf = bytearray(256)
    raw = buf[: rtu.build(buf, 252, server.build_read_reply(buf, rtu.PDU_START, function, payload))]
    count = len(payload) // 2 if function > 2 else len(payload) * 8
    here = agree(interpreter, "reply", bytes(raw), 252, function, 100, count)
    assert here == answers.written([1, len(raw) - 2, 3])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    agree(interpreter, "reply", bytes(raw), 252, function, 100, count)
    agree(interpreter, "reply", bytes(raw[: data.draw(st.integers(0, len(raw)))]), 252, function, 100, count)


def test_single_precision_counters_are_exact_on_both(interpreter: Interpreter) -> None:
    assert agree(interpreter, "decode", "u32", encode("u32", 16777217), 0, 2, "big") == ["int", "16777217"]
