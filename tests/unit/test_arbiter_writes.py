"""What the arbiter lets be written: the owner's range, and the writes of a day."""

from __future__ import annotations

from pathlib import Path

from ohmstead.control.dispatch import Outcome
from ohmstead.control.replay import replay
from ohmstead.errors import Reason
from tests.unit.battery_house import HOME, House
from tests.unit.test_arbiter import kinds, run


def test_what_an_owner_allows_holds_for_the_way_back_too(tmp_path: Path) -> None:
    home = HOME.replace("grid_import: 11 kW}", "grid_import: 11 kW, charge: 20..60 %, export_limit: ..50 %}")

    async def story() -> None:
        async with House(tmp_path, home=home) as house:
            assert house.hand.last("charge") == 0, "off is always allowed"
            assert house.hand.last("export_limit") == 500
            house.read()
            await house.settled()
            for raw in (10, 61):
                refused = await house.wish("api", "charge", raw)
                assert [(said.kind, said.reason) for said in refused] == [("rejection", "out of range")]
            assert [said.reason for said in await house.wish("api", "export_limit", 600)] == ["out of range"]
            assert kinds(await house.wish("api", "charge", 20)) == [("command", "charge", 20)]
            await house.wish("api", "charge", 0)
            assert house.hand.last("charge") == 0
            await house.wish("api", "export_limit", 0, 60)
            await house.passes(70)
            assert house.hand.last("export_limit") == 500

    run(story())


def test_a_device_that_is_away_costs_no_writes_and_gets_the_newest_when_it_is_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.settled()
            house.hand.writes.clear()
            house.there = False
            await house.wish("loxone", "charge", 60)
            await house.wish("loxone", "charge", 40)
            await house.passes(100)
            assert house.hand.writes == []
            assert house.arbiter.status("growatt").controls["charge"].pending
            for raw in range(1, 60):
                await house.wish("api", "charge", raw)
            house.there = True
            await house.settled()
            assert [raw for control, raw, _ in house.hand.writes if control == "charge"] == [59], "and the day's 50 writes are not used up"
            assert replay(house.store.trail, "growatt").difference is None

    run(story())


def test_what_is_refused_costs_no_write(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.settled()
            house.hand.outcome = Outcome("rejected", "it is too hot", None, Reason.LIMIT)
            for raw in range(1, 60):
                await house.wish("loxone", "charge", raw)
                await house.passes(3)
            house.hand.outcome = Outcome("done")
            await house.wish("loxone", "charge", 60)
            assert house.hand.last("charge") == 60, "the day's writes are not used up"

    run(story())
