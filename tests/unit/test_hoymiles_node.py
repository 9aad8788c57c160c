"""A DTU that a node reads: its frames say what the gateway would have read itself; late, double and broken ones do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgpack import unpackb  # type: ignore[import-untyped] # it comes without types
from structlog.testing import capture_logs

from ohmstead.messages import Message
from ohmstead.nodes.fleet import Fleet
from ohmstead.nodes.ingest import Ingest
from ohmstead.profiles import library
from ohmstead.profiles.hoymiles import FIRST_RECORD, RECORD_STEP, SERIAL_AT, reads_of
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.hoymiles import HoymilesJson
from ohmstead.readings import Quality, Snapshot, Stream, Value
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sources.hoymiles_node import DtuTaker
from ohmstead.sources.hoymiles_plant import DtuPlant
from ohmstead.sources.polling import Member
from ohmstead.store.protocol import StoreError
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.writer import Writer
from tests.hoymiles_rig import NOON, PRAGUE, House, Remembered, until
from tests.publishing import Recorder, Sent, read_image
from tests.unit.ingest_rig import hello, packed

Image = Mapping[int, int]

DTU, HM4 = "10f8a1b2c3d4", "116180123456"
PORTS = 9
TOTAL = 3373463671
"""What image A3 has in all, in Wh."""


@pytest.fixture
def images(goldens: Path) -> list[dict[int, int]]:
    """The registers of five polls, of nine ports."""
    return [read_image(goldens / "hoymiles" / f"image_A{number}.json") for number in range(1, 6)]


class Acknowledged(Recorder):
    """A broker's client that keeps the acknowledgements apart."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged: list[list[int]] = []

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        if isinstance(payload, bytes):
            self.acknowledged.append(unpackb(payload)[1:3])
        else:
            super().publish(topic, payload, retain=retain, qos=qos)


class Cellar:
    """The gateway's side of a node that reads one DTU every minute. `now` is UTC, in seconds; what is told of it is in `snapshots`."""

    def __init__(self, store: SqliteStore, *, ports: int = PORTS, memory: Remembered | None = None, now: float = NOON) -> None:
        self.now = now
        self.memory = memory or Remembered()
        self.adopted: list[Member] = []
        self.snapshots: list[Snapshot] = []
        self.broker = Acknowledged()
        self.broker.connected = True
        profile, pattern = library.load("hoymiles-dtu"), library.load("hoymiles-inverter")
        plant = DtuPlant("roof", profile, pattern, self.adopted.append, self.memory, zone=PRAGUE, period_s=60.0)
        self.taker = DtuTaker(plant, ports)
        self.contract = HoymilesJson("roof", profile, pattern, self.broker, Discovery(grace_s=0.0), period_s=60.0)
        self.contract.start()
        stream = Stream(self._fail)
        stream.subscribe(self.snapshots.append)
        stream.subscribe(self.contract.take)
        self.store = store
        self.writer = Writer(store, flush=0.0)
        self.fleet = Fleet({"cellar": ["roof"]})
        self.ingest = Ingest(
            site="home",
            fleet=self.fleet,
            decoders={},
            stream=stream,
            writer=self.writer,
            messenger=self.broker,
            takers={"roof": self.taker},
            periods={"roof": {"1min": 60.0}},
            boots=store.boots(),
            mono=lambda: self.now - NOON + 1e6,
            wall=lambda: self.now,
        )
        self.ingest.start()
        self.writer.start()

    @staticmethod
    def _fail(_subscriber: object, _snapshot: object, error: Exception) -> None:
        raise error

    def poll(self, image: Image, seq: int, *, at: float | None = None, missing: Collection[int] = (), ports: int = PORTS) -> list[Sent]:
        """What the frame of a poll publishes; `missing` are addresses of ranges that the node left out. It comes at `now`, read at `at`."""
        ranges = [
            [
                read.function << 16 | read.address,
                b"".join(image.get(word, 0).to_bytes(2, "big") for word in range(read.address, read.last + 1)),
            ]
            for read in reads_of(ports)
            if read.address not in missing
        ]
        return self.send(ranges, seq, self.now if at is None else at, int(bool(missing)))

    def send(self, ranges: list[list[Any]], seq: int, at: float, quality: int = 0) -> list[Sent]:
        self.broker.take()
        self.snapshots.clear()
        body = packed(1, 7, seq, round((at - NOON + 86400) * 1000), "roof", "1min", quality, ranges)
        self.ingest.handle([Message("ohm/home/node/cellar/up/data", body, False)])
        self.contract.tick(self.now)
        return self.broker.take()

    def last(self, device: str = "roof") -> Snapshot:
        """The snapshot of a device that the last frame gave."""
        (found,) = [one for one in self.snapshots if one.device == device]
        return found

    async def settled(self, seq: int) -> None:
        """Until everything up to this number is stored and acknowledged."""
        await until(lambda: not self.writer.queued)
        await asyncio.sleep(0)
        self.ingest.flush_acknowledgements()
        assert self.broker.acknowledged[-1] == [7, seq]

    def stored(self, point: str, device: str = "roof") -> list[Value]:
        return [bucket.mean for bucket in self.store.history(device, point, NOON - 1e6, NOON + 1e6, 1)]


@asynccontextmanager
async def cellar(folder: Path, **settings: Any) -> AsyncIterator[Cellar]:
    store = SqliteStore(folder / "ohm.db")
    house = Cellar(store, **settings)
    await house.taker.start()
    keeping = asyncio.create_task(house.taker.run())
    try:
        yield house
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        house.writer.close()
        store.close()


async def test_the_contract_says_the_same_as_when_the_gateway_reads_it(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with Dtu(image={}) as dtu, cellar(tmp_path) as house:
        direct = House(dtu)
        for seq, image in enumerate(images, start=1):
            dtu.image = dict(image)
            ours = house.poll(image, seq)
            assert ours == await direct.published(), f"A{seq}"
            assert ours
            house.now += 60.0
        assert [one._replace(profile=library.load("hoymiles-dtu")) for one in house.adopted] == [
            one._replace(profile=library.load("hoymiles-dtu")) for one in direct.adopted
        ]
        assert house.taker.figures.queries == 5
        assert house.fleet.device_online("roof")


async def test_of_a_list_that_breaks_off_the_same_is_left(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with Dtu(image={}) as dtu, cellar(tmp_path) as house:
        direct = House(dtu)
        for seq, missing in enumerate(([], [6], [2], [1, 4]), start=1):
            dtu.image = dict(images[2])
            dtu.mood.refuse_at = dict.fromkeys(missing, 4)
            ours = house.poll(images[2], seq, missing=[FIRST_RECORD + RECORD_STEP * place for place in missing])
            assert ours == await direct.published()
            assert house.last().quality == (Quality.PARTIAL if missing else Quality.GOOD)
            assert ("pv_power" in house.last().values) is not bool(missing)
            house.now += 60.0


async def test_without_the_first_record_nothing_is_said(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with cellar(tmp_path) as house:
        assert house.poll(images[2], 1, missing=[FIRST_RECORD]) == []
        assert (house.snapshots, house.adopted, house.taker.figures.queries) == ([], [], 0)
        await house.settled(1)


async def test_a_last_record_that_is_refused_is_the_end_of_the_list(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with cellar(tmp_path) as house:
        house.poll(images[2], 1, missing=[FIRST_RECORD + RECORD_STEP * PORTS])

        assert house.last().quality is Quality.GOOD
        assert house.last().values["total_production"] == TOTAL


async def test_a_dtu_with_more_ports_than_were_said_has_no_sums(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with cellar(tmp_path, ports=6) as house:
        house.poll(images[2], 1, ports=6)

        assert house.last().quality is Quality.PARTIAL
        assert house.last().values.keys() & {"pv_power", "today_production", "total_production"} == set()
        assert house.last(f"roof-{HM4}").quality is Quality.GOOD


async def test_a_serial_number_that_is_not_told_is_known_from_before(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with cellar(tmp_path) as house:
        house.poll(images[2], 1)
        house.now += 60.0
        house.poll(images[2], 2, missing=[SERIAL_AT])

        assert house.last().quality is Quality.PARTIAL
        assert house.last().values["serial_no"] == DTU


async def test_values_of_the_dtu_and_of_what_is_behind_it_are_stored_once(images: list[dict[int, int]], tmp_path: Path) -> None:
    memory = Remembered()
    async with cellar(tmp_path, memory=memory) as house:
        house.poll(images[2], 1)
        house.now += 1.0
        assert house.poll(images[2], 1, at=NOON) == []
        await house.settled(1)
        await until(lambda: memory.kept)
    async with cellar(tmp_path, memory=memory, now=NOON + 30.0) as house:
        assert house.adopted[0].device == f"roof-{HM4}"
        house.poll(images[2], 1, at=NOON)
        house.poll(images[2], 2)
        await house.settled(2)

        assert house.stored("total_production") == [TOTAL] * 2
        assert len(house.stored("grid_voltage", f"roof-{HM4}")) == 2


async def test_a_frame_that_was_not_settled_is_taken_again_after_a_restart(images: list[dict[int, int]], tmp_path: Path) -> None:
    """Killed after what was produced was kept and before the frame was committed."""
    memory = Remembered()
    async with cellar(tmp_path / "killed", memory=memory) as house:
        house.poll(images[2], 1)
        await until(lambda: memory.kept)
    async with cellar(tmp_path / "new", memory=memory, now=NOON + 20.0) as house:
        house.poll(images[2], 1, at=NOON)
        await house.settled(1)

        assert house.stored("total_production") == [TOTAL]


async def test_frames_of_before_change_nothing_and_are_acknowledged(images: list[dict[int, int]], tmp_path: Path) -> None:
    """A3 has one port's total lower than A2, A1 all of them: were they taken now, or believed after ten minutes, energies would fall."""
    memory = Remembered()
    async with cellar(tmp_path, memory=memory, now=NOON + 3600.0) as house:
        house.poll(images[2], 40)
        before = house.last().values
        for seq in range(1, 40):
            assert house.poll(images[0], seq, at=NOON + 60.0 * seq) == []
            assert house.snapshots == []
        house.now += 60.0
        house.poll(images[2], 41)
        assert house.last().values == before
        await house.settled(41)
        assert house.stored("total_production") == [TOTAL] * 2
        await until(lambda: memory.kept)
    async with cellar(tmp_path, memory=memory, now=NOON + 3700.0) as house:
        for seq in range(50, 70):
            assert house.poll(images[0], seq, at=NOON + 60.0 * (seq - 20)) == []
        assert house.snapshots == []
        house.poll(images[2], 70)
        assert house.last().values == before


async def test_what_was_remembered_by_a_clock_that_was_wrong_holds_nothing_up(images: list[dict[int, int]], tmp_path: Path) -> None:
    memory = Remembered()
    async with cellar(tmp_path, memory=memory, now=NOON + 1e6) as house:
        house.poll(images[2], 1)
        await until(lambda: memory.kept)
    async with cellar(tmp_path / "later", memory=memory) as house:
        house.poll(images[2], 2)

        assert house.last().values["total_production"] == TOTAL


async def test_what_comes_late_in_its_order_is_stored_and_not_shown(images: list[dict[int, int]], tmp_path: Path) -> None:
    async with cellar(tmp_path, now=NOON + 3600.0) as house:
        house.ingest.handle([Message("ohm/home/node/cellar/up/hello", hello(86400.0 + 3600.0), False)])
        for seq in range(1, 4):
            assert house.poll(images[2], seq, at=NOON + 60.0 * seq) == []
            assert not house.last().live
            assert house.last().age == pytest.approx(3600.0 - 60.0 * seq, abs=1.0)
        assert house.fleet.device_online("roof") is None
        assert any(one.topic.endswith("/state") for one in house.poll(images[2], 4))
        await house.settled(4)

        assert house.stored("total_production") == [TOTAL] * 4


@pytest.mark.parametrize("ranges", [[[4 << 16 | 0x1000, bytes(40)]], [[3 << 16 | 0x1000, bytes(38)]], [[3 << 16 | 0x1001, bytes(40)]]])
async def test_what_is_no_record_is_refused_and_acknowledged(ranges: list[list[Any]], tmp_path: Path) -> None:
    async with cellar(tmp_path) as house:
        assert house.send(ranges, 1, NOON) == []
        assert house.ingest.refused["unknown range"] == 1
        assert house.snapshots == []
        await house.settled(1)


async def test_who_cannot_read_what_was_produced_does_not_begin_anew(images: list[dict[int, int]], tmp_path: Path) -> None:
    class Unreadable(Remembered):
        broken = True

        def read(self, key: str) -> str | None:
            if self.broken:
                raise StoreError("disk on fire")
            return super().read(key)

    memory = Unreadable()
    with capture_logs() as logs:
        async with cellar(tmp_path, memory=memory) as house:  # which takes nobody down
            assert house.poll(images[2], 1) == []
            assert house.taker.partial
            await house.settled(1)
            memory.broken = False
            house.poll(images[2], 2)
            await until(lambda: any(line["log_level"] == "info" for line in logs))
            house.now += 60.0
            house.poll(images[2], 3)
            assert house.last().values["total_production"] == TOTAL
            await house.settled(3)
    (told,) = [line for line in logs if line["log_level"] == "error"]
    assert (told["device"], told["reason"]) == ("roof", "what was produced so far cannot be read: disk on fire")
