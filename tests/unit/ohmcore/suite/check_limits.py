"""Limits and the judgement of commands: the same on both interpreters."""

from ohmcore.limits import Budget, Rule, integer, ramped, refusal

from .expect import raises, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOUR_MS = 3600000
POWER = [0, 1, 1, -3000, 3000, 100, None]
MODE = [2, 1, 0, 0, 5, 1, [0, 2, 5]]
SAFE = b"\x00\x00\x00\x07\x00\x00"


def rule(**more: "Any") -> Rule:
    spec = {"name": "soc floor", "below": 15, "clear": 18, "stale_ms": 60000}
    spec.update(more)
    return Rule(spec)


def test_unknown_is_stale_until_the_first_value() -> None:
    floor = rule()
    assert floor.blocks() == "stale"
    assert not floor.lost()
    floor.see(50)
    assert floor.blocks() == ""


def test_a_floor_is_active_below_it_and_until_the_value_is_clear_of_it() -> None:
    floor = rule()
    told = []
    for value in (16, 15, 14, 15, 17, 18, 17, 15, 14):
        floor.see(value)
        told.append(floor.blocks())
    assert told == ["", "", "soc floor", "soc floor", "soc floor", "", "", "", "soc floor"]


def test_a_ceiling_is_active_above_it() -> None:
    hot = rule(below=None, above=600, clear=550)
    told = []
    for value in (600, 601, 551, 550, 600):
        hot.see(value)
        told.append(bool(hot.blocks()))
    assert told == [False, True, True, False, False]


def test_a_value_that_does_not_come_any_more_is_stale() -> None:
    floor = rule(trip=True)
    floor.see(50)
    floor.advance(60000)
    assert floor.blocks() == ""
    floor.advance(1)
    assert (floor.blocks(), floor.lost(), floor.tripped()) == ("stale", True, True)
    floor.see(50)
    assert (floor.blocks(), floor.lost(), floor.tripped()) == ("", False, False)


def test_only_what_lasts_for_the_hold_time_is_active() -> None:
    surge = rule(below=None, above=100, clear=90, hold_ms=1000, trip=True)
    surge.see(101)
    surge.advance(900)
    assert (surge.active, surge.tripped(), surge.blocks()) == (False, False, "")
    surge.see(100)
    surge.see(101)
    surge.advance(900)
    assert not surge.tripped()
    surge.advance(100)
    assert surge.tripped()
    surge.see(95)
    assert (surge.tripped(), surge.cleared()) == (True, False)
    surge.see(90)
    assert (surge.tripped(), surge.cleared()) == (False, True)
    surge.see(95)
    assert (surge.tripped(), surge.cleared()) == (False, False)


def test_an_interlock_never_trips() -> None:
    floor = rule()
    floor.see(0)
    floor.advance(10**8)
    assert not floor.tripped()


def test_values_are_taken_out_of_their_registers() -> None:
    cold = rule(below=-100, clear=-50, kind="i16", offset=1)
    cold.read(b"\xee\xee\x00\x01\xff\x9c\xff\x9b", 4)
    assert cold.value == -101
    assert cold.blocks() == "soc floor"
    assert integer(b"\x00\x01\x80\x00", 0, 2) == 0x18000
    assert integer(b"\x00\x01\x80\x00", 0, 2, False, True) == 0x80000001
    assert integer(b"\x00\x01\x80\x00", 0, 2, True, True) == 0x80000001 - (1 << 32)


def test_thresholds_that_make_no_sense_are_refused() -> None:
    for more in ({"below": 15, "above": 20}, {"below": 15, "clear": 14}, {"above": 20, "clear": 21}, {}):
        spec = {"name": "soc floor"}
        spec.update(more)  # type: ignore[arg-type] # numbers beside the name
        says("soc floor", raises(ValueError, Rule, spec))


def test_a_command_has_to_fit_its_fields() -> None:
    for raw, reason in (
        (b"\x0b\xb8\x00\x07\x00\x02", ""),
        (b"\xf4\x48\x00\x07\x00\x00", ""),
        (SAFE, ""),
        (b"\x0b\xb8\x00\x07", "malformed"),
        (b"\x0c\x1c\x00\x07\x00\x02", "out of range"),
        (b"\x00\x01\x00\x07\x00\x02", "off step"),
        (b"\x00\x00\x00\x07\x00\x01", "not allowed"),
        (b"\x00\x00\x00\x08\x00\x02", "not allowed"),
    ):
        assert refusal(raw, 3, [POWER, MODE], SAFE) == reason, (raw, reason)
    assert refusal(b"\x00\x00\x00\x07\x00\x00", 3, [POWER, MODE], None) == "not allowed"


def test_a_ramp_goes_by_so_much_and_only_to_values_that_the_field_has() -> None:
    field = [0, 1, 1, -3000, 3000, 100, None]
    assert ramped(0, 3000, 500, field) == 500
    assert ramped(2600, 3000, 500, field) == 3000
    assert ramped(0, -3000, 550, field) == -500
    assert ramped(37, 3000, 150, field) == 100
    assert ramped(37, -3000, 150, field) == -100
    assert ramped(0, 0, 1, field) == 0
    assert ramped(0, 3000, 50, [0, 1, 0, 1000, 3000, 100, None]) == 1000


def test_a_budget_is_for_any_24_hours() -> None:
    budget = Budget(3)
    for _ in range(3):
        assert budget.left() > 0
        budget.spend(1)
        budget.advance(HOUR_MS)
    assert budget.left() == 0
    budget.advance(21 * HOUR_MS)
    assert budget.left() == 0
    budget.advance(HOUR_MS)
    assert budget.left() == 1
    budget.advance(5 * HOUR_MS)
    assert budget.left() == 3


def test_a_budget_goes_on_where_it_was() -> None:
    spent = Budget(3)
    spent.spend(2)
    later = Budget(3)
    later.hours[:] = spent.hours
    assert later.left() == 1
