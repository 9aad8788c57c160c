"""The node's invariants under whatever may happen in whatever order: each write on the wire is judged by a model of its own.

The numbers are those of the invariants of the design: 1 latch, 2 stale telemetry, 3 floor, 4 lease, 7 reset, 8 replays, 12 budget,
15 and 16 restarts.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.guard_rig import LIMIT, MODE, POWER, SOC, TEMPERATURE, House, charge, floor, hot, limit, raw

SAFE = (0, 0)
BUDGET = 4
SLACK_MS = 600  # two evaluations and an exchange
GIVEN_BACK_MS = 45_000  # the longest a returning device or a failed try is waited for

moments = st.integers(0, 9000)
actions = st.one_of(
    st.tuples(st.just("wait"), moments),
    st.tuples(st.just("charge"), st.integers(-3300, 3300), st.sampled_from([0, 500, 3000, 30_000])),
    st.tuples(st.just("limit"), st.integers(0, 105)),
    st.tuples(st.just("replay"), st.integers(0, 30)),
    st.tuples(st.just("soc"), st.integers(10, 25)),
    st.tuples(st.just("temperature"), st.sampled_from([250, 445, 455, 505])),
    st.tuples(st.just("silent"), st.booleans()),
    st.tuples(st.just("blind"), st.booleans()),
    st.tuples(st.just("link"), st.booleans()),
    st.tuples(st.just("stop"), st.integers(0, 1)),
    st.tuples(st.just("reset")),
    st.tuples(st.just("cut")),
    st.tuples(st.just("rival"), st.integers(1, 3000)),
    st.tuples(st.just("full"), st.booleans()),
)
stories = st.lists(st.tuples(actions, st.integers(0, 2500)), max_size=25)


class Judge:
    """Sees what goes over the wire and what comes from outside, and nothing else of the node but whether it says it is latched."""

    def __init__(self, began: int) -> None:
        self.node = House([charge(), limit(budget=BUDGET)], [floor(), hot()], link_loss_ms=8000, began=began)
        self.messages: list[tuple[int, int, bytes]] = []  # id, lease, what went over the air
        self.owned_until = 0
        self.fresh_at: int | None = None
        self.low = False
        self.level: int | None = None
        self.resetting = False
        self.latched = ""
        self.durable = False  # the flash took the latch
        self.node.watch = self.watch
        self._begin_life()

    def _begin_life(self) -> None:
        """What one life knows, the next does not."""
        self.owned_until = 0
        self.fresh_at = None
        self.low = False  # once it is known
        self.node.wire.peer = self.answer

    def answer(self, request: bytes) -> list[tuple[int, bytes]]:
        node = self.node
        now = node.world.now
        if request[1] == 16:
            words = tuple(int.from_bytes(request[7 + 2 * i : 9 + 2 * i], "big") for i in range(2))
            if words != SAFE:
                assert not node.guard.cause, "1: nothing but the safe value while it is latched"
                assert self.fresh_at is not None, "2: no forced action before the first telemetry"
                assert now - self.fresh_at <= 5000 + SLACK_MS, "2: no forced action on stale telemetry"
                assert not self.low, "3: the floor holds"
                assert now <= self.owned_until + SLACK_MS, "4: nothing forced without a lease"
        replies = node.inverter(request)
        if request[1] == 3 and request[2:4] == SOC.to_bytes(2, "big") and replies and not replies[0][1][1] & 0x80:
            self.fresh_at = now
            soc = node.inverter.registers[SOC]
            self.low = soc < 15 or (self.low and soc < 18)
        return replies

    def watch(self) -> None:
        cause = self.node.guard.cause
        if self.latched and not cause:
            assert self.resetting, "7: released by a reset only"
        if cause and not self.latched:
            self.durable = not self.node.world.full
        self.latched = cause

    def do(self, what: tuple[Any, ...]) -> None:
        node = self.node
        inverter = node.inverter
        match what:
            case ("wait", ms):
                node.run(ms)
            case ("charge", power, lease):
                node.counter += 1
                body = [1, node.counter, node.counter, "growatt", "charge", raw(power, 1), 1500, lease]
                self.messages.append((node.counter, lease, node.sealed(body)))
                self.hand(*self.messages[-1])
            case ("limit", tens):
                node.send(raw(10 * tens), control="limit", lease=0)
            case ("replay", index) if self.messages:
                self.hand(*self.messages[index % len(self.messages)])
            case ("soc", value):
                inverter.registers[SOC] = value
            case ("temperature", value):
                inverter.registers[TEMPERATURE] = value
            case ("silent", silent):
                inverter.silent = silent
            case ("blind", blind):
                inverter.refuses = {SOC} if blind else set()
            case ("link", connected):
                node.connected = connected
            case ("stop", level):
                self.level = level
                node.stop(level)
                assert not level or node.guard.cause, "1: the stop latches at once"
            case ("reset",):
                self.reset()
            case ("cut",):
                latched, self.latched = self.latched, ""
                node.boot()
                self._begin_life()
                if self.level is not None:
                    node.stop(self.level)  # the broker keeps the level, and the node hears it before anything else
                assert not latched or not self.durable or node.guard.cause == latched, "1: the latch outlives a power cut"
            case ("rival", power):
                inverter.registers[POWER] = power
            case ("full", full):
                node.world.full = full
        self.watch()

    def hand(self, command: int, lease: int, message: bytes) -> None:
        """One that was taken gives no second lease; one that the full flash refused may be taken when it comes again."""
        if command not in self.taken():
            self.owned_until = max(self.owned_until, self.node.world.now + lease)
        self.node.deliver(message)

    def taken(self) -> list[int]:
        return [detail["id"] for detail in self.node.heard("result") if detail["reason"] != "no storage"]

    def reset(self) -> None:
        node = self.node
        self.resetting = True
        before = node.guard.cause
        node.send(b"", control="reset", device="", lease=0)
        if before and not node.guard.cause:
            assert self.level != 1, "7: the stop still stands"
            assert self.fresh_at is not None, "7: nobody knows whether the trip has cleared"
            assert node.world.now - self.fresh_at <= 5000 + SLACK_MS
        self.watch()
        self.resetting = False


@settings(max_examples=150, deadline=None)
@given(stories, st.sampled_from([0, (1 << 30) - 20_000]))
def test_whatever_happens_the_invariants_hold(story: list[tuple[tuple[Any, ...], int]], began: int) -> None:
    judge = Judge(began)
    node = judge.node
    for what, pause in story:
        judge.do(what)
        node.run(pause)
    budgeted = [write for write in node.inverter.writes if write.address == LIMIT]
    assert len(budgeted) <= BUDGET, "12: a story is shorter than a day"
    taken = judge.taken()
    assert len(taken) == len(set(taken)), "8: each command is taken once at most"

    # Everything that was in the way goes away, and nobody wants anything any more.
    judge.do(("silent", False))
    judge.do(("blind", False))
    judge.do(("full", False))
    judge.do(("cut",))
    judge.do(("soc", 50))
    judge.do(("temperature", 250))
    node.run(GIVEN_BACK_MS)
    assert (node.inverter.registers[POWER], node.inverter.registers[MODE]) == SAFE, "4, 16: nobody wants anything, and the inverter is off"
    judge.do(("stop", 0))
    judge.reset()
    assert node.guard.cause == ""
    judge.owned_until = node.world.now + 60_000
    assert node.obey(raw(1000, 1)) == ("done", ""), "and it still does what it is told"
