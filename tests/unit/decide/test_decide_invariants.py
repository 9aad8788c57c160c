"""The invariants of control, whatever happens in whatever order: a judge who sees what is told to the arbiter and what it commands.

The judge keeps books of its own (who wished what until when, what was measured when, what the operator said) and knows nothing of how
the arbiter keeps its own. The numbers are those of the design; 13 (read-only) has a machine of its own.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ohmcore import events
from ohmcore.decide import begin, decide, due
from ohmcore.records import Decision, Event
from tests.unit.decide.house import HOUR, MINUTE, SECOND, WRITES, House, battery

MANUAL_AUTHORS = ("loxone", "dashboard")
RANK = {"loxone": 2, "dashboard": 2, "plan": 1, "self-use": 0}
SAFE = {"charge": 0, "discharge": 0, "export_limit": 100}
MOST = {"charge": 5000, "discharge": 5000, "export_limit": 100}
NEEDS = {"charge": ("soc", "import", "charging"), "discharge": ("soc",), "export_limit": ()}
STALE_MS = 30 * SECOND
HEARTBEAT_MS = 2 * MINUTE
DWELL_MS = 5 * MINUTE
BUDGET = 4
LEASES = (None, SECOND, MINUTE, 20 * MINUTE, 3 * HOUR)

controls = st.sampled_from(sorted(SAFE))
authors = st.sampled_from(sorted(RANK))
rubbish = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.text(max_size=5),
    st.integers(-3, 3),
    st.sampled_from([10**400, -1, 1e309, float("nan"), "charge"]),
)
nonsense = st.one_of(
    st.tuples(st.sampled_from(["wish", "mode", "stop", "grid", "telemetry", "result", "restart", "reset", "no such"]), rubbish),
    st.tuples(st.just("wish"), rubbish, rubbish, rubbish, rubbish, rubbish, rubbish, rubbish, rubbish),
    st.tuples(st.just("wish"), st.just("loxone"), controls, st.sampled_from([1.0, "1", True, None, 10**9, -100]), st.just(10**15)).map(
        lambda parts: (*parts, None, 0, False, "")
    ),
    st.tuples(st.just("telemetry"), st.lists(st.tuples(rubbish, rubbish), min_size=1, max_size=3).map(tuple), rubbish),
    st.tuples(st.just("result"), rubbish, rubbish, rubbish, rubbish),
    st.just(()),
)


class Wanted:
    """A wish that was taken."""

    def __init__(self, author: str, control: str, value: int, until: int) -> None:
        self.author, self.control, self.value, self.until = author, control, value, until


class ADay(RuleBasedStateMachine):
    """A house with a network operator, for hypothesis to play with."""

    def __init__(self) -> None:
        super().__init__()
        setup = battery(heartbeat_ms=HEARTBEAT_MS, dwell_ms=DWELL_MS, burst=25)
        for control in setup.controls:
            control.budget = BUDGET
        self.house = House(setup)
        self.wanted: list[Wanted] = []
        self.measured: dict[str, tuple[int, int]] = {}
        self.latched = False
        self.level: int | None = None
        self.trips: set[str] = set()
        self.grid: int | None = None
        self.failsafe = self.said_failsafe = True
        self.beat: int | None = None
        self.stated: int | None = None
        self.low = self.high = False
        self.lease_ms = HOUR
        self.pause: int | None = None
        self.told: list[Event] = []
        self.quiet = False  # a day without stops and restarts
        self.plans: dict[str, tuple[int | None, int | None]] = dict.fromkeys(SAFE, (None, None))  # what ruled, and since when
        self.confirmed: dict[str, int | None] = dict.fromkeys(SAFE)
        self.tell(events.tick())

    @initialize(soc=st.sampled_from([16, 50, 94]), quiet=st.booleans())
    def a_morning(self, soc: int, quiet: bool) -> None:
        """All is known, and nobody limits anything."""
        self.measure(soc, 2000)
        self.heartbeat()
        self.limit(None)
        self.quiet = quiet

    # The books

    def tell(self, event: Event) -> list[Decision]:
        house = self.house
        self._time()
        before = len(house.writes)
        said = house.tell(event)
        for one in said:
            if one.reason in ("failsafe", "failsafe over"):
                self.said_failsafe = one.reason == "failsafe"
        for _, write in house.writes[before:]:
            assert event[0] == "restart" or write.value != self.confirmed[write.control], "12: what is there is not written"
            self.confirmed[write.control] = write.value if house.obedient else None
        return said

    def _time(self) -> None:
        now = self.house.now
        self.wanted = [wish for wish in self.wanted if wish.until > now]
        if self.pause is not None and self.pause <= now:
            self.pause = None
        if not self.failsafe and (self.beat is None or now - self.beat > HEARTBEAT_MS):
            self.failsafe, self.beat, self.stated = True, None, None

    def _operator(self) -> None:
        now = self.house.now
        if self.failsafe and self.beat is not None and self.stated is not None:
            self.failsafe = max(now - self.beat, now - self.stated) > HEARTBEAT_MS

    def fresh(self, *sources: str) -> bool:
        return all(name in self.measured and self.house.now - self.measured[name][1] <= STALE_MS for name in sources)

    def of(self, control: str, *ranks: int) -> list[Wanted]:
        return [wish for wish in self.wanted if wish.control == control and RANK[wish.author] in ranks]

    # What happens

    @rule(
        author=authors,
        control=controls,
        part=st.integers(0, 50),
        lease=st.sampled_from(LEASES),
        age=st.sampled_from([0, 0, 0, 30 * SECOND]),
    )
    def wish(self, author: str, control: str, part: int, lease: int | None, age: int) -> None:
        value = MOST[control] * part // 50 // (100 if control != "export_limit" else 1) * (100 if control != "export_limit" else 1)
        identity = 1 + max([event[4] for event in self.told if event[1] == author], default=0)
        event = events.wish(author, control, value, identity, lease, age)
        said = self.tell(event)
        self.told.append(event)
        refused = [one.reason for one in said if one.kind == "rejection"]
        until = self.house.now - age + (self.lease_ms if lease is None else lease)
        if self.latched:
            assert refused == ["latched"], "7: rejected during a latch"
        elif refused:
            assert refused[0] in ("stale", "rate limit")
            assert refused[0] != "stale" or until <= self.house.now or not self.fresh(*NEEDS[control])
        else:
            assert [one for one in said if one.control == control and one.kind in ("command", "hold", "safe", "revert")], "answered"
            keep = [] if RANK[author] != 1 else self.of(control, 1)
            self.wanted = [wish for wish in self.wanted if wish not in self.of(control, RANK[author]) or wish in keep]
            self.wanted.append(Wanted(author, control, value, until))

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 99), retained=st.booleans())
    def copy(self, which: int, retained: bool) -> None:
        event = self.told[which % len(self.told)]
        if retained:
            event = (*event[:4], 10**9, *event[5:7], True, event[8])
        said = self.tell(event)
        assert [one.reason for one in said if one.kind == "rejection"] == ["duplicate"], "8"

    @rule(author=authors, control=st.one_of(st.just(""), controls))
    def withdraw(self, author: str, control: str) -> None:
        said = self.tell(events.withdraw(author, control))
        if not self.latched:
            self.wanted = [wish for wish in self.wanted if RANK[wish.author] != RANK[author] or control not in ("", wish.control)]
        assert bool([one for one in said if one.kind == "rejection"]) == self.latched

    @rule(author=authors, name=st.sampled_from(["auto", "manual"]), lease=st.sampled_from([None, MINUTE]))
    def mode(self, author: str, name: str, lease: int | None) -> None:
        said = self.tell(events.mode(author, name, lease))
        if [one for one in said if one.kind == "rejection"]:
            assert self.latched or author not in MANUAL_AUTHORS or [one for one in said if one.reason == "rate limit"]
        elif name == "auto":
            self.wanted = [wish for wish in self.wanted if RANK[wish.author] != 2]
            self.pause = None
        else:
            self.pause = self.house.now + (self.lease_ms if lease is None else lease)

    @rule(soc=st.sampled_from([10, 14, 15, 16, 17, 50, 93, 94, 95, 96]), load=st.sampled_from([0, 2000, 8000, 9500, 12000]))
    def measure(self, soc: int, load: int) -> None:
        house = self.house
        charging = house.holds["charge"] or 0
        values = {"soc": soc, "import": load + charging, "charging": charging}
        self.measured = {name: (value, house.now) for name, value in values.items()}
        self.low = soc < 15 or (self.low and soc < 17)
        self.high = soc > 95 or (self.high and soc > 93)
        self.tell(events.telemetry(tuple(values.items())))

    @rule(ms=st.sampled_from([1, SECOND, 20 * SECOND, 31 * SECOND, MINUTE, 6 * MINUTE, 70 * MINUTE, 9 * HOUR]))
    def wait(self, ms: int) -> None:
        self.house.now += ms
        self.tell(events.tick())

    @rule(ms=st.sampled_from([SECOND, 30 * SECOND, 4 * MINUTE, 20 * MINUTE]))
    def wait_and_see(self, ms: int) -> None:
        """Time passes, and all is known again at its end."""
        self.wait(ms)
        values = {name: value for name, (value, _) in self.measured.items()}
        self.measure(values.get("soc", 50), max(values.get("import", 0) - values.get("charging", 0), 0))
        self.heartbeat()
        self.limit(self.grid)

    @rule()
    def heartbeat(self) -> None:
        self._time()
        self.beat = self.house.now
        self._operator()
        self.tell(events.heartbeat())

    @rule(watts=st.sampled_from([None, None, 0, 4200]))
    def limit(self, watts: int | None) -> None:
        self._time()
        self.grid, self.stated = watts, self.house.now
        self._operator()
        self.tell(events.grid(watts))

    @precondition(lambda self: not self.quiet)
    @rule(level=st.integers(0, 1))
    def stop(self, level: int) -> None:
        self.level = level
        if level:
            self._latch()
        self.tell(events.stop(level))

    @precondition(lambda self: not self.quiet)
    @rule(name=st.sampled_from(["hot", "pin"]))
    def trip(self, name: str) -> None:
        self.trips.add(name)
        self._latch()
        self.tell(events.trip(name))

    @precondition(lambda self: not self.quiet)
    @rule(name=st.sampled_from(["hot", "pin"]))
    def trip_cleared(self, name: str) -> None:
        self.trips.discard(name)
        self.tell(events.trip_cleared(name))

    def _latch(self) -> None:
        self.latched = True
        self.wanted = []
        self.pause = None

    @precondition(lambda self: not self.quiet)
    @rule(author=authors)
    def reset(self, author: str) -> None:
        before = self.latched
        if author == "loxone" and not self.level and not self.trips:
            self.latched = self.latched and self.level is None and self.house.mode == "stopped" and not self._may_reset()
        self.tell(events.reset(author))
        if before and author != "loxone":
            assert self.house.rejected() == [("unauthorised", "author")], "7"

    def _may_reset(self) -> bool:
        """A stop whose level has not been heard since a restart may still stand."""
        return self.level is not None or self.cause != "stop"

    @property
    def cause(self) -> str:
        return str(self.house.why("charge").by)

    @precondition(lambda self: not self.quiet)
    @rule(gap=st.one_of(st.none(), st.sampled_from([0, 1, MINUTE, 2 * HOUR])), clock=st.sampled_from([0, 5, 10**10]))
    def restart(self, gap: int | None, clock: int) -> None:
        house = self.house
        shift = clock - house.now - (gap or 0)
        for wish in self.wanted:
            wish.until += shift
        if gap is None:
            self.wanted = []
        self.pause = None if self.pause is None or gap is None else self.pause + shift
        self.plans = {name: (value, None if since is None else since + shift) for name, (value, since) in self.plans.items()}
        house.writes = [(at + shift, write) for at, write in house.writes]
        self.said_failsafe = True
        self.measured, self.level, self.failsafe, self.beat, self.stated = {}, None, True, None, None
        said = house.restart(gap, clock=clock)
        self._time()
        for name in SAFE:
            assert [one for one in said if one.kind in WRITES and one.control == name], "16: all is commanded anew"
        self.confirmed = dict(house.holds)

    @precondition(lambda self: not self.quiet)
    @rule(event=nonsense)
    def nonsense(self, event: tuple[Any, ...]) -> None:
        house = self.house
        tick, _ = decide(house.state, events.tick(), house.now)
        after, said = decide(house.state, event, house.now)
        if [one.reason for one in said if one.kind == "rejection"]:
            assert after == tick, "18: changes nothing"
            assert len([one for one in said if one.kind == "rejection"]) == 1
        else:
            assert event[0] in ("stop", "grid", "restart"), "18: is rejected"  # there are sound ones among them
            return
        self.tell(event)

    # What must hold after each of these

    @invariant()
    def i01_i07_latched_and_safe(self) -> None:
        assert (self.house.mode == "stopped") == self.latched
        if self.latched:
            assert self.house.holds == SAFE

    @invariant()
    def i02_nothing_forced_on_stale_telemetry(self) -> None:
        for name, value in self.house.holds.items():
            assert value == SAFE[name] or self.fresh(*NEEDS[name])

    @invariant()
    def i03_floor_ceiling_and_connection(self) -> None:
        holds = self.house.holds
        assert not (self.low and holds["discharge"])
        assert not (self.high and holds["charge"])
        assert not (holds["charge"] and holds["discharge"])
        if holds["charge"] and self.fresh("import", "charging"):
            assert holds["charge"] <= 11000 - self.measured["import"][0] + self.measured["charging"][0]

    @invariant()
    def i04_i11_who_owns(self) -> None:
        for name, value in self.house.holds.items():
            wishes = self.of(name, 0, 1, 2)
            if not wishes:
                assert value == SAFE[name], "11: nobody wants anything"
            elif value != SAFE[name]:
                most = max(abs(wish.value - SAFE[name]) for wish in wishes)
                assert abs((value or 0) - SAFE[name]) <= most, "4: nobody wants so much"

    @invariant()
    def i05_i06_the_operator(self) -> None:
        assert self.said_failsafe == self.failsafe, "6"
        if self.failsafe or self.grid is not None:
            assert self.house.holds["charge"] == 0

    @invariant()
    def i09_no_flip_within_the_dwell_time(self) -> None:
        now = self.house.now
        for name in SAFE:
            plan = self.house.why(name).plan
            ruled, since = self.plans[name]
            if plan is not None and plan != ruled:
                assert since is None or now - since >= DWELL_MS
                self.plans[name] = (plan, now)
            elif plan is None:
                self.plans[name] = (None, since)

    @invariant()
    def i10_a_live_manual_wish_wins(self) -> None:
        house = self.house
        for name in SAFE:
            manual = self.of(name, 2)
            if not manual or self.latched:
                continue
            wish = manual[-1]
            why = house.why(name)
            assert (why.author, why.wanted) == (wish.author, wish.value)
            assert house.holds[name] == wish.value or why.clamp
            others = [other for other in self.wanted if other.control != name]
            spent = [at for at, write in house.writes if write.control == name and house.now - at < 26 * HOUR]
            free = not (self.low or self.high or self.failsafe or self.grid is not None) and not others and len(spent) < BUDGET
            room = name != "charge" or (self.fresh("import", "charging") and self._left() >= wish.value)
            if free and room and self.fresh(*NEEDS[name]):
                assert house.holds[name] == wish.value, "nothing stands in its way"

    def _left(self) -> int:
        return 11000 - self.measured["import"][0] + self.measured["charging"][0]

    @invariant()
    def i12_writes_a_day(self) -> None:
        house = self.house
        for name in SAFE:
            forced = [at for at, write in house.writes if write.control == name and write.value != SAFE[name]]
            assert len([at for at in forced if house.now - at < 24 * HOUR]) <= BUDGET

    @invariant()
    def i15_leases_as_long_as_they_were_given(self) -> None:
        for name in SAFE:
            why = self.house.why(name)
            if why.author:
                longest = max((wish.until for wish in self.of(name, RANK[why.author])), default=0)
                assert why.left_ms <= longest - self.house.now

    @invariant()
    def nothing_is_missed_between_two_looks(self) -> None:
        """Whoever asks again when `due` says misses nothing."""
        moment = due(self.house.state)
        before = self.house.now + 48 * HOUR if moment is None else moment - 1
        assert [one for one in decide(self.house.state, events.tick(), before)[1] if one.kind != "hold"] == []

    def teardown(self) -> None:
        """14 and 17: what was recorded before it was acted upon, read back from JSON, decides the same; also by another clock."""
        for shift in (0, 12_345_678):
            state = begin(self.house.setup, self.house.began + shift)
            for now, event, decisions in self.house.record:
                again = events.from_plain(json.loads(json.dumps(event)))
                if again[:1] == ("restart",) and len(again) == 3 and shift:
                    again = events.restart(again[1] + shift, again[2])
                state, said = decide(state, again, now + shift)
                assert said == decisions
        acted = [write for _, write in self.house.writes]
        recorded = [one for _, _, decisions in self.house.record for one in decisions if one.kind in WRITES]
        assert acted == recorded


TestADay = ADay.TestCase
TestADay.settings = settings(max_examples=150, stateful_step_count=40)
