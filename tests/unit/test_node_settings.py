"""What was set without a lease is held by the limits after a restart as before it; and nothing else is."""

from __future__ import annotations

from typing import Any

from tests.unit.guard_rig import DISCHARGE, MODE, OFF, POWER, SOC, House, charge, floor, raw, signed


def setting(**more: Any) -> dict[str, Any]:
    """A control that stays without a lease and has a safe value."""
    described = charge() | more
    del described["lease"], described["reversion"]
    return described


def house(*limits: dict[str, Any], **more: Any) -> House:
    node = House([setting(**more)], limits or [floor()])
    node.run(1500)
    return node


def restarted(node: House) -> House:
    node.boot()
    node.inverter.writes.clear()
    return node


def test_what_was_set_is_made_safe_by_a_limit_after_a_restart() -> None:
    node = house()
    assert node.obey(DISCHARGE, lease=0) == ("done", "")
    restarted(node).run(2000)
    assert signed(node.inverter.registers[POWER]) == -2000, "a setting stays"
    node.inverter.registers[SOC] = 10
    node.run(600)
    assert (node.inverter.registers[POWER], node.inverter.registers[MODE]) == (0, 0)
    assert node.told("safe") == [("soc floor", 0)]


def test_a_limit_that_is_active_at_the_start_makes_it_safe_at_once() -> None:
    node = house()
    node.obey(DISCHARGE, lease=0)
    node.inverter.registers[SOC] = 10
    restarted(node).run(1000)
    assert node.inverter.registers[POWER] == 0


def test_what_was_there_already_counts_as_set() -> None:
    node = house()
    node.inverter.registers |= {POWER: 1500, MODE: 1}
    assert node.obey(raw(1500, 1), lease=0) == ("unchanged", "")
    node.inverter.registers[SOC] = 10
    restarted(node).run(1000)
    assert node.inverter.registers[POWER] == 0


def test_a_setting_waits_for_the_first_telemetry_for_a_minute() -> None:
    node = house()
    node.obey(DISCHARGE, lease=0)
    node.inverter.refuses.add(SOC)
    restarted(node).run(55_000)
    assert node.inverter.writes == []
    assert node.result(node.send(DISCHARGE, lease=0)) == ("rejected", "stale")
    node.run(10_000)
    assert node.inverter.registers[POWER] == 0
    assert node.told("safe") == [("stale", 0)]


def test_a_latch_makes_it_safe_after_a_restart() -> None:
    node = house()
    node.obey(DISCHARGE, lease=0)
    restarted(node).stop(1)
    node.run(500)
    assert node.inverter.registers[POWER] == 0


def test_what_nobody_has_set_is_left_alone() -> None:
    node = house()
    node.inverter.registers |= {POWER: 1500, MODE: 1, SOC: 10}
    for _ in range(2):
        restarted(node).run(70_000)
        assert node.inverter.writes == []


def test_what_was_set_to_be_safe_or_made_so_is_left_alone_after_a_restart() -> None:
    node = house()
    node.obey(DISCHARGE, lease=0)
    node.obey(OFF, lease=0)
    node.inverter.registers[SOC] = 10
    restarted(node).run(70_000)
    assert node.inverter.writes == []
    node.inverter.registers[SOC] = 50
    node.run(1000)
    node.obey(DISCHARGE, lease=0)
    node.inverter.registers[SOC] = 10
    node.run(1000)
    node.inverter.registers[SOC] = 50
    node.run(1000)
    node.inverter.registers |= {POWER: 1500, MODE: 1, SOC: 10}
    restarted(node).run(70_000)
    assert node.inverter.writes == [], "held safe once, then nobody's"


def test_a_lease_after_a_setting_ends_with_a_restart_and_a_setting_after_a_lease_stays() -> None:
    node = House([setting() | {"reversion": raw(100, 2)}], [floor()])
    node.run(1500)
    node.obey(DISCHARGE, lease=0)
    node.obey(raw(900, 1), lease=3_600_000)
    restarted(node).run(2000)
    assert node.inverter.registers[POWER] == 100
    node.obey(raw(900, 1), lease=3_600_000)
    node.obey(DISCHARGE, lease=0)
    restarted(node).run(2000)
    assert node.inverter.writes == []
    assert signed(node.inverter.registers[POWER]) == -2000


def test_settings_one_after_the_other_wear_no_flash() -> None:
    node = house()
    node.obey(DISCHARGE, lease=0)
    kept = node.world.files["control.state"]
    node.world.full = True
    node.commands._reserved = 1000
    assert node.obey(raw(500, 1), lease=0) == ("done", "")
    assert node.world.files["control.state"] == kept
