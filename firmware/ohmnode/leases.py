"""Who owns which control, for how long, and what is written to it when nobody does.

A control is owned by whoever commanded it last, until the lease ends; then it gets its reversion value. All times are what is left of
them; `guard.py` counts them down and knows the limits and the latch.
"""

from ohmcore import const
from ohmcore.limits import refusal
from ohmnode import keep
from ohmnode.writes import Control, Work

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hal import Hal
    from ohmcore.limits import Rule
    from ohmnode.commands import Command
    from ohmnode.outbox import Outbox
    from ohmnode.schedule import Device, Group

_VERIFY_MS = const(10000)
_SECOND_LOOK_MS = const(1000)
_RETRY_MS = const(1000)
_LONG_RETRY_MS = const(10000)
_REWRITES = const(3)

# States of a work. From _HOME on nobody owns the control, from _HELD on it is kept safe.
_FREE = const(0)
_SET = const(1)  # by a command without a lease
_LEASED = const(2)
_HOME = const(3)
_HELD = const(4)  # by an interlock
_LATCHED = const(5)


class Leases:
    """`cause`: of the latch; empty: not latched. `connected` and `answer` are set by whoever knows (node, commands)."""

    def __init__(self, hal: "Hal", outbox: "Outbox") -> None:
        self._hal = hal
        self._outbox = outbox
        self.cause = ""
        self.controls: "list[Control]" = []
        self.connected: "Callable[[], bool] | None" = None
        self.answer: "Callable[[int | str, str, str, str, str, int | None], None] | None" = None
        self.wakes: "list[Callable[[], None]]" = []
        self._watched: "list[tuple[Rule, Group, int, list[Control]]]" = []
        self._ready = True
        self._unsaved_ms = 0  # until the state file is tried again; 0: it says what is

    def advance(self) -> None:
        """Counts down all that has a time."""
        raise NotImplementedError

    def add(self, device: "Device", spec: "dict[str, Any]") -> None:
        """A control. ValueError where its description makes no sense."""
        for other in self.controls:  # of many controls the values are limited alike: in memory once
            if other.fields == spec["fields"]:
                spec["fields"] = other.fields
        self.controls.append(Control(device, spec))

    def next(self, devices: "list[Device]") -> "Work | None":
        """The most urgent work on these devices; None: nothing is to be done there now."""
        if not self._ready:
            return None
        self.advance()
        best = None
        best_rank = 9
        for control in self.controls:
            if control.device not in devices:
                continue
            self._promote(control)
            work = control.work
            if work is None:
                continue
            if work.identity is not None and not work.wrote and work.left_ms <= 0:
                self.failed(work, "no answer" if work.tries else "expired", True)
            if work.idle() or work.pause_ms > 0:
                continue
            if not control.device.online and (work.absent or work.verifying() or work.state == _HOME):  # the polls find it again
                continue
            if work.state >= _HELD and not work.verifying():
                rank = int(work.seen == work.target)  # what is in force before what is not
            elif work.verifying():
                rank = 4
            elif work.state == _HOME:
                rank = 2
            else:
                rank = 3
            if rank < best_rank:
                best, best_rank = work, rank
        if best is None and len(self.wakes) <= 1:
            self._ready = False
        return best

    def command(self, device: str, name: str, command: "Command") -> str:
        """Takes a command that is authentic and new; why it is rejected, or an empty text: its result follows by `answer`."""
        self.advance()
        for control in self.controls:
            if control.name == name and control.device.name == device:
                reason = self._objection(control, command)
                if not reason:
                    self._replace(control, "replaced")
                    control.waiting = command
                    self._wake()
                return reason
        return "unknown control"

    def end(self, reason: str) -> bool:
        """The node is about to be left: leases end, and what waits is not begun. Ask until all has gone back to where it goes by itself."""
        done = True
        for control in self.controls:
            self._replace(control, reason)
            work = control.work
            if work is None:
                continue
            if work.state == _LEASED:
                self._lapse(control, reason)
            if control.device.online and (work.state == _HOME or (work.state == _SET and not work.idle())):
                done = False
        self._wake()
        return done

    # What came of it; called by `writes`

    def owned(self, work: Work) -> bool:
        """Whether somebody's command is being carried out."""
        return work.state == _LEASED or work.state == _SET

    def returns(self, work: Work) -> bool:
        """Whether the control is given back, or commanded to be safe: what budget and interval do not keep from happening."""
        return not self.owned(work) or work.target == work.control.safe

    def limited(self, work: Work, reason: str, value: int) -> None:
        if not work.told:
            work.told = True
            self._event(work, "limited", reason, value)

    def may(self, work: Work, writes: int) -> bool:
        """Whether so many writes may be done now; they are on record then."""
        control = work.control
        towards_safety = self.returns(work)
        if not towards_safety and control.gap_ms > 0:
            work.again(control.gap_ms, False)
            return False
        if control.most:
            if not towards_safety and control.left() < writes:
                self._event(work, "limited", "budget", control.value(work.seen))
                self.failed(work, "budget", True)
                return False
            control.spend(writes)
        if (self._notes(work) or control.most or self._unsaved_ms > 0) and not self._save() and not towards_safety:
            self.failed(work, "no storage", True)
            return False
        return True

    def settled(self, work: Work, verified: bool) -> None:
        """The device holds what it should."""
        control = work.control
        value = control.value(work.seen)
        work.differs = 0
        work.rest(_VERIFY_MS)
        if verified and work.state != _HOME:
            return
        if self._notes(work):
            self._save()
        self._answer(work, "done" if work.wrote else "unchanged", "", value)
        work.wrote = False
        if work.state == _HOME:
            self._event(work, "reverted", work.reason, value)
            self._free(control, work)
        elif work.state >= _HELD and not work.told:
            work.told = True
            self._event(work, "safe", work.reason, value)

    def differs(self, work: Work) -> None:
        """Somebody else wrote."""
        control = work.control
        work.differs += 1
        if work.state >= _HELD:
            work.again(0, True)
        elif work.differs < 2:
            work.rest(_SECOND_LOOK_MS)
        else:
            value = control.value(work.seen)
            if work.rewrites >= _REWRITES:
                self._event(work, "external", "given up", value)
                self._free(control, work)
                return
            work.rewrites += 1
            self._event(work, "external", "", value)
            work.begin(work.state, work.target, False, work.reason)

    def failed(self, work: Work, reason: str, final: bool) -> None:
        """It cannot be written, or (`final` false) the device does not answer."""
        control = work.control
        if work.verifying():
            work.rest(_VERIFY_MS)
        elif not self.owned(work):
            online = control.device.online
            work.again(_RETRY_MS if online and not final else _LONG_RETRY_MS, work.state >= _HELD)
            work.absent = not online
        else:
            value = control.value(work.seen) if reason == "reads back otherwise" else None
            work.rest(0)  # it is over, even if there is no memory to tell it
            work.lease_ms = 0
            self._answer(work, "failed", reason, value)
            if work.state == _LEASED or control.kept == 1:  # it may hold what was under lease before
                self._lapse(control, reason)
            elif control.kept:  # it may hold what was set before: limits go on watching that
                work.target = b""
            else:
                self._free(control, work)

    # Within

    def _watch(self, control: Control, work: Work, connected: bool) -> None:
        """What time and telemetry mean for a control that is not free."""
        if self.cause and work.state != _LATCHED and control.safe is not None:
            self._own(control, _LATCHED, control.safe, True, self.cause)
        if work.absent and control.device.online:
            work.absent = False
            work.pause_ms = 0
        if work.state == _LEASED:
            if work.lease_ms <= 0:
                self._lapse(control, "lease")
            elif not connected:
                self._lapse(control, "link lost")
            elif not control.device.online:
                self._lapse(control, "offline")
        if self.owned(work) and work.target != control.safe:
            reason = self._blocked(control)
            if reason == "stale" and not work.target and work.left_ms > 0:
                reason = ""  # set before the restart, and not read since
            if reason and control.safe is not None:
                self._own(control, _HELD, control.safe, True, reason)
            elif reason and work.state == _LEASED:
                self._lapse(control, reason)
        elif work.state == _HELD and work.idle() and not self._blocked(control):
            if control.home is None or control.home == control.safe:
                self._free(control, work)
            else:
                work.begin(_HOME, control.home, False, "released")
        if work.idle() and work.state >= _LEASED and work.left_ms <= 0:
            work.verify()

    def _notes(self, work: Work) -> bool:
        """Notes what has to be known after a restart. Whether that is not in the state file yet."""
        control = work.control
        kept = 3 - work.state
        if kept == 2 and (control.safe is None or work.target == control.safe):
            kept = 0
        if control.required or not self.owned(work) or control.kept == kept or (not kept and not work.idle()):
            return False
        control.kept = kept
        return True

    def _blocked(self, control: Control) -> str:
        """Why the control may hold its safe value only; empty: it may hold others."""
        if self.cause:
            return "latched"
        found = ""
        for rule, _, _, targets in self._watched:
            if control in targets and found in ("", "stale"):
                found = rule.blocks() or found
        return found

    def _objection(self, control: Control, command: "Command") -> str:
        reason = refusal(command.raw, control.words, control.fields, control.safe)
        if reason or self.cause:
            return reason or "latched"
        if control.required and not command.lease_ms:
            return "lease needed"
        if command.lease_ms and control.end() is None:
            return "no lease"
        if command.raw == control.safe:
            return ""
        reason = self._blocked(control)
        if reason or not control.device.online:
            return reason or "offline"
        if not self._renews(control, command):
            if control.gap_ms > command.ttl_ms:
                return "interval"
            if control.most and control.left() <= 0:
                return "budget"
        return ""

    def _renews(self, control: Control, command: "Command") -> bool:
        work = control.work
        return work is not None and self.owned(work) and work.target == command.raw

    def _promote(self, control: Control) -> None:
        """A command that waits is carried out, if its time has come and it still may be.

        What is in hand is finished first, or whoever commands all the time would get nothing done; what is safe waits for itself only.
        """
        command = control.waiting
        if command is None:
            return
        renewal = self._renews(control, command)
        if command.ttl_ms <= 0:
            self._replace(control, "expired")
        elif control.gap_ms <= 0 or renewal or command.raw == control.safe:
            work = control.work
            if work is not None and self.owned(work) and work.in_hand() and (renewal or command.raw != control.safe):
                return
            if command.raw != control.safe:
                reason = self._blocked(control)
                if reason:
                    self._replace(control, reason)
                    return
            control.waiting = None
            work = work or Work(control)
            wrote = renewal and work.wrote
            self._answer(work, "rejected", "replaced", None)
            if not renewal:
                work.rewrites = 0
            work.begin(_LEASED if command.lease_ms else _SET, command.raw, False, "")
            work.wrote = wrote
            work.identity = command.identity
            work.left_ms = command.ttl_ms
            work.lease_ms = command.lease_ms

    def _replace(self, control: Control, reason: str) -> None:
        """A command that waits is not carried out."""
        waiting = control.waiting
        if waiting is not None:
            control.waiting = None
            if self.answer is not None:
                self.answer(waiting.identity, control.device.name, control.name, "rejected", reason, None)

    def _own(self, control: Control, state: int, target: bytes, quick: bool, reason: str) -> None:
        work = control.work or Work(control)
        work.begin(state, target, quick, reason)
        self._answer(work, "failed", reason, None)

    def _lapse(self, control: Control, reason: str) -> None:
        """A lease is over: back to where the control goes by itself."""
        work = control.work
        if work is None:
            return
        value = control.value(work.target)
        end = control.end()
        if control.safe is not None and self._blocked(control):
            self._own(control, _HELD, control.safe, False, reason)
        elif end is not None:
            self._own(control, _HOME, end, False, reason)
        else:
            self._free(control, work)
        self._event(work, "lapsed", reason, value)

    def _free(self, control: Control, work: Work) -> None:
        """Nobody wants anything of it any more."""
        work.state = _FREE
        work.epoch += 1
        work.rest(0)
        if control.safe is None and not control.required:
            control.work = None
        if control.kept:
            control.kept = 0
            self._save()

    def _answer(self, work: Work, stage: str, reason: str, value: "int | None") -> None:
        identity = work.identity
        if identity is not None and self.answer is not None:
            work.identity = None
            self.answer(identity, work.control.device.name, work.control.name, stage, reason, value)

    def _event(self, work: Work, stage: str, reason: str, value: int) -> None:
        control = work.control
        self._outbox.log("guard", f"{control.device.name} {control.name}: {stage} {reason}")
        self._outbox.event(control.device.name, "control", {"control": control.name, "stage": stage, "reason": reason, "value": value})

    def _wake(self) -> None:
        self._ready = True
        for wake in self.wakes:
            wake()

    def _save(self) -> bool:
        self._unsaved_ms = _LONG_RETRY_MS
        saved = keep.save(self._hal, self._outbox, self.cause, self.controls)
        if saved:
            self._unsaved_ms = 0
        return saved
