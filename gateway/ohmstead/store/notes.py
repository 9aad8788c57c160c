"""Events of the gateway itself on their way into the store: written one after the other off the event loop, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ohmstead.store.protocol import Store, StoredEvent, StoreError

log = structlog.get_logger(service="store")


class Notes:
    """`note` returns at once; `close` waits for what is under way. What the store does not take is told in the log."""

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store = store
        self._wall = wall
        self._under_way: set[asyncio.Task[None]] = set()

    def note(self, device: str, kind: str, detail: Mapping[str, object]) -> None:
        """Keeps that something happened now."""
        writing = asyncio.create_task(self._write(StoredEvent(self._wall(), "", device, kind, detail)), name=f"note-{kind}")
        self._under_way.add(writing)
        writing.add_done_callback(self._under_way.discard)

    async def close(self, seconds: float) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)

    async def _write(self, event: StoredEvent) -> None:
        try:
            await asyncio.to_thread(self._store.append_event, event)
        except StoreError as error:
            log.error("an event was not stored", device=event.device, kind=event.kind, reason=str(error))
