"""Prices, the exchange rate and plans in the store: what a restart goes on with, and what there was to see on a past day.

A day's prices stand once, the newest that came. Plans are kept as they were published, compressed (4 kB instead of 20), one whenever
what is wanted changed.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, NamedTuple, Protocol

from ohmstead.prices import DayPrices, ExchangeRate
from ohmstead.store.protocol import StoreError

KEEP_PLANS_S = 90 * 86_400.0
_RATE = "exchange-rate"
_MOST_PLANS = 1000

Read = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
Transaction = Callable[[], AbstractContextManager[sqlite3.Connection]]


class StoredPlan(NamedTuple):
    """A plan as it was published: `text` is its JSON, `made` the UTC second it was made."""

    device: str
    made: float
    text: str


class PlanStore(Protocol):
    """Everything may block and raises StoreError when the medium fails; then nothing was written."""

    def keep_prices(self, prices: DayPrices) -> None:
        """Keeps a day's prices in place of those it had."""
        ...

    def prices(self, since: date) -> list[DayPrices]:
        """The days from `since` on, in their order."""
        ...

    def keep_rate(self, rate: ExchangeRate) -> None: ...

    def rate(self) -> ExchangeRate | None:
        """The exchange rate that was kept last."""
        ...

    def keep_plan(self, plan: StoredPlan) -> None:
        """Adds a plan, and forgets those that were made `KEEP_PLANS_S` before it."""
        ...

    def plans(self, device: str, start: float, end: float) -> list[StoredPlan]:
        """The plans that were made from `start` (included) to `end` (excluded), oldest first, at most a thousand."""
        ...


class SqlitePlans:
    """A `PlanStore` in the tables `prices` and `plans`, over a store's own connections."""

    def __init__(self, transaction: Transaction, read: Read) -> None:
        self._transaction = transaction
        self._read = read

    def keep_prices(self, prices: DayPrices) -> None:
        row = (str(prices.day), prices.start, prices.seconds, prices.source, json.dumps(prices.eur_mwh))
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO prices (day, start, seconds, source, eur_mwh) VALUES (?, ?, ?, ?, ?)", row)

    def prices(self, since: date) -> list[DayPrices]:
        found = self._read("SELECT day, start, eur_mwh, source, seconds FROM prices WHERE day >= ? ORDER BY day", (str(since),))
        return [
            DayPrices(date.fromisoformat(day), start, tuple(json.loads(prices)), source, seconds)
            for day, start, prices, source, seconds in found
        ]

    def keep_rate(self, rate: ExchangeRate) -> None:
        text = json.dumps([rate.czk_eur, str(rate.day), rate.source])
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_RATE, text))

    def rate(self) -> ExchangeRate | None:
        found = self._read("SELECT value FROM meta WHERE key = ?", (_RATE,))
        if not found:
            return None
        czk_eur, day, source = json.loads(found[0][0])
        return ExchangeRate(czk_eur, date.fromisoformat(day), source)

    def keep_plan(self, plan: StoredPlan) -> None:
        made = round(plan.made * 1000)
        with self._transaction() as connection:
            row = (plan.device, made, zlib.compress(plan.text.encode()))
            connection.execute("INSERT INTO plans (device, made, body) VALUES (?, ?, ?)", row)
            connection.execute("DELETE FROM plans WHERE made < ?", (made - round(KEEP_PLANS_S * 1000),))

    def plans(self, device: str, start: float, end: float) -> list[StoredPlan]:
        found = self._read(
            "SELECT device, made, body FROM plans WHERE device = ? AND made >= ? AND made < ? ORDER BY made, id LIMIT ?",
            (device, round(start * 1000), round(end * 1000), _MOST_PLANS),
        )
        return [StoredPlan(device, made / 1000, _unpacked(body)) for device, made, body in found]


def _unpacked(body: bytes) -> str:
    try:
        return zlib.decompress(body).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise StoreError(f"a stored plan cannot be read: {error}", try_again=False) from error
