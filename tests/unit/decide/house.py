"""A house with a battery for the arbiter's tests: a clock, an inverter that does what it is told (or not), and a record."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ohmcore import events
from ohmcore.decide import begin, decide, explain, mode_of, next_identity, packed, unpacked
from ohmcore.records import (
    CHARGE,
    DEFAULT,
    DISCHARGE,
    EXPORT,
    MANUAL,
    PLAN,
    Author,
    Control,
    Decision,
    Event,
    Limit,
    Setup,
    Source,
    State,
    Why,
)

WRITES = ("command", "revert", "safe")
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def battery(**more: object) -> Setup:
    """An inverter of 5 kW with a battery, its limits, and those who may have a say. Values in W, except the export limit (percent)."""
    controls = [
        Control("charge", 0, 5000, 100, up=CHARGE, budget=50, milliwatts=1000),
        Control("discharge", 0, 5000, 100, up=DISCHARGE | EXPORT, budget=50, milliwatts=1000),
        Control("export_limit", 0, 100, reversion=100, safe=100, budget=50),
    ]
    limits = [
        Limit("soc", "soc", 15, 95, 2, DISCHARGE | EXPORT, CHARGE),
        Limit("grid_import", "import", high=11000, hysteresis=200, high_blocks=CHARGE, own="charging"),
    ]
    sources = [Source("soc", 30 * SECOND), Source("import", 30 * SECOND), Source("charging", 30 * SECOND)]
    authors = [
        Author("loxone", MANUAL, may_reset=True),
        Author("dashboard", MANUAL),
        Author("plan", PLAN),
        Author("self-use", DEFAULT),
    ]
    return Setup("growatt", controls, limits, sources, authors, **more)  # type: ignore[arg-type] # whatever a test wants otherwise


class House:
    """Tells the arbiter what happens and does what it says. `obedient`: the inverter confirms each command at once.

    `holds`: what the inverter has been told last; `said`: the decisions of the last event, with those about the answers to them.
    """

    def __init__(self, setup: Setup, *, obedient: bool = True, now: int = 1_000_000) -> None:
        self.setup = setup
        self.now = now
        self.began = now
        self.obedient = obedient
        self.state: State = begin(setup, now)
        self.holds: dict[str, int | None] = {control.name: None for control in setup.controls}
        self.said: list[Decision] = []
        self.record: list[tuple[int, Event, list[Decision]]] = []
        self.writes: list[tuple[int, Decision]] = []
        self.soc: int | None = 60
        self.load = 500

    def tell(self, event: Event) -> list[Decision]:
        """An event, now; the inverter's answers follow at once."""
        self.said = []
        waiting = [event]
        while waiting:
            waiting += self._one(waiting.pop(0))
        return self.said

    def _one(self, event: Event) -> list[Event]:
        self.state, decisions = decide(self.state, event, self.now)
        if decisions or event[0] != "tick":
            self.record.append((self.now, event, decisions))
        self.said += decisions
        answers: list[Event] = []
        for decision in decisions:
            if decision.kind in WRITES:
                self.writes.append((self.now, decision))
                self.holds[decision.control] = decision.value
                if self.obedient:
                    answers.append(events.result(decision.control, decision.identity, "done", decision.value))
        return answers

    # What people and plans do

    def wish(self, author: str, control: str, value: int, lease_ms: int | None = None, words: str = "") -> list[Decision]:
        identity = next_identity(self.state, author)
        return self.tell(events.wish(author, control, value, identity, lease_ms, words=words))

    def measure(self) -> list[Decision]:
        """The inverter is read: state of charge, import (with what charging takes), charging."""
        charging = self.holds.get("charge") or 0
        return self.tell(events.telemetry([("soc", self.soc), ("import", self.load + charging), ("charging", charging)]))

    def wait(self, ms: int, step: int = 5 * SECOND, *, measured: bool = True) -> list[Decision]:
        """Time passes, with a look and a measurement every `step`; all that was decided meanwhile."""
        said: list[Decision] = []
        end = self.now + ms
        while self.now < end:
            self.now = min(self.now + step, end)
            said += self.tell(events.tick())
            if measured:
                said += self.measure()
        return said

    def restart(self, gap_ms: int | None, *, clock: int | None = None) -> list[Decision]:
        """The gateway is killed and comes back `gap_ms` later (None: nobody knows), with what it had stored, maybe to another clock."""
        stored = json.dumps(packed(self.state))
        was = self.now + (gap_ms or 0)
        self.now = was if clock is None else clock
        self.state = unpacked(self.setup, json.loads(stored))
        return self.tell(events.restart(was, gap_ms is not None))

    # What can be seen

    def why(self, control: str) -> Why:
        return explain(self.state, control, self.now)

    @property
    def mode(self) -> str:
        return mode_of(self.state)

    def did(self, *kinds: str) -> list[tuple[str, str, int | None]]:
        """Kind, control and value of what was decided last, without notices (unless asked for)."""
        wanted = kinds or (*WRITES, "hold", "rejection")
        return [(said.kind, said.control, said.value) for said in self.said if said.kind in wanted]

    def noticed(self) -> list[str]:
        return [said.reason for said in self.said if said.kind == "notice"]

    def rejected(self) -> list[tuple[str, str]]:
        return [(said.reason, said.by) for said in self.said if said.kind == "rejection"]


def reasons(said: Sequence[Decision]) -> list[str]:
    return [one.reason for one in said if one.kind in ("notice", "rejection")]
