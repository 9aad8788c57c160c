"""A node's bus in virtual time: waiting costs nothing, an hour of faults takes seconds. Runs on CPython and on MicroPython.

Import this before `ohmnode.line` or `ohmnode.bus`: it stands in for the module `ohmnode.waiter` and, after `adopt`, for `asyncio` in
them. Nothing ever really waits, so a coroutine of theirs runs to its end in one step (`World.run`).
"""

import sys

_PERIOD = 1 << 30  # of ticks_ms on an ESP32
_HALF = _PERIOD >> 1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    Peer = Callable[[bytes], list[tuple[int, bytes]]]


class Random:
    """The same numbers on every interpreter (xorshift32)."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 2654435761 + 88172645) & 0xFFFFFFFF or 1

    def number(self, below: int) -> int:
        state = self._state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self._state = state
        return (state >> 4) % below

    def octets(self, size: int) -> bytes:
        return bytes([self.number(256) for _ in range(size)])


class World:
    """The clock, and what of a HAL the bus task needs. Ticks wrap every 2**30 ms. `now`: milliseconds since the world began."""

    name = "virtual"
    flash_writes = 0
    flash_bytes = 0

    def __init__(self, began: int = 0) -> None:
        self.now = began
        self.files: dict[str, bytes] = {}
        self.wires: dict[str, Wire] = {}
        self.random_source = Random(1)

    def ticks_ms(self) -> int:
        return self.now % _PERIOD

    def ticks_diff(self, later: int, earlier: int) -> int:
        return ((later - earlier + _HALF) % _PERIOD) - _HALF

    def ticks_add(self, ticks: int, ms: int) -> int:
        return (ticks + ms) % _PERIOD

    def random(self, size: int) -> bytes:
        return self.random_source.octets(size)

    def memory_free(self) -> int:
        return 0

    def read(self, name: str) -> "bytes | None":
        return self.files.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def wrote(self, size: int) -> None:
        pass

    def uart(self, bus: "dict[str, Any]") -> "Wire":
        return self.wires[bus["port"]]

    def run(self, coroutine: "Coroutine[Any, Any, Any]") -> "Any":
        """What the coroutine returns. It must not wait for anything but this world."""
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits for something outside of this world")


class Asyncio:
    """As much of the module as the bus task uses."""

    def __init__(self) -> None:
        self.world = World()

    async def sleep_ms(self, ms: int) -> None:
        self.world.now += max(ms, 0)


class Wire:
    """A serial line. `peer` gets every request and says what comes back: pieces of (ms after the request's end, bytes).

    `babble`: bytes that come each millisecond, for ever. `written`: all requests. `forms`: what the line was set to, one after the other.
    """

    def __init__(self, world: World, peer: "Peer") -> None:
        self.world = world
        self.peer = peer
        self.babble = b""
        self.written: list[bytes] = []
        self.sent_at: list[int] = []
        self.forms: list[tuple[int, str, int]] = []
        self.form_at: list[int] = []
        self.char_ms = 0.5
        self.stream = self
        self._coming: list[tuple[int, bytes]] = []
        self._last: dict[int, int] = {}
        self._babbled = world.now

    def set_format(self, baud: int, parity: str, stop: int) -> None:
        self.forms.append((baud, parity, stop))
        self.form_at.append(self.world.now)

    def write(self, buffer: bytearray, size: int) -> bool:
        request = bytes(buffer[:size])
        self.written.append(request)
        self.sent_at.append(self.world.now)
        end = self.world.now + int(size * self.char_ms)
        for delay, piece in self.peer(request):
            at = max(end + delay, self._last.get(request[0], 0))  # a device does one thing after the other
            self._last[request[0]] = at
            self._coming.append((at, piece))
        self._coming.sort()
        return True

    def sent(self) -> bool:
        return True

    def due(self) -> "int | None":
        """When the next byte is there; None: it never comes."""
        if self.babble:
            return self.world.now
        return self._coming[0][0] if self._coming else None

    def readinto(self, buffer: memoryview) -> int:
        got = 0
        while self._coming and got < len(buffer) and self._coming[0][0] <= self.world.now:
            at, piece = self._coming[0]
            part = piece[: len(buffer) - got]
            buffer[got : got + len(part)] = part
            got += len(part)
            if len(part) < len(piece):
                self._coming[0] = (at, piece[len(part) :])
            else:
                del self._coming[0]
        if self.babble:
            while got < len(buffer) and self._babbled < self.world.now:
                self._babbled += 1
                part = self.babble[: len(buffer) - got]
                buffer[got : got + len(part)] = part
                got += len(part)
        return got

    def clear(self) -> int:
        scrap = memoryview(bytearray(256))
        total = got = self.readinto(scrap)
        while got:
            got = self.readinto(scrap)
            total += got
        return total

    def close(self) -> None:
        pass


asyncio = Asyncio()


class Waiter:
    """Stands for `ohmnode.waiter.Waiter`."""

    def __init__(self) -> None:
        self.timed_out = False
        self.woken = False

    async def readable(self, stream: "Any", ms: int) -> None:
        world = asyncio.world
        due = stream.due()
        self.timed_out = due is None or due > world.now + ms
        world.now = world.now + ms if self.timed_out else max(world.now, due)

    async def writable(self, stream: "Any", ms: int) -> None:
        self.timed_out = False

    async def pause(self, ms: int) -> None:
        asyncio.world.now += ms

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


class _WaiterModule:
    Waiter = Waiter


class _Gc:
    def collect(self) -> None:
        """A real collection would take longer than all the rest."""


sys.modules["ohmnode.waiter"] = _WaiterModule()  # type: ignore[assignment]  # a module as far as an import is concerned


def adopt(world: World, *modules: "Any") -> World:
    """From now on these modules live in this world."""
    asyncio.world = world
    for module in modules:
        if hasattr(module, "asyncio"):
            module.asyncio = asyncio
        if hasattr(module, "gc"):
            module.gc = _Gc()
    return world
