"""Energy over the resets of a Shelly's counters."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ohmstead.nodeless import StoreMemory
from ohmstead.readings import Quality, Snapshot
from ohmstead.sim.shelly import Shelly, ShellyServer
from ohmstead.sources.lasting import LastingMemory
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_energy import Sums
from ohmstead.sources.shelly_rpc import Notified
from ohmstead.store.protocol import Batch, StoreError
from ohmstead.store.sqlite import SqliteStore
from tests.unit.shelly_rig import NOON, Kept, Rig, channel
from tests.unit.vicare_account import Kept as Disk


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_sum_goes_on_where_its_counter_begins_anew(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.shelly.reset()
        first = await rig.poll(reader)
        assert (first["energy_import"], first["counter_import"]) == (3000.0, 0.0)
        rig.now += 3600
        then = await rig.poll(reader)
        assert (then["energy_import"], then["counter_import"]) == (3000.5, 0.5)
        await reader.close()


async def test_a_sum_survives_the_gateway_and_a_reset_meanwhile(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await rig.poll(reader)
        rig.shelly.reset()
        await rig.poll(reader)
        await reader.close()
        rig.now += 7200
        again = rig.reader(channel(server))
        assert (await rig.poll(again))["energy_import"] == 3001.0, "what it counted meanwhile is in it"
        rig.shelly.reset()
        await again.close()
        assert (await rig.poll(rig.reader(channel(server))))["energy_import"] == 3001.0


async def test_a_sum_goes_on_from_the_last_reading_of_a_gateway_that_was_killed(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await rig.poll(reader)
        rig.now += 200.0
        rig.shelly.counts(1_000_100.0)
        await rig.poll(reader)
        rig.shelly.reset()  # and nobody has closed the reader
        assert (await rig.poll(rig.reader(channel(server))))["energy_import"] == pytest.approx(3000.328, abs=0.001)
        await reader.close()


async def test_what_it_counts_and_tells_by_itself_is_kept_as_well(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Notified] = []
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        at_it = channel(server)
        monkeypatch.setattr(at_it, "start", told.append)
        reader = rig.reader(at_it)
        await rig.poll(reader)
        told[0]({"emdata:0": {"total_act": 3_000_050.0}})
        told[0]({"em:0": {"total_act_power": 1.0}})
        assert [list(snapshot.kept) for snapshot in rig.emitted] == [["shelly/house/energy"], []], "only with what was counted"
        await reader.close()
    assert "3000050" in rig.memory["shelly/house/energy"]


async def test_a_store_that_cannot_be_read_at_the_start_costs_no_sum_and_no_point(rig: Rig) -> None:
    disk = Disk()
    rig.shelly = Shelly("monophase", watts=lambda _: (500.0, 300.0), clock=lambda: rig.now)
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:

        def started() -> ShellyReader:
            memory = LastingMemory(disk, "house")
            reader = ShellyReader("house", channel(server), rig.members.append, rig.emitted.append, memory, wall=lambda: rig.now)
            reader.start()
            return reader

        first = started()
        await first.read()
        rig.shelly.reset()
        before = await rig.poll(first)
        disk.values.update(rig.memory)
        await first.close()
        points = rig.points
        disk.broken = True
        with capture_logs() as logs:
            reader = started()
            with pytest.MonkeyPatch.context() as away:
                whole = rig.shelly.status
                away.setattr(rig.shelly, "status", lambda: {name: said for name, said in whole().items() if name != "em1:1"})
                (snapshot,) = await reader.read()
                assert snapshot.values["power_1"] == 500.0
                assert not {"energy_import_1", "energy_export_1"} & snapshot.values.keys(), "unknown, not what the counter says"
                assert "energy_import_1" in snapshot.gone
                assert snapshot.quality is Quality.PARTIAL
                await reader.read()
                await reader.close()
                disk.broken = False
                again = await rig.poll(reader)
        assert again["energy_import_1"] == before["energy_import_1"] == 1000.0
        assert rig.points == points, "also those that it did not say meanwhile"
        await reader.close()
        rig.members.clear()
        await started().close()
        assert rig.points == points
    assert [line["key"] for line in logs if line["log_level"] == "error"] == ["shelly/house/model", "shelly/house/energy"], "each told once"


def test_sums_never_fall_and_nothing_is_made_up() -> None:
    now = NOON
    sums = Sums(Kept(), "shelly/house/energy", "house", wall=lambda: now)
    sums.load()
    story = [
        (1000.0, 1000.0),
        (1010.0, 1010.0),
        (0.0, 1010.0),  # for a moment it says 0 …
        (1_000_000.0, 1010.0),  # … and then more than anybody can use in ten seconds
        (1_000_020.0, 1030.0),
        (1_000_015.0, 1030.0),  # a restart takes it back to what it had kept last
        (1_000_025.0, 1040.0),
    ]
    for reading, total in story:
        assert sums.add({"emdata:0.total_act": reading}, "AA") == {"emdata:0.total_act": pytest.approx(total)}
        now += 10.0


def test_another_device_in_its_place_begins_where_the_first_one_ended() -> None:
    memory = Kept()
    sums = Sums(memory, "key", "house", wall=lambda: NOON)
    sums.load()
    sums.add({"a": 5000.0}, "AA")
    assert sums.add({"a": 5100.0}, "BB") == {"a": 5000.0}
    assert sums.add({"a": 5150.0}, "BB") == {"a": 5050.0}


def test_a_counter_of_another_device_that_is_said_later_is_not_taken_for_the_first_one_s() -> None:
    now, memory = NOON, Kept()
    sums = Sums(memory, "key", "house", wall=lambda: now)
    sums.load()
    sums.add({"a": 5000.0, "b": 700.0}, "AA")
    sums.add({"a": 5100.0}, "BB")
    memory.update(sums.news())
    now += 10.0
    for one in (sums, Sums(memory, "key", "house", wall=lambda: now)):
        one.load()
        assert one.add({"b": 900.0}, "BB") == {"b": 700.0}
        assert one.add({"b": 901.0}, "BB") == {"b": 701.0}


def test_a_clock_that_was_ahead_takes_no_energy_away() -> None:
    now, memory = NOON + 365 * 86400.0, Kept()
    sums = Sums(memory, "key", "house", wall=lambda: now)
    sums.load()
    sums.add({"a": 5000.0}, "AA")
    memory.update(sums.news())
    now = NOON  # the gateway is started again two days later, and its clock is right this time
    again = Sums(memory, "key", "house", wall=lambda: now)
    again.load()
    assert again.add({"a": 35_000.0}, "AA") == {"a": 35_000.0}
    now -= 1.0  # set right by a little
    assert again.add({"a": 900_000.0}, "AA") == {"a": 35_000.0}, "more than anybody can use in that time"


def test_a_sum_is_stored_with_its_reading_or_not_at_all(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ohm.db")
    memory = StoreMemory(store)
    sums = Sums(memory, "shelly/house/energy", "house", wall=lambda: NOON)
    sums.load()
    sums.add({"a": 5000.0}, "AA")
    store.commit(Batch(snapshots=[Snapshot("house", "live", NOON, Quality.GOOD, {"energy": 5.0}, kept=sums.news())]))
    sums.add({"a": 6000.0}, "AA")
    with pytest.raises(StoreError):
        store.commit(Batch(snapshots=[Snapshot("house", "live", NOON, Quality.GOOD, {}, kept={**sums.news(), "unfit": "\ud800"})]))
    again = Sums(memory, "shelly/house/energy", "house", wall=lambda: NOON)
    again.load()
    assert again.add({"a": 0.0}, "AA") == {"a": 5000.0}
    store.close()


def test_there_is_news_when_something_was_counted() -> None:
    sums = Sums(Kept(), "key", "house", wall=lambda: NOON)
    sums.load()
    assert sums.news() == {}
    sums.add({"a": 1.0}, "AA")
    assert list(sums.news()) == ["key"]
    assert sums.news() == {}


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"counts":{"a":[1]}}', '{"counts":{"a":["x",1,1,"A"]}}', '{"counts":[]}', "\0"])
def test_an_unreadable_memory_is_no_reason_to_stop(kept: str) -> None:
    sums = Sums(Kept(key=kept), "key", "house", wall=lambda: NOON)
    sums.load()
    assert sums.add({"a": 7.0}, "AA") == {"a": 7.0}
