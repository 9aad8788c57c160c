"""The desk where every wish arrives: validated at once, then one after the other for each device.

A newer wish for the same control replaces one that still waits: set-points never queue up. The audit has the command on disk
before anything is written; if it cannot, nothing is written.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Protocol

import structlog

from ohmstead.control.dispatch import Actuator, Outcome
from ohmstead.control.quota import DAY_S, Authors, Writes
from ohmstead.control.target import MAX_TEXT, Target
from ohmstead.errors import OhmsteadError, Reason, Rejected
from ohmstead.store.protocol import AuditEntry
from ohmstead.tasks import end

log = structlog.get_logger(service="control")

_RESUMED_ENTRIES = 2000
_WROTE_NOTHING = ("unchanged", "rejected", "superseded")
_GRACE_S = 1.5


class Ledger(Protocol):
    """The part of the store that control needs; everything may block."""

    def append_audit(self, *, time: float, author: str, device: str, control: str, requested: str, reason: str = "") -> int: ...

    def finish_audit(self, entry: int, *, time: float, outcome: str, reason: str = "") -> None: ...

    def audit(self, limit: int = 100) -> list[AuditEntry]: ...


class Wish(NamedTuple):
    """A request that passed the checks: `text` as it was said, `raw` as it will be written."""

    target: Target
    text: str
    raw: int
    author: str


class Answer(NamedTuple):
    """What became of a request, for whoever made it. `entry` is the audit's number, None if it never came that far."""

    device: str
    control: str
    text: str
    author: str
    outcome: Outcome
    time: float
    entry: int | None = None


class Desk:
    """Takes requests, answers every one through `answer`. `mono` and `wall` are the clocks, in seconds.

    `answered` counts by outcome, `rejected` by reason, `retained` the commands that a broker had kept.
    """

    def __init__(
        self,
        targets: Mapping[str, Mapping[str, Target]],
        actuators: Mapping[str, Actuator],
        ledger: Ledger,
        answer: Callable[[Answer], None],
        *,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.targets = targets
        self.answered: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.retained = 0
        self._actuators = actuators
        self._ledger = ledger
        self._answer = answer
        self._mono = mono
        self._wall = wall
        self._authors = Authors()
        self._writes = Writes()
        self._waiting: dict[str, dict[str, Wish]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Resumes the daily budgets from the audit."""
        since = self._wall() - DAY_S
        entries = await asyncio.to_thread(self._ledger.audit, _RESUMED_ENTRIES)
        self._writes.resume(
            (entry.device, entry.control, entry.time) for entry in entries if entry.time > since and entry.outcome not in _WROTE_NOTHING
        )

    def request(self, device: str, control: str, text: str, author: str, *, contract: bool = False, retained: bool = False) -> None:
        """Takes a request and returns at once; `control` is its name or that of its point. See `Target.raw_of` for `contract`.

        A `retained` one is what somebody wanted once, not what somebody wants now: it is counted, and nothing else.
        """
        if retained:
            self.retained += 1
            log.warning("retained command ignored", device=device, control=control[:MAX_TEXT], author=author)
            return
        try:
            wish = self._validated(device, control, text, author, contract)
        except Rejected as rejection:
            self._say(device, control, text, author, Outcome("rejected", rejection.detail, None, rejection.reason))
            return
        waiting = self._waiting.setdefault(device, {})
        replaced = waiting.pop(wish.target.control, None)
        if replaced is not None:
            self._say_of(replaced, Outcome("superseded", f"{author} asked for {text} before it was written"))
        waiting[wish.target.control] = wish
        worker = self._workers.get(device)
        if worker is None or worker.done():
            self._workers[device] = asyncio.create_task(self._work(device), name=f"control-{device}")

    def noted_late(self, entry: int, outcome: Outcome) -> None:
        """A result that came after its time-out, or after a restart: the audit gets to know it."""
        log.info("late result", entry=entry, outcome=outcome.kind, detail=outcome.detail)
        self._chore(self._finish(entry, outcome))

    async def close(self) -> None:
        """Takes no more requests and gives what is being written a moment to end."""
        self._closed = True
        busy = [worker for worker in self._workers.values() if not worker.done()] + list(self._chores)
        if busy:
            _, unfinished = await asyncio.wait(busy, timeout=_GRACE_S)
            await end(unfinished)

    def _validated(self, device: str, control: str, text: str, author: str, contract: bool) -> Wish:
        if self._closed:
            raise Rejected(Reason.STALE, "the gateway is shutting down")
        self._authors.admit(author, self._mono())
        controls = self.targets.get(device)
        if controls is None:
            raise Rejected(Reason.UNKNOWN, f"there is no device {device[:MAX_TEXT]!r}")
        target = controls.get(control) or next((target for target in controls.values() if target.point == control), None)
        if target is None:
            raise Rejected(Reason.UNKNOWN, f"{device} has no control {control[:MAX_TEXT]!r}; it has {', '.join(controls) or 'none'}")
        return Wish(target, text, target.raw_of(text, contract=contract), author)

    async def _work(self, device: str) -> None:
        waiting = self._waiting[device]
        while waiting:
            wish = waiting.pop(next(iter(waiting)))
            try:
                await self._fulfil(wish, self._actuators[device])
            except Rejected as rejection:
                self._say_of(wish, Outcome("rejected", rejection.detail, None, rejection.reason))
            except asyncio.CancelledError:
                self._say_of(wish, Outcome("failed", "the gateway was shut down meanwhile"))
                raise
            except Exception as error:
                log.exception("a command failed in an unknown way", device=device, control=wish.target.control)
                self._say_of(wish, Outcome("failed", repr(error)))

    async def _fulfil(self, wish: Wish, actuator: Actuator) -> None:
        target = wish.target
        if await actuator.holds(target, wish.raw):
            self._say_of(wish, Outcome("unchanged", f"it is {target.in_words(wish.raw)} already", wish.raw))
            return
        self._writes.admit(target, self._wall())
        entry = await self._noted(wish)
        if entry is None:
            return
        self._writes.count(target, self._wall())
        try:
            outcome = await actuator.write(target, wish.raw, entry)
        except Rejected as rejection:
            outcome = Outcome("rejected", rejection.detail, None, rejection.reason)
        await self._finish(entry, outcome)
        self._say_of(wish, outcome, entry)

    async def _noted(self, wish: Wish) -> int | None:
        target = wish.target
        try:
            return await asyncio.to_thread(
                self._ledger.append_audit,
                time=self._wall(),
                author=wish.author,
                device=target.device,
                control=target.control,
                requested=wish.text,
                reason=f"{target.in_words(wish.raw)}, raw {wish.raw}",
            )
        except OhmsteadError as error:
            self._say_of(wish, Outcome("failed", f"nothing was written, the audit cannot be kept: {error}"))
            return None

    async def _finish(self, entry: int, outcome: Outcome) -> None:
        try:
            await asyncio.to_thread(
                self._ledger.finish_audit, entry, time=self._wall(), outcome=outcome.kind, reason=outcome.reason or outcome.detail
            )
        except OhmsteadError as error:
            log.error("the outcome could not be noted", entry=entry, outcome=outcome.kind, reason=str(error))

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _say_of(self, wish: Wish, outcome: Outcome, entry: int | None = None) -> None:
        self._say(wish.target.device, wish.target.control, wish.text, wish.author, outcome, entry)

    def _say(self, device: str, control: str, text: str, author: str, outcome: Outcome, entry: int | None = None) -> None:
        self.answered[outcome.kind] += 1
        if outcome.kind == "rejected":
            self.rejected[outcome.reason or "by the node"] += 1
        said = log.info if outcome.kind in ("done", "unchanged") else log.warning
        said(
            outcome.kind,
            device=device,
            control=control,
            requested=text[:MAX_TEXT],
            author=author,
            reason=outcome.reason,
            detail=outcome.detail,
        )
        self._answer(Answer(device, control, text, author, outcome, self._wall(), entry))
