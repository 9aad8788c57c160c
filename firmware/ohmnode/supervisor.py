"""Keeps the tasks alive: each has to beat, one that ends is started again, and the watchdog is fed only while all of them beat."""

import asyncio
import gc

from ohmcore import const
from ohmnode import overlay

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hal import Hal
    from ohmnode.outbox import Outbox

_PULSE_MS = const(25)
_CHECK_MS = const(500)
_WATCHDOG_MS = const(30000)
_FIRST_MS = const(1000)
_MOST_MS = const(30000)
_STARVED = const(5)
_BRISK_MS = const(5000)  # who has to beat so often has no time for long pauses
_STEADY_MS = const(60000)
_END_TURNS = const(1000)


class Ward:
    """A task under supervision. It calls `beat` at least once in `limit_ms`."""

    def __init__(self, hal: "Hal", name: str, begin: "Callable[[Ward], Coroutine[None, None, None]]", limit_ms: int) -> None:
        self.name = name
        self.begin = begin
        self.limit_ms = limit_ms
        self.restarts = 0
        self.cancelled = False
        self.task: "asyncio.Task[None] | None" = None
        self._hal = hal
        self._last = hal.ticks_ms()

    def beat(self) -> None:
        self._last = self._hal.ticks_ms()

    def silent_ms(self) -> int:
        return self._hal.ticks_diff(self._hal.ticks_ms(), self._last)


class Supervisor:
    """`lag_ms`: the longest that anything kept the other tasks waiting since `take_lag`."""

    def __init__(self, hal: "Hal", outbox: "Outbox") -> None:
        self._hal = hal
        self._outbox = outbox
        self._lag_ms = 0
        self.wards: "list[Ward]" = []
        self.leave: "int | str | None" = None  # what `run` is to return at the next opportunity

    def add(self, name: str, begin: "Callable[[Ward], Coroutine[None, None, None]]", limit_ms: int) -> None:
        self.wards.append(Ward(self._hal, name, begin, limit_ms))

    def take_lag(self) -> int:
        lag = self._lag_ms
        self._lag_ms = 0
        return lag

    def restarts(self) -> int:
        return sum([ward.restarts for ward in self.wards])

    async def run(self) -> "int | str":
        """Until `leave` is set, or the watchdog of a machine without one would have bitten; returns that, or the exit code for it."""
        hal = self._hal
        hal.watchdog_start(_WATCHDOG_MS)
        for ward in self.wards:
            ward.task = asyncio.create_task(self._guard(ward))
        starved = 0
        since_check = 0
        while self.leave is None:
            planned = hal.ticks_add(hal.ticks_ms(), _PULSE_MS)
            await asyncio.sleep_ms(_PULSE_MS)
            lag = hal.ticks_diff(hal.ticks_ms(), planned)
            self._lag_ms = max(self._lag_ms, lag)
            since_check += _PULSE_MS + lag
            if since_check < _CHECK_MS:
                continue
            starved = starved + since_check if self._stalled() else 0
            since_check = 0
            if not starved:
                hal.watchdog_feed()
            elif starved > _WATCHDOG_MS and hal.give_up(75):
                return 75
        return self.leave

    async def end(self) -> None:
        """Ends all tasks; what they hold they let go of on the way."""
        for ward in self.wards:
            ward.cancelled = False  # so that its guard ends as well
            if ward.task is not None:
                ward.task.cancel()
        for ward in self.wards:
            for _ in range(_END_TURNS):
                if ward.task is None or ward.task.done():
                    break
                await asyncio.sleep_ms(1)

    def _stalled(self) -> bool:
        """Whether a task is overdue. The first time it is cancelled, which starts it anew; after that only a reset is left."""
        stalled = False
        for ward in self.wards:
            if ward.silent_ms() <= ward.limit_ms:
                continue
            stalled = True
            if not ward.cancelled and ward.task is not None:
                ward.cancelled = True
                ward.task.cancel()
        return stalled

    async def _guard(self, ward: Ward) -> None:
        pause = _FIRST_MS
        starved = 0
        while True:
            began = self._outbox.uptime_ms()
            ward.beat()
            try:
                await ward.begin(ward)
                reason = "it ended"
            except asyncio.CancelledError:
                if not ward.cancelled:
                    raise
                reason = f"no sign of life for {ward.silent_ms()} ms"
            except MemoryError as failure:
                overlay.reserve(False)
                reason = repr(failure)
                starved += 1
            except Exception as failure:  # noqa: BLE001 - whatever it was: it is told, and the task starts anew
                reason = repr(failure)
            ward.restarts += 1
            if self._outbox.uptime_ms() - began > _STEADY_MS:
                pause = _FIRST_MS
                starved = 0
            if starved > _STARVED:
                self.leave = ""  # it lies in too many pieces, again and again: a start finds it whole
            try:
                self._outbox.log(ward.name, f"failed: {reason}; starts again in {pause} ms")
                self._outbox.event("", "fault", {"task": ward.name, "reason": reason[:120], "restarts": ward.restarts})
            except MemoryError:  # then `restarts` alone tells it
                gc.collect()
            for _ in range(pause // _FIRST_MS):
                ward.beat()
                await asyncio.sleep_ms(_FIRST_MS)
            ward.cancelled = False
            pause = min(2 * pause, _MOST_MS if ward.limit_ms > _BRISK_MS else _FIRST_MS)
