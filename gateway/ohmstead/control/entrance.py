"""The entrance for whoever commands in words: what the arbiter decides upon goes there, everything else to the desk. Answered alike.

Beside its controls a battery takes, under the same topics: `mode` (auto, manual), `lease` (minutes that wishes last from now on), `stop` (a
level, 0 or 1) and `reset`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import structlog

from ohmcore import events
from ohmcore.records import Decision, Event
from ohmstead.control import loxone_words, words
from ohmstead.control.arbiter import Arbiter
from ohmstead.control.arbitration import LOXONE
from ohmstead.control.carrier import WRITES, Carried
from ohmstead.control.desk import Answer, Desk
from ohmstead.control.dispatch import Outcome
from ohmstead.control.loxone_words import Unreadable
from ohmstead.control.target import MAX_TEXT, Target, number_in
from ohmstead.control.views import Status
from ohmstead.errors import OhmsteadError, Reason, Rejected

log = structlog.get_logger(service="control")

MODE, LEASE, STOP, RESET = "mode", "lease", "stop", "reset"
_RELEASE = "release"


class _Asked(NamedTuple):
    """A wish that was taken: by whom, in which words, and whether anything was told of it since."""

    author: str
    text: str
    answered: bool = False


class Entrance:
    """`node_of` names the node before a device, None where there is none. `answer` takes what became of each request."""

    def __init__(
        self,
        desk: Desk,
        arbiter: Arbiter,
        answer: Callable[[Answer], None],
        *,
        node_of: Callable[[str], str | None],
        wall: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._arbiter = arbiter
        self._answer = answer
        self._node_of = node_of
        self._wall = wall
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._chores: set[asyncio.Task[None]] = set()
        arbiter.subscribe(self._decided)
        arbiter.on_outcome(self._carried)

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
        """As `Desk.request`."""
        ours = self._arbiter.devices.get(device)
        if ours is None or (control not in ours.controls and control not in (MODE, LEASE, STOP, RESET)):
            self._desk.request(device, control, text, author, contract=contract, retained=retained, wanted_s=wanted_s)
            return
        if retained and control != STOP:  # a level is true as long as it stands there
            self._desk.retained += 1
            log.warning("retained command ignored", device=device, control=control, author=author)
            return
        self._chore(self.ask(device, control, text, author, wanted_s=wanted_s))

    def release(self, device: str, control: str, author: str) -> None:
        """As `Desk.release`."""
        ours = self._arbiter.devices.get(device)
        if ours is None or control not in ours.controls:
            self._desk.release(device, control, author)
        else:
            self._chore(self._withdraw(device, control, author))

    async def reset(self, node: str, author: str) -> Outcome:
        """Ends a node's latch, and that of its batteries. As `Desk.reset`."""
        outcome = await self._desk.reset(node, author)
        if outcome.kind == "done":
            for device in self._arbiter.devices:
                if self._node_of(device) == node:
                    self._arbiter.node_is_free(device)
                    said = await self._submitted(device, events.reset(author))
                    outcome = next((refused for refused in map(_refusal, said) if refused is not None), outcome)
        return outcome

    async def reset_device(self, device: str, author: str = LOXONE) -> Outcome:
        """Ends what latched a device, and its node if that is latched too; a Miniserver's reset unless told otherwise."""
        return await self.ask(device, RESET, RESET, author)

    async def ask(self, device: str, control: str, text: str, author: str, *, wanted_s: float | None = None) -> Outcome:
        """Hands in one request for something of the arbiter's; what came of it so far, which is told by `answer` as well. A command's own
        result follows there later. KeyError: there is no such author."""
        try:
            if control == RESET:
                outcome = await self._reset(device, author)
            elif control in (MODE, LEASE, STOP):
                said = await self._submitted(device, self._of_device(control, text.strip(), author, wanted_s))
                outcome = next((refused for refused in map(_refusal, said) if refused is not None), Outcome("done", _told(said)))
            else:
                return await self._wish(device, control, text, author, wanted_s)
        except OhmsteadError as error:
            reason = error.reason if isinstance(error, Rejected) else ""
            outcome = Outcome("rejected" if reason else "failed", error.detail if isinstance(error, Rejected) else str(error), None, reason)
        self._say(device, control, text, author, outcome)
        return outcome

    async def _wish(self, device: str, control: str, text: str, author: str, wanted_s: float | None) -> Outcome:
        target = self._arbiter.battery(device).targets[control]
        raw = _raw_in(target, text)
        lease_ms = _lease_ms(wanted_s)
        before = self._asked.get((device, control))
        self._asked[device, control] = _Asked(author, text)
        identity = self._arbiter.next_identity(device, author)
        value: Any = text[:MAX_TEXT] if raw is None else raw
        try:
            said = await self._submitted(device, events.wish(author, control, value, identity, lease_ms))
        except OhmsteadError as error:
            outcome = Outcome("failed", f"nothing was done, the audit cannot be kept: {error}")
            self._say(device, control, text, author, outcome)
            return outcome
        refused = next((decision for decision in said if decision.kind == "rejection" and decision.identity in (identity, 0)), None)
        if refused is not None:
            self._asked.pop((device, control), None)
            if before is not None:
                self._asked[device, control] = before
            outcome = Outcome("rejected", self._why_not(device, target, text, refused), None, _reason(refused.reason))
            self._say(device, control, text, author, outcome)
            return outcome
        own = next((decision for decision in reversed(said) if decision.control == control and decision.kind in (*WRITES, "hold")), None)
        views = self._arbiter.devices[device].controls
        if own is None or self._waits(device, own):
            return Outcome("taken")
        if own.clamp and own.value != raw:
            outcome = Outcome("limited", self._arbiter.hindrance(device, own.clamp, own.by), own.value, own.clamp)
            self._say(device, control, text, author, outcome)
            return outcome
        if own.kind == "hold":
            outcome = Outcome("unchanged", f"it is {words.size(views[control], own.value)} already", own.value)
            self._say(device, control, text, author, outcome)
            return outcome
        return Outcome("taken", "", own.value)

    def _why_not(self, device: str, target: Target, text: str, refused: Decision) -> str:
        """The target knows better what is wrong with a value."""
        if refused.reason in ("malformed", "out of range", "read-only"):
            try:
                target.raw_of(text)
            except Rejected as rejection:
                return rejection.detail
        return self._arbiter.refusal(device, refused.reason, refused.by)

    def _waits(self, device: str, decision: Decision) -> bool:
        """Whether it will be written in a moment, without anybody's doing."""
        if decision.clamp == "exclusive":
            return not self._arbiter.explain(device, decision.by).author
        return decision.clamp in ("interval", "ramp")

    def _of_device(self, control: str, text: str, author: str, wanted_s: float | None) -> Event:
        if control == MODE:
            named = {"0": "auto", "1": "manual"}.get(text, text.lower())
            return events.mode(author, named, _lease_ms(wanted_s))
        number = number_in(text)
        if control == STOP:
            return events.stop(_level(text))
        return events.lease(author, -1 if number is None else loxone_words.lease_ms(min(number, Decimal(10**7))))

    async def _reset(self, device: str, author: str) -> Outcome:
        node = self._node_of(device)
        if node is not None and self._arbiter.node_latched(device):
            return await self.reset(node, author)
        said = await self._submitted(device, events.reset(author))
        return next((refused for refused in map(_refusal, said) if refused is not None), Outcome("done", _told(said)))

    async def _withdraw(self, device: str, control: str, author: str) -> None:
        self._asked[device, control] = _Asked(author, _RELEASE)
        try:
            said = await self._submitted(device, events.withdraw(author, control))
        except OhmsteadError as error:
            self._say(device, control, _RELEASE, author, Outcome("failed", str(error)))
            return
        refused = next((refused for refused in map(_refusal, said) if refused is not None), None)
        if refused is not None:
            self._say(device, control, _RELEASE, author, refused)
        elif not any(decision.control == control and decision.kind in WRITES for decision in said):
            self._say(device, control, _RELEASE, author, Outcome("unchanged", "nobody wanted anything of it"))

    async def _submitted(self, device: str, event: Event) -> Sequence[Decision]:
        return await self._arbiter.submit(device, event)

    # What comes later

    def _decided(self, device: str, decisions: Sequence[Decision], _status: Status) -> None:
        for decision in decisions:
            if decision.kind == "notice" and decision.reason == "latched":
                self._all_ended(device, words.clamped("latched", decision.by, {}))
            asked = self._asked.get((device, decision.control))
            if decision.kind != "notice" or asked is None or decision.author != asked.author:
                continue
            if decision.reason == "lease ended":
                del self._asked[device, decision.control]
                self._say(device, decision.control, asked.text, asked.author, Outcome("ended", "its time is over"))
            elif decision.reason == "superseded":
                by = words.author_of(decision.by)
                self._say(device, decision.control, asked.text, asked.author, Outcome("superseded", f"{by} wants something else"))

    def _all_ended(self, device: str, detail: str) -> None:
        """A stop ends every wish."""
        for asked_device, control in [key for key in self._asked if key[0] == device]:
            asked = self._asked.pop((asked_device, control))
            kind = "ended" if asked.answered else "rejected"
            self._say(device, control, asked.text, asked.author, Outcome(kind, detail, None, Reason.LATCHED))

    def _carried(self, device: str, carried: Carried) -> None:
        decision, outcome = carried.decision, carried.outcome
        asked = self._asked.get((device, decision.control))
        if asked is None:
            return
        if asked.text == _RELEASE:
            del self._asked[device, decision.control]
        elif decision.author != asked.author or decision.value != decision.unclamped:
            return
        else:
            done = outcome.kind in ("done", "unchanged")
            self._asked[device, decision.control] = asked._replace(answered=asked.answered or done)
        self._say(device, decision.control, asked.text, asked.author, outcome, decision.identity)

    def _say(self, device: str, control: str, text: str, author: str, outcome: Outcome, entry: int | None = None) -> None:
        self._desk.answered[outcome.kind] += 1
        if outcome.kind == "rejected":
            self._desk.rejected[outcome.reason or "by the node"] += 1
        self._answer(Answer(device, control, text, author, outcome, self._wall(), entry))

    def _chore(self, work: Coroutine[Any, Any, object]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _raw_in(target: Target, text: str) -> int | None:
    """The raw value of a number in the control's unit, on the one below it; what lies beyond an end stays beyond it. None: no number."""
    number = number_in(text) if len(text) <= MAX_TEXT else None
    if number is None:
        return None
    scaled = number * target.divisor if target.divisor != 1 else number / Decimal(str(target.scale))
    if abs(scaled) >= 1 << 40:
        return 1 << 40
    return math.ceil(scaled) if scaled > target.limits.maximum else math.floor(scaled)


def _lease_ms(seconds: float | None) -> int | None:
    """How long something is wanted, for the arbiter to judge; a time that is no finite number is none at all."""
    if seconds is None:
        return None
    return round(seconds * 1000) if abs(seconds) < 1e9 else -1


def _level(text: str) -> int:
    """0 or 1, in whichever words; -1: neither."""
    try:
        return int(loxone_words.level(text.encode(errors="replace")))
    except Unreadable:
        return -1


def _refusal(decision: Decision) -> Outcome | None:
    if decision.kind != "rejection":
        return None
    return Outcome("rejected", words.rejected(decision.reason, decision.by), None, _reason(decision.reason))


def _reason(code: str) -> Reason:
    return Reason(code) if code in list(Reason) else Reason.MALFORMED


def _told(said: Sequence[Decision]) -> str:
    return "; ".join(words.decision(decision, {}) for decision in said if decision.kind == "notice" and not decision.control)
