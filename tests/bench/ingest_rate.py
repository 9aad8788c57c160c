"""How many frames a second the gateway takes in, against the barest loop that could do the same.

Bare: `msgpack.unpackb`, decode, `executemany`; nothing is checked, nothing is published, nothing is acknowledged, a frame sent twice is
stored twice. Ours: everything, from the message to the acknowledgement. Both write the same samples with the same durability
in commits of about the same size. The unit is seconds of CPU of the whole process, so a busy machine changes little.

    python -m tests.bench.ingest_rate [--quick]
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgpack import packb, unpackb  # type: ignore[import-untyped] # it comes without types

from ohmstead.messages import Handler, Message
from ohmstead.nodes.fleet import Fleet
from ohmstead.nodes.ingest import Ingest
from ohmstead.profiles import library
from ohmstead.profiles.compiler import line_cost, poll_groups
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Stream
from ohmstead.store.schema import migrate
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer
from tests.bench.figures import Figure, table

_COMMIT = 500
_MESSAGES = 50
_ORIGIN = 1_750_000_000.0


class Rates(NamedTuple):
    """Frames per second of CPU."""

    bare: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


class _Sink:
    """A broker that takes everything."""

    connected = True

    def __init__(self) -> None:
        self.acknowledgements = 0

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        self.acknowledgements += 1

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        pass

    def on_connect(self, callback: Callable[[], None]) -> None:
        pass


def frames(count: int) -> list[bytes]:
    """The frames of an M-TEC inverter in the order and at the rates of its poll groups, with registers that move."""
    profile = library.load("mtec-energybutler")
    groups = poll_groups(profile, line_cost(profile.line))
    dice = random.Random(1)
    made: list[bytes] = []
    second = 0
    while len(made) < count:
        for group in groups:
            if second % round(group.period_s) == 0:
                ranges = [[read.function << 16 | read.address, dice.randbytes(2 * read.count)] for read in group.reads]
                made.append(packb([1, 7, len(made) + 1, second * 1000, "mtec", group.name, 0, ranges]))
        second += 5
    return made[:count]


def bare(payloads: list[bytes], folder: Path) -> float:
    """CPU seconds of the barest loop."""
    decoder = Decoder(library.load("mtec-energybutler"))
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    migrate(connection, "bare.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    series: dict[str, int] = {}
    started = time.process_time()
    for first in range(0, len(payloads), _COMMIT):
        rows: list[tuple[int, int, object]] = []
        for payload in payloads[first : first + _COMMIT]:
            frame = unpackb(payload)
            values = {}
            for where, raw in frame[7]:
                values.update(decoder.decode(where >> 16, where & 0xFFFF, raw))
            for point, value in values.items():
                if "." not in point:
                    rows.append((series.setdefault(point, len(series) + 1), frame[3], value))
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO samples (series_id, ts, value) VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
    spent = time.process_time() - started
    connection.close()
    return spent


def ours(payloads: list[bytes], folder: Path) -> float:
    """CPU seconds of ingest and store, from the first message to the last acknowledgement."""
    return asyncio.run(_ours(payloads, folder))


async def _ours(payloads: list[bytes], folder: Path) -> float:
    uptimes = [unpackb(payload)[3] / 1000 for payload in payloads]
    now = 0.0
    store = SqliteStore(folder / "ours.db")
    writer = Writer(store, flush=0.0, capacity=10 * _COMMIT)
    sink = _Sink()
    published = 0

    def count(_: object) -> None:
        nonlocal published
        published += 1

    def fail(_subscriber: object, _snapshot: object, error: Exception) -> None:
        raise error

    stream = Stream(fail)
    stream.subscribe(count)
    ingest = Ingest(
        site="home",
        fleet=Fleet({"cellar": ["mtec"]}),
        decoders={"mtec": Decoder(library.load("mtec-energybutler"))},
        stream=stream,
        writer=writer,
        messenger=sink,
        mono=lambda: now,
        wall=lambda: _ORIGIN + now,
    )
    ingest.start()
    loop, committed = asyncio.get_running_loop(), asyncio.Event()
    writer.on_commit(lambda _: loop.call_soon_threadsafe(committed.set) and None)
    writer.start()
    started = time.process_time()
    for first in range(0, len(payloads), _MESSAGES):
        now = uptimes[min(first + _MESSAGES, len(payloads)) - 1]
        ingest.handle([Message("ohm/home/node/cellar/up/data", payload, False) for payload in payloads[first : first + _MESSAGES]])
        while writer.queued >= _COMMIT:
            committed.clear()
            await committed.wait()
    await asyncio.to_thread(writer.close)
    await asyncio.sleep(0)
    ingest.flush_acknowledgements()
    spent = time.process_time() - started
    if ingest.fleet.nodes["cellar"].acknowledged != len(payloads) or any(ingest.refused.values()) or published != len(payloads):
        raise RuntimeError(f"acknowledged {ingest.fleet.nodes['cellar'].acknowledged}, published {published}, refused {ingest.refused}")
    store.close()
    return spent


def rates(count: int, rounds: int) -> Rates:
    """The best of some rounds of each, taken in turns."""
    payloads = frames(count)
    spent: list[tuple[float, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            spent.append((bare(payloads, Path(folder)), ours(payloads, Path(folder))))
    return Rates(count / min(one for one, _ in spent), count / min(other for _, other in spent))


def measure(quick: bool = False) -> list[Figure]:
    """The budget is the ratio; the rates are those of this machine."""
    found = rates(5_000 if quick else 20_000, 3)
    return [
        Figure("ingest, the bare loop", found.bare, "frames/s of CPU", note="unpackb, decode, executemany"),
        Figure("ingest, the gateway", found.ours, "frames/s of CPU", note="checked, anchored, published, stored once, acknowledged"),
        Figure("ingest, gateway against bare loop", found.ratio, "×", 0.5, "at least"),
    ]


if __name__ == "__main__":
    print(table(measure(quick="--quick" in sys.argv)))
