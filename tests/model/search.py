"""All states of a small world, breadth first; each transition is judged by all invariants.

A state is reduced to what can make a difference: times relative to now, no older than anything asks for, wishes and commands by their order
only. `test_model.py` checks that this loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ohmcore.decide import begin
from ohmcore.decide import decide as the_real_one
from ohmcore.records import Decision, Event, Setup, State, Wish
from ohmcore.standing import Desk, Device
from tests.model.invariants import Step, violations

Decide = Callable[[State, Event, int], tuple[State, list[Decision]]]

UNIT_MS = 1000
"""One step of time in a small world."""

UNLIMITED = 1_000_000
"""A burst of wishes that no world ever gets to."""

_WRITES = ("command", "revert", "safe")


class Move(NamedTuple):
    """What can happen: `event` gets the state and makes the event; it happens `ms` later."""

    name: str
    event: Callable[[State], Event | None]
    ms: int = 0


@dataclass(frozen=True)
class World:
    """A small device and what can happen to it. `obedient`: every command is carried out and confirmed at once."""

    name: str
    setup: Setup
    moves: Sequence[Move]
    obedient: bool = True


class Violation(NamedTuple):
    """An invariant that did not hold, and the shortest way to it."""

    invariant: str
    path: tuple[str, ...]


@dataclass
class Outcome:
    """What a search found."""

    world: str
    states: int = 0
    transitions: int = 0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)
    complete: bool = True

    def __str__(self) -> str:
        found = f"{len(self.violations)} violations" if self.violations else "no violation"
        if not self.complete:
            found += ", not all of them"
        return f"{self.world}: {self.states:,} states, {self.transitions:,} transitions, {found} ({self.seconds:.1f} s)"


def normal(state: State) -> State:
    """The same state at time 0, without what makes no difference."""
    device = Device(state)
    setup, now = device.setup, device.now
    orders = sorted({wish.order for desk in device.desks for wish in (*desk.wishes, desk.waiting) if wish is not None})
    place = {order: i + 1 for i, order in enumerate(orders)}
    device.order = len(orders) + len(device.desks)
    device.now = 0
    device.manual = None if device.manual is None else device.manual - now
    counted = setup.burst < UNLIMITED
    device.buckets = tuple((max(0, used - (now - at)) if counted else 0, 0) for used, at in device.buckets)
    device.last = tuple(0 for _ in device.last)
    longest = setup.heartbeat_ms
    device.beat = None if device.beat is None or not longest or now - device.beat > longest else device.beat - now
    device.stated = None if device.stated is None or not longest or now - device.stated > longest else device.stated - now
    device.seen = tuple(
        None if seen is None or seen[0] is None or now - seen[1] > source.stale_ms else (seen[0], seen[1] - now)
        for seen, source in zip(device.seen, setup.sources, strict=True)
    )
    for i, desk in enumerate(device.desks):
        _reduce(desk, setup, now, place)
        desk.pending = len(orders) + i + 1 if desk.pending else 0
    return device.state()


def _reduce(desk: Desk, setup: Setup, now: int, place: dict[int, int]) -> None:
    def moved(wish: Wish | None) -> Wish | None:
        return None if wish is None else wish._replace(until=wish.until - now, order=place[wish.order])

    control = desk.control
    desk.wishes = tuple(moved(wish) for wish in desk.wishes)
    desk.waiting = moved(desk.waiting)
    desk.adopted = None if desk.adopted is None or now - desk.adopted >= setup.dwell_ms else desk.adopted - now
    if desk.out_at is not None:
        full = -(-1000 * (control.most - control.least) // control.ramp) if control.ramp else 0
        age = min(now - desk.out_at, max(control.interval_ms, full))
        desk.out_at = None if age >= control.interval_ms and not control.ramp else -age
    desk.until = desk.until - now if desk.pending else 0
    desk.again = None if desk.again is None else max(desk.again - now, 0)
    desk.tries = min(desk.tries, max(setup.tries, 3))
    desk.fights = min(desk.fights, setup.fights + 1)
    desk.spent = tuple((start - now, number) for start, number in desk.spent if now - start < setup.day_ms + setup.day_ms // 24)


def obey(state: State, decisions: Sequence[Decision]) -> list[Event]:
    """What an obedient device answers."""
    return [("result", said.control, said.identity, "done", said.value) for said in decisions if said.kind in _WRITES]


def begun(setup: Setup) -> State:
    """At the start, with identities that have been there already."""
    device = Device(begin(setup, 0))
    device.last = tuple(0 for _ in device.last)
    return device.state()


def search(world: World, decide: Decide = the_real_one, *, most: int = 10_000_000, stop_at: int = 1) -> Outcome:
    """Every reachable state of the world. Ends early after `stop_at` violations, or `most` transitions (then it is not `complete`)."""
    outcome = Outcome(world.name)
    began = time.monotonic()
    first = normal(begun(world.setup))
    came: dict[State, tuple[State, str] | None] = {first[1:]: None}
    level = [first]
    try:
        while level:
            following: list[State] = []
            for state in level:
                for move in world.moves:
                    event = move.event(state)
                    if event is None:
                        continue
                    if outcome.transitions >= most:
                        outcome.complete = False
                        return outcome
                    after, broken, steps = _go(world, decide, state, event, move.ms)
                    outcome.transitions += steps
                    if broken:
                        path = (*_path(came, state), move.name)
                        outcome.violations.extend(Violation(name, path) for name in broken)
                        if len(outcome.violations) >= stop_at:
                            return outcome
                        continue
                    if after[1:] not in came:
                        came[after[1:]] = (state, move.name)
                        following.append(after)
            level = following
    finally:
        outcome.states = len(came)
        outcome.seconds = time.monotonic() - began
    return outcome


def _go(world: World, decide: Decide, state: State, event: Event, ms: int) -> tuple[State, list[str], int]:
    """One event and, in an obedient world, the answers to what it commands. The new state, what was broken, the number of steps."""
    before, now, events, broken, steps = state, ms, [event], [], 0
    while events:
        happening = events.pop(0)
        after, decisions = decide(before, happening, now)
        steps += 1
        broken += violations(Step(before, happening, now, after, decisions, decide))
        if broken:
            return after, broken, steps
        if world.obedient:
            events += obey(after, decisions)
        before = after
    return normal(before), broken, steps


def _path(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    names: list[str] = []
    step = came[state[1:]]
    while step is not None:
        names.append(step[1])
        step = came[step[0][1:]]
    return names[::-1]
