"""A source that is asked every so often: time-outs, pauses, breaker, health and life, once for all of them.

What speaks to the device or the cloud is a `Reader`; it knows one way to ask and raises a `SourceError` when there is nothing to show.
Nobody but `PolledSource` asks again. A poll that failed leaves its readings out, an interval that was missed is never filled in later.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import structlog

from ohmstead.errors import NoAnswer, RateLimited, RetryLater, SourceError, Unauthorised, Unreachable
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.resilience import BackOff, Breaker, Health

_AWAY_AFTER = 2
"""Polls in a row without an answer: the device counts as away. One that refuses the connection is away at once."""

_UNAUTHORISED_PAUSE_S = 300.0
"""Who was sent away for a wrong password or token asks again after so long at the earliest: some lock out whoever insists."""

_LONGEST_WAIT_S = 86_400.0
"""Nobody is left alone for longer than a day, whatever it says."""


class Member(NamedTuple):
    """A device that is found behind another one: an inverter behind a DTU, a room unit behind a cloud's gateway.

    `device` is its whole name, that of what it is behind and a part of its own ("roof-114182a0b1c2"), of a-z, 0-9, _ and -; or the
    name of the very device whose profile is only known once it has answered.
    """

    device: str
    name: str
    profile: Profile
    period_s: float
    serial: str | None = None


Adopt = Callable[[Member], None]
"""Makes a member known, before its first snapshot. The same one again changes nothing; one with another profile takes its place."""


class Memory(Protocol):
    """What a source keeps over restarts. Both block for a moment. Keys begin with the source's kind and its device: `shelly/house/…`."""

    def read(self, key: str) -> str | None: ...

    def write(self, key: str, value: str) -> None: ...


class Reader(Protocol):
    """Speaks to one endpoint. Nothing is opened before the first `read`."""

    async def read(self) -> Sequence[Snapshot]:
        """One poll. Raises SourceError (or RetryLater). Cancelled when it takes too long; then it has to close what it opened."""
        ...

    async def close(self) -> None:
        """The last that is called."""
        ...


@runtime_checkable
class Subscriber(Protocol):
    """A reader that also listens."""

    def start(self) -> None:
        """Once, before the first poll."""
        ...


@runtime_checkable
class FieldWriter(Protocol):
    """A reader that can write."""

    async def write(self, field: str, raw: int) -> int:
        """Writes what the device calls `field`; what it reads back as. Writes nothing that reads so already. Raises SourceError."""
        ...


@runtime_checkable
class FieldHolder(Protocol):
    """A reader that can say at once how a field stands."""

    async def held(self, field: str) -> int | None:
        """What the device calls `field`, raw, as it reads now; None where it has no such thing. Raises SourceError."""
        ...


@runtime_checkable
class Dumper(Protocol):
    """A reader that can show what the other end says as it says it, for support."""

    async def dump(self) -> object:
        """The answers of one poll as JSON can carry them (octets as hexadecimal digits), no passwords, no tokens. Raises SourceError."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A reader whose requests somebody else counts as well."""

    def spent(self) -> Sequence[tuple[str, int, int]]:
        """Of each window its name, how many requests were made in it, and how many may be."""
        ...


class PolledSource:
    """Polls one endpoint and hands each snapshot to `emit`. `run` until cancelled.

    `period_s` and `timeout_s` (of a whole poll) in seconds; `wall` and `mono` are the clocks. `counters`: `requests` are polls, `skipped`
    are those that were due while nobody was to call.
    """

    def __init__(
        self,
        device: str,
        reader: Reader,
        emit: Callable[[Snapshot], None],
        *,
        period_s: float,
        timeout_s: float,
        breaker: Breaker | None = None,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = device
        self.reader = reader
        self.period_s = period_s
        self.online: bool | None = None
        """None until the first attempt has ended."""
        self.trouble = ""
        """What is wrong, empty while nothing is."""
        self.counters = dict.fromkeys(("requests", "ok", "partial", "no_answer", "wrong", "exception", "limited", "skipped"), 0)
        self.breaker = breaker or Breaker(BackOff.within(period_s))
        self._emit = emit
        self._timeout_s = timeout_s
        self._mono = mono
        self._partial = False
        self._unforeseen = False
        self._order = asyncio.Lock()
        self._woken = asyncio.Event()
        self._log = structlog.get_logger(service="source").bind(device=device)

    @property
    def health(self) -> Health:
        if self.online is None:
            return Health.UNKNOWN
        if not self.online or self.breaker.state != "closed":
            return Health.UNHEALTHY
        return Health.DEGRADED if self.trouble or self._partial else Health.HEALTHY

    async def run(self) -> None:
        """Polls for ever; what is absent, now or later, is waited for."""
        loop = asyncio.get_running_loop()
        if isinstance(self.reader, Subscriber):
            self.reader.start()
        try:
            while True:
                begin = loop.time()
                pause = await self._poll()
                if pause is None:
                    due = (begin // self.period_s + 1) * self.period_s  # what is due together is due in one wake-up
                else:
                    due = loop.time() + pause
                    self.counters["skipped"] += int(pause / self.period_s)
                await self._sleep(due - loop.time())
        finally:
            await self.reader.close()

    def poll_soon(self) -> None:
        """Has it polled at once, for instance after a write."""
        self._woken.set()

    async def write(self, field: str, raw: int) -> int:
        """What the device calls `field` is set to `raw`; what it reads back as. Raises SourceError."""
        if not isinstance(self.reader, FieldWriter):
            raise TypeError(f"{self.device}: its reader does not write")
        async with self._order:
            try:
                async with asyncio.timeout(self._timeout_s):
                    read_back = await self.reader.write(field, raw)
            except TimeoutError:
                raise NoAnswer(f"no answer to a write within {self._timeout_s:g} s") from None
        self.poll_soon()
        return read_back

    async def held(self, field: str) -> int | None:
        """What the device calls `field`, as it reads now; None where nobody knows."""
        if not isinstance(self.reader, FieldHolder):
            return None
        try:
            async with self._order, asyncio.timeout(self._timeout_s):
                return await self.reader.held(field)
        except (TimeoutError, SourceError):
            return None

    async def _poll(self) -> float | None:
        """One poll; the seconds until the next attempt if it failed, None if it did not."""
        self.counters["requests"] += 1
        self.breaker.trying()
        try:
            async with self._order, asyncio.timeout(self._timeout_s):
                snapshots = await self.reader.read()
        except TimeoutError:
            return self._failed(NoAnswer(f"no answer within {self._timeout_s:g} s"))
        except RetryLater as error:
            return self._asked_to_wait(error)
        except SourceError as error:
            return self._failed(error)
        except Exception as error:  # noqa: BLE001 - told with all it carries; one source's mistake must not end the others
            if not self._unforeseen:
                self._log.exception("failed in a way that nobody foresaw")
            self._unforeseen = True
            return self._failed(SourceError(f"{type(error).__name__}: {error}"))
        self._succeeded(snapshots)
        return None

    def _succeeded(self, snapshots: Sequence[Snapshot]) -> None:
        self.breaker.succeeded()
        self._partial = any(snapshot.quality is not Quality.GOOD for snapshot in snapshots)
        self.counters["ok"] += 1
        self.counters["partial"] += self._partial
        if self.online is not True or self.trouble:
            self._log.info("answers")
        self.online = True
        self.trouble = ""
        self._unforeseen = False
        for snapshot in snapshots:
            self._emit(snapshot)

    def _failed(self, error: SourceError) -> float:
        self.counters[error.counter] += 1
        pause = self.breaker.failed()
        if isinstance(error, Unauthorised):
            pause = max(pause, _UNAUTHORISED_PAUSE_S)
        reason = str(error)
        if self.online is not False and (isinstance(error, Unreachable | Unauthorised) or self.breaker.failures >= _AWAY_AFTER):
            self._log.warning("away", reason=reason)
            self.online = False
            self.trouble = reason
        self._has_trouble(reason)
        return pause

    def _asked_to_wait(self, error: RetryLater) -> float:
        """Its readings grow old meanwhile, which everybody can see; it is not away for that."""
        self.counters["limited" if isinstance(error, RateLimited) else "no_answer"] += 1
        self._has_trouble(error.detail)
        if self.online is None:
            self.online = False
        return min(max(error.after, 1.0), _LONGEST_WAIT_S) if math.isfinite(error.after) else self.period_s

    def _has_trouble(self, reason: str) -> None:
        if reason != self.trouble and not self.trouble:
            self._log.warning("a poll failed", reason=reason)
        self.trouble = reason

    async def _sleep(self, seconds: float) -> None:
        """Sleeps, or until `poll_soon`."""
        self._woken.clear()
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._woken.wait()
        except TimeoutError:
            return
