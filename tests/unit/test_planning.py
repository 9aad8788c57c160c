"""Prices and plan put together as at a home: configuration, store, topic, and what happens when something is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.control.plan.planner import Planner
from ohmstead.planning import Planning, planning
from ohmstead.prices import ExchangeRate, midnight
from ohmstead.publish.plan import PlanTopic
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.prices import DOWN, PriceServices
from ohmstead.store.protocol import Batch, StoreError
from ohmstead.store.sqlite import SqliteStore
from ohmstead.tasks import end
from tests.publishing import Recorder
from tests.unit.homes import writer
from tests.unit.price_days import DAY, PRAGUE


@pytest.fixture
def services() -> Iterator[PriceServices]:
    running = PriceServices(PRAGUE).start()
    yield running
    running.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ohm.db")
    yield opened
    opened.close()


class Home:
    """A home with a Growatt, whose clock stands at 08:00 of `DAY` until it is moved."""

    def __init__(self, folder: Path, services: PriceServices, store: SqliteStore, plan: str, prices: str = "") -> None:
        self.now = datetime(2025, 10, 23, 8, 0, tzinfo=PRAGUE).timestamp()
        self.store = store
        self.messenger = Recorder()
        self.config = load(
            writer(folder)(
                f"devices: {{growatt: {{profile: growatt-sph, via: tcp://192.0.2.10, rated: 5 kW}}}}\n"
                f"prices: {{url: '{services.url}/ote', rate_url: '{services.url}/cnb'{prices}}}\nplan: {{{plan}}}\n"
            )
        )
        self.parts = self.put_together()

    def put_together(self) -> Planning:
        parts = planning(self.config, self.messenger, self.store.plans, self.store.history, wall=lambda: self.now, mono=lambda: self.now)
        assert parts is not None
        parts.topic.start()
        self.messenger.connect()
        return parts

    @property
    def planner(self) -> Planner:
        return self.parts.planner

    def reads(self, soc: float) -> None:
        self.parts.soc.take(Snapshot("growatt", "live", self.now, Quality.GOOD, {"battery_soc": soc}))

    def remembers_a_week(self, sun_w: float, house_w: float) -> None:
        """Every quarter hour of the last week the same."""
        moments = [self.now - at * 900 for at in range(1, 7 * 96 + 1)]
        self.store.commit(
            Batch(snapshots=[Snapshot("growatt", "live", at, Quality.GOOD, {"pv": sun_w, "consumption": house_w}) for at in moments])
        )

    def published(self) -> dict[str, object]:
        topic, payload, retain = self.messenger.sent[-1][:3]
        assert (topic, retain) == ("ohm/home/plan", True)
        said: dict[str, object] = json.loads(payload)
        return said


SIX_HOURS = "battery: {capacity: 10 kWh, power: 5 kW, soc: 10..95 %}, charge: {cheapest_hours: 6}"


async def test_a_home_gets_its_prices_makes_its_plan_and_tells_and_keeps_it(
    tmp_path: Path, services: PriceServices, store: SqliteStore
) -> None:
    home = Home(tmp_path, services, store, SIX_HOURS)
    home.remembers_a_week(sun_w=0.0, house_w=500.0)
    home.reads(20)
    await home.parts.prices.attend()
    plan = await home.planner.make()
    assert plan.steps
    assert plan.saved is not None
    assert home.published()["device"] == "growatt"
    assert home.published()["saved"] == pytest.approx(plan.saved, abs=1e-3)
    (kept,) = store.plans.plans("growatt", 0, 1e10)
    assert json.loads(kept.text) == home.published()
    await home.planner.make()
    assert len(store.plans.plans("growatt", 0, 1e10)) == 1, "the same is not kept twice"
    step = plan.steps[0]
    assert [wish.control for wish in home.planner.wishes(step.start)] == ["charge"]


async def test_after_a_restart_prices_and_rate_are_there_without_asking(
    tmp_path: Path, services: PriceServices, store: SqliteStore
) -> None:
    home = Home(tmp_path, services, store, SIX_HOURS)
    await home.parts.prices.attend()
    services.kindness = DOWN
    asked = len(services.asked)
    again = home.put_together()
    assert [day.day for day in again.prices.days()] == [DAY]
    assert again.prices.rate() == ExchangeRate(24.315, DAY - timedelta(days=1), "the Czech National Bank")
    plan = await again.planner.make()
    assert plan.currency == "CZK"
    assert len(plan.quarters) == 64
    assert len(services.asked) == asked


async def test_without_prices_the_plan_is_self_use_and_says_so(tmp_path: Path, services: PriceServices, store: SqliteStore) -> None:
    services.kindness = DOWN
    home = Home(tmp_path, services, store, SIX_HOURS)
    home.reads(20)
    await home.parts.prices.attend()
    plan = await home.planner.make()
    assert plan.steps == ()
    assert home.published()["notes"] == [
        "No price: OTE: refused (HTTP 503); plain self-use: nothing is charged from the grid, nothing is forced out."
    ]
    services.kindness = ""
    home.now += 60
    await home.parts.prices.attend()
    assert (await home.planner.make()).quarters


async def test_prices_end_with_their_day(tmp_path: Path, services: PriceServices, store: SqliteStore) -> None:
    services.published = DAY
    home = Home(tmp_path, services, store, SIX_HOURS)
    await home.parts.prices.attend()
    home.now = midnight(DAY + timedelta(days=1), PRAGUE) + 1
    plan = await home.planner.make()
    assert plan.steps == ()
    assert "No price" in plan.notes[0]
    assert home.planner.wishes(home.now) == []


async def test_a_tariff_is_in_the_homes_money(tmp_path: Path, services: PriceServices, store: SqliteStore) -> None:
    home = Home(
        tmp_path, services, store, "", ", buy: {add: 2 CZK/kWh, vat: 21 %}, sell: {share: 90 %, add: -0.1 CZK/kWh}, rate: 25 CZK/EUR"
    )
    await home.parts.prices.attend()
    quarter = (await home.planner.make()).quarters[0]
    assert quarter.buy == pytest.approx((quarter.market + 2) * 1.21)
    assert quarter.sell == pytest.approx(quarter.market * 0.9 - 0.1)
    assert not any("cnb" in path for path in services.asked)


async def test_a_plan_is_made_at_once_when_prices_come(tmp_path: Path, services: PriceServices, store: SqliteStore) -> None:
    home = Home(tmp_path, services, store, SIX_HOURS)
    running = asyncio.create_task(home.planner.run())
    await until(lambda: home.planner.plan is not None)
    assert home.planner.plan is not None
    assert not home.planner.plan.quarters
    await home.parts.prices.attend()
    await until(lambda: home.planner.plan is not None and bool(home.planner.plan.quarters))
    await end([running])
    assert running.cancelled()


async def test_a_store_that_cannot_keep_a_plan_does_not_keep_it_from_being_made(
    tmp_path: Path, services: PriceServices, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, services, store, SIX_HOURS)

    def full(plan: object) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(store.plans, "keep_plan", full)
    assert (await home.planner.make()).notes
    assert home.planner.trouble == "no space left on device"
    monkeypatch.undo()
    await home.planner.make()
    assert home.planner.trouble == ""


async def test_the_plan_is_sent_again_to_a_broker_that_lost_it(tmp_path: Path, services: PriceServices, store: SqliteStore) -> None:
    home = Home(tmp_path, services, store, SIX_HOURS)
    await home.planner.make()
    told = len(home.messenger.sent)
    home.messenger.connect()
    assert len(home.messenger.sent) == told + 1
    assert home.published()["device"] == "growatt"


def test_before_there_is_a_plan_nothing_is_sent() -> None:
    messenger = Recorder()
    PlanTopic("home", messenger).start()
    messenger.connect()
    assert messenger.sent == []


def test_a_home_without_prices_has_no_planning(tmp_path: Path, store: SqliteStore) -> None:
    config = load(writer(tmp_path)("site: home\n"))
    assert planning(config, Recorder(), store.plans, store.history) is None


async def until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come"
        await asyncio.sleep(0.01)
