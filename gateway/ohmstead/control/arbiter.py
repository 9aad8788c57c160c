"""The arbiter: one state of the core for each battery, its audit before every action, and whoever wants to know told.

Events come from readings, nodes, the plan and everybody who wishes. `decide` takes each at once, so that the next one sees its state; the
record of it is durable before anything of it is done (`audit`). If it cannot be kept, the state goes back to what is, and nobody is obeyed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from ohmcore import events
from ohmcore.decide import begin, clock, decide, due, explain, mode_of, next_identity, unpacked
from ohmcore.records import Decision, Event, State, Why
from ohmcore.standing import Device
from ohmstead.control import account
from ohmstead.control.arbitration import Told
from ohmstead.control.audit import Audit, Entry, checkpoint
from ohmstead.control.carrier import UNSENT, WRITES, Carried, Carrier
from ohmstead.control.dispatch import Actuator
from ohmstead.control.setup import Battery
from ohmstead.control.views import DeviceView, Refused, Status
from ohmstead.errors import OhmsteadError, Reason
from ohmstead.readings import Snapshot
from ohmstead.store.trail import Checkpoint, Trail
from ohmstead.tasks import end

log = structlog.get_logger(service="control")

_GRACE_S = 1.5
_CHECKPOINT_S = 6 * 3600.0
_PRUNE_S = 3600.0
_SETTLE_S = 2.0
"""A reading that was taken less than this after a command may still be the one before."""

_REFUSALS, _REFUSAL_MS = 60, 1000
"""So many refusals of a device are on record at once, and one more in so long a time."""

_NODE = "node: "
"""How the latch of a node is called among the trips."""

_MUST_BE_HEARD = ("stop", "trip", "trip cleared", "grid", "result", "external")
"""Events that are handed in again when they could not be kept: nobody else would."""

Outcomes = Callable[[str, Carried], None]
"""Is told what became of a command of a device."""


@dataclass
class _Seat:
    """A battery's place at the arbiter. `state` is the newest, `durable` the last that is kept."""

    battery: Battery
    state: State
    durable: State
    carrier: Carrier
    rejected: Refused | None = None
    checkpoint_at: float = float("-inf")
    read: dict[str, int] = field(default_factory=dict)
    again: list[Event] = field(default_factory=list)
    refusals: tuple[int, int] = (0, 0)


class Arbiter:
    """An `Arbitration` of all batteries. `actuators` write to them, `reachable` tells whether a device can be reached.

    `relay` passes the emergency stop on to whoever stands between (level 0 or 1). `boot` names the run of the machine: a monotonic clock
    says nothing about another one. `keep_s`: how long the audit is kept. `mono` and `wall` in seconds.
    """

    def __init__(
        self,
        batteries: Mapping[str, Battery],
        actuators: Mapping[str, Actuator],
        trail: Trail,
        *,
        reachable: Callable[[str], bool],
        relay: Callable[[str, int], None] = lambda device, level: None,
        boot: str = "",
        keep_s: float = 90 * 86_400.0,
        flush_s: float = 1.0,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        clock_text: Callable[[float], str] = lambda _: "",
    ) -> None:
        self._mono, self._wall = mono, wall
        self._trail = trail
        self._boot = boot
        self._keep_s = keep_s
        self._relay = relay
        self._clock_text = clock_text
        self._prune_at = mono() + _PRUNE_S / 10
        self._told: list[Told] = []
        self._outcomes: list[Outcomes] = []
        self._chores: set[asyncio.Task[None]] = set()
        self.audit = Audit(trail, self._committed, self._lost, self._checkpoints, boot=boot, flush_s=flush_s)
        self._seats: dict[str, _Seat] = {}
        for device, battery in batteries.items():
            state = begin(battery.setup, self._now())

            def can(device: str = device) -> bool:
                return reachable(device)

            carrier = Carrier(device, battery.targets, actuators[device], self._carried, latched=self._refused, reachable=can, mono=mono)
            self._seats[device] = _Seat(battery, state, state, carrier)
        self._devices = {device: battery.view for device, battery in batteries.items()}

    # What everybody may ask

    @property
    def devices(self) -> Mapping[str, DeviceView]:
        return self._devices

    def battery(self, device: str) -> Battery:
        return self._seats[device].battery

    def state(self, device: str) -> State:
        """The newest state, which may not be durable yet: for whoever feeds, not for whoever shows."""
        return self._seats[device].state

    def subscribe(self, told: Told) -> None:
        self._told.append(told)

    def on_outcome(self, outcomes: Outcomes) -> None:
        """`outcomes` is told what became of each command, before that is decided upon."""
        self._outcomes.append(outcomes)

    def next_identity(self, device: str, author: str) -> int:
        return next_identity(self._seats[device].state, author)

    def explain(self, device: str, control: str) -> Why:
        return explain(self._seats[device].durable, control, self._now())

    def mode(self, device: str) -> str:
        return mode_of(self._seats[device].durable)

    def why(self, device: str, control: str) -> str:
        found = self.explain(device, control)
        until = self._clock_text(self._wall() + found.left_ms / 1000) if found.author else ""
        seat = self._seats[device]
        return account.why(seat.battery, seat.durable, self._now(), control, until=until)

    def hindrance(self, device: str, clamp: str, by: str) -> str:
        """What stands in the way of what is wanted of a device, in words and with the reading behind it."""
        seat = self._seats[device]
        return account.hindrance(seat.battery, seat.durable, self._now(), clamp, by)

    def refusal(self, device: str, reason: str, by: str) -> str:
        """Why something was not taken, in words."""
        seat = self._seats[device]
        return account.refusal(seat.battery, seat.durable, self._now(), reason, by)

    def status(self, device: str) -> Status:
        seat = self._seats[device]
        return account.status_of(seat.battery, seat.durable, self._now(), seat.rejected, self.audit.trouble)

    # Events

    async def submit(self, device: str, event: Event) -> list[Decision]:
        seat = self._seats[device]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        decisions = self._decide(device, seat, event, done)
        await done
        return decisions

    def feed(self, device: str, event: Event) -> None:
        """As `submit`, for whoever waits for nothing."""
        self._decide(device, self._seats[device], event, None)

    def _decide(self, device: str, seat: _Seat, event: Event, done: asyncio.Future[None] | None) -> list[Decision]:
        now = self._now()
        state, decisions = decide(seat.state, event, now)
        needless = self._needless(seat, state, decisions, now)
        if not needless:
            seat.state = state
        if decisions or done is not None or not needless:
            self.audit.add(Entry(device, now, self._wall(), event, decisions, seat.state, done, not needless))
        return decisions

    def _needless(self, seat: _Seat, state: State, decisions: Sequence[Decision], now: int) -> bool:
        """Whether an event is forgotten, as if it had never been: it changes nothing but the time, or it is one more of a flood of those
        that are refused. Of these the audit has the first ones, and one a second; all are answered."""
        if not decisions:
            return bool(state[2:] == seat.state[2:])
        if any(decision.kind != "rejection" for decision in decisions):
            return False
        used, at = seat.refusals
        used = max(0, used - (now - at))
        if used > (_REFUSALS - 1) * _REFUSAL_MS:
            return True
        seat.refusals = (used + _REFUSAL_MS, now)
        return False

    def tick(self) -> None:
        """Time passes: call it once a second or so."""
        now = self._now()
        for device, seat in self._seats.items():
            again, seat.again = seat.again, []
            for event in again:
                self.feed(device, event)
            moment = due(seat.state)
            if moment is not None and moment <= now:
                self.feed(device, events.tick())
            if not self.audit.trouble:
                for control in seat.battery.view.controls:
                    seat.carrier.renew(control, explain(seat.durable, control, now))
        if self._mono() >= self._prune_at:
            self._prune_at = self._mono() + _PRUNE_S
            task = asyncio.create_task(self._prune(), name="audit-prune")
            self._chores.add(task)
            task.add_done_callback(self._chores.discard)

    def take(self, snapshot: Snapshot) -> None:
        """What is read of a battery: telemetry for its limits, and what its controls are seen to do."""
        seat = self._seats.get(snapshot.device)
        if seat is None or not snapshot.live:
            return
        values = snapshot.values
        pairs = tuple((feed.source, feed.measure(values)) for feed in seat.battery.feeds if feed.needs <= values.keys())
        if pairs:
            self.feed(snapshot.device, events.telemetry(pairs, max(round(snapshot.age * 1000), 0)))
        read_at = self._mono() - max(snapshot.age, 0.0)
        for control, (point, scale) in seat.battery.shown.items():
            value = values.get(point)
            if not isinstance(value, int | float) or read_at - seat.carrier.sent_at.get(control, 0.0) < _SETTLE_S:
                continue
            raw = round(value / scale)
            found = explain(seat.state, control, self._now())
            if not found.pending and (raw != found.value or raw != found.read_back or raw != seat.read.get(control)):
                self.feed(snapshot.device, events.readback(control, raw))
            seat.read[control] = raw

    def node_says(self, device: str, control: str, value: int | None, time: float) -> None:
        """A node or the gateway's guard took a control from whoever held it, or saw a rival there, at `time` (UTC): `value` is there now;
        None: where it goes by itself. What was before the last command is old news."""
        seat = self._seats[device]
        target = seat.battery.targets.get(control)
        if target is None or self._mono() - (self._wall() - time) < seat.carrier.sent_at.get(control, 0.0):
            return
        there = target.returns_to if value is None else value
        if there is not None and not explain(seat.state, control, self._now()).pending:
            self.feed(device, events.external(control, there))

    def node_latch(self, device: str, cause: str) -> None:
        """A node said why it is latched, empty: it is not. Only what is new is decided upon."""
        seat = self._seats[device]
        if cause:
            name = f"{_NODE}{cause}"
            if name not in Device(seat.state).trips:
                self.node_is_free(device)
                self.feed(device, events.trip(name))
        else:
            self.node_is_free(device)

    def node_is_free(self, device: str) -> None:
        """The node is not latched any more."""
        for trip in Device(self._seats[device].state).trips:
            if trip.startswith(_NODE):
                self.feed(device, events.trip_cleared(trip))

    def _refused(self, device: str) -> None:
        """The node says it is latched. Why, it says later."""
        if not self.node_latched(device):
            self.feed(device, events.trip(f"{_NODE}stopped"))

    def node_latched(self, device: str) -> bool:
        return any(trip.startswith(_NODE) for trip in Device(self._seats[device].state).trips)

    # What becomes of them

    def _committed(self, entry: Entry) -> None:
        seat = self._seats[entry.device]
        before, seat.durable = seat.durable, entry.state
        if entry.event[0] == "stop":
            self._pass_on(entry, Device(before))
        for decision in entry.decisions:
            if decision.kind in WRITES:
                seat.carrier.act(decision)
            elif decision.kind == "rejection" and decision.author:
                detail = account.refusal(seat.battery, seat.durable, entry.now, decision.reason, decision.by)
                seat.rejected = Refused(decision.author, decision.control, decision.reason, decision.by, detail, entry.time)
        if entry.decisions:
            log.info("decided", device=entry.device, upon=entry.event[0], what=[_short(decision) for decision in entry.decisions])
        if entry.decisions or entry.event[0] not in ("telemetry", "readback"):
            self._tell(entry.device, entry.decisions)

    def _pass_on(self, entry: Entry, before: Device) -> None:
        """A stop goes to the node at once, too; its end only where it was ours."""
        if entry.event[1] == 1 and before.level != 1:
            self._relay(entry.device, 1)
        elif entry.event[1] == 0 and before.level != 0 and before.cause == "stop":
            self._relay(entry.device, 0)

    def _tell(self, device: str, decisions: Sequence[Decision]) -> None:
        if not self._told:
            return
        status = self.status(device)
        for told in self._told:
            try:
                told(device, decisions, status)
            except Exception:
                log.exception("a subscriber of the arbiter failed", device=device)

    def _lost(self, entries: Sequence[Entry], error: OhmsteadError) -> None:
        """Back to what is durable: nothing of it was done. But whoever stands before the device hears of a stop, and obeys it."""
        for entry in entries:
            seat = self._seats[entry.device]
            seat.state = seat.durable
            seat.checkpoint_at = float("-inf")
            if entry.event[0] in _MUST_BE_HEARD and entry.event not in seat.again:
                seat.again.append(entry.event)
                if entry.event == ("stop", 1):
                    self._relay(entry.device, 1)
        for device in {entry.device for entry in entries}:
            self._tell(device, ())

    def _carried(self, device: str, carried: Carried) -> None:
        decision, outcome, seat = carried.decision, carried.outcome, self._seats[device]
        if outcome.kind == UNSENT:
            self.feed(device, events.result(decision.control, decision.identity, UNSENT))
            return
        if outcome.reason == Reason.LIMIT:
            detail = account.refused_below(seat.battery, seat.durable, self._now(), outcome.detail)
            outcome = outcome._replace(detail=detail)
            carried = carried._replace(outcome=outcome)
        line = log.info if outcome.kind in ("done", "unchanged") else log.warning
        line("carried out", device=device, control=decision.control, value=decision.value, outcome=outcome.kind, detail=outcome.detail)
        for outcomes in self._outcomes:
            outcomes(device, carried)
        at = seat.battery.setup.find("control", decision.control)
        if Device(seat.state).desks[at].pending != decision.identity:
            return  # a newer one is on its way already
        there = decision.value if outcome.kind in ("done", "unchanged") else None  # all its registers were read back
        self.feed(device, events.result(decision.control, decision.identity, outcome.kind, there))

    # Life

    async def start(self) -> None:
        """Goes on from the store, for what is left of the leases. Raises StoreError."""
        for device, seat in self._seats.items():
            kept = await asyncio.to_thread(self._trail.standing, device)
            event = events.tick()
            if kept is not None:
                try:
                    seat.state = seat.durable = unpacked(seat.battery.setup, json.loads(kept.state))
                except ValueError as error:
                    log.error("what was decided before cannot be read, all begins anew", device=device, reason=str(error))
                else:
                    now, was = self._now(), clock(seat.state)
                    known = bool(self._boot) and kept.boot == self._boot and was <= now
                    event = events.restart(now if known else was, known)
            self.feed(device, event)

    async def run(self) -> None:
        """Keeps the audit, until `close`."""
        await self.audit.run()

    async def close(self) -> None:
        """Nothing is decided any more; what is being written gets a moment."""
        await asyncio.gather(*(seat.carrier.close(_GRACE_S) for seat in self._seats.values()))
        await end(self._chores)
        self.audit.close()

    def _checkpoints(self) -> list[Checkpoint]:
        """Of what is durable, where the last one is some time ago."""
        now, made = self._mono(), []
        for device, seat in self._seats.items():
            if now >= seat.checkpoint_at:
                seat.checkpoint_at = now + _CHECKPOINT_S
                made.append(checkpoint(device, seat.durable, self._wall()))
        return made

    async def _prune(self) -> None:
        try:
            forgotten = 1
            while forgotten:
                forgotten = await asyncio.to_thread(self._trail.prune, round((self._wall() - self._keep_s) * 1000))
        except OhmsteadError as error:
            log.warning("the old end of the audit stays for now", reason=str(error))

    def _now(self) -> int:
        return int(self._mono() * 1000)


def _short(decision: Decision) -> str:
    """A decision as a word in the log: `command charge=60 loxone`, `rejection latched`."""
    value = "" if decision.value is None else f"={decision.value}"
    why = decision.clamp or decision.reason
    return f"{decision.kind} {decision.control}{value} {decision.author} {why} {decision.by}"
