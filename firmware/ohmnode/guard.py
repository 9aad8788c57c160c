"""The house's last line: limits and the latch of the emergency stop, with the gateway dead, the broker dead, the clock unset.

While an interlock's limit is active or its telemetry stale, its controls hold nothing but their safe values. A trip, the stop topic or
the stop pin latch: every control gets its safe value, and until an authenticated reset nothing else.
"""

import asyncio

from ohmcore import const
from ohmcore.limits import Rule
from ohmnode import keep
from ohmnode.leases import Leases
from ohmnode.schedule import READ, START, WATCHED
from ohmnode.writes import Work, step

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from hal import Hal
    from ohmnode.bus import AnyLine, Bus
    from ohmnode.outbox import Outbox
    from ohmnode.schedule import Device, Group
    from ohmnode.supervisor import Ward

_EVALUATE_MS = const(250)
_PIN_MS = const(25)
_LINK_LOSS_MS = const(60000)
_UNSAVED_MS = const(1000)
_UNREAD_MS = const(60000)

# As in `leases`.
_FREE = const(0)
_SET = const(1)
_HOME = const(3)
_HELD = const(4)
_LATCHED = const(5)


class Guard(Leases):
    """`content`: the configuration. `add` the controls, `bind`, then `start`."""

    def __init__(self, hal: "Hal", outbox: "Outbox", content: "dict[str, Any]") -> None:
        Leases.__init__(self, hal, outbox)
        self._rules = [(Rule(spec), spec) for spec in content.get("limits") or ()]
        self._link_loss_ms = int(content.get("link_loss_ms") or _LINK_LOSS_MS)
        self._lost_ms = 0
        self._last = hal.ticks_ms()
        self._level: "int | None" = None
        pin = content.get("stop_pin")
        self._pin: "Callable[[], bool] | None" = hal.stop_pin(pin) if pin else None
        self._pin_seen = 0

    def bind(self, devices: "list[Device]") -> None:
        """Everything is there: the limits get their groups and controls. ValueError for limits of nothing."""
        for rule, spec in self._rules:
            wanted = (spec["device"], spec["group"])
            groups = [group for device in devices for group in device.groups if (device.name, group.name) == wanted]
            targets = [control for control in self.controls if [control.device.name, control.name] in spec["controls"]]
            read = int(spec.get("read", 0))
            if not groups or read >= len(groups[0].good) or len(targets) != len(spec["controls"]):
                raise ValueError(f"limit {rule.name}: no such group, read or control")
            if rule.trip:
                groups[0].priority = WATCHED
            self._watched.append((rule, groups[0], read, targets))
        self._rules = []

    def start(self) -> None:
        """Takes up what was before the restart."""
        cause = keep.load(self._hal, self.controls)
        for control in self.controls:
            work = control.work
            end = control.end()
            if control.kept > 1 and not control.required:
                if work is not None:  # what it was set to stays, whatever that is, until a limit says otherwise
                    work.state = _SET
                    work.left_ms = _UNREAD_MS
            elif (control.kept or control.required) and end is not None:
                (work or Work(control)).begin(_HOME, end, False, "restart")
        if cause:
            self.latch(cause)

    def step(self, bus: "Bus", line: "AnyLine", work: Work) -> "Coroutine[None, None, None]":
        """One exchange of that work; to be awaited."""
        return step(bus, line, self, work)

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
                if work.state != _FREE or self.cause:
                    self._watch(control, work, connected)
                ready = ready or (not work.idle() and work.pause_ms <= 0)
            if control.waiting is not None:
                ready = True
                if self.cause or control.waiting.ttl_ms <= 0:
                    self._replace(control, "latched" if self.cause else "expired")
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
                rule.read(group.image, group.reads[READ * read + START])
        if hit:
            self.evaluate()

    def advance(self) -> None:
        """Counts down all that has a time. Allocates nothing."""
        now = self._hal.ticks_ms()
        ms = self._hal.ticks_diff(now, self._last)
        if ms <= 0:
            return
        self._last = now
        self._lost_ms = 0 if self.connected is None or self.connected() else min(self._lost_ms + ms, 0x1FFFFFFF)
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
                work.left_ms = max(work.left_ms - ms, 0)
                work.lease_ms = max(work.lease_ms - ms, 0)
        if self._unsaved_ms > 0:
            self._unsaved_ms -= ms
            if self._unsaved_ms <= 0:
                self._save()

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
        self._unsaved_ms = _UNSAVED_MS  # where memory runs out on the way, the next evaluation goes on
        self.evaluate()
        self._outbox.log("guard", f"latched: {cause}")
        self._outbox.event("", "latch", {"cause": cause})
        self._save()

    def reset(self, identity: "int | str", _words: bytes) -> str:
        """An authenticated reset. Why it is rejected, empty: the latch is released."""
        self.evaluate()
        if not self.cause:
            return ""
        unheard = self._level is None and self.cause == "stop"  # since the restart: it may stand still
        standing = "stop" if self._level or unheard else "pin" if self._pin_seen else ""
        for rule, _, _, _ in self._watched:
            if rule.trip and not rule.cleared():
                standing = standing or rule.name
        if standing:
            return standing
        if not keep.save(self._hal, self._outbox, "", self.controls):
            return "no storage"
        self.cause = ""
        for control in self.controls:
            work = control.work
            if work is not None and work.state == _LATCHED:
                work.state = _HELD
        self._outbox.log("guard", f"reset by {identity}")
        self._outbox.event("", "reset", {"by": identity})
        self.evaluate()
        return ""

    def _tell_trip(self, rule: Rule) -> None:
        detail: "dict[str, Any]" = {"limit": rule.name}
        if rule.lost():
            detail["reason"] = "stale"
        else:
            detail["value"] = rule.value
        self._outbox.event("", "trip", detail)
