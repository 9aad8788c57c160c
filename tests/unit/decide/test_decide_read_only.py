"""A house that may only read: nothing is written to it, whatever happens (invariant 13)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ohmcore import events
from tests.unit.decide.house import HOUR, House, battery

MOST = {"charge": 5000, "discharge": 5000, "export_limit": 100}

controls = st.sampled_from(sorted(MOST))
authors = st.sampled_from(["dashboard", "loxone", "plan", "self-use"])


class ReadOnly(RuleBasedStateMachine):
    """Everything that may come, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House(battery(read_only=True))

    @rule(author=authors, control=controls)
    def wish(self, author: str, control: str) -> None:
        self.house.wish(author, control, MOST[control])
        assert self.house.rejected() == [("read-only", "")]

    @rule(level=st.integers(0, 1))
    def stop(self, level: int) -> None:
        self.house.tell(events.stop(level))

    @rule(name=st.sampled_from(["auto", "manual"]))
    def mode(self, name: str) -> None:
        self.house.tell(events.mode("loxone", name))

    @rule(control=controls, value=st.integers(0, 100))
    def rival(self, control: str, value: int) -> None:
        self.house.tell(events.external(control, value))
        self.house.tell(events.readback(control, value))

    @rule()
    def reset(self) -> None:
        self.house.tell(events.reset("loxone"))

    @rule(gap=st.one_of(st.none(), st.integers(0, HOUR)))
    def restart(self, gap: int | None) -> None:
        self.house.restart(gap)

    @rule(ms=st.integers(0, HOUR))
    def wait(self, ms: int) -> None:
        self.house.now += ms
        self.house.measure()

    @invariant()
    def nothing_is_written(self) -> None:
        assert self.house.writes == []


TestReadOnly = ReadOnly.TestCase
TestReadOnly.settings = settings(max_examples=20, stateful_step_count=20)
