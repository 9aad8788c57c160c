"""Setting a heat pump, from the text that somebody sends to the controller's flash memory: ranges, budgets, and no write for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ohmstead.batteries import targets_of
from ohmstead.config import load
from ohmstead.control.desk import Answer, Desk
from ohmstead.control.dispatch import FieldActuator
from ohmstead.errors import Reason
from ohmstead.profiles.decode import Decoder
from ohmstead.sim.luxtronik import LuxtronikPump
from ohmstead.sources.luxtronik import LuxtronikReader
from ohmstead.sources.luxtronik_wire import Endpoint
from ohmstead.sources.polling import PolledSource
from ohmstead.store.sqlite import SqliteStore
from tests.unit.homes import writer

HOME = """
    devices:
      pump:
        source: luxtronik
        host: 127.0.0.1
        control: {hot_water_target: {}, hot_water_mode: {}}
        limits: {hot_water_target: 40..55 °C}
"""


class Home:
    """A home with a pump, whose clock stands until it is moved."""

    def __init__(self, folder: Path, pump: LuxtronikPump, store: SqliteStore) -> None:
        self.now = 1_750_000_000.0
        self.answers: list[Answer] = []
        config = load(writer(folder)(HOME))
        decoder = Decoder(config.profile("pump"))
        reader = LuxtronikReader("pump", Endpoint("127.0.0.1", pump.port, 20.0), decoder, config.zone, lambda: self.now, settle_s=0.0)
        source = PolledSource("pump", reader, lambda _: None, period_s=30, timeout_s=20)
        self.desk = Desk(
            {"pump": targets_of(config, "pump")},
            {"pump": FieldActuator(source)},
            store,
            self.answers.append,
            mono=lambda: self.now,
            wall=lambda: self.now,
        )

    async def ask(self, control: str, text: str) -> Answer:
        count = len(self.answers)
        self.desk.request("pump", control, text, "mqtt")
        async with asyncio.timeout(30):
            while True:
                if len(self.answers) > count:
                    return self.answers[-1]
                await asyncio.sleep(0.002)


@pytest.fixture
async def pump() -> AsyncIterator[LuxtronikPump]:
    async with LuxtronikPump() as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ohm.db")
    yield opened
    await asyncio.to_thread(opened.close)


async def test_what_is_asked_is_done_once(tmp_path: Path, pump: LuxtronikPump, store: SqliteStore) -> None:
    home = Home(tmp_path, pump, store)
    assert (await home.ask("hot_water_target", "48")).outcome.kind == "done"
    for _ in range(20):  # an automation that says the same again and again uses up nothing
        assert (await home.ask("hot_water_target", "48")).outcome.kind == "unchanged"
    home.now += 60
    assert (await home.ask("hot_water_mode", "Holidays")).outcome.kind == "done"
    assert pump.written == [(2, 480), (4, 3)]


async def test_what_the_owner_does_not_allow_is_refused(tmp_path: Path, pump: LuxtronikPump, store: SqliteStore) -> None:
    home = Home(tmp_path, pump, store)
    for control, text, reason in (
        ("hot_water_target", "56", Reason.OUT_OF_RANGE),
        ("hot_water_target", "48.2", Reason.OUT_OF_RANGE),
        ("hot_water_target", "warm", Reason.MALFORMED),
        ("heating_mode", "Off", Reason.UNKNOWN),
    ):
        answer = await home.ask(control, text)
        assert (answer.outcome.kind, answer.outcome.reason) == ("rejected", reason)
    assert pump.connections == 0


async def test_a_day_has_ten_writes_also_over_a_restart(tmp_path: Path, pump: LuxtronikPump, store: SqliteStore) -> None:
    home = Home(tmp_path, pump, store)
    for turn in range(10):
        assert (await home.ask("hot_water_target", "45" if turn % 2 else "46")).outcome.kind == "done"
        assert (await home.ask("hot_water_target", "47")).outcome.reason is Reason.RATE_LIMIT  # the last one is not a minute ago
        home.now += 60
    again = Home(tmp_path, pump, store)
    again.now = home.now
    await again.desk.start()
    for asked in (home, again):
        answer = await asked.ask("hot_water_target", "50")
        assert "budget is 10 a day" in answer.outcome.detail
    assert len(pump.written) == 10
    again.now += 86_400
    assert (await again.ask("hot_water_target", "50")).outcome.kind == "done"


async def test_a_pump_that_does_not_obey_or_is_away_is_told(tmp_path: Path, pump: LuxtronikPump, store: SqliteStore) -> None:
    home = Home(tmp_path, pump, store)
    pump.mood.ignores_writes = True
    answer = await home.ask("hot_water_target", "48")
    assert (answer.outcome.kind, answer.outcome.value) == ("failed", 500)
    await pump.stop()
    home.now += 60
    answer = await home.ask("hot_water_target", "47")
    assert answer.outcome.kind == "failed"
    assert "connection refused" in answer.outcome.detail
