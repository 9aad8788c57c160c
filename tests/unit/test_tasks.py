"""Tasks end even when they overhear the first request."""

from __future__ import annotations

import asyncio
import contextlib

from ohmstead.tasks import end


async def test_a_task_that_swallows_a_cancellation_is_asked_again() -> None:
    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def failing() -> None:
        raise ValueError

    async def obedient() -> None:
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(work()) for work in (deaf, failing, obedient)]
    await asyncio.sleep(0)
    await asyncio.wait_for(end(tasks), 2)
    assert all(task.done() for task in tasks)
    assert isinstance(tasks[1].exception(), ValueError)
