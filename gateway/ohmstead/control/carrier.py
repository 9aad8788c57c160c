"""Carries what was decided to one device: commands in their order, the newest for a control instead of the one before, and the renewals
of what a node or the gateway's own guard holds under a lease.

What cannot be reached is waited for: a command that nobody could hear is no failure of the device, and costs no write, also where a newer
one takes its place.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from ohmcore.records import Decision, Why
from ohmstead.control.dispatch import Actuator, Outcome
from ohmstead.control.leases import NODE_LEASE_S, RENEW_S
from ohmstead.control.target import Target
from ohmstead.errors import OhmsteadError, Reason, Rejected
from ohmstead.tasks import end

log = structlog.get_logger(service="control")

WRITES = ("command", "revert", "safe")
"""The kinds of decisions that are written."""

UNSENT = "unsent"
"""The outcome of a decision that a newer one replaced while the device was away."""

_LOOK_S = 0.25
_STOPPED_S = 10.0


class Carried(NamedTuple):
    """What became of a decision, and when (monotonic seconds)."""

    decision: Decision
    outcome: Outcome
    at: float


class Carrier:
    """`targets` are the controls that are decided upon; `reachable` tells whether the device can be reached now, `carried` is told what
    became of each decision but those that a newer one replaced under way, `latched` that the node before the device is. `mono` in
    seconds."""

    def __init__(
        self,
        device: str,
        targets: Mapping[str, Target],
        actuator: Actuator,
        carried: Callable[[str, Carried], None],
        *,
        latched: Callable[[str], None],
        reachable: Callable[[], bool],
        mono: Callable[[], float],
    ) -> None:
        self._device = device
        self._targets = targets
        self._actuator = actuator
        self._carried = carried
        self._latched = latched
        self._reachable = reachable
        self._mono = mono
        self._run = secrets.token_hex(3)
        self._number = 0
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._renewing: dict[str, asyncio.Task[None]] = {}
        self._unsent: dict[str, Decision] = {}
        self._due: dict[str, float] = {}
        self.sent_at: dict[str, float] = {}
        """When each control was commanded last, or that was answered (monotonic)."""

    def act(self, decision: Decision) -> None:
        """Begins to write a decision; what is under way for the same control is given up."""
        for running in (self._under_way.pop(decision.control, None), self._renewing.pop(decision.control, None)):
            if running is not None:
                running.cancel()
        unsent = self._unsent.pop(decision.control, None)
        if unsent is not None:
            self._carried(self._device, Carried(unsent, Outcome(UNSENT), self._mono()))
        self._unsent[decision.control] = decision
        self._due.pop(decision.control, None)
        self.sent_at[decision.control] = self._mono()
        self._under_way[decision.control] = asyncio.create_task(self._write(decision), name=f"control-{self._device}-{decision.control}")

    def renew(self, control: str, why: Why) -> None:
        """Once more the same for as long as its author still wants it, when it is time for that. Nothing is written by it."""
        target, now = self._targets[control], self._mono()
        running = self._renewing.get(control)
        held = why.author and not why.pending and why.value is not None and why.value == why.read_back and why.value != target.returns_to
        if not held or why.value is None or (running is not None and not running.done()):
            return
        if now < self._due.setdefault(control, now + RENEW_S) or not self._reachable():
            return
        self._due[control] = now + RENEW_S
        self._renewing[control] = asyncio.create_task(self._renew(target, why.value, why.left_ms / 1000))

    async def close(self, grace_s: float) -> None:
        """Gives what is being written a moment to end."""
        busy = [task for task in (*self._under_way.values(), *self._renewing.values()) if not task.done()]
        if busy and self._reachable():
            _, busy = await asyncio.wait(busy, timeout=grace_s)  # type: ignore[assignment]  # a set of the same tasks
        await end(busy)

    def _name(self) -> str:
        """A name for a command that no other has had, whatever became of the store."""
        self._number += 1
        return f"{self._run}-{self._number}"

    async def _write(self, decision: Decision) -> None:
        target, value, decided = self._targets[decision.control], decision.value, self._mono()
        if value is None:
            return
        while not self._reachable():  # noqa: ASYNC110 - whether somebody can be reached has to be asked, nobody tells
            await asyncio.sleep(_LOOK_S)
        lease_s = NODE_LEASE_S if target.lease_required else 0.0
        if value != target.returns_to and decision.author:
            lease_s = min(NODE_LEASE_S, decision.lease_ms / 1000 - (self._mono() - decided))
            if lease_s <= 0:
                return  # its time is over: what ends it comes in a moment
        self._unsent.pop(decision.control, None)
        while True:
            self.sent_at[decision.control] = self._mono()
            outcome = await self._asked(target, value, lease_s)
            if outcome.reason != Reason.LATCHED:
                break
            self._latched(self._device)
            if decision.author:
                break
            if target.layout is not None and value == target.layout.safe:
                outcome = Outcome("unchanged", "the node is stopped and holds it there by itself", value)
                break
            await asyncio.sleep(_STOPPED_S)  # it is left as it is until the node is reset
        now = self.sent_at[decision.control] = self._mono()
        if outcome.kind != "superseded":
            self._carried(self._device, Carried(decision, outcome, now))

    async def _renew(self, target: Target, value: int, left_s: float) -> None:
        outcome = await self._asked(target, value, min(NODE_LEASE_S, left_s))
        if outcome.kind not in ("done", "unchanged"):
            log.warning("not renewed", device=self._device, control=target.control, outcome=outcome.kind, detail=outcome.detail)

    async def _asked(self, target: Target, value: int, lease_s: float) -> Outcome:
        try:
            return await self._actuator.write(target, value, self._name(), lease_s)
        except Rejected as rejection:
            return Outcome("rejected", rejection.detail, None, rejection.reason)
        except OhmsteadError as error:
            return Outcome("failed", str(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("a command failed in an unknown way", device=self._device, control=target.control)
            return Outcome("failed", repr(error))
