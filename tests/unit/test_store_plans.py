"""Prices, the exchange rate and plans in the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ohmstead.prices import ExchangeRate
from ohmstead.store.plans import KEEP_PLANS_S, StoredPlan
from ohmstead.store.protocol import StoreError
from ohmstead.store.schema import STEPS, VERSION
from ohmstead.store.sqlite import SqliteStore
from tests.unit.price_days import CLOCKS_BACK, CLOCKS_FORWARD, DAY, made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ohm.db")
    yield opened
    opened.close()


def test_prices_are_there_after_a_restart_with_all_their_periods(tmp_path: Path) -> None:
    days = [made(day=CLOCKS_FORWARD), made(day=CLOCKS_BACK)]
    first = SqliteStore(tmp_path / "ohm.db")
    for day in reversed(days):
        first.plans.keep_prices(day)
    first.close()
    second = SqliteStore(tmp_path / "ohm.db")
    assert second.plans.prices(CLOCKS_FORWARD) == days
    assert second.plans.prices(CLOCKS_FORWARD + timedelta(days=1)) == days[1:]
    second.close()


def test_newer_prices_of_a_day_take_the_place_of_the_older_ones(store: SqliteStore) -> None:
    store.plans.keep_prices(made())
    newer = made()._replace(source="another")
    store.plans.keep_prices(newer)
    assert store.plans.prices(DAY) == [newer]


def test_there_is_one_exchange_rate(store: SqliteStore) -> None:
    assert store.plans.rate() is None
    for rate in (ExchangeRate(24.315, DAY, "a"), ExchangeRate(24.4, DAY + timedelta(days=1), "b")):
        store.plans.keep_rate(rate)
        assert store.plans.rate() == rate


def test_plans_of_a_span_in_their_order_and_old_ones_are_forgotten(store: SqliteStore) -> None:
    plans = [StoredPlan("growatt", 1000.5 + at, f'{{"made": {at}}}') for at in range(3)]
    for plan in plans:
        store.plans.keep_plan(plan)
    store.plans.keep_plan(StoredPlan("mtec", 1001.0, "{}"))
    assert store.plans.plans("growatt", 1000.5, 1002.5) == plans[:2]
    late = StoredPlan("growatt", 1002.0 + KEEP_PLANS_S, "{}")
    store.plans.keep_plan(late)
    assert store.plans.plans("growatt", 0, 1e10) == [plans[2], late]
    assert store.plans.plans("mtec", 0, 1e10) == []


def test_a_store_of_the_version_before_gets_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "ohm.db"
    store = SqliteStore(path)
    store.write_meta("kept", "yes")
    store.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "DROP TABLE prices; DROP TABLE plans; DROP TABLE decided; DROP TABLE standing; DROP TABLE checkpoints; PRAGMA user_version = 1"
        )
    connection.close()
    assert len(STEPS) == VERSION
    store = SqliteStore(path)
    store.plans.keep_prices(made())
    assert store.plans.prices(DAY) == [made()]
    assert store.read_meta("kept") == "yes"
    store.close()


def test_a_store_that_cannot_write_says_so_and_keeps_what_it_had(store: SqliteStore, tmp_path: Path) -> None:
    store.plans.keep_prices(made())
    with sqlite3.connect(tmp_path / "ohm.db") as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON plans BEGIN SELECT RAISE(ABORT, 'no'); END")
    connection.close()
    with pytest.raises(StoreError):
        store.plans.keep_plan(StoredPlan("growatt", 1.0, "{}"))
    assert store.plans.plans("growatt", 0, 10) == []
    assert store.plans.prices(DAY) == [made()]
