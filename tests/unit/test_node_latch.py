"""The node alone with a battery: limits, the latch and the budgets, each as a story of what goes over the line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos import virtual
from tests.unit.guard_rig import (
    DISCHARGE,
    KEY,
    MODE,
    OFF,
    POWER,
    SOC,
    TEMPERATURE,
    House,
    charge,
    floor,
    guard,
    hot,
    house,
    limit,
    raw,
    signed,
)

# Limits


def test_no_forced_action_on_telemetry_that_is_unknown_or_stale() -> None:
    node = House([charge()], [floor()])
    node.inverter.silent = True
    assert node.result(node.send(DISCHARGE)) == ("rejected", "stale")
    node.inverter.silent = False
    node.run(1000)
    assert node.obey(DISCHARGE) == ("done", "")
    node.inverter.refuses.add(SOC)
    node.run(6000)
    assert node.inverter.registers[POWER] == 0
    assert node.told("safe") == [("stale", 0)]
    assert node.result(node.send(DISCHARGE)) == ("rejected", "stale")
    node.inverter.refuses.clear()
    node.run(1000)
    assert node.obey(DISCHARGE) == ("done", "")


def test_the_floor_holds_whoever_commands_and_with_hysteresis() -> None:
    node = house(floor())
    assert node.obey(DISCHARGE) == ("done", "")
    node.inverter.registers[SOC] = 14
    node.run(600)
    assert node.inverter.registers[POWER] == 0
    assert node.told("safe") == [("soc floor", 0)]
    assert node.result(node.send(DISCHARGE)) == ("rejected", "soc floor")
    node.inverter.registers[SOC] = 17
    node.run(600)
    assert node.result(node.send(DISCHARGE)) == ("rejected", "soc floor")
    assert node.obey(OFF) == ("unchanged", ""), "what is safe is always allowed"
    node.inverter.registers[SOC] = 18
    node.run(600)
    assert node.obey(DISCHARGE) == ("done", "")


def test_a_control_held_safe_goes_home_when_the_limit_is_clear() -> None:
    node = House([charge(reversion=raw(100, 2))], [floor()])
    node.run(1500)
    node.obey(DISCHARGE)
    node.inverter.registers[SOC] = 10
    node.run(2000)
    assert node.inverter.registers[POWER] == 0
    node.inverter.registers[SOC] = 40
    node.run(2000)
    assert (node.inverter.registers[POWER], node.inverter.registers[MODE]) == (100, 2)


def test_a_trip_writes_the_safe_values_latches_and_says_why() -> None:
    node = house(hot())
    node.obey(DISCHARGE)
    node.inverter.registers[TEMPERATURE] = 501
    node.run(900)
    assert signed(node.inverter.registers[POWER]) == -2000, "it has to last for a second"
    node.run(700)
    assert node.inverter.registers[POWER] == 0
    assert node.heard("trip") == [{"limit": "battery hot", "value": 501}]
    assert node.heard("latch") == [{"cause": "battery hot"}]
    assert node.result(node.send(DISCHARGE)) == ("rejected", "latched")
    node.inverter.registers[TEMPERATURE] = 460
    node.run(1000)
    assert node.reset() == ("rejected", "battery hot"), "not clear yet"
    node.inverter.registers[TEMPERATURE] = 450
    node.run(1000)
    assert node.reset() == ("done", "")
    assert node.obey(DISCHARGE) == ("done", "")


def test_from_the_wire_to_the_safe_write_is_one_poll() -> None:
    node = house(hot(hold_ms=0))
    node.obey(DISCHARGE)
    began = node.world.now
    node.inverter.registers[TEMPERATURE] = 501
    node.run(2000)
    assert node.inverter.writes[-1].words == (0, 0)
    assert node.inverter.writes[-1].at - began <= 200 + 100


def test_a_lost_inverter_trips_and_gets_its_safe_value_when_it_is_back() -> None:
    node = house(hot())
    node.obey(DISCHARGE, lease=3_600_000)
    node.inverter.silent = True
    node.run(8000)
    assert node.heard("trip") == [{"limit": "battery hot", "reason": "stale"}]
    node.inverter.silent = False
    node.run(31_000)
    assert node.inverter.registers[POWER] == 0
    assert node.guard.cause == "battery hot"


@pytest.mark.parametrize("wrong", [{"group": "10s"}, {"device": "nobody"}, {"read": 1}, {"controls": [["growatt", "nothing"]]}])
def test_a_limit_on_nothing_makes_no_node(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="soc floor"):
        House([charge()], [floor(**wrong)])


# The latch


def test_the_stop_latches_at_once_and_nothing_but_a_reset_releases_it() -> None:
    node = house()
    node.obey(DISCHARGE)
    waiting = node.send(raw(3000, 1))
    node.stop(1)
    assert b"stop" in node.world.files["control.state"], "kept before anything else happens"
    assert node.result(waiting) == ("rejected", "latched")
    node.run(300)
    assert node.inverter.registers[POWER] == 0
    assert node.reset() == ("rejected", "stop")
    node.stop(0)
    assert node.result(node.send(DISCHARGE)) == ("rejected", "latched")
    node.run(60_000)
    assert node.inverter.writes[-1].words == (0, 0)
    assert node.reset() == ("done", "")
    assert node.heard("reset") == [{"by": node.counter}]
    node.run(10_000)
    assert node.inverter.registers[POWER] == 0, "what was rejected does not come back"


def test_safe_values_are_written_without_reading_first_and_before_any_poll() -> None:
    node = house()
    node.obey(DISCHARGE)
    requests = len(node.wire.written)
    node.stop(1)
    node.run(200)
    assert node.wire.written[requests][1] == 16


def test_the_latch_outlives_power_cuts() -> None:
    node = house()
    node.stop(1)
    for _ in range(3):
        node.boot()
        node.inverter.registers |= {POWER: 900, MODE: 1}
        node.run(500)
        assert node.inverter.registers[POWER] == 0
        assert node.result(node.send(DISCHARGE)) == ("rejected", "latched")
    assert node.reset() == ("rejected", "stop"), "nobody has said that the stop is released"
    node.stop(0)
    assert node.reset() == ("done", "")
    node.boot()
    assert node.guard.cause == ""


def test_latched_values_are_watched_and_put_back() -> None:
    node = house()
    node.stop(1)
    node.run(1000)
    for _ in range(5):
        node.inverter.registers[POWER] = 800
        node.run(12_000)
        assert node.inverter.registers[POWER] == 0


def test_the_pin_latches_when_it_is_active_twice() -> None:
    node = house(stop_pin={"pin": 4, "active": 1})
    node.obey(DISCHARGE)
    node.world.pin = 1
    turns = []

    class Ward:
        def beat(self) -> None:
            turns.append(node.guard.cause)
            if len(turns) > 3:
                raise StopIteration

    virtual.adopt(node.world, guard)
    with pytest.raises(RuntimeError):
        node.world.run(node.guard.run(Ward()))
    assert turns == ["", "", "pin", "pin"]
    assert node.reset() == ("rejected", "pin")


def test_a_damaged_state_latches() -> None:
    node = house()
    node.obey(DISCHARGE)
    node.world.files["control.state"] = b"\0" * 20
    node.boot()
    node.run(1000)
    assert node.heard("latch") == [{"cause": "damaged state"}]
    assert node.inverter.registers[POWER] == 0
    assert node.reset() == ("done", "")


def test_a_reset_that_cannot_be_kept_releases_nothing() -> None:
    node = house()
    node.stop(1)
    node.stop(0)
    node.world.full = True
    node.commands._reserved = 1000
    assert node.reset() == ("rejected", "no storage")
    assert node.guard.cause == "stop"


def test_a_latch_that_cannot_be_kept_is_kept_later() -> None:
    node = house()
    node.world.full = True
    node.stop(1)
    node.run(500)
    node.world.full = False
    node.run(12_000)
    node.boot()
    assert node.guard.cause == "stop"


def test_a_forged_reset_releases_nothing() -> None:
    node = house()
    node.stop(1)
    node.stop(0)
    node.send(b"", control="reset", device="", lease=0, key=KEY[:-1])
    assert node.guard.cause == "stop"


# Budgets


def test_a_budget_is_never_exceeded_and_a_restart_does_not_refill_it() -> None:
    node = House([limit(budget=5)])
    outcomes = [node.obey(raw(10 * turn), control="limit", lease=0) for turn in range(1, 4)]
    node.boot()
    outcomes += [node.obey(raw(10 * turn), control="limit", lease=0) for turn in range(4, 9)]
    assert outcomes == [("done", "")] * 5 + [("rejected", "budget")] * 3
    assert len(node.inverter.writes) == 5


def test_the_budget_is_on_flash_before_the_write() -> None:
    node = House([limit(budget=5)])
    node.world.full = True
    node.commands._reserved = 1000
    assert node.obey(raw(500), control="limit", lease=0) == ("failed", "no storage")
    assert node.inverter.writes == []


def test_safety_needs_no_budget() -> None:
    node = House([charge(budget=1)])
    node.run(1000)
    assert node.obey(DISCHARGE) == ("done", "")
    assert node.result(node.send(raw(500, 1))) == ("rejected", "budget")
    assert node.obey(OFF) == ("done", "")
    assert node.inverter.registers[POWER] == 0


def test_a_lease_over_a_wrap_of_the_ticks_is_as_long_as_any() -> None:
    wrap = 1 << 30
    node = House([charge()], [floor()], began=wrap - 6000)
    node.run(1500)
    node.obey(DISCHARGE, lease=10_000)
    ends: list[int] = []
    node.watch = lambda: ends.append(node.world.now) if node.inverter.registers[POWER] == 0 and not ends else None
    node.run(12_000)
    assert 10_000 <= ends[0] - node.inverter.writes[0].at <= 10_500
    assert node.told("lapsed") == [("lease", -2000)]
