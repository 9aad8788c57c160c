"""A search: every address is asked on every port, few of them at once, and whoever answers is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple

from ohmstead.detect import calls, luxtronik, modbus, shelly
from ohmstead.detect.finding import Finding, distinct
from ohmstead.sources import luxtronik_wire

_MODBUS, _LUXTRONIK, _HTTP = modbus.PORT, luxtronik_wire.PORT, shelly.PORT

AT_ONCE = 64
"""Addresses that are asked together."""

PATIENCE_S = 1.0
"""How long a connection or an answer is waited for, in seconds."""

LISTENING_S = 3.0
"""How long calls in the network are listened to."""


class Ports(NamedTuple):
    """Where what listens."""

    modbus: Sequence[int] = (_MODBUS,)
    luxtronik: int = _LUXTRONIK
    http: int = _HTTP

    @property
    def all(self) -> tuple[int, ...]:
        return (*self.modbus, self.luxtronik, self.http)


class Survey:
    """`hosts` are asked on `ports`; `tick` is called for each of the `steps` that is done. `units`: Modbus units instead of the usual."""

    def __init__(
        self,
        hosts: Sequence[str],
        ports: Ports | None = None,
        *,
        units: Sequence[int] = (),
        patience_s: float = PATIENCE_S,
        at_once: int = AT_ONCE,
        listening_s: float = LISTENING_S,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._hosts = list(hosts)
        self._ports = ports or Ports()
        self._units = list(units)
        self._patience_s = patience_s
        self._few = asyncio.Semaphore(at_once)
        self._listening_s = listening_s
        self._tick = tick
        self.trouble: list[str] = []
        """What could not be done, for people."""

    @property
    def steps(self) -> int:
        return len(self._hosts) * len(self._ports.all)

    async def run(self) -> list[Finding]:
        """What was found, each device once, in the order of the addresses. `listening_s` 0: calls are not listened to."""
        listening = asyncio.create_task(self._called()) if self._listening_s > 0 else None
        try:
            found = await asyncio.gather(*(self._asked(look) for look in self._looks()))
            called = await listening if listening is not None else []
        finally:
            if listening is not None:
                listening.cancel()
        return distinct([finding for findings in (*found, called) for finding in findings])

    def _looks(self) -> Iterator[Coroutine[Any, Any, list[Finding]]]:
        for host in self._hosts:
            for port in self._ports.modbus:
                yield modbus.recognised(host, port, self._patience_s, self._units)
            yield luxtronik.recognised(host, self._ports.luxtronik, self._patience_s)
            yield shelly.recognised(host, self._ports.http, self._patience_s)

    async def _asked(self, look: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
        async with self._few:
            found = await look
        self._tick()
        return found

    async def _called(self) -> list[Finding]:
        """Shellys that called, wherever they are."""
        try:
            heard = await calls.heard(self._listening_s)
        except calls.NoEarError as error:
            self.trouble.append(str(error))
            return []
        found = await asyncio.gather(*(shelly.recognised(host, port, self._patience_s) for host, port in heard))
        return [finding for findings in found for finding in findings]
