"""The arbiter, told as stories: who asks, what happens meanwhile, what the battery does."""

from __future__ import annotations

from ohmcore import events
from ohmcore.records import CHARGE, DISCHARGE, MANUAL, Author, Control, Limit, Setup, Source
from ohmcore.standing import Device
from tests.unit.decide.house import HOUR, MINUTE, SECOND, WRITES, House, battery, reasons


def at_home(**more: object) -> House:
    """A house that runs: everything is off, the inverter is read."""
    house = House(battery(**more))
    house.tell(events.tick())
    house.measure()
    return house


def test_loxone_charges_for_an_hour_and_everything_goes_back() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000, words="cheap tonight")
    assert house.did() == [("command", "charge", 3000)]
    assert (house.mode, house.said[-1].author, house.said[-1].words, house.said[-1].lease_ms) == ("manual", "loxone", "cheap tonight", HOUR)
    assert house.wait(HOUR - SECOND) == []
    house.now += SECOND
    house.tell(events.tick())
    assert house.noticed() == ["lease ended", "mode"]
    assert house.did() == [("revert", "charge", 0)]
    assert house.mode == "auto"


def test_the_connection_of_the_house_leaves_only_two_kilowatts() -> None:
    house = at_home()
    house.load = 9000
    house.measure()
    house.wish("loxone", "charge", 3000)
    (command,) = house.said[1:]
    assert (command.value, command.unclamped, command.clamp, command.by) == (2000, 3000, "limit", "grid_import")
    house.load = 9100
    house.measure()
    assert house.did() == [("command", "charge", 1900)], "less at once"
    house.load = 9000
    house.measure()
    assert house.did() == [], "100 W more are not worth a write"
    house.load = 5000
    house.measure()
    assert house.did() == [("command", "charge", 3000)], "and all of it as soon as there is room"


def test_the_owner_overrules_the_plan_and_the_plan_comes_back() -> None:
    house = at_home()
    house.wish("plan", "charge", 2000, 2 * HOUR)
    house.wish("loxone", "discharge", 1000, 10 * MINUTE)
    assert house.did("command") == [("command", "charge", 0), ("command", "discharge", 1000)], "never both at once, and off comes first"
    assert house.why("charge").clamp == "exclusive"
    assert house.why("charge").by == "discharge"
    house.wait(10 * MINUTE)
    assert house.holds == {"charge": 2000, "discharge": 0, "export_limit": 100}
    assert house.mode == "auto"


def test_charging_begins_only_when_discharging_is_known_to_have_ended() -> None:
    house = at_home()
    house.wish("loxone", "discharge", 1000)
    house.obedient = False
    house.wish("loxone", "charge", 2000)
    assert house.did() == [("command", "discharge", 0), ("hold", "charge", 0)]
    off = next(said for said in house.said if said.control == "discharge")
    house.tell(events.result("discharge", off.identity, "failed"))
    assert house.holds["charge"] == 0
    house.now += SECOND
    (again,) = house.tell(events.tick())
    house.tell(events.result("discharge", again.identity, "done", 0))
    assert house.did() == [("command", "charge", 2000)]


def test_two_manual_authors_the_later_wins_and_it_is_said() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    house.wish("dashboard", "charge", 1000)
    superseded = next(said for said in house.said if said.reason == "superseded")
    assert (superseded.author, superseded.by, superseded.value) == ("loxone", "dashboard", 3000)
    assert house.why("charge").author == "dashboard"
    assert house.holds["charge"] == 1000


def test_the_battery_is_full_while_somebody_charges() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    house.soc = 96
    house.measure()
    assert house.did() == [("command", "charge", 0)]
    assert house.why("charge")[8:10] == ("limit", "soc")
    house.soc = 94
    house.measure()
    assert house.holds["charge"] == 0, "not before it is two per cent below"
    house.soc = 93
    house.measure()
    assert house.holds["charge"] == 3000


def test_the_inverter_falls_silent() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    house.wait(30 * SECOND, measured=False)
    assert house.holds["charge"] == 3000
    house.wait(SECOND, measured=False)
    assert house.did() == [("safe", "charge", 0)]
    assert house.said[0].reason == "stale"
    house.wish("loxone", "charge", 1000)
    assert house.rejected() == [("stale", "soc")]
    house.measure()
    assert house.did() == [("command", "charge", 3000)], "the wish that lives goes on"


def test_an_emergency_stop_is_a_level_and_only_a_reset_ends_it() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    house.tell(events.stop(1))
    assert house.did() == [("safe", "charge", 0), ("hold", "discharge", 0), ("hold", "export_limit", 100)]
    assert house.mode == "stopped"
    house.wish("loxone", "charge", 3000)
    assert house.rejected() == [("latched", "stop")]
    house.tell(events.reset("loxone"))
    assert house.rejected() == [("latched", "stop")]
    house.tell(events.stop(0))
    assert house.mode == "stopped"
    house.tell(events.reset("dashboard"))
    assert house.rejected() == [("unauthorised", "author")]
    house.tell(events.reset("loxone"))
    assert house.mode == "auto"
    assert house.holds["charge"] == 0, "what was rejected was not kept for later, and what was before is over"


def test_a_trip_of_the_node_stands_until_it_is_cleared() -> None:
    house = at_home()
    house.tell(events.trip("battery hot"))
    house.tell(events.reset("loxone"))
    assert house.rejected() == [("latched", "battery hot")]
    house.tell(events.trip_cleared("battery hot"))
    assert house.mode == "stopped"
    house.tell(events.reset("loxone"))
    assert house.mode == "auto"


def test_the_network_operator_limits_the_house_and_then_falls_silent() -> None:
    house = at_home(heartbeat_ms=2 * MINUTE, failsafe_w=4200)
    house.wish("plan", "charge", 3000, 8 * HOUR)
    assert house.why("charge").clamp == "failsafe", "nothing has been heard yet"
    house.tell(events.heartbeat())
    assert house.holds["charge"] == 0
    house.tell(events.grid(None))
    assert house.holds["charge"] == 3000
    house.tell(events.grid(4200))
    assert house.holds["charge"] == 0
    house.tell(events.grid(None))
    assert house.holds["charge"] == 3000
    said = house.wait(2 * MINUTE + 5 * SECOND)
    assert "failsafe" in reasons(said)
    assert house.holds["charge"] == 0
    house.tell(events.heartbeat())
    house.wait(MINUTE)
    assert house.holds["charge"] == 0, "a heartbeat alone is not enough"
    house.tell(events.grid(None))
    assert house.holds["charge"] == 3000


def test_the_plan_changes_its_mind_all_the_time() -> None:
    house = at_home()
    house.wish("plan", "charge", 2000, HOUR)
    for minute in range(1, 5):
        house.wait(MINUTE)
        house.wish("plan", "charge", 1000 + 100 * minute, HOUR)
        assert house.holds["charge"] == 2000
        assert house.why("charge").waiting == 1000 + 100 * minute
    said = house.wait(MINUTE)
    assert house.holds["charge"] == 1400, "the newest, after five minutes"
    assert "dwell over" in reasons(said)
    house.tell(events.withdraw("plan", "charge"))
    assert house.holds["charge"] == 0, "giving up needs no dwell time"
    house.wish("loxone", "charge", 500)
    assert house.holds["charge"] == 500, "and the owner never waits"


def test_the_gateway_restarts_in_the_middle_of_a_lease() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    house.wait(20 * MINUTE)
    house.restart(10 * MINUTE, clock=5)
    assert sorted(house.did()) == [("revert", "discharge", 0), ("revert", "export_limit", 100), ("safe", "charge", 0)]
    house.measure()
    assert house.did() == [("command", "charge", 3000)]
    assert house.why("charge").left_ms == 30 * MINUTE
    house.wait(30 * MINUTE)
    assert house.holds["charge"] == 0


def test_a_restart_after_which_nobody_knows_how_late_it_is_ends_all_leases() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    house.restart(None, clock=0)
    assert "lease ended" in house.noticed()
    house.measure()
    assert house.holds["charge"] == 0


def test_a_latch_outlives_a_restart() -> None:
    house = at_home()
    house.tell(events.stop(1))
    house.restart(MINUTE)
    assert house.mode == "stopped"
    assert {said.kind for said in house.said} == {"safe"}
    house.tell(events.reset("loxone"))
    assert house.rejected() == [("latched", "stop")], "whether the stop still stands has not been heard yet"
    house.tell(events.stop(0))
    house.tell(events.reset("loxone"))
    assert house.mode == "auto"


def test_a_copy_extends_nothing() -> None:
    house = at_home()
    first = events.wish("loxone", "charge", 3000, 7)
    house.tell(first)
    house.wait(59 * MINUTE)
    house.tell(first)
    assert house.rejected() == [("duplicate", "identity")]
    house.tell(events.wish("loxone", "charge", 3000, 8, retained=True))
    assert house.rejected() == [("duplicate", "retained")]
    house.wait(MINUTE)
    assert house.holds["charge"] == 0
    house.tell(events.wish("loxone", "charge", 3000, 9, age_ms=59 * MINUTE))
    assert house.why("charge").left_ms == MINUTE, "a lease counts from when it was wished"


def test_somebody_shouts() -> None:
    house = at_home()
    said = [house.wish("dashboard", "charge", 100 * (1 + i % 50))[0] for i in range(100)]
    assert [one.reason for one in said[-40:]] == ["rate limit"] * 40
    house.wish("dashboard", "charge", 0)
    assert house.holds["charge"] == 0, "off is always heard"
    house.wish("loxone", "discharge", 1000)
    assert house.did("rejection") == [], "others are not to blame"


def test_the_budget_of_a_day_is_spent() -> None:
    house = at_home()
    for i in range(60):
        house.wait(2 * SECOND, 2 * SECOND)
        house.wish("loxone", "charge", 1000 + 100 * (i % 2), HOUR)
    assert sum(decision.value != 0 for _, decision in house.writes if decision.control == "charge") <= 50
    assert house.why("charge").clamp == "budget"
    house.wish("loxone", "charge", 0, HOUR)
    assert house.holds["charge"] == 0, "towards safety there is no budget"
    house.wish("loxone", "charge", 1000, HOUR)
    assert house.holds["charge"] == 0
    house.now += 26 * HOUR
    house.measure()
    house.wish("loxone", "charge", 1000, HOUR)
    assert house.holds["charge"] == 1000


def test_the_inverter_ignores_what_it_is_told() -> None:
    house = at_home()
    house.obedient = False
    house.wish("loxone", "charge", 3000)
    tried: list[int | None] = []
    for _ in range(20):
        for said in [one for one in house.said if one.kind in WRITES and one.control == "charge"]:
            tried.append(said.value)
            house.tell(events.result("charge", said.identity, "done", 0))
        house.now += SECOND
        house.tell(events.tick())
    assert tried == [3000, 3000, 3000]
    assert house.why("charge")[:2] == (0, 0), "it was never anything else"
    assert house.why("charge").clamp == "failed"


def test_the_answer_is_lost_and_the_command_is_given_again() -> None:
    house = at_home()
    house.obedient = False
    house.wish("loxone", "charge", 3000)
    first = house.said[-1].identity
    said = house.wait(11 * SECOND, SECOND)
    assert reasons(said) == ["lost"]
    assert house.writes[-1][1].identity > first
    house.tell(events.result("charge", first, "done", 3000))
    assert house.rejected() == [("duplicate", "result")], "an answer to another command is none"


def test_a_rival_is_written_over_three_times_and_no_more() -> None:
    house = at_home()
    house.wish("loxone", "charge", 3000)
    for turn in range(6):
        house.tell(events.readback("charge", 1200))
        assert house.did() == [], "one look may deceive"
        house.tell(events.readback("charge", 1200 + turn))
        assert house.did("command") == ([("command", "charge", 3000)] if turn < 3 else [])
    assert house.why("charge").clamp == "external"
    house.soc = 96
    house.measure()
    assert house.holds["charge"] == 0, "but a limit holds whoever writes"
    house.tell(events.external("charge", 2000))
    assert house.did() == [("command", "charge", 0)]


def test_what_reads_back_as_wanted_is_not_written() -> None:
    house = at_home()
    before = len(house.writes)
    house.wish("loxone", "discharge", 0)
    house.wish("loxone", "export_limit", 100)
    assert len(house.writes) == before
    assert house.did() == [("hold", "export_limit", 100)]


def test_a_read_only_house_writes_nothing_whatever_happens() -> None:
    house = at_home(read_only=True)
    house.wish("loxone", "charge", 1000)
    assert house.rejected() == [("read-only", "")]
    house.tell(events.stop(1))
    house.restart(MINUTE)
    house.wait(HOUR)
    assert house.writes == []


def test_manual_mode_pauses_the_plan_and_auto_ends_what_the_owner_wants() -> None:
    house = at_home()
    house.wish("plan", "charge", 2000, 4 * HOUR)
    house.tell(events.mode("loxone", "manual", HOUR))
    assert house.holds["charge"] == 0
    house.wish("loxone", "discharge", 500, 3 * HOUR)
    house.wait(HOUR, MINUTE // 4)
    assert house.mode == "manual"
    house.tell(events.mode("loxone", "auto"))
    assert house.mode == "auto"
    assert (house.holds["discharge"], house.holds["charge"]) == (0, 2000)
    house.tell(events.mode("plan", "manual"))
    assert house.rejected() == [("unauthorised", "author")]


def test_the_lease_is_as_long_as_the_owner_says() -> None:
    house = at_home()
    house.tell(events.lease("loxone", 15 * MINUTE))
    house.wish("loxone", "charge", 3000)
    house.wait(14 * MINUTE)
    assert house.holds["charge"] == 3000
    house.wait(MINUTE)
    assert house.holds["charge"] == 0
    house.tell(events.lease("loxone", 25 * HOUR))
    assert house.rejected() == [("out of range", "lease")]


def test_a_ramp_goes_up_slowly_and_down_at_once() -> None:
    controls = [Control("power", -3000, 3000, 100, up=CHARGE, down=DISCHARGE, ramp=500, interval_ms=SECOND)]
    house = House(Setup("b", controls, authors=[Author("loxone", MANUAL)]))
    house.tell(events.tick())
    house.wish("loxone", "power", 1800)
    values = [house.holds["power"]]
    for _ in range(4):
        house.wait(SECOND, SECOND, measured=False)
        values.append(house.holds["power"])
    assert values == [0, 500, 1000, 1500, 1800]
    house.wish("loxone", "power", 600)
    assert house.holds["power"] == 600
    house.wish("loxone", "power", -600)
    assert house.holds["power"] == 0, "to the other side by way of nothing"
    house.wait(2 * SECOND, SECOND, measured=False)
    assert house.holds["power"] == -600


def test_what_was_refused_or_never_sent_costs_no_write() -> None:
    house = at_home()
    house.obedient = False
    spent = [used(house)]
    house.wish("loxone", "charge", 3000)
    house.tell(events.result("charge", house.said[-1].identity, "rejected"))
    assert reasons(house.said) == ["rejected"]
    spent.append(used(house))
    house.wait(SECOND, SECOND)
    first = house.writes[-1][1]
    assert first.value == 3000, "it is tried again"
    for watts in (2000, 1000, 4000):
        before = house.writes[-1][1].identity
        house.wish("loxone", "charge", watts)
        house.tell(events.result("charge", before, "unsent"))
    spent.append(used(house))
    house.tell(events.result("charge", house.writes[-1][1].identity, "failed"))
    spent.append(used(house))
    assert spent == [1, 1, 2, 2], "off at the start, and the one that may have been written"


def used(house: House) -> int:
    return sum(number for _, number in Device(house.state).desks[0].spent)


def test_the_owner_s_own_range_holds_and_off_is_always_in_it() -> None:
    controls = [
        Control("charge", 2000, 4000, 100, up=CHARGE, milliwatts=1000),
        Control("export_limit", 0, 60, reversion=60, safe=60),
    ]
    limit = Limit("grid_import", "import", high=11000, hysteresis=200, high_blocks=CHARGE, own="charging")
    sources = [Source("import", 30 * SECOND), Source("charging", 30 * SECOND), Source("soc", 30 * SECOND)]
    house = House(Setup("growatt", controls, [limit], sources, [Author("loxone", MANUAL)]))
    house.measure()
    assert [said.value for _, said in house.writes] == [0, 60]
    for watts in (1900, 4100, 2050):
        house.wish("loxone", "charge", watts)
        assert [reason for reason, _ in house.rejected()] == ["out of range"]
    house.wish("loxone", "charge", 2000)
    assert house.holds["charge"] == 2000
    house.load = 9500
    house.measure()
    assert house.holds["charge"] == 0, "1.5 kW are left, which is less than it may have"
    assert house.why("charge").clamp == "limit"
    house.load = 500
    house.measure()
    house.wish("loxone", "charge", 0)
    assert house.rejected() == []
    assert house.holds["charge"] == 0
