"""An event loop whose name lookups hold up nobody.

asyncio looks names up in its pool of a few threads, in which the store is written to as well: a handful of names that no server answers
for (a device's `.local` name while it is away, a cloud while the line is down) would keep everything else waiting, and the process from
ending. Here each name has a daemon thread for as long as its lookup takes; who asks for a name that is being looked up waits with the
first one.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ohmstead.tasks import in_daemon_thread

_Key = tuple[bytes | str | None, bytes | str | int | None, int, int, int, int]


class Loop(asyncio.SelectorEventLoop):
    """The gateway's event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[_Key, asyncio.Task[list[Any]]] = {}

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As `socket.getaddrinfo`. Cancelling it ends the waiting, not the lookup. Raises OSError."""
        key = (host, port, family, type, proto, flags)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = self.create_task(_looked_up(key), name="lookup")
            lookup.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(lookup)

    def _forget(self, key: _Key, done: asyncio.Task[list[Any]]) -> None:
        del self._lookups[key]
        if not done.cancelled():
            done.exception()  # who asked may be gone: nobody else has to hear of it


async def _looked_up(key: _Key) -> list[Any]:
    found: list[Any] = []

    def look_up() -> None:
        host, port, family, kind, proto, flags = key
        found.extend(socket.getaddrinfo(host, port, family, kind, proto, flags))

    await in_daemon_thread(look_up, "lookup")
    return found
