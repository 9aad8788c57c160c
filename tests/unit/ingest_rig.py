"""Ingest and store without a broker, at a time of the test's choosing, and the frames of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgpack import packb, unpackb  # type: ignore[import-untyped] # it comes without types

from ohmcore.errors import FrameError
from ohmstead.messages import Handler, Message
from ohmstead.nodes.fleet import Event, Fleet
from ohmstead.nodes.ingest import Ingest
from ohmstead.readings import Snapshot, Stream, Value
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer

ORIGIN = 1_750_000_000.0
BOOT = 7


class Broker:
    """Keeps what was published."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.handlers: dict[str, Handler] = {}
        self.connect: Callable[[], None] = lambda: None

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        assert isinstance(payload, bytes)
        assert not retain
        self.sent.append((topic, payload))

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        self.handlers[pattern] = handler

    def on_connect(self, callback: Callable[[], None]) -> None:
        self.connect = callback

    def acknowledged(self) -> list[list[int]]:
        """The acknowledgements of the node `cellar`, without their time."""
        return [unpackb(payload)[:3] for topic, payload in self.sent if topic == "ohm/home/node/cellar/down/ack"]


class Profile:
    """One register a range, at the addresses 100 to 199; `double` is calculated; 150 breaks the decoder."""

    def decode(self, function: int, address: int, buf: bytes, scan: str = "") -> dict[str, Value]:
        if not 100 <= address < 200:
            raise FrameError(f"function {function}, {len(buf) // 2} registers from {address}: no point")
        if address == 150:
            raise TypeError("a decoder with a bug")
        return {f"p{address}": int.from_bytes(buf[:2], "big")}

    def missing(self, values: dict[str, Value], scan: str) -> tuple[str, ...]:
        return ()

    def calculate(self, values: dict[str, Value], time: float) -> None:
        if "p100" in values:
            values["double"] = 2 * int(values["p100"])


class Gateway:
    """Ingest and store without a broker, at a time of our choosing."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self._set_by = 0.0
        self.path = folder / "ohm.db"
        self.start()

    def start(self) -> None:
        self.store = SqliteStore(self.path)
        self.writer = Writer(self.store, flush=0.0)
        self.broker = Broker()
        self.snapshots: list[Snapshot] = []
        self.events: list[Event] = []
        stream = Stream(self._fail)
        stream.subscribe(self.snapshots.append)
        self.fleet = Fleet({"cellar": ["mtec"], "attic": []})
        self.ingest = Ingest(
            site="home",
            fleet=self.fleet,
            decoders={"mtec": Profile()},
            stream=stream,
            writer=self.writer,
            messenger=self.broker,
            periods={"mtec": {"10s": 10.0, "5min": 300.0}},
            boots=self.store.boots(),
            mono=lambda: self.now,
            wall=lambda: ORIGIN + self.now + self._set_by,
        )
        self.ingest.on_event(self.events.append)
        self.ingest.start()
        self.writer.start()

    def set_by(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._set_by += seconds

    def stop(self) -> None:
        self.writer.close()
        self.store.close()

    @staticmethod
    def _fail(_subscriber: object, _snapshot: object, error: Exception) -> None:
        raise error

    def send(self, *payloads: bytes, kind: str = "data", node: str = "cellar", retain: bool = False) -> None:
        handle = self.broker.handlers["ohm/home/node/+/up/#"]
        handle([Message(f"ohm/home/node/{node}/up/{kind}", payload, retain) for payload in payloads])

    async def committed(self) -> None:
        """Until everything that was sent is in the store, or was found there, and its acknowledgement is out."""
        async with asyncio.timeout(30):
            while self.writer.queued:  # noqa: ASYNC110 - the writer lives in a thread
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        self.ingest.flush_acknowledgements()

    def values(self, point: str) -> list[Value]:
        return [bucket.mean for bucket in self.store.history("mtec", point, ORIGIN - 1e7, ORIGIN + 1e7, 1)]


def data(
    seq: int, uptime: float = 100.0, *, boot: int = BOOT, device: str = "mtec", group: str = "10s", quality: int = 0, **ranges: int
) -> bytes:
    """A frame with one register a range: `r100=7` is register 100 with the value 7."""
    content = [[3 << 16 | int(name[1:]), value.to_bytes(2, "big")] for name, value in (ranges or {"r100": seq}).items()]
    return packed(1, boot, seq, round(uptime * 1000), device, group, quality, content)


def event(seq: int, kind: str, uptime: float = 100.0, device: str = "", **detail: object) -> bytes:
    return packed(1, BOOT, seq, round(uptime * 1000), device, kind, detail)


def hello(uptime: float = 100.0, first_seq: int = 1, boot: int = BOOT) -> bytes:
    return packed(1, "1.2.3", boot, round(uptime * 1000), b"confhash", "a", "power-on", ["spool"], first_seq)


def packed(*fields: object) -> bytes:
    result = packb(list(fields))
    assert isinstance(result, bytes)
    return result
