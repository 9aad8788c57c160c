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
from ohmstead.control.leases import NODE_LEASE_S, RENEW_S, Held, Leases
from ohmstead.control.quota import DAY_S, Authors, Writes
from ohmstead.control.target import MAX_TEXT, Target
from ohmstead.errors import OhmsteadError, Reason, Rejected
from ohmstead.store.protocol import AuditEntry
from ohmstead.tasks import end

log = structlog.get_logger(service="control")

_RESUMED_ENTRIES = 2000
_WROTE_NOTHING = ("unchanged", "rejected", "superseded")
_GRACE_S = 1.5
RESET = "reset"
MOST_S = 86_400.0
"""Seconds that a control may be wanted for, at most."""


class Ledger(Protocol):
    """The part of the store that control needs; everything may block."""

    def append_audit(self, *, time: float, author: str, device: str, control: str, requested: str, reason: str = "") -> int: ...

    def finish_audit(self, entry: int, *, time: float, outcome: str, reason: str = "") -> None: ...

    def audit(self, limit: int = 100) -> list[AuditEntry]: ...


class Commandable(Protocol):
    """A node that takes commands to itself."""

    async def system(self, command: str, words: bytes, entry: int | str) -> Outcome: ...


class Wish(NamedTuple):
    """A request that passed the checks: `text` as it was said, `raw` as it will be written."""

    target: Target
    text: str
    raw: int
    author: str
    wanted_s: float = 0.0
    """For how long; 0: it stays."""
    renews: Held | None = None
    """What it prolongs, where it is nothing new."""


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
        nodes: Mapping[str, Commandable] | None = None,
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
        self._nodes = nodes or {}
        self.leases = Leases()
        self._closed = False

    async def start(self) -> None:
        """Resumes the daily budgets from the audit."""
        entries = await asyncio.to_thread(self._ledger.audit, _RESUMED_ENTRIES)
        mono, wall = self._mono(), self._wall()
        self._writes.resume(
            (entry.device, entry.control, mono - max(wall - entry.time, 0.0))
            for entry in entries
            if abs(wall - entry.time) < DAY_S and entry.outcome not in _WROTE_NOTHING
        )

    def request(
        self,
        device: str,
        control: str,
        text: str,
        author: str,
        *,
        contract: bool = False,
        retained: bool = False,
        wanted_s: float | None = None,
    ) -> None:
        """Takes a request and returns at once; `control` is its name or that of its point. See `Target.raw_of` for `contract`.

        `wanted_s`: for how long, in seconds; 0: it stays. Unless given, a control whose commands must end is held for as long as the
        home says, any other is set. Asking again for the same is asking for longer.

        A `retained` one is what somebody wanted once, not what somebody wants now: it is counted, and nothing else.
        """
        if retained:
            self.retained += 1
            log.warning("retained command ignored", device=device, control=control[:MAX_TEXT], author=author)
            return
        try:
            wish = self._validated(device, control, text, author, contract, wanted_s)
        except Rejected as rejection:
            self._say(device, control, text, author, Outcome("rejected", rejection.detail, None, rejection.reason))
            return
        waiting = self._waiting.setdefault(device, {})
        replaced = waiting.pop(wish.target.control, None)
        if replaced is not None and replaced.renews is None:
            self._say_of(replaced, Outcome("superseded", f"{author} asked for {text} before it was written"))
        self._queue(wish)

    def release(self, device: str, control: str, author: str) -> None:
        """Nobody wants anything of a control any more: it gets the value that it returns to by itself. Answered like a request."""
        target = self.targets.get(device, {}).get(control)
        if target is None or target.returns_to is None:
            known = target is not None
            detail = (
                f"{control} has nothing to return to" if known else f"there is no control {control[:MAX_TEXT]!r} of {device[:MAX_TEXT]!r}"
            )
            self._say(device, control, "release", author, Outcome("rejected", detail, None, Reason.LEASE if known else Reason.UNKNOWN))
            return
        words = next((label for label, raw in target.choices.items() if raw == target.returns_to), None)
        self.request(device, control, words or target.number(target.returns_to), author)

    async def reset(self, node: str, author: str) -> Outcome:
        """Asks a node to end its latch. It refuses while the reason for it lasts. The audit knows of it before it is sent."""
        reached = self._nodes.get(node)
        if reached is None:
            return Outcome("rejected", f"there is no node {node[:MAX_TEXT]!r} that could be reset", None, Reason.UNKNOWN)
        try:
            self._authors.admit(author, self._mono())
            entry = await asyncio.to_thread(
                self._ledger.append_audit, time=self._wall(), author=author, device=node, control=RESET, requested=RESET
            )
        except Rejected as rejection:
            return Outcome("rejected", rejection.detail, None, rejection.reason)
        except OhmsteadError as error:
            return Outcome("failed", f"nothing was sent, the audit cannot be kept: {error}")
        try:
            outcome = await reached.system(RESET, b"", entry)
        except Rejected as rejection:
            outcome = Outcome("rejected", rejection.detail, None, rejection.reason)
        await self._finish(entry, outcome)
        log.warning("reset", node=node, author=author, outcome=outcome.kind, detail=outcome.detail)
        return outcome

    def tick(self) -> None:
        """Time passes: what authors still want is renewed. Call it once a second or so."""
        now = self._mono()
        for held in self.leases.over(now):
            self._say(held.target.device, held.target.control, held.text, held.author, Outcome("ended", "its time is over"), held.entry)
        for held in self.leases.due(now) if not self._closed else ():
            target = held.target
            if target.control not in self._waiting.get(target.device, {}):
                held.due = now + RENEW_S
                self._queue(Wish(target, held.text, held.raw, held.author, held.until - now, held))

    def ended(self, device: str, control: str, reason: str, time: float) -> None:
        """A node took a control from whoever held it (an interlock, a latch, a device or a link that was lost), at `time` (UTC).

        What was before the present owner's command is old news. How long ago it was tells, on the monotonic clock: UTC may have been set.
        """
        held = self.leases.of(device, control)
        if held is not None and self._mono() - (self._wall() - time) >= held.since:
            self.leases.drop(device, control)
            self._say(device, control, held.text, held.author, Outcome("ended", reason), held.entry)

    def _queue(self, wish: Wish) -> None:
        device = wish.target.device
        self._waiting.setdefault(device, {})[wish.target.control] = wish
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

    def _validated(self, device: str, control: str, text: str, author: str, contract: bool, wanted_s: float | None) -> Wish:
        if self._closed:
            raise Rejected(Reason.STALE, "the gateway is shutting down")
        self._authors.admit(author, self._mono())
        controls = self.targets.get(device)
        if controls is None:
            raise Rejected(Reason.UNKNOWN, f"there is no device {device[:MAX_TEXT]!r}")
        target = controls.get(control) or next((target for target in controls.values() if target.point == control), None)
        if target is None:
            raise Rejected(Reason.UNKNOWN, f"{device} has no control {control[:MAX_TEXT]!r}; it has {', '.join(controls) or 'none'}")
        raw = target.raw_of(text, contract=contract)
        if wanted_s is None:
            wanted_s = target.lease_s if target.lease_required else 0.0
        if not 0 <= wanted_s <= MOST_S:
            raise Rejected(Reason.OUT_OF_RANGE, f"{wanted_s:g} s is not within 0 s..{MOST_S / 3600:g} h")
        if target.lease_required and not wanted_s:
            raise Rejected(Reason.LEASE, f"{target.control} cannot be set for ever; say for how long")
        if wanted_s and target.returns_to is None:
            raise Rejected(Reason.LEASE, f"{target.control} has nothing to return to, so it cannot be set for a time")
        return Wish(target, text, raw, author, wanted_s)

    async def _work(self, device: str) -> None:
        waiting = self._waiting[device]
        while waiting:
            wish = waiting.pop(next(iter(waiting)))
            try:
                if wish.renews is not None:
                    await self._renew(wish.renews, self._actuators[device])
                else:
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
        if not wish.wanted_s and self.leases.of(target.device, target.control) is None and await actuator.holds(target, wish.raw):
            self._say_of(wish, Outcome("unchanged", f"it is {target.in_words(wish.raw)} already", wish.raw))
            return
        held = self.leases.of(target.device, target.control)
        homeward = target.lease_required and wish.raw == target.returns_to  # never kept from it by a budget
        if not homeward and (held is None or held.raw != wish.raw):
            self._writes.admit(target, self._mono())
        entry = await self._noted(wish)
        if entry is None:
            return
        counted = held is None or held.raw != wish.raw
        if counted:
            self._writes.count(target, self._mono())
        begun = self._mono()
        lease_s = min(wish.wanted_s, NODE_LEASE_S)
        try:
            outcome = await actuator.write(target, wish.raw, entry, lease_s)
        except Rejected as rejection:
            outcome = Outcome("rejected", rejection.detail, None, rejection.reason)
        if counted and outcome.kind in _WROTE_NOTHING:
            self._writes.refund(target)
        self._own(wish, outcome, entry, begun, lease_s)
        await self._finish(entry, outcome)
        self._say_of(wish, outcome, entry)

    def _own(self, wish: Wish, outcome: Outcome, entry: int, begun: float, lease_s: float) -> None:
        """Who owns the control after this. A rejected command changes nothing; after a failed one nobody can be sure, and nobody does.

        `begun`: when it was sent, monotonic.
        """
        target = wish.target
        if outcome.kind in ("rejected", "superseded"):
            return
        self.leases.drop(target.device, target.control)
        if outcome.kind in ("done", "unchanged") and wish.wanted_s and wish.raw != target.returns_to:
            until, granted = begun + wish.wanted_s, begun + lease_s
            self.leases.hold(Held(target, wish.raw, wish.text, wish.author, entry, until, granted, begun + RENEW_S, begun))

    async def _renew(self, held: Held, actuator: Actuator) -> None:
        """Once more the same, for as long as its author still wants it. Nothing is written by that, so it has no entry in the audit."""
        target, now = held.target, self._mono()
        lease_s = held.lease(now)
        if self.leases.of(target.device, target.control) is not held or lease_s <= 0:
            return
        outcome = await actuator.write(target, held.raw, f"{held.entry}.{held.renewals + 1}", lease_s)
        if outcome.kind in ("done", "unchanged"):
            self.leases.renewed(held, lease_s, now)
        elif outcome.kind == "rejected":
            self.ended(target.device, target.control, outcome.detail, self._wall())
        else:  # it may have arrived all the same; the next one comes soon
            held.renewals += 1
            log.warning("not renewed", device=target.device, control=target.control, detail=outcome.detail)

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
