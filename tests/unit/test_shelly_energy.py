"""Energy over the resets of a Shelly's counters."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from ohmstead.readings import Quality
from ohmstead.sim.shelly import Shelly, ShellyServer
from ohmstead.sources.lasting import LastingMemory
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_energy import Sums
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
        await reader.read()
        rig.shelly.reset()
        await reader.read()
        await reader.close()
        rig.now += 7200
        again = rig.reader(channel(server))
        assert (await rig.poll(again))["energy_import"] == 3001.0, "what it counted meanwhile is in it"
        rig.shelly.reset()
        await again.close()
        assert (await rig.poll(rig.reader(channel(server))))["energy_import"] == 3001.0


async def test_what_was_counted_last_is_kept_at_the_end(rig: Rig) -> None:
    rig.shelly.counts(1_000_000.0)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        rig.now += 200.0
        rig.shelly.counts(1_000_100.0)
        await reader.read()
        assert "1000100" not in rig.memory["shelly/house/energy"], "not yet"
        await reader.close()
    assert "1000100" in rig.memory["shelly/house/energy"]


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
    sums.save()
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
    sums.save()
    now = NOON  # the gateway is started again two days later, and its clock is right this time
    again = Sums(memory, "key", "house", wall=lambda: now)
    again.load()
    assert again.add({"a": 35_000.0}, "AA") == {"a": 35_000.0}
    now -= 1.0  # set right by a little
    assert again.add({"a": 900_000.0}, "AA") == {"a": 35_000.0}, "more than anybody can use in that time"


def test_sums_are_kept_now_and_then_and_a_reset_at_once() -> None:
    now, memory = NOON, Kept()
    sums = Sums(memory, "key", "house", wall=lambda: now)
    sums.load()
    for reading in range(60):
        sums.add({"a": float(reading)}, "AA")
        if sums.due:
            sums.save()
        now += 10.0
    assert memory.writes == 2, "600 s"
    sums.save()
    now += 10.0
    assert not sums.due
    sums.add({"a": 3.0}, "AA")
    assert sums.due
    sums.save()
    again = Sums(memory, "key", "house", wall=lambda: now)
    again.load()
    assert again.add({"a": 4.0}, "AA") == {"a": 60.0}


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"counts":{"a":[1]}}', '{"counts":{"a":["x",1,1,"A"]}}', '{"counts":[]}', "\0"])
def test_an_unreadable_memory_is_no_reason_to_stop(kept: str) -> None:
    sums = Sums(Kept(key=kept), "key", "house", wall=lambda: NOON)
    sums.load()
    assert sums.add({"a": 7.0}, "AA") == {"a": 7.0}
