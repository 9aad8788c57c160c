"""Waiting for a stream, a moment and a call, whichever comes first, without a task or a closure for each wait.

`asyncio.wait_for` starts a task every time (some 600 bytes); naps waste time and power. A waiter instead keeps one task of its own as
an alarm clock and moves it about in the queue of asyncio, as `Task.cancel` does. A wait for a stream allocates 96 bytes, others nothing.
"""

import asyncio
from asyncio import core  # type: ignore[attr-defined] # the stub lacks it

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_FOR_EVER = 100_000_000  # ms; less than half the range of ticks


class Waiter:
    """For one task. `timed_out` and `woken` tell how the last wait ended; neither: the stream is ready. While it is `deaf` a `wake` ends
    no wait; it counts for the next `pause`.
    """

    def __init__(self) -> None:
        self.timed_out = False
        self.woken = False
        self.deaf = False
        self._task = None
        self._yield = False
        self._wake_at_once = False
        self._end = StopIteration()
        self._alarm = asyncio.create_task(self._ring())

    def readable(self, stream: object, ms: int) -> "Waiter":
        """To be awaited: until `stream` has bytes (or is broken), `wake` is called or `ms` are over."""
        core._io_queue.queue_read(stream)
        return self._wait(ms)

    def writable(self, stream: object, ms: int) -> "Waiter":
        """To be awaited: until `stream` takes bytes (or is broken), `wake` is called or `ms` are over."""
        core._io_queue.queue_write(stream)
        return self._wait(ms)

    def pause(self, ms: int) -> "Waiter":
        """To be awaited: until `wake` is called or `ms` are over. A wake that came while nobody waited counts."""
        core.cur_task.data = self
        return self._wait(0 if self._wake_at_once else ms)

    def wake(self) -> None:
        """Ends the wait, or the next `pause` if there is none at the moment."""
        if self._waits() and not self.deaf:
            self.woken = True
            self._release()
        else:
            self._wake_at_once = True

    def close(self) -> None:
        self._alarm.cancel()

    def remove(self, task: object) -> None:
        """For `Task.cancel`, which asks whatever the task waits for to let go of it."""

    def _wait(self, ms: int) -> "Waiter":
        self.timed_out = self.woken = False
        if not self.deaf:
            self._wake_at_once = False
        self._task = core.cur_task
        self._yield = True
        core._task_queue.remove(self._alarm)
        core._task_queue.push(self._alarm, core.ticks_add(core.ticks(), ms))
        return self

    async def _ring(self) -> None:
        while True:
            if self._waits():
                self.timed_out = True
                self._release()
            await asyncio.sleep_ms(_FOR_EVER)

    def _waits(self) -> bool:
        """`data` is what the task waits for; asyncio empties it when it puts the task into the queue of those that run."""
        return self._task is not None and self._task.data is not None

    def _release(self) -> None:
        core._io_queue.remove(self._task)
        core._task_queue.push(self._task)

    def __iter__(self) -> "Iterator[None]":
        return self

    def __await__(self) -> "Generator[None, None, None]":
        return self  # type: ignore[return-value] # MicroPython awaits whatever can be iterated over

    def __next__(self) -> None:
        if self._yield:
            self._yield = False
            return
        self._task = None
        self._end.__traceback__ = None
        raise self._end
