"""A Luxtronik controller on TCP: serves a dump, or a heat pump that is made up, and can be unkind.

A dump is a JSON object with the lists `params`, `calcs` and `visis` of raw integers and, if need be, `calc_stat`. What `ohmstead dump`
writes of a controller is one as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_COUNTS = (1126, 269, 355)
_SOFTWARE = "V3.85.6"
_BEGAN = 1_700_000_000


@dataclass
class Vectors:
    """What a controller has to say, raw."""

    parameters: list[int]
    calculations: list[int]
    visibilities: list[int]
    status: int = 0


@dataclass
class Mood:
    """How unkind it is; may be changed at any time. `splits`: answers come in pieces of one to seven bytes. `silent`: it takes connections
    and says nothing. `ends_after`: it hangs up after so many bytes of a connection. `stops_after`: it says no more than so many and holds
    the line. `counts`: command → how many entries it claims to send. `echoes`: command → what it answers with instead. `late_s`:
    before each answer. `ignores_writes`: answers them as if it obeyed."""

    splits: bool = False
    silent: bool = False
    ends_after: int | None = None
    stops_after: int | None = None
    counts: dict[int, int] | None = None
    echoes: dict[int, int] | None = None
    late_s: float = 0.0
    ignores_writes: bool = False


def read_dump(path: Path) -> Vectors:
    """The vectors in a file. Raises ValueError that says what is wrong with it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found = found.get("raw", found)
        found = found.get("answers", found)
        lists = [found[key] for key in ("params", "calcs", "visis")]
        status = int(found.get("calc_stat", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: no dump of a Luxtronik, which is a JSON object with params, calcs and visis ({error})") from None
    for numbers, least, most in zip(lists, (-(2**31), -(2**31), -128), (2**31, 2**31, 128), strict=True):
        if not isinstance(numbers, list) or not all(isinstance(number, int) and least <= number < most for number in numbers):
            raise ValueError(f"{path}: params and calcs are lists of 32-bit integers, visis of 8-bit ones")
    parameters, calculations, visibilities = lists
    return Vectors(parameters, calculations, visibilities, status)


def made_up(now: float, settings: dict[int, int] | None = None) -> Vectors:
    """An air-to-water pump at the UTC second `now`: heats in turns of an hour, hot water at each sixth one, no second compressor and
    no solar collector. `settings` are parameters that were written."""
    hours = now / 3600
    outside = 5.0 + 4.0 * math.sin(2 * math.pi * (hours - 9) / 24) + 0.6 * math.sin(hours * 2.3)
    turn = hours % 1.0
    runs = turn < 0.65
    hot_water = runs and int(hours) % 6 == 0
    warm = (1 - math.exp(-turn * 6)) if runs else math.exp(-(turn - 0.65) * 4)
    flow = 26.0 + (22.0 if hot_water else 10.0 - 0.3 * outside) * warm
    back = flow - (5.2 * warm if runs else 0.4)
    output = round((7400 + 90 * outside) * warm) if runs else 0
    cop = 2.9 + 0.06 * outside - (0.6 if hot_water else 0.0)
    tank = 49.0 - 0.7 * (hours % 6.0) + (3.0 * turn if hot_water else 0.0)
    seconds = int(now) - _BEGAN
    calculations = [0] * _COUNTS[1]
    for index, tenths in {
        10: flow, 11: back, 12: 31.0, 13: 5.0, 14: 24.0 + 40.0 * warm, 15: outside, 16: outside - 0.4, 17: tank, 18: 50.0,
        19: outside - 2.5 * warm, 20: -50.0, 21: flow - 1.5, 22: 33.0, 26: 5.0, 27: 5.0, 28: 5.0, 227: 21.4, 228: 21.5,
        178: 6.0 * warm, 179: 6.0, 151: 21_410.0 + seconds / 3600 * 3.4, 152: 6_120.0 + seconds / 3600 * 0.6,
    }.items():  # fmt: skip
        calculations[index] = round(tenths * 10)
    for index, number in {
        29: 1, 31: 1, 33: 1, 34: 1, 36: 1, 38: hot_water, 39: runs and not hot_water, 42: runs, 44: runs,
        56: 9_000_000 + int(seconds * 0.65), 57: 5_200 + int(seconds / 3600), 63: 9_000_000 + int(seconds * 0.65),
        64: 7_400_000 + int(seconds * 0.54), 65: 1_600_000 + int(seconds * 0.11), 60: 120_300,
        67: int(turn * 3600) if runs else 0, 78: 44, 79: 1, 80: 1 if hot_water else 0 if runs else 5,
        91: -1073741308, 92: -256, 93: -1073741057, 94: -1073741311,
        95: 1_699_000_000, 100: 716, 105: 1, 106: 9, 111: int(now) // 3600 * 3600 + (2340 if turn >= 0.65 else -1260),
        117: 0 if runs else 1,
        119: (5 if hot_water else 0) if runs else 1, 120: int((turn if runs else turn - 0.65) * 3600), 134: int(now),
        155: 1180 if runs else 0, 173: 0, 180: round(100 * (8 + 14 * warm)), 181: round(100 * (8 - 3 * warm)),
        184: 620 if runs else 0, 231: round(30 + 40 * warm) if runs else 0, 241: 70 if runs else 0, 254: 1180 if runs else 0,
        257: output, 268: round(output / cop),
    }.items():  # fmt: skip
        calculations[index] = int(number)
    for at, character in enumerate(_SOFTWARE):
        calculations[81 + at] = ord(character)
    parameters = [0] * _COUNTS[0]
    for index, number in {
        1: 0, 2: 500, 3: 0, 4: 0, 11: 350, 12: 210, 13: 0, 74: 20, 105: 500, 108: 0, 110: 230, 119: 4, 132: 200, 134: 50,
        700: 160, 852: 214_100 + seconds // 100, 854: 2_141_000 + int(seconds / 36 * 3.4), 878: 612_000 + int(seconds / 36 * 0.6),
        894: 3,
    }.items():  # fmt: skip
        parameters[index] = number
    for index, raw in (settings or {}).items():
        parameters[index] = raw
    return Vectors(parameters, calculations, [int(index % 3 != 0) for index in range(_COUNTS[2])])


class LuxtronikPump:
    """`async with LuxtronikPump() as pump` listens on `pump.port`. `vectors` are served as they stand; without them the pump is made up and
    lives by the clock `wall`. `written` are the writes (index, raw), `connections` how many there were."""

    def __init__(
        self,
        vectors: Vectors | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mood: Mood | None = None,
        wall: Callable[[], float] = time.time,
        seed: int = 1,
    ) -> None:
        self.vectors = vectors
        self.mood = mood or Mood()
        self.host = host
        self.port = port
        self.connections = 0
        self.written: list[tuple[int, int]] = []
        self._settings: dict[int, int] = {}
        self._wall = wall
        self._chance = random.Random(seed)
        self._server: asyncio.Server | None = None
        self.talks: set[asyncio.Task[None]] = set()
        """One for each connection that is open."""
        self._lines: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> LuxtronikPump:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens; on the same port as before after a `stop`."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hangs up and listens no more."""
        if self._server is not None:
            self._server.close()
            for writer in self._lines:
                writer.transport.abort()
            await asyncio.gather(*self.talks)
            await self._server.wait_closed()
            self._server = None

    def said(self) -> Vectors:
        """What it would say now."""
        return self.vectors or made_up(self._wall(), self._settings)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.talks.add(task)
            task.add_done_callback(self.talks.discard)
        self.connections += 1
        self._lines.add(writer)
        line = _Line(writer, self.mood, self._chance)
        try:
            while True:
                command, argument = struct.unpack(">ii", await reader.readexactly(8))
                value = struct.unpack(">i", await reader.readexactly(4))[0] if command == 3002 else 0
                await line.send(self._answer(command, argument, value))
        except (asyncio.IncompleteReadError, OSError, _HangUp):
            pass  # the client has gone, or is to be left
        finally:
            self._lines.discard(writer)
            writer.close()

    def _answer(self, command: int, argument: int, value: int) -> bytes:
        vectors, counts, echoes = self.said(), self.mood.counts or {}, self.mood.echoes or {}
        echo = echoes.get(command, command)
        if command == 3002:
            self._write(argument, value)
            return struct.pack(">ii", echo, argument)
        if command == 3005:
            octets = struct.pack(f">{len(vectors.visibilities)}b", *vectors.visibilities)
            return struct.pack(">ii", echo, counts.get(command, len(vectors.visibilities))) + octets
        numbers = {3003: vectors.parameters, 3004: vectors.calculations}.get(command)
        if numbers is None:
            return b""
        head = (echo, vectors.status) if command == 3004 else (echo,)
        return struct.pack(f">{len(head) + 1 + len(numbers)}i", *head, counts.get(command, len(numbers)), *numbers)

    def _write(self, index: int, raw: int) -> None:
        self.written.append((index, raw))
        if self.mood.ignores_writes:
            return
        self._settings[index] = raw
        if self.vectors is not None and 0 <= index < len(self.vectors.parameters):
            self.vectors.parameters[index] = raw


class _HangUp(Exception):  # noqa: N818 - an order, not an error
    """The connection is to be ended."""


class _Line:
    """A connection's way out, as unkind as the mood says."""

    def __init__(self, writer: asyncio.StreamWriter, mood: Mood, chance: random.Random) -> None:
        self._writer = writer
        self._mood = mood
        self._chance = chance
        self._sent = 0

    async def send(self, answer: bytes) -> None:
        mood = self._mood
        if mood.silent:
            return
        await asyncio.sleep(mood.late_s)
        left = len(answer)
        for limit in (mood.ends_after, mood.stops_after):
            if limit is not None:
                left = min(left, max(limit - self._sent, 0))
        self._sent += left
        await self._write(answer[:left])
        if mood.ends_after is not None and self._sent >= mood.ends_after:
            raise _HangUp

    async def _write(self, octets: bytes) -> None:
        at = 0
        while at < len(octets):
            end = at + (self._chance.randint(1, 7) if self._mood.splits else len(octets))
            self._writer.write(octets[at:end])
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            if self._mood.splits:
                await asyncio.sleep(0)  # each piece is a segment of its own
            at = end
