"""The arbiter: the same on both interpreters."""

import json

from ohmcore import events
from ohmcore.decide import begin, decide, due, explain, mode_of, next_identity, packed, unpacked
from ohmcore.records import CHARGE, DISCHARGE, EXPORT, MANUAL, PLAN, Author, Control, Limit, Setup, Source

from .expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ohmcore.records import Decision, Event

SECOND = 1000
HOUR = 3600000


def setup(**more: "Any") -> Setup:
    return Setup(
        "growatt",
        [
            Control("charge", 0, 5000, 100, up=CHARGE, milliwatts=1000, budget=3),
            Control("feed", -3000, 3000, 100, up=DISCHARGE | EXPORT, down=CHARGE, ramp=500, interval_ms=SECOND, milliwatts=1000),
        ],
        [
            Limit("soc", "soc", 15, 95, 2, DISCHARGE | EXPORT, CHARGE),
            Limit("grid", "import", high=11000, hysteresis=200, high_blocks=CHARGE, own="own"),
        ],
        [Source("soc", 30000), Source("import", 30000), Source("own", 30000)],
        [Author("loxone", MANUAL, True), Author("plan", PLAN)],
        **more,
    )


class Battery:
    """Obeys at once."""

    def __init__(self, **more: "Any") -> None:
        self.setup = setup(**more)
        self.now = 0
        self.state = begin(self.setup, 0)
        self.tell(events.tick())
        self.measure(50)

    def tell(self, event: "Event", now: "int | None" = None) -> "list[Decision]":
        self.now = self.now if now is None else now
        self.state, said = decide(self.state, event, self.now)
        for one in said:
            if one.kind in ("command", "revert", "safe"):
                self.state, more = decide(self.state, events.result(one.control, one.identity, "done", one.value), self.now)
                said = said + more
        return said

    def measure(self, soc: int, flowing: int = 0, own: int = 0) -> "list[Decision]":
        return self.tell(events.telemetry([("soc", soc), ("import", flowing), ("own", own)]))

    def wish(self, author: str, control: str, value: int, lease_ms: "int | None" = None) -> "list[Decision]":
        return self.tell(events.wish(author, control, value, next_identity(self.state, author), lease_ms))

    def holds(self, control: str) -> "int | None":
        return explain(self.state, control, self.now).value


def plain(said: "list[Decision]") -> "list[Any]":
    return [(one.kind, one.control, one.value, one.reason, one.clamp, one.by) for one in said]


def test_a_wish_lives_as_long_as_its_lease() -> None:
    house = Battery()
    assert plain(house.wish("loxone", "charge", 3000)) == [
        ("notice", "", None, "mode", "", "manual"),
        ("command", "charge", 3000, "manual", "", ""),
    ]
    why = explain(house.state, "charge", HOUR - 1)
    assert (why.author, why.left_ms, why.wanted, why.read_back, why.pending) == ("loxone", 1, 3000, 3000, False)
    house.tell(events.telemetry([("soc", 50), ("import", 0), ("own", 0)]), HOUR - 1)
    assert plain(house.tell(events.tick(), HOUR))[0][3] == "lease ended"
    assert (house.holds("charge"), mode_of(house.state)) == (0, "auto")


def test_limits_clamp_and_say_which() -> None:
    house = Battery()
    house.measure(50, 9000)
    assert plain(house.wish("loxone", "charge", 3000))[-1] == ("command", "charge", 2000, "manual", "limit", "grid")
    assert plain(house.measure(96, 9000)) == [("command", "charge", 0, "manual", "limit", "soc")]
    assert plain(house.tell(events.tick(), 31000))[-1] == ("hold", "charge", 0, "manual", "stale", "soc")


def test_a_latch_rejects_and_only_a_reset_ends_it() -> None:
    house = Battery()
    house.wish("loxone", "charge", 3000)
    assert ("safe", "charge", 0, "latched", "latched", "stop") in plain(house.tell(events.stop(1)))
    assert plain(house.wish("loxone", "charge", 3000)) == [("rejection", "charge", 3000, "latched", "", "stop")]
    assert plain(house.tell(events.reset("loxone"))) == [("rejection", "", None, "latched", "", "stop")]
    house.tell(events.stop(0))
    house.tell(events.reset("loxone"))
    assert (mode_of(house.state), house.holds("charge")) == ("auto", 0)


def test_a_ramp_an_interval_and_the_other_side() -> None:
    house = Battery()
    values = [house.wish("loxone", "feed", 1200) and house.holds("feed")]
    for second in (1, 2, 3):
        house.tell(events.tick(), second * SECOND)
        values.append(house.holds("feed"))
    assert values == [0, 500, 1000, 1200]
    house.wish("loxone", "feed", -400)
    assert house.holds("feed") == 0
    house.tell(events.tick(), 4 * SECOND)
    assert house.holds("feed") == -400


def test_a_budget_is_no_excuse_for_not_ending() -> None:
    house = Battery()
    for value in (1000, 1100, 1200, 1300):
        house.wish("loxone", "charge", value)
    assert (house.holds("charge"), explain(house.state, "charge", 0).clamp) == (1100, "budget")
    house.wish("loxone", "charge", 500)
    assert house.holds("charge") == 0


def test_failsafe_ends_by_heartbeat_and_statement() -> None:
    house = Battery(heartbeat_ms=10000)
    house.setup.controls[0].budget = 0
    house.wish("loxone", "charge", 1000)
    held = [house.holds("charge")]
    for event in (events.heartbeat(), events.grid(None), events.grid(4200), events.grid(None)):
        house.tell(event)
        held.append(house.holds("charge"))
    assert held == [0, 0, 1000, 0, 1000]
    house.tell(events.tick(), 10001)
    assert house.holds("charge") == 0


def test_a_state_is_stored_and_taken_up_again() -> None:
    house = Battery()
    house.wish("loxone", "charge", 3000)
    house.wish("plan", "feed", 500)
    stored = json.loads(json.dumps(packed(house.state)))
    state = unpacked(house.setup, stored)
    assert packed(state) == stored
    state, said = decide(state, events.restart(HOUR // 2), 7)
    assert sorted([(one.kind, one.control, one.value) for one in said if one.kind != "notice"]) == [
        ("safe", "charge", 0),
        ("safe", "feed", 0),
    ]
    assert explain(state, "charge", 7).left_ms == HOUR // 2
    for broken in (None, [], [1, [], []], list(reversed(stored)), [1, stored[1], stored[2][:-1]]):
        raises(ValueError, unpacked, house.setup, broken)


def test_a_state_of_another_setup_keeps_what_is_still_there() -> None:
    house = Battery()
    house.wish("loxone", "charge", 3000)
    other = Setup("growatt", [Control("more", 0, 1), Control("charge", 0, 2000, 100)], authors=[Author("loxone", MANUAL)])
    state = unpacked(other, packed(house.state))
    assert explain(state, "charge", 0).author == "", "no value of it any more"
    assert explain(state, "more", 0).value is None
    assert next_identity(state, "loxone") == 2


def test_whatever_is_no_event_is_rejected() -> None:
    house = Battery()
    quiet = house.state
    for event in (
        (),
        ("wish",),
        ("nothing", 1),
        events.wish("loxone", "charge", 1000.0, 1),  # type: ignore[arg-type] # what a careless adapter may hand on
        events.wish("loxone", "charge", 1050, 1),
        events.wish("loxone", "charge", 10**400, 1),
        events.wish("loxone", "boiler", 1000, 1),
        events.wish("nobody", "charge", 1000, 1),
        events.wish("loxone", "charge", 1000, 1, 0),
        events.wish("loxone", "charge", 1000, 1, retained=True),
        events.stop(True),
        events.grid(-1),
        events.telemetry([("moon", 1)]),
        events.result("charge", 99, "done"),
        events.restart(None),  # type: ignore[arg-type]
        events.from_plain(7),
        events.from_plain([["wish"]]),
    ):
        state, said = decide(quiet, event, 0)
        assert state == quiet, event
        assert [one.kind for one in said] == ["rejection"], event


def test_it_knows_when_it_wants_to_be_asked_again() -> None:
    house = Battery(heartbeat_ms=10000)
    assert due(house.state) is None
    house.wish("loxone", "charge", 1000, 5000)
    assert due(house.state) == 5000
    house.tell(events.heartbeat())
    house.tell(events.grid(None))
    house.tell(events.tick(), 5000)
    assert due(house.state) == 10001


def test_setups_that_make_no_sense_are_refused() -> None:
    says("range", raises(ValueError, Control, "charge", 5, 1))
    says("no value", raises(ValueError, Control, "charge", 0, 100, 10, 5))
    says("stale", raises(ValueError, Source, "soc", 0))
    says("ends", raises(ValueError, Limit, "soc", "soc", 95, 15))
    says("rank", raises(ValueError, Author, "loxone", 3))
    says("no such source", raises(ValueError, Setup, "b", [], [Limit("soc", "soc", 15)]))
    says("twice", raises(ValueError, Setup, "b", [Control("a", 0, 1), Control("a", 0, 1)]))
    raises(KeyError, explain, begin(setup(), 0), "boiler", 0)
    raises(KeyError, next_identity, begin(setup(), 0), "nobody")
