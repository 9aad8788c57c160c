"""The house's last line: leases, limits and the latch of the emergency stop, with the gateway dead, the broker dead, the clock unset.

A control is owned by whoever commanded it last, until the lease ends; then it gets its reversion value. While an interlock's limit is
active or its telemetry stale, its controls hold nothing but their safe values. A trip, the stop topic or the stop pin latch: every
control gets its safe value, and until an authenticated reset nothing else. All times are what is left of them, counted down by `advance`.
"""

import asyncio

from ohmcore import const
from ohmcore.limits import Rule, refusal
from ohmnode import keep
from ohmnode.writes import Control, Work

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from hal import Hal
    from ohmnode.outbox import Outbox
    from ohmnode.schedule import Device, Group
    from ohmnode.supervisor import Ward
    from ohmnode.writes import Command

_EVALUATE_MS = const(250)
_PIN_MS = const(25)
_VERIFY_MS = const(10000)
_SECOND_LOOK_MS = const(1000)
_RETRY_MS = const(1000)
_LONG_RETRY_MS = const(10000)
_REWRITES = const(3)
_LINK_LOSS_MS = const(60000)

# States of a work. From _HOME on nobody owns the control, from _HELD on it is kept safe.
_FREE = const(0)
_SET = const(1)  # by a command without a lease
_LEASED = const(2)
_HOME = const(3)
_HELD = const(4)  # by an interlock
_LATCHED = const(5)


class Guard:
    """`cause`: of the latch; empty: not latched. `connected` and `answer` are set by whoever knows (node, commands)."""

    def __init__(self, hal: "Hal", outbox: "Outbox", content: "dict[str, Any]") -> None:
        self._hal = hal
        self._outbox = outbox
        self.cause = ""
        self.controls: "list[Control]" = []
        self.connected: "Callable[[], bool]" = lambda: True
        self.answer: "Callable[[int | str, str, str, str, str, int | None], None]" = lambda *_: None
        self.wakes: "list[Callable[[], None]]" = []
        self._rules = [(Rule(spec), spec) for spec in content.get("limits") or ()]
        self._watched: "list[tuple[Rule, Group, int, list[Control]]]" = []
        self._link_loss_ms = int(content.get("link_loss_ms") or _LINK_LOSS_MS)
        self._lost_ms = 0
        self._last = hal.ticks_ms()
        self._level: "int | None" = None
        pin = content.get("stop_pin")
        self._pin: "Callable[[], bool] | None" = hal.stop_pin(pin) if pin else None
        self._pin_seen = 0
        self._ready = True
        self._unsaved_ms = 0  # until the state file is tried again; 0: it says what is

    def add(self, device: "Device", spec: "dict[str, Any]") -> None:
        """A control. ValueError where its description makes no sense."""
        self.controls.append(Control(device, spec))

    def start(self, devices: "list[Device]") -> None:
        """Everything is there: binds the limits, and takes up what was before the restart. ValueError for limits of nothing."""
        for rule, spec in self._rules:
            wanted = (spec["device"], spec["group"])
            groups = [group for device in devices for group in device.groups if (device.name, group.name) == wanted]
            targets = [control for control in self.controls if [control.device.name, control.name] in spec["controls"]]
            read = int(spec.get("read", 0))
            if not groups or read >= len(groups[0].reads) or len(targets) != len(spec["controls"]):
                raise ValueError(f"limit {rule.name}: no such group, read or control")
            self._watched.append((rule, groups[0], read, targets))
        self._rules = []
        cause = keep.load(self._hal, self.controls)
        for control in self.controls:
            work = control.work
            end = control.end()
            if (control.kept or control.required) and end is not None:
                (work or Work(control)).begin(_HOME, end, False, "restart")
        if cause:
            self.latch(cause)

    async def run(self, ward: "Ward") -> None:
        """The guard's task."""
        while True:
            ward.beat()
            began = self._hal.ticks_ms()
            if self._pin is not None:
                self._pin_seen = min(self._pin_seen + 1, 2) if self._pin() else 0
                if self._pin_seen == 2:  # one look alone may be a disturbance
                    self.latch("pin")
            self.evaluate()
            spent = self._hal.ticks_diff(self._hal.ticks_ms(), began)
            await asyncio.sleep_ms(_PIN_MS if self._pin_seen == 1 else max(_EVALUATE_MS - spent, 0))

    def evaluate(self) -> None:
        """What time and telemetry have brought. Allocates nothing while nothing happens."""
        self.advance()
        for rule, _, _, _ in self._watched:
            if not self.cause and rule.tripped():
                self._tell_trip(rule)
                self.latch(rule.name)
        connected = self._lost_ms <= self._link_loss_ms
        ready = False
        for control in self.controls:
            work = control.work
            if work is not None:
                if work.state != _FREE:
                    self._watch(control, work, connected)
                ready = ready or (not work.idle() and work.pause_ms <= 0)
            if control.waiting is not None:
                ready = True
                if control.waiting.ttl_ms <= 0:
                    self._replace(control, "expired")
        if ready:
            self._wake()

    def fresh(self, group: "Group") -> None:
        """The read at `group.position` has just been read."""
        hit = False
        for rule, source, read, _ in self._watched:
            if source is group and read == group.position:
                if not hit:
                    self.advance()
                    hit = True
                rule.read(group.image, group.offsets[read])
        if hit:
            self.evaluate()

    def next(self, devices: "list[Device]") -> "Work | None":
        """The most urgent work on these devices; None: nothing is to be done there now."""
        if not self._ready:
            return None
        best = None
        best_rank = 9
        for control in self.controls:
            if control.device not in devices:
                continue
            self._promote(control)
            work = control.work
            if work is None or work.idle() or work.pause_ms > 0:
                continue
            if work.state >= _HELD and not work.verifying():
                rank = 0
            elif work.verifying():
                rank = 3
            elif work.state == _HOME:
                if not control.device.online:
                    continue
                rank = 1
            else:
                rank = 2
            if rank < best_rank:
                best, best_rank = work, rank
        if best is None and len(self.wakes) <= 1:
            self._ready = False
        return best

    # What is wanted

    def command(self, device: str, name: str, command: Command) -> str:
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

    def level(self, level: int) -> None:
        """The emergency stop's topic: 1 latches, 0 alone releases nothing."""
        self._level = level
        if level:
            self.latch("stop")

    def latch(self, cause: str) -> None:
        """From now on safe values only; the state file is written before this returns."""
        if self.cause:
            return
        self.cause = cause
        for control in self.controls:
            self._replace(control, "latched")
            if control.safe is not None:
                self._own(control, _LATCHED, control.safe, True, cause)
            elif control.work is not None and control.work.state == _LEASED:
                self._lapse(control, "latched")
        self._wake()
        self._outbox.log("guard", f"latched: {cause}")
        self._outbox.event("", "latch", {"cause": cause})
        self._save()

    def reset(self, identity: "int | str", _words: bytes) -> str:
        """An authenticated reset. Why it is rejected, empty: the latch is released."""
        self.evaluate()
        if not self.cause:
            return ""
        standing = "stop" if self._level == 1 else "pin" if self._pin_seen else ""
        for rule, _, _, _ in self._watched:
            if rule.trip and rule.blocks():
                standing = standing or rule.name
        if standing:
            return standing
        cause = self.cause
        self.cause = ""
        if not self._save():
            self.cause = cause
            return "no storage"
        for control in self.controls:
            work = control.work
            if work is not None and work.state == _LATCHED:
                work.state = _HELD
        self._outbox.log("guard", f"reset by {identity}")
        self._outbox.event("", "reset", {"by": identity})
        self.evaluate()
        return ""

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

    def limited(self, work: Work, reason: str, value: int) -> None:
        if not work.told:
            work.told = True
            self._event(work, "limited", reason, value)

    def may(self, work: Work, writes: int) -> bool:
        """Whether so many writes may be done now; they are on record then."""
        control = work.control
        towards_safety = not self.owned(work) or work.target == control.safe
        if not towards_safety and control.gap_ms > 0:
            work.again(control.gap_ms, False)
            return False
        if control.budget is not None:
            if not towards_safety and control.budget.left() < writes:
                self._event(work, "limited", "budget", control.value(work.seen))
                self.failed(work, "budget", True)
                return False
            control.budget.spend(writes)
        if control.budget is not None or (work.state == _LEASED and not control.required and not control.kept):
            control.kept = control.kept or (work.state == _LEASED and not control.required)
            if not self._save() and not towards_safety:
                self.failed(work, "no storage", True)
                return False
        return True

    def settled(self, work: Work, verified: bool) -> None:
        """The device holds what it should."""
        control = work.control
        value = control.value(work.seen)
        work.differs = 0
        work.rest(_VERIFY_MS)
        if verified:
            return
        if work.state == _LEASED and not control.required and not control.kept:
            control.kept = True
            self._save()
        self._answer(work, "done" if work.wrote else "unchanged", "", value)
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
            self._answer(work, "failed", reason, value)
            if work.state == _LEASED:
                self._lapse(control, reason)
            else:
                self._free(control, work)

    # Time

    def advance(self) -> None:
        """Counts down all that has a time. Allocates nothing."""
        now = self._hal.ticks_ms()
        ms = self._hal.ticks_diff(now, self._last)
        if ms <= 0:
            return
        self._last = now
        self._lost_ms = 0 if self.connected() else min(self._lost_ms + ms, 0x1FFFFFFF)
        for rule, _, _, _ in self._watched:
            rule.advance(ms)
        for control in self.controls:
            control.gap_ms = max(control.gap_ms - ms, 0)
            if control.budget is not None:
                control.budget.advance(ms)
            waiting = control.waiting
            if waiting is not None:
                waiting.ttl_ms -= ms
                waiting.lease_ms = max(waiting.lease_ms - ms, 1) if waiting.lease_ms else 0
            work = control.work
            if work is not None:
                work.pause_ms = max(work.pause_ms - ms, 0)
                work.verify_ms -= ms
                work.lease_ms -= ms
        if self._unsaved_ms > 0:
            self._unsaved_ms -= ms
            if self._unsaved_ms <= 0:
                self._save()

    def _watch(self, control: Control, work: Work, connected: bool) -> None:
        """What time and telemetry mean for a control that is not free."""
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
            if reason and control.safe is not None:
                self._own(control, _HELD, control.safe, True, reason)
            elif reason and work.state == _LEASED:
                self._lapse(control, reason)
        elif work.state == _HELD and work.idle() and not self._blocked(control):
            if control.home is None or control.home == control.safe:
                self._free(control, work)
            else:
                work.begin(_HOME, control.home, False, "released")
        if work.idle() and work.state >= _LEASED and work.verify_ms <= 0:
            work.verify()

    def _blocked(self, control: Control) -> str:
        """Why the control may hold its safe value only; empty: it may hold others."""
        for rule, _, _, targets in self._watched:
            if control in targets:
                reason = rule.blocks()
                if reason:
                    return reason
        return ""

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
            if control.budget is not None and control.budget.left() <= 0:
                return "budget"
        return ""

    def _renews(self, control: Control, command: "Command") -> bool:
        work = control.work
        return work is not None and self.owned(work) and work.target == command.raw

    def _promote(self, control: Control) -> None:
        """A command that waits is carried out, if its time has come and it still may be."""
        command = control.waiting
        if command is None:
            return
        renewal = self._renews(control, command)
        if command.ttl_ms <= 0:
            self._replace(control, "expired")
        elif control.gap_ms <= 0 or renewal or command.raw == control.safe:
            if command.raw != control.safe:
                reason = self._blocked(control)
                if reason:
                    self._replace(control, reason)
                    return
            control.waiting = None
            work = control.work or Work(control)
            self._answer(work, "rejected", "replaced", None)
            if not renewal:
                work.rewrites = 0
            work.begin(_LEASED if command.lease_ms else _SET, command.raw, False, "")
            work.identity = command.identity
            work.lease_ms = command.lease_ms
            if control.kept and not command.lease_ms:
                control.kept = False
                self._save()

    def _replace(self, control: Control, reason: str) -> None:
        """A command that waits is not carried out."""
        waiting = control.waiting
        if waiting is not None:
            control.waiting = None
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
        self._event(work, "lapsed", reason, control.value(work.target))
        end = control.end()
        if control.safe is not None and self._blocked(control):
            self._own(control, _HELD, control.safe, False, reason)
        elif end is not None:
            self._own(control, _HOME, end, False, reason)
        else:
            self._free(control, work)

    def _free(self, control: Control, work: Work) -> None:
        """Nobody wants anything of it any more."""
        work.state = _FREE
        work.epoch += 1
        work.rest(0)
        if control.safe is None and not control.required:
            control.work = None
        if control.kept:
            control.kept = False
            self._save()

    def _answer(self, work: Work, stage: str, reason: str, value: "int | None") -> None:
        identity = work.identity
        if identity is not None:
            work.identity = None
            self.answer(identity, work.control.device.name, work.control.name, stage, reason, value)

    def _event(self, work: Work, stage: str, reason: str, value: int) -> None:
        control = work.control
        self._outbox.log("guard", f"{control.device.name} {control.name}: {stage} {reason}")
        self._outbox.event(control.device.name, "control", {"control": control.name, "stage": stage, "reason": reason, "value": value})

    def _tell_trip(self, rule: Rule) -> None:
        detail: "dict[str, Any]" = {"limit": rule.name}
        if rule.lost():
            detail["reason"] = "stale"
        else:
            detail["value"] = rule.value
        self._outbox.event("", "trip", detail)

    def _wake(self) -> None:
        self._ready = True
        for wake in self.wakes:
            wake()

    def _save(self) -> bool:
        saved = keep.save(self._hal, self._outbox, self.cause, self.controls)
        self._unsaved_ms = 0 if saved else _LONG_RETRY_MS
        return saved
