"""A Luxtronik's protocol where it goes wrong in ways that the simulated controller does not know, and vectors of any firmware."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import pytest
from luxtronik.calculations import Calculations
from luxtronik.parameters import Parameters
from luxtronik.visibilities import Visibilities

from ohmstead.errors import NoAnswer, Refused, Unreachable, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.luxtronik import NOTHING, entries, entry, extended
from ohmstead.readings import Value
from ohmstead.sim.luxtronik import LuxtronikPump
from ohmstead.sources.luxtronik import OPTIONAL, LuxtronikReader
from ohmstead.sources.luxtronik_wire import Endpoint, connected
from tests.unit.test_luxtronik import ZONE, reader_of, small

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[Endpoint]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], 20.0)


async def test_an_answer_to_a_write_of_another_parameter_is_wrong() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(12)
        writer.write(struct.pack(">ii", 3002, 3))

    async with listening(serve) as endpoint, connected(endpoint) as conversation:
        with pytest.raises(WrongAnswer, match="it answered for parameter 3"):
            await conversation.write(2, 480)


async def test_a_connection_that_is_reset_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(struct.pack(">ii", 3003, 1000))
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        writer.transport.abort()

    async with listening(serve) as endpoint:
        reader = LuxtronikReader("pump", endpoint, Decoder(library.load("luxtronik"), ZONE), ZONE, lambda: 0.0)
        with pytest.raises(NoAnswer):
            await reader.read()


@pytest.mark.parametrize("host", ["no..name", "a" * 64 + ".example"])
async def test_a_name_that_is_none_is_unreachable(host: str) -> None:
    with pytest.raises(Unreachable, match="there is no such name"):
        async with connected(Endpoint(host)):
            pass


async def test_drops_are_no_answer_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then must not keep a poll going: the time is that of the whole answer."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"\0")
            await asyncio.sleep(0.02)

    async with listening(serve) as endpoint, connected(endpoint) as conversation:
        conversation._endpoint = endpoint._replace(silence_s=0.3)
        monkeypatch.setattr(conversation, "_echo", lambda *_: conversation._integers(100_000))
        with pytest.raises(NoAnswer, match="no whole answer within"):
            await conversation.block(3003)


async def test_a_setting_that_this_controller_does_not_have_is_not_written() -> None:
    vectors = small()
    del vectors.parameters[105:]
    async with LuxtronikPump(vectors) as pump:
        with pytest.raises(WrongAnswer, match="has 105 parameters"):
            await reader_of(pump).write("P108", 1)
        assert await reader_of(pump).held("P2") == 0
        assert await reader_of(pump).held("C10") is None
        assert pump.written == []


async def test_a_setting_that_takes_its_time_is_waited_for() -> None:
    class Slow(LuxtronikPump):
        """What is written shows with the second look at it."""

        later: tuple[int, int] | None = None
        looks = 0

        def _answer(self, command: int, argument: int, value: int) -> bytes:
            if command == 3002:
                self.later = argument, value
                return struct.pack(">ii", command, argument)
            if command == 3003 and self.later is not None:
                self.looks += 1
                if self.looks == 2:
                    self._write(*self.later)
            return super()._answer(command, argument, value)

    async with Slow(small()) as pump:
        assert await reader_of(pump).write("P2", 480) == 480
        assert pump.looks == 2


async def test_a_control_of_what_the_library_does_not_hold_safe_is_refused() -> None:
    """A profile of an owner's own cannot open more than that."""
    profile = library.load("luxtronik")
    control = profile.controls["heating_correction"].model_copy(update={"point": "heating_limit"})
    async with LuxtronikPump() as pump:
        with pytest.raises(Refused, match="P700 is nothing that may be written"):
            await reader_of(pump, profile.model_copy(update={"controls": {"heating_limit": control}})).write("P700", 100)
        assert pump.connections == 0


# Vectors of any firmware


def any_number(chance: random.Random) -> int:
    return chance.choice(
        (chance.randint(-1000, 3000), chance.randint(-(2**31), 2**31 - 1), chance.choice((0, 1, 2, 3, 50, 750, -500, NOTHING, -(2**31))))
    )


def is_absent(field: str, kind: str, raw: int) -> bool:
    """Deviations from the library: placeholders, codes without a name, moments before 1970 and times of no seconds."""
    if raw == NOTHING or (kind == "Timestamp" and raw <= 0) or (kind == "Celsius" and field[0] == "C" and raw == -500):
        return True
    return field in OPTIONAL and (raw == 0 or (kind == "Celsius" and raw in (50, 750)))


@pytest.mark.parametrize("everything", [False, True], ids=["usual points", "every number a point"])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_numbers_the_values_are_the_library_s(seed: int, everything: bool) -> None:
    chance = random.Random(seed)
    lengths = {"C": chance.choice((200, 260, 280)), "P": chance.choice((1086, 1126, 1188)), "V": chance.choice((336, 355, 380))}
    raw = {
        block: [any_number(chance) if block != "V" else chance.randint(-128, 127) for _ in range(length)]
        for block, length in lengths.items()
    }
    raw["C"][81:91] = [ord(sign) for sign in "V3.85.6\0\0\0"]
    profile = library.load("luxtronik")
    if everything:
        profile = extended(profile, entries().values())
    reader = LuxtronikReader("pump", Endpoint("127.0.0.1"), Decoder(profile, ZONE), ZONE, lambda: 0.0)
    values = reader._decoder.decode_fields(reader._fields(raw, 0.0)) | reader._further.news(raw, 1, reader._is_absent)
    named = {point.field: point.id for point in profile.points.values()}
    tables = {"C": Calculations.calculations, "P": Parameters.parameters, "V": Visibilities.visibilities}
    for block, numbers in raw.items():
        for at, number in enumerate(numbers):
            field = f"{block}{at}"
            value = values.pop(named.get(field, entry(block, at).id), None)
            if field == "C81":
                assert value == "V3.85.6"
            if block == "C" and 81 <= at <= 90:
                continue
            kind = tables[block].get(at)
            said = number if kind is None else kind.from_heatpump(number)
            if said is None or is_absent(field, type(kind).__name__, number):
                assert value is None, field
            elif field != "C268":  # which is held against the heat
                assert is_same(value, said, field), (field, number, value, said)
    assert values == {}


def is_same(value: Value | None, said: object, field: str) -> bool:
    if isinstance(said, datetime):
        return datetime.fromisoformat(str(value)).timestamp() == said.timestamp()
    if isinstance(said, bool):
        return value in (("off", 0), ("on", 1))[said]
    if field in ("P852", "P854"):  # hundredths of a kWh, which the library does not know
        return value == pytest.approx(float(str(said)) / 100)
    return value == said
