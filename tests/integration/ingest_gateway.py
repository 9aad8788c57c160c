"""Ingest and store of the gateway in a process of their own, to be killed: `python -m tests.integration.ingest_gateway PORT DATABASE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from ohmstead.mqtt import BrokerAddress, MqttClient
from ohmstead.nodes.fleet import Fleet
from ohmstead.nodes.ingest import Ingest
from ohmstead.readings import Stream, Value
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer

log = structlog.get_logger(service="test")


class Count:
    """A device with one point, the number that its frame carries."""

    def decode(self, function: int, address: int, buf: bytes, scan: str = "") -> dict[str, Value]:
        return {"number": int.from_bytes(buf, "big")}

    def missing(self, values: dict[str, Value], scan: str) -> tuple[str, ...]:
        return ()

    def calculate(self, values: dict[str, Value], time: float) -> None:
        pass


async def main(port: int, database: Path) -> None:
    store = SqliteStore(database)
    writer = Writer(store, flush=0.005)
    messenger = MqttClient(BrokerAddress("127.0.0.1", port), "ohm/home/bridge/online")
    stream = Stream(lambda _subscriber, _snapshot, error: log.error("subscriber", error=repr(error)))
    ingest = Ingest(
        site="home",
        fleet=Fleet({"cellar": ["meter"]}),
        decoders={"meter": Count()},
        stream=stream,
        writer=writer,
        messenger=messenger,
        boots=store.boots(),
    )
    ingest.start()
    messenger.on_connect(lambda: messenger.publish("test/listening", b"1", retain=True))
    writer.start()
    await messenger.run()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
