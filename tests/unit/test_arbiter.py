"""The arbiter's runtime: durable before it is done, the same after a restart, and what is lost when nothing can be kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from ohmcore import events
from ohmcore.records import Decision
from ohmstead.control.dispatch import Outcome
from ohmstead.control.replay import replay, same_end
from ohmstead.control.setup import setup_of, written
from ohmstead.control.views import Status
from ohmstead.errors import Reason
from ohmstead.store.protocol import StoreError
from ohmstead.store.trail import Checkpoint, Record, Standing
from tests.unit.battery_house import HOME, START, House, configuration, the_battery


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def kinds(said: Sequence[Decision]) -> list[tuple[str, str, int | None]]:
    return [(decision.kind, decision.control, decision.value) for decision in said if decision.kind not in ("notice", "hold")]


# Setup


def test_a_growatt_is_three_controls_with_their_limits(tmp_path: Path) -> None:
    battery = the_battery(configuration(tmp_path))
    charge, discharge, export = battery.setup.controls
    assert (charge.name, charge.least, charge.most, charge.reversion, charge.safe, charge.milliwatts) == ("charge", 0, 100, 0, 0, 50_000)
    assert (discharge.name, discharge.up) == ("discharge", 2)
    assert (export.name, export.most, export.reversion, export.safe, export.up, export.down) == ("export_limit", 1000, 1000, 1000, 0, 0)
    limits = {limit.name: limit for limit in battery.setup.limits}
    assert (limits["soc floor"].low, limits["soc floor"].hysteresis, limits["soc floor"].low_blocks) == (16, 1, 2)
    assert (limits["soc ceiling"].high, limits["soc ceiling"].high_blocks) == (94, 1)
    assert limits["grid import ceiling"].own == "charging"
    assert battery.view.by_word("export") == battery.view.controls["export_limit"]
    assert battery.view.controls["charge"].raw_of_kw(2.26) == 45


def test_without_rated_power_a_limit_at_the_grid_stops_the_charge(tmp_path: Path) -> None:
    battery = the_battery(configuration(tmp_path, HOME.replace("    rated: 5 kW\n", "")))
    limit = next(limit for limit in battery.setup.limits if limit.name == "grid import ceiling")
    assert (limit.own, limit.source, limit.high) == ("", "grid_import", 109_999)
    assert battery.view.controls["charge"].raw_of_kw(2.0) is None


def test_a_setup_comes_back_from_json(tmp_path: Path) -> None:
    setup = the_battery(configuration(tmp_path)).setup
    again = setup_of(json.loads(json.dumps(written(setup))))
    assert written(again) == written(setup)
    with pytest.raises(ValueError, match="no setup"):
        setup_of({"device": "growatt"})


# Durable, then done


def test_a_command_is_on_disk_before_it_is_written(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            assert [house.hand.last(control) for control in ("charge", "discharge", "export_limit")] == [0, 0, 1000], "off, whatever was"
            house.read()
            await house.settled()
            found: list[str] = []

            def look() -> None:
                with contextlib.closing(sqlite3.connect(tmp_path / "ohm.db")) as other:
                    rows = other.execute("SELECT decisions FROM decided WHERE event LIKE '[\"wish\"%'").fetchall()
                found.extend(row[0] for row in rows)

            house.hand.seen = look
            said = await house.wish("loxone", "charge", 60)
            assert kinds(said) == [("command", "charge", 60)]
            assert house.hand.writes[-1] == ("charge", 60, 120.0), "under the node's lease, which is renewed"
            assert found, "nothing was in the store when it was written"
            assert json.loads(found[0])[-1][:3] == ["command", "charge", 60]

    run(story())


def test_what_is_still_wanted_is_renewed_and_ends_with_its_lease(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60, 300)
            house.hand.writes.clear()
            await house.passes(280)
            assert 5 <= len(house.hand.writes) <= 7
            assert {(control, raw) for control, raw, _ in house.hand.writes} == {("charge", 60)}
            assert house.hand.writes[-1][2] < 120, "the node's lease ends with the author's"
            await house.passes(40)
            assert house.hand.last("charge") == 0
            assert house.arbiter.mode("growatt") == "auto"
            assert "Nobody wants anything" in house.arbiter.why("growatt", "charge")

    run(story())


class Full:
    """A disk that is full from some moment on."""

    def __init__(self, house: House) -> None:
        self.full = False
        trail = house.store.trail
        commit: Callable[..., int] = trail.commit

        def refuse(records: Sequence[Record], standing: Sequence[Standing], checkpoints: Sequence[Checkpoint] = ()) -> int:
            if self.full:
                raise StoreError("the disk is full")
            return commit(records, standing, checkpoints)

        trail.commit = refuse  # type: ignore[method-assign]  # the disk of this test


def test_what_cannot_be_kept_is_not_done_and_a_stop_is_heard_afterwards(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            disk = Full(house)
            house.read()
            await house.wish("loxone", "charge", 60)
            house.hand.writes.clear()
            disk.full = True
            with pytest.raises(StoreError):
                await house.wish("loxone", "charge", 80)
            house.arbiter.feed("growatt", events.stop(1))
            deadline = asyncio.get_running_loop().time() + 20
            while not house.relayed:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
            assert house.hand.writes == []
            status = house.arbiter.status("growatt")
            assert (status.mode, status.controls["charge"].wanted, status.trouble) == ("manual", 60, "the disk is full")
            assert house.relayed == [1], "whoever stands before the device obeys it without us"
            disk.full = False
            while house.arbiter.mode("growatt") != "stopped":
                assert asyncio.get_running_loop().time() < deadline
                house.arbiter.tick()
                await asyncio.sleep(0.01)
            await house.settled()
            assert house.hand.last("charge") == 0
            assert set(house.relayed) == {1}

    run(story())


# Restart


def test_a_restart_goes_on_with_what_is_left_and_sends_everything_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60, 600)
        async with House(tmp_path, now=START + 200) as house:
            assert {control for control, _, _ in house.hand.writes} == {"charge", "discharge", "export_limit"}
            house.read()
            await house.settled()
            assert house.hand.last("charge") == 60
            assert house.arbiter.explain("growatt", "charge").left_ms == 400_000
            assert replay(house.store.trail, "growatt").difference is None

    run(story())


def test_after_a_restart_of_the_machine_nobody_wants_anything(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60, 600)
        async with House(tmp_path, boot="tuesday", now=50.0) as house:
            house.read()
            await house.settled()
            assert house.hand.last("charge") == 0
            assert house.arbiter.explain("growatt", "charge").author == ""
            said = replay(house.store.trail, "growatt")
            assert said.difference is None
            assert same_end(house.store.trail, said)

    run(story())


def test_a_jump_of_the_wall_clock_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60, 600)
            written = len(house.hand.writes)
            for jump in (10 * 365 * 86_400.0, -20 * 365 * 86_400.0):
                house.wall += jump
                house.arbiter.tick()
                house.read()
                await house.settled()
                assert house.arbiter.explain("growatt", "charge").left_ms == 600_000
            assert len(house.hand.writes) == written
        async with House(tmp_path, now=START + 100) as house:
            house.wall -= 86_400
            house.read()
            await house.settled()
            assert house.arbiter.explain("growatt", "charge").left_ms == 500_000
            await house.passes(510)
            assert house.hand.last("charge") == 0

    run(story())


def test_a_stop_is_a_stop_after_a_restart_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.tell(events.stop(1))
        async with House(tmp_path, boot="tuesday", now=5.0) as house:
            assert house.arbiter.mode("growatt") == "stopped"
            assert kinds(await house.tell(events.reset("loxone"))) == [("rejection", "", None)]
            await house.tell(events.stop(0))
            assert house.relayed == [0], "our own stop at the node ends with it"
            await house.tell(events.reset("loxone"))
            assert house.arbiter.mode("growatt") == "auto"

    run(story())


# What devices and nodes say


def test_readings_clamp_and_old_ones_are_no_readings(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            refused = await house.wish("loxone", "charge", 60)
            assert [(said.kind, said.reason) for said in refused] == [("rejection", "stale")]
            rejected = house.arbiter.status("growatt").rejected
            assert rejected is not None
            assert "no fresh reading of “Battery SOC”" in rejected.detail
            assert "none since the start" in rejected.detail
            house.read(grid_import=9500.0)
            await house.settled()
            said = await house.wish("loxone", "charge", 60)
            assert kinds(said) == [("command", "charge", 29)], "1.5 kW are left at the house's connection, a step below"
            why = house.arbiter.why("growatt", "charge")
            assert "is 9500 W, read 0 s ago, and the ceiling is 11000 W, of which the battery gets what is left" in why
            await house.passes(10, grid_import=9500.0, charge_power=1450.0, battery=-1450.0)
            house.mono += 100
            house.arbiter.tick()
            await house.settled()
            assert house.hand.last("charge") == 0
            status = house.arbiter.status("growatt")
            assert status.soc is None
            assert status.controls["charge"].clamp == "stale"
            assert "(the last one is 100 s old)" in status.controls["charge"].reason

    run(story())


def test_a_limit_of_a_node_is_told_with_its_reading(tmp_path: Path) -> None:
    async def story() -> None:
        told: list[str] = []
        async with House(tmp_path) as house:
            house.arbiter.on_outcome(lambda device, carried: told.append(carried.outcome.detail))
            house.read(battery_soc=20)
            await house.settled()
            house.hand.outcome = Outcome("rejected", "the limit soc floor does not allow it now", None, Reason.LIMIT)
            await house.wish("loxone", "discharge", 60)
            assert told[0].startswith("the limit soc floor does not allow it now: Battery SOC is 20 %, read 0 s ago, and the floor is 15 %")

    run(story())


def test_a_latched_node_stops_its_batteries_until_both_are_reset(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.settled()
            house.hand.outcome = Outcome("rejected", "stopped", None, Reason.LATCHED)
            await house.wish("loxone", "charge", 60)
            assert house.arbiter.mode("growatt") == "stopped"
            house.arbiter.node_latch("growatt", "pin")
            await house.settled()
            assert kinds(await house.tell(events.reset("loxone"))) == [("rejection", "", None)]
            house.hand.outcome = Outcome("done")
            house.arbiter.node_latch("growatt", "")
            await house.settled()
            await house.tell(events.reset("loxone"))
            assert house.arbiter.mode("growatt") == "auto"

    run(story())


def test_what_a_node_took_back_is_commanded_again_but_not_for_ever(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60)
            house.hand.writes.clear()
            house.arbiter.node_says("growatt", "charge", None, house.wall - 5)
            await house.settled()
            assert house.hand.writes == [], "that was before the command"
            for _ in range(6):
                await house.passes(10)
                house.arbiter.node_says("growatt", "charge", None, house.wall)
                await house.settled()
            assert len([raw for _, raw, _ in house.hand.writes if raw == 60]) == 2, "the guard's third is the last"
            assert house.arbiter.status("growatt").controls["charge"].clamp == "external"

    run(story())


def test_subscribers_hear_decisions_after_they_are_durable_and_no_silent_readings(tmp_path: Path) -> None:
    async def story() -> None:
        told: list[tuple[list[str], Status]] = []
        async with House(tmp_path) as house:
            house.arbiter.subscribe(lambda device, said, status: told.append(([decision.kind for decision in said], status)))
            house.read()
            house.read()
            await house.settled()
            before = len(told)
            house.read()
            await house.settled()
            assert len(told) == before
            await house.wish("home_assistant", "discharge", 30)
            assert any("command" in said and status.controls["discharge"].wanted == 30 for said, status in told)
            assert told[-1][1].controls["discharge"].acknowledged == 30

    run(story())


# Replay


def test_a_replay_finds_the_first_difference(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60)
            await house.wish("loxone", "charge", 50)
            said = replay(house.store.trail, "growatt")
            assert said.difference is None
            assert said.decisions >= 5
            with house.store._transaction() as connection:
                connection.execute("DROP TRIGGER decided_no_update")
                connection.execute("UPDATE decided SET decisions = replace(decisions, '\"charge\",50', '\"charge\",51')")
            found = replay(house.store.trail, "growatt").difference
            assert found is not None
            assert found.then[-1][:3] == ["command", "charge", 51]
            assert found.now[-1][:3] == ["command", "charge", 50]

    run(story())


def test_what_is_pruned_leaves_a_beginning_for_replays(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60)
            await house.passes(100)
            for clock in ("mono", "wall"):
                setattr(house, clock, getattr(house, clock) + 7 * 3600)
            await house.passes(30)
            trail = house.store.trail
            before = len(trail.last(100_000, silent=True))
            assert trail.prune(round(house.wall * 1000)) > 10
            assert 0 < len(trail.last(100_000, silent=True)) < before
            said = replay(trail, "growatt")
            assert said.difference is None
            assert same_end(trail, said)

    run(story())


# The home's own settings


def test_an_operators_box_that_is_silent_is_failsafe_until_it_is_heard_and_says_something(tmp_path: Path) -> None:
    async def story() -> None:
        home = HOME + "control: {dwell: 1 min, longest: 2 h, burst: 5, grid: {heartbeat: 1 min, failsafe: 4.2 kW}}\n"
        async with House(tmp_path, home=home) as house:
            house.read()
            await house.wish("loxone", "charge", 60)
            assert house.hand.last("charge") == 0
            assert house.arbiter.status("growatt").controls["charge"].clamp == "failsafe"
            await house.tell(events.heartbeat())
            assert house.hand.last("charge") == 0
            await house.tell(events.grid(None))
            assert house.hand.last("charge") == 60
            await house.passes(70)
            status = house.arbiter.status("growatt")
            assert (house.hand.last("charge"), status.failsafe) == (0, True)
            assert "box is silent" in status.controls["charge"].reason
            rejections = [await house.wish("api", "charge", 50, 8000)]
            rejections += [await house.wish("api", "charge", 50) for _ in range(6)]
            reasons = [said[-1].reason for said in rejections if said[-1].kind == "rejection"]
            assert reasons == ["out of range", "rate limit"]

    run(story())


def test_read_only_means_that_nothing_is_ever_written(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path, home=HOME + "    read_only: true\n") as house:
            house.read()
            said = await house.wish("loxone", "charge", 60)
            assert [decision.reason for decision in said] == ["read-only"]
            await house.tell(events.stop(1))
            await house.passes(100)
            assert house.hand.writes == []

    run(story())
