"""Ending asyncio tasks for sure, and blocking calls that must not hold up an end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection
from typing import Any

_AGAIN_S = 0.1


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks and returns when they have ended, however they did.

    Asked again and again: before Python 3.12 `asyncio.wait_for` forgets a cancellation that comes in the moment of its result.
    """
    going = {task for task in tasks if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_AGAIN_S)


async def asleep_until(moment: float) -> None:
    """Sleeps until `moment` of the loop's clock. Whoever sleeps until the same moment wakes in the same turn of the loop."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at(moment, _wake, woken)
    try:
        await woken
    finally:
        timer.cancel()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


async def in_daemon_thread(function: Callable[[], None], name: str) -> None:
    """Runs a blocking call in a daemon thread: unlike an executor's, it never holds up the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        error: Exception | None = None
        try:
            function()
        except Exception as failure:  # noqa: BLE001 - carried to whoever awaits
            error = failure
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    await done
