"""The gateway is away and the node loses its power, in any order: what either has promised is in the store, once."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Broker, wait_for
from tests.integration.node_harness import Inverter, NodeProcess, configuration, device, group, line_of

METER = device("meter", 1, group("50ms", 50, (3, 0, 4)))
ROUNDS = 6


class House:
    """A real node on a line, a real gateway with its store, a real broker; the first two can be killed."""

    def __init__(self, node: NodeProcess, broker: Broker, database: Path) -> None:
        self.node = node
        self.database = database
        self._broker = broker
        self._gateway: subprocess.Popen[bytes] | None = None

    def start_gateway(self) -> None:
        command = [sys.executable, "-m", "tests.integration.ingest_gateway", str(self._broker.port), str(self.database)]
        self._gateway = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)

    def kill_gateway(self) -> None:
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.wait(30)
            self._gateway = None

    def segments(self) -> list[Path]:
        folder = self.node.state / "spool"
        return list(folder.iterdir()) if folder.exists() else []

    def query(self, text: str, *parameters: int) -> list[tuple[int, ...]]:
        """The rows; none while the gateway has not made the store's tables yet."""
        if not self.database.exists():
            return []
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            made = connection.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('frames', 'boots')").fetchone()[0] == 2
            return connection.execute(text, parameters).fetchall() if made else []
        finally:
            connection.close()

    def stored(self) -> int:
        return sum(row[0] for row in self.query("SELECT count(*) FROM frames"))

    def settled(self) -> dict[int, int]:
        return dict(self.query("SELECT boot, contiguous FROM boots"))  # type: ignore[arg-type] # two columns


@pytest.fixture
def house(broker: Broker, micropython: list[str], tmp_path: Path) -> Iterator[House]:
    (tmp_path / "state").mkdir()
    node = NodeProcess(micropython, tmp_path / "state", heap="128k", environment={"OHM_NODE_RESEND_MS": "1000"})
    running = House(node, broker, tmp_path / "ohm.db")
    with line_of({1: Inverter(dict.fromkeys(range(4), 7))}) as line:
        node.configure(configuration(line.path, [(broker.host, broker.port)], METER, spool=(32, 3072), report_ms=60_000))
        yield running
        node.kill()
        running.kill_gateway()


def test_kills_of_both_in_any_order_lose_nothing_that_was_kept_and_store_nothing_twice(house: House) -> None:
    dice = random.Random(11)
    on_flash = 0
    house.start_gateway()
    house.node.start()
    wait_for(lambda: house.database.exists() and house.stored() > 5, 20, "the first frames")
    for _ in range(ROUNDS):
        house.kill_gateway()
        before = len(house.segments())
        wait_for(lambda before=before: len(house.segments()) > before, 30, "frames on flash")  # type: ignore[misc]
        time.sleep(dice.uniform(0, 0.5))  # any moment of an outage will do
        settled = house.settled()
        order = [house.node.kill, house.start_gateway]
        dice.shuffle(order)
        for step in order:
            step()
        on_flash += len(house.segments()) > 0
        house.node.start()
        time.sleep(dice.uniform(0, 1.0))  # and any moment of the way back
        assert all(house.settled().get(boot, 0) >= seq for boot, seq in settled.items()), "a promise was taken back"
    wait_for(lambda: not house.segments(), 60, "everything of flash in the store")
    house.node.kill()
    house.kill_gateway()
    assert on_flash == ROUNDS
    boots = house.query("SELECT id, contiguous FROM boots")
    assert len(boots) >= ROUNDS
    gone = house.query("SELECT boot_id, first, last FROM dropped")
    for boot, contiguous in boots:
        there = {seq for (seq,) in house.query("SELECT seq FROM frames WHERE boot_id = ?", boot)}
        for of, first, last in gone:
            if of == boot:
                there.update(range(first, last + 1))
        assert set(range(1, contiguous + 1)) <= there, f"boot {boot}"
    readings = house.query("SELECT count(*) FROM samples")[0][0]
    events = house.query("SELECT count(*) FROM events")[0][0]
    assert readings + events == house.stored(), "one reading a frame"
