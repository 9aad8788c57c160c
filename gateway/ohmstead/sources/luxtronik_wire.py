"""The Luxtronik's own protocol, TCP port 8889: big-endian 32-bit integers, one question and one answer at a time.

`3003,0` → `3003,n,int32[n]` parameters; `3004,0` → `3004,status,n,int32[n]` calculations; `3005,0` → `3005,n,int8[n]` visibilities;
`3002,index,value` → `3002,index`, which says nothing of the value. How many there are is the firmware's affair (1086–1188, 200–280 and
336–380 have been seen).
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from ohmstead.errors import NoAnswer, Unreachable, WrongAnswer, in_words

PORT = 8889
WRITE, PARAMETERS, CALCULATIONS, VISIBILITIES = 3002, 3003, 3004, 3005

_NAMES = {PARAMETERS: "parameters", CALCULATIONS: "calculations", VISIBILITIES: "visibilities"}
_FEWEST, _MOST = 100, 4096
"""Entries of a block. The software version ends at calculation 90: a shorter block is none."""


class Blocks(NamedTuple):
    """What one poll read, raw."""

    parameters: Sequence[int]
    calculations: Sequence[int]
    visibilities: Sequence[int]


class Endpoint(NamedTuple):
    """Where a controller listens. `silence_s`: the longest wait for a connection and for each answer, in seconds."""

    host: str
    port: int = PORT
    silence_s: float = 10.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Conversation:
    """An open connection. Its methods raise NoAnswer when no whole answer comes in time, WrongAnswer for an answer to something else."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._writer = writer

    async def blocks(self) -> Blocks:
        """All three blocks."""
        parameters = await self.block(PARAMETERS)
        calculations = await self.block(CALCULATIONS)
        return Blocks(parameters, calculations, await self.block(VISIBILITIES))

    async def block(self, command: int) -> Sequence[int]:
        """One block of raw values."""
        what = f"{_NAMES[command]} of {self._endpoint}"
        async with self._in_time(what):
            await self._ask(command, 0)
            await self._echo(command, what)
            if command == CALCULATIONS:
                await self._integers(1)  # a status that nobody explains
            (count,) = await self._integers(1)
            if not _FEWEST <= count <= _MOST:
                raise WrongAnswer(f"{what}: it wants to send {count} of them; {_FEWEST} to {_MOST} would be believed")
            if command == VISIBILITIES:
                return struct.unpack(f">{count}b", await self._reader.readexactly(count))
            return await self._integers(count)

    async def write(self, index: int, raw: int) -> None:
        """Sets a parameter. That the controller took the value is not known before it has been read again."""
        what = f"write of parameter {index} of {self._endpoint}"
        async with self._in_time(what):
            await self._ask(WRITE, index, raw)
            await self._echo(WRITE, what)
            (echoed,) = await self._integers(1)
            if echoed != index:
                raise WrongAnswer(f"{what}: it answered for parameter {echoed}")

    async def _ask(self, *words: int) -> None:
        self._writer.write(struct.pack(f">{len(words)}i", *words))
        await self._writer.drain()

    async def _echo(self, command: int, what: str) -> None:
        (echoed,) = await self._integers(1)
        if echoed != command:
            raise WrongAnswer(f"{what}: asked for {command}, it answered with {echoed}; is this a Luxtronik?")

    async def _integers(self, count: int) -> Sequence[int]:
        """Exactly so many, however the network cuts them up."""
        return struct.unpack(f">{count}i", await self._reader.readexactly(4 * count))

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._endpoint.silence_s):
                yield
        except TimeoutError:
            raise NoAnswer(f"{what}: no whole answer within {self._endpoint.silence_s:g} s") from None
        except asyncio.IncompleteReadError as error:
            raise NoAnswer(f"{what}: it hung up in the middle of its answer") from error
        except OSError as error:
            raise NoAnswer(f"{what}: {in_words(error)}") from error


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[Conversation]:
    """A connection for as long as the block lasts; it is closed however that ends. Raises Unreachable."""
    try:
        async with asyncio.timeout(endpoint.silence_s):
            reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except TimeoutError:
        raise Unreachable(f"{endpoint}: nobody took the connection within {endpoint.silence_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{endpoint}: {in_words(error)}") from error
    try:
        yield Conversation(endpoint, reader, writer)
    except BaseException:
        writer.transport.abort()  # nobody waits for the rest of an answer
        raise
    writer.close()
    with contextlib.suppress(OSError):  # it hung up first
        await writer.wait_closed()
