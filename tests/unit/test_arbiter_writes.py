"""What the arbiter lets be written: the owner's range, the writes of a day, and a flood's part of the audit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ohmcore import events
from ohmstead.control.dispatch import Outcome
from ohmstead.control.replay import replay, same_end
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
                identity = house.arbiter.next_identity("growatt", "api")
                await house.arbiter.submit("growatt", events.wish("api", "charge", raw, identity))
            house.there = True
            await house.settled()
            assert [raw for control, raw, _ in house.hand.writes if control == "charge"] == [59], "and the day's 50 writes are not used up"
            assert replay(house.store.trail, "growatt").difference is None

    run(story())


def test_what_waits_for_a_device_gets_no_longer_lease_by_that(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.settled()
            house.there = False
            await house.wish("loxone", "charge", 60, 100)
            house.mono += 90
            house.there = True
            await house.settled()
            assert ("charge", 60, 10.0) in house.hand.writes

    run(story())


def test_what_is_refused_costs_no_write(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.settled()
            house.hand.outcome = Outcome("rejected", "it is too hot", None, Reason.LIMIT)
            for raw in range(1, 60):
                await house.wish("loxone", "charge", raw)
                house.mono += 3
                house.read()
            house.hand.outcome = Outcome("done")
            await house.wish("loxone", "charge", 60)
            assert house.hand.last("charge") == 60, "the day's writes are not used up"

    run(story())


def test_a_flood_is_answered_but_does_not_fill_the_audit(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.settled()

            def records() -> int:
                return len(house.store.trail.last(10_000, silent=True))

            before = records()
            said: Counter[str] = Counter()
            for number in range(600):
                for raw in (20 + number % 50, 0):
                    identity = house.arbiter.next_identity("growatt", "mqtt")
                    decided = await house.arbiter.submit("growatt", events.wish("mqtt", "charge", raw, identity))
                    said[decided[-1].kind] += 1
                await house.arbiter.submit("growatt", events.stop(0))
                await house.arbiter.submit("growatt", ("wish", "nonsense"))
            await house.settled()
            assert said["rejection"] >= 1100, "each of them was answered"
            assert records() - before < 300
            assert house.arbiter.explain("growatt", "charge").wanted == 0, "off is heard to the last"
            refused = await house.arbiter.submit("growatt", events.wish("mqtt", "charge", 60, 10**6))
            assert [one.reason for one in refused] == ["rate limit"]
            said_again = replay(house.store.trail, "growatt")
            assert said_again.difference is None
            assert same_end(house.store.trail, said_again)
            house.mono += 100
            house.wall += 100
            house.read()
            before = records()
            assert [one.reason for one in await house.wish("api", "charge", 200)] == ["out of range"]
            assert records() > before, "what is no flood is on record"
            await house.tell(events.stop(1))
            assert house.hand.last("charge") == 0

    run(story())
