"""Frames that are no answer to what was asked: whatever comes, registers are those that were asked for, or there is an error."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ohmstead.errors import NoAnswer, Refused, SourceError, WrongAnswer
from ohmstead.sources.sunspec_line import Endpoint, RegisterLine

Spoil = Callable[[int, bytes], bytes]
"""From a request's transaction and the registers that it asks for to what is sent."""


def frame(transaction: int, pdu: bytes, *, unit: int = 1, protocol: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">HHHB", transaction & 0xFFFF, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def answer(registers: bytes, *, function: int = 3, said: int | None = None) -> bytes:
    return bytes((function, len(registers) if said is None else said)) + registers


def registers_of(address: int, count: int) -> bytes:
    return b"".join((at & 0xFFFF).to_bytes(2, "big") for at in range(address, address + count))


@asynccontextmanager
async def line_to(spoil: Spoil, timeout_s: float) -> AsyncIterator[RegisterLine]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction, _, _, _, _, address, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                writer.write(spoil(transaction, registers_of(address, count)))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        line = RegisterLine(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], 1, timeout_s, 0))
        try:
            yield line
        finally:
            line.close()


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda number, octets: frame(number, answer(octets + b"\0\0")), WrongAnswer),
        (lambda number, octets: frame(number, answer(octets[:-2])), WrongAnswer),
        (lambda number, octets: frame(number, answer(octets[:-2], said=len(octets))), WrongAnswer),
        (lambda number, octets: frame(number, answer(octets, said=0)), WrongAnswer),
        (lambda number, octets: frame(number, answer(octets, function=4)), WrongAnswer),
        (lambda number, octets: frame(number, b"\x03"), WrongAnswer),
        (lambda number, octets: frame(number, b"\x83\x02"), Refused),
        (lambda number, octets: frame(number, b"\x83\xff"), Refused),
        (lambda number, octets: frame(number + 1, answer(octets)), NoAnswer),
        (lambda number, octets: frame(number, answer(octets), unit=7), NoAnswer),
        (lambda number, octets: frame(number, answer(octets), protocol=5), NoAnswer),
        (lambda number, octets: frame(number, answer(octets), length=0xFFFF), NoAnswer),
        (lambda number, octets: frame(number, b"", length=0), NoAnswer),
        (lambda number, octets: bytes(range(200, 240)), NoAnswer),
    ],
)
async def test_a_frame_that_is_not_the_answer_gives_no_registers(spoil: Spoil, error: type[SourceError]) -> None:
    async with line_to(spoil, 0.2 if error is NoAnswer else 20.0) as line:
        for _ in range(2):
            with pytest.raises(error):
                await line.read(40000, 10)


async def test_what_is_answered_twice_is_not_taken_for_the_next_answer() -> None:
    async with line_to(lambda number, octets: 2 * frame(number, answer(octets)), 20.0) as line:
        for address in range(0, 300, 7):
            assert await line.read(address, 5) == registers_of(address, 5)
