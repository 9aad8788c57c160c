"""What the node keeps on flash while the gateway is away, and what becomes of it: nothing twice, nothing lost that was not told."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import pytest
from msgpack import packb, unpackb  # type: ignore[import-untyped] # it comes without types

from tests.unit.node_modules import FakeHal, outbox, spool

flash = importlib.import_module("ohmnode.flash")

GROUPS = ("10s", "5min")


class Hal(FakeHal):
    """A node's state directory is a real one. `boot` is the one that its next life will have."""

    def __init__(self, folder: Path, boot: int) -> None:
        super().__init__()
        self.folder = str(folder)
        self.boot = boot
        self.written = 0

    def random(self, size: int) -> bytes:
        return self.boot.to_bytes(size, "big")

    def wrote(self, size: int) -> None:
        self.written += 1


class Life:
    """One life of a node, from a start to a cut: its spool, and the gateway's end of the line."""

    def __init__(self, folder: Path, boot: int = 70_001, *, most: int = 65536, frames: int = 40, size: int = 4096) -> None:
        self.hal = Hal(folder, boot)
        self.outbox = outbox.Outbox(self.hal, spool.Spool(frames, size, 15))
        self.outbox.use_flash(most)
        if most:
            self.outbox.open_flash()
        self.spool = self.outbox.spool
        self.flash = self.spool.flash

    def reading(self, size: int = 80, group: str = GROUPS[0]) -> None:
        """A data frame, as `Outbox.snapshot` makes it."""
        packer = self.outbox.packer
        packer.reset()
        packer.value([1, self.outbox.boot, self.spool.next_seq, self.outbox.uptime_ms(), "mtec", group, 0, [[3 << 16, bytes(size)]]])
        self.outbox._keep(False, False)

    def event(self, kind: str = "restart") -> None:
        self.outbox.event("", kind, {"cause": "test"})

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.hal.now += 500
            self.outbox.tend()

    def outage(self, readings: int, every_s: float = 10.0) -> None:
        for number in range(readings):
            self.reading(group=GROUPS[number % 2])
            self.wait(every_s)

    def send(self, gateway: Gateway | None = None, most: int = 100_000) -> list[list[Any]]:
        """What the session would send until nothing is left to do: live, then RAM, then flash."""
        sent = []
        for _ in range(most):
            now_s = self.outbox.uptime_ms() // 1000
            frame = self.spool.due(now_s, True) or self.spool.due(now_s, False)
            if frame is not None:
                body = bytes(frame[0].frame(frame[1]))
                self.spool.sent(frame, now_s)
            else:
                size = self.outbox.replay(now_s)
                if size == 0:
                    break
                if size < 0:
                    continue
                body = bytes(self.outbox.packer.buffer[:size])
            sent.append(unpackb(body))
            if gateway is not None:
                for boot, seq in gateway.take(body):
                    self.acknowledge(boot, seq)
        return sent

    def acknowledge(self, boot: int, seq: int) -> None:
        accepted = self.spool.acknowledge(seq) if boot == self.outbox.boot else self.spool.acknowledge_earlier(boot, seq)
        assert accepted in (True, False)


class Gateway:
    """Keeps what comes, once; acknowledges what is settled, as the store does it."""

    def __init__(self) -> None:
        self.stored: dict[tuple[int, int], list[Any]] = {}
        self.gone: dict[int, set[int]] = {}
        self.settled: dict[int, int] = {}

    def take(self, body: bytes) -> list[tuple[int, int]]:
        frame = unpackb(body)
        boot, seq = frame[1:3]
        self.stored.setdefault((boot, seq), frame)
        touched = {boot}
        if len(frame) == 7 and frame[5] == "dropped":
            of = frame[6].get("boot", boot)
            touched.add(of)
            gone = self.gone.setdefault(of, set())
            gone.update(range(1, frame[6].get("first", 1)))
            for first, last in frame[6]["ranges"]:
                gone.update(range(first, last + 1))
        return [(boot, self._settle(boot)) for boot in touched]

    def _settle(self, boot: int) -> int:
        seqs = {seq for of, seq in self.stored if of == boot}
        settled = self.settled.get(boot, 0)
        while settled < max(seqs, default=0) and (settled + 1 in seqs or settled + 1 in self.gone.get(boot, ())):
            settled += 1
        self.settled[boot] = settled
        return settled

    def numbers(self, boot: int) -> list[int]:
        return sorted(seq for of, seq in self.stored if of == boot)


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "spool").iterdir(), key=lambda file: int(file.name))


def test_nothing_is_written_while_everything_is_acknowledged(tmp_path: Path) -> None:
    life, gateway = Life(tmp_path), Gateway()
    life.reading()
    life.send(gateway)
    for _ in range(100):
        life.event("result")
        life.reading()
        life.send(gateway)
        life.wait(10)
    assert gateway.numbers(70_001) == list(range(1, 202))
    assert life.hal.written == 0
    assert segments(tmp_path) == []


def test_an_outage_is_on_flash_in_batches_and_comes_back_whole(tmp_path: Path) -> None:
    life, gateway = Life(tmp_path), Gateway()
    life.outage(200)
    assert len(life.spool) < 40
    assert 60 <= life.hal.written <= 80, "each half a minute"
    life.spool.connected()
    assert life.send(gateway) != []
    life.wait(60)
    life.send(gateway)
    assert gateway.numbers(70_001) == list(range(1, 201))
    assert (life.spool.dropped_count, life.spool.acknowledged) == (0, 200)
    assert segments(tmp_path) == []


def test_what_a_power_cut_must_not_take_along_is_written_at_once(tmp_path: Path) -> None:
    Life(tmp_path).event("latch")
    again = Life(tmp_path, 70_002)
    again.event()
    again.spool.connected()
    gateway = Gateway()
    again.send(gateway)
    assert gateway.stored[70_001, 1][5] == "latch"
    assert segments(tmp_path) == []


def test_frames_of_earlier_boots_come_with_their_own_numbers_after_what_is_new(tmp_path: Path) -> None:
    first = Life(tmp_path, 70_001)
    first.hal.now += 5000
    first.outage(50)
    second = Life(tmp_path, 70_002)
    second.outage(20)
    third, gateway = Life(tmp_path, 70_003), Gateway()
    third.event()
    third.spool.connected()
    third.reading()
    sent = third.send(gateway)
    assert [frame[1] for frame in sent[:2]] == [70_003, 70_003]
    told = {frame[6]["boot"]: frame[6] for frame in sent if len(frame) == 7 and frame[5] == "dropped"}
    assert set(told) == {70_001, 70_002}
    assert (told[70_002]["first"], told[70_002]["ranges"]) == (1, [])
    assert 160 <= told[70_002]["ago_s"] <= 200
    assert 460 <= told[70_001]["ago_s"] - told[70_002]["ago_s"] <= 505, "before the second, which it preceded"
    assert gateway.numbers(70_001)[-1] >= 48, "what was not yet half a minute old is lost"
    assert gateway.numbers(70_001) == list(range(1, 1 + len(gateway.numbers(70_001))))
    assert gateway.numbers(70_002) == list(range(1, 1 + len(gateway.numbers(70_002))))
    assert segments(tmp_path) == []


def test_a_flash_that_is_full_keeps_every_event_and_ever_fewer_readings_of_each_group(tmp_path: Path) -> None:
    life, gateway = Life(tmp_path, most=32768), Gateway()
    events = set()
    for turn in range(150):
        events.add(life.spool.next_seq)
        life.event(f"e{turn}")
        life.outage(20, 2.0)
    assert life.flash.total <= 32768
    assert life.flash.thinned > 1000
    assert life.flash.dropped == 0
    life.spool.connected()
    for _ in range(4):
        life.send(gateway)
        life.wait(60)
    stored = gateway.numbers(70_001)
    assert events <= set(stored)
    assert segments(tmp_path) == []
    assert len(life.spool) == 0
    assert gateway.gone[70_001] | set(stored) == set(range(1, max(stored) + 1))
    assert not gateway.gone[70_001] & set(stored)
    counts = [sum(frame[5] == group for frame in gateway.stored.values()) for group in GROUPS]
    assert abs(counts[0] - counts[1]) <= 20, "no group is thinned more than another"


def test_what_is_left_of_a_record_is_not_read_and_not_waited_for(tmp_path: Path) -> None:
    Life(tmp_path, 70_001).outage(30)
    segment = segments(tmp_path)[-1]
    segment.write_bytes(segment.read_bytes()[:-7])
    (tmp_path / "spool" / "tmp").write_bytes(b"half a thinning")
    (tmp_path / "spool" / "900").write_bytes(b"OS")
    again, gateway = Life(tmp_path, 70_002), Gateway()
    again.event()
    again.spool.connected()
    again.send(gateway)
    assert gateway.numbers(70_001) == list(range(1, 1 + len(gateway.numbers(70_001))))
    assert len(gateway.numbers(70_001)) >= 26
    assert segments(tmp_path) == []


def test_what_breaks_while_it_lies_there_costs_no_more_than_its_segment(tmp_path: Path) -> None:
    life, gateway = Life(tmp_path, most=32768), Gateway()
    life.outage(60)
    victim = segments(tmp_path)[0]
    octets = bytearray(victim.read_bytes())
    octets[len(octets) // 2] ^= 1
    victim.write_bytes(octets)
    life.spool.connected()
    for _ in range(3):
        life.send(gateway)
        life.wait(60)
    assert segments(tmp_path) == []
    assert len(gateway.numbers(70_001)) > 60 - 45
    assert gateway.settled[70_001] == life.spool.acknowledged == life.spool.next_seq - 1


def test_a_flash_that_refuses_costs_what_the_ring_pushes_out_and_it_is_told(tmp_path: Path) -> None:
    life, gateway = Life(tmp_path), Gateway()
    (tmp_path / "spool").rmdir()
    life.outage(100)
    assert life.flash.failures > 0
    assert life.spool.dropped_count > 50
    life.spool.connected()
    life.outbox.report_dropped()
    life.send(gateway)
    assert gateway.settled[70_001] == life.spool.next_seq - 1


def test_without_flash_there_is_none(tmp_path: Path) -> None:
    life = Life(tmp_path, most=0)
    life.outage(100)
    assert life.spool.dropped_count > 50
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_segments_has_an_end_and_many_short_lives_do_not_overrun_it(tmp_path: Path) -> None:
    for boot in range(70_001, 70_040):
        Life(tmp_path, boot, most=32768).event("trip")
    last, gateway = Life(tmp_path, 71_000, most=32768), Gateway()
    last.event("trip")
    last.spool.connected()
    last.send(gateway)
    assert [(70_039, 1) in gateway.stored, (71_000, 1) in gateway.stored] == [True, True]
    assert segments(tmp_path) == []


def test_any_order_of_cuts_outages_and_lost_messages_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    dice, gateway = random.Random(5), Gateway()
    kept: dict[int, int] = {}
    boot = 70_000
    for _ in range(25):
        boot += 1
        life = Life(tmp_path, boot, most=1 << 20)
        life.event()
        for _ in range(dice.randint(1, 4)):
            if dice.random() < 0.5:
                life.outage(dice.randint(1, 80), dice.choice((0.5, 5.0)))
            else:
                life.spool.connected()
                life.reading()
                heard = dice.choice((gateway, gateway, None))
                life.send(heard, dice.randint(1, 300))
        kept[boot] = max(life.spool.stored, life.spool.acknowledged)
    last = Life(tmp_path, boot + 1, most=1 << 20)
    last.event()
    last.spool.connected()
    for _ in range(6):
        last.send(gateway)
        last.wait(60)
    for number, most in kept.items():
        assert set(range(1, most + 1)) <= set(gateway.numbers(number)), f"boot {number}"
    assert segments(tmp_path) == []


def test_packed_frames_look_as_the_flash_expects_them() -> None:
    """It tells events from readings by the first byte."""
    assert packb([1, 2, 3, 4, "", "trip", {}])[0] == 0x97
    assert packb([1, 2, 3, 4, "mtec", "10s", 0, []])[0] == 0x98


# What a lack of memory interrupts


def settle(life: Life, gateway: Gateway, turns: int = 6) -> None:
    """Everything is sent until the gateway has it."""
    life.spool.connected()
    for _ in range(turns):
        life.spool.away = False
        life.send(gateway)
        life.wait(31)


def test_thinning_that_finds_no_memory_in_a_record_begins_anew_and_loses_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life, gateway, reads = Life(tmp_path, most=32768), Gateway(), 0
    read = flash.Flash.read

    def short(self: Any, file: Any, head: bytearray) -> Any:
        nonlocal reads
        if self.thinning is not None and file is self.thinning._source:
            reads += 1
            if reads in (3, 40, 100):
                file.readinto(memoryview(head)[:10])  # the head is read, then there is no room for a view of the frame
                raise MemoryError
        return read(self, file, head)

    monkeypatch.setattr(flash.Flash, "read", short)
    events = set()
    for turn in range(40):
        events.add(life.spool.next_seq)
        life.event(f"e{turn}")
        life.outage(20, 2.0)
    assert reads > 100
    settle(life, gateway)
    assert events <= set(gateway.numbers(70_001))
    assert segments(tmp_path) == []


def test_a_frame_whose_gap_finds_no_memory_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    appends = 0

    class Short(list[Any]):
        def append(self, run: Any) -> None:
            nonlocal appends
            appends += 1
            if appends in (1, 20):
                raise MemoryError
            super().append(run)

    runs = property(lambda self: self.__dict__["runs"], lambda self, now: self.__dict__.update(runs=Short(now)))
    monkeypatch.setattr(flash.Flash, "runs", runs, raising=False)
    life, gateway = Life(tmp_path, most=32768), Gateway()
    life.outage(500, 2.0)
    assert life.flash.thinned
    settle(life, gateway)
    assert appends > 20
    assert len(gateway.gone[70_001]) == life.flash.thinned, "nothing else is told to be gone"


def test_the_frame_that_opens_the_flash_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier life left is looked at while the new frame is in the buffer that frames are made in."""
    Life(tmp_path, 70_001).outage(50)
    overlay = importlib.import_module("ohmnode.overlay")
    with monkeypatch.context() as short:
        short.setattr(overlay, "lay", no_memory)
        life, gateway = Life(tmp_path, 70_002, frames=12, size=1600), Gateway()
    assert life.flash is None
    life.hal.now += 3000  # as long as nothing is tried again
    life.spool.now_s = life.spool.retry_s
    while life.spool.flash is None:
        life.reading()
    for ring in (life.spool.data, life.spool.events):
        for position in range(ring.count):
            assert unpackb(bytes(ring.frame(position)))[1:3] == [70_002, ring.seq(position)]
    settle(life, gateway)
    assert gateway.settled[70_002] == life.spool.next_seq - 1


def no_memory(_name: str, _spare: int = 0) -> None:
    raise MemoryError
