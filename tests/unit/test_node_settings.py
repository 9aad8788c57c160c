"""What was set without a lease is held by the limits after a restart as before it; and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.guard_rig import DISCHARGE, LIMIT, MODE, OFF, POWER, SOC, House, charge, floor, limit, raw, signed
from tests.unit.node_world import Ended


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


# Newer commands that come to nothing, rules that are not read yet


def limited(*limits: dict[str, Any], **more: Any) -> House:
    """A setting that stays, whose limit is the state of charge, set to 500."""
    node = House([limit(safe=raw(0), **more)], limits or [floor(controls=[["growatt", "limit"]])])
    node.run(2000)
    assert node.obey(raw(500), control="limit", lease=0) == ("done", "")
    return node


@pytest.mark.parametrize("lease", [0, 3_600_000])
@pytest.mark.parametrize("how", ["refused", "silent", "reads back otherwise"])
def test_what_was_written_stays_under_its_limits_when_a_newer_setting_fails(how: str, lease: int) -> None:
    node = limited()
    if lease:
        assert node.obey(raw(500), control="limit", lease=lease) == ("unchanged", "")
    inverter = node.inverter
    inverter.refuses |= {LIMIT} if how == "refused" else set()
    inverter.deaf |= {LIMIT} if how == "reads back otherwise" else set()
    inverter.silent = how == "silent"
    failed = node.send(raw(700), control="limit", lease=0)
    node.run(3000)
    assert node.result(failed)[0] == "failed"
    inverter.refuses.clear()
    inverter.deaf.clear()
    inverter.silent = False
    node.run(60_000)
    taken_back = lease and how != "reads back otherwise"  # nothing was written yet: what was under lease goes home
    assert inverter.registers[LIMIT] == (0 if taken_back else 500), "nobody tries that again"
    inverter.registers[SOC] = 5
    node.run(2000)
    assert inverter.registers[LIMIT] == 0


def test_a_setting_stays_under_its_limits_when_a_newer_one_is_not_paid_for() -> None:
    node = limited(budget=1)
    assert node.obey(raw(600), control="limit", lease=0) == ("rejected", "budget")
    node.inverter.registers[SOC] = 5
    node.run(2000)
    assert node.inverter.registers[LIMIT] == 0


@pytest.mark.parametrize("unread_first", [True, False])
def test_a_rule_that_was_not_read_yet_hides_none_that_is_active(unread_first: bool) -> None:
    unread = floor(name="unread", offset=1, below=-1000, clear=-1000, kind="i16", controls=[["growatt", "limit"]])
    known = floor(controls=[["growatt", "limit"]])
    node = limited(*([unread, known] if unread_first else [known, unread]))
    node.inverter.registers[SOC] = 5
    node.boot()
    for rule, *_ in node.guard._watched:
        if rule.name == "unread":
            rule.see = lambda _: None  # a group of an hour's period is read a long time after the others
    node.run(2000)
    assert node.inverter.registers[LIMIT] == 0
    assert node.told("safe") == [("soc floor", 0)]


@pytest.mark.parametrize("lease", [0, 60_000])
def test_a_power_cut_before_the_write_of_what_is_safe_leaves_a_setting_under_its_limits(lease: int) -> None:
    node = limited(reversion=raw(0))
    node.send(raw(0), control="limit", lease=lease)

    class Cut(Ended):
        pass

    def cut(request: bytes) -> list[tuple[int, bytes]]:
        if request[1] == 6:
            raise Cut  # the power goes, and the inverter has not heard it
        return node.inverter(request)

    node.wire.peer = cut
    node.run(3000)
    assert node.inverter.registers[LIMIT] == 500
    node.inverter.registers[SOC] = 5
    restarted(node).run(2000)
    assert node.inverter.registers[LIMIT] == 0
