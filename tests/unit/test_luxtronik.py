"""Reading and writing a Luxtronik controller, and what comes of an unkind one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ohmstead.errors import NoAnswer, Refused, SourceError, Unreachable, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.luxtronik import called, entries, extended
from ohmstead.profiles.model import Profile
from ohmstead.readings import Snapshot, Value
from ohmstead.sim.luxtronik import LuxtronikPump, Mood, Vectors, made_up, read_dump
from ohmstead.sources.luxtronik import LuxtronikReader
from ohmstead.sources.luxtronik_wire import Endpoint
from ohmstead.sources.polling import PolledSource

ZONE = ZoneInfo("Europe/Prague")
NOON = 1_750_000_000.0 // 86_400 * 86_400 + 43_200


def small(**calculations: int) -> Vectors:
    """The least that a controller may have, with single calculations (C10=342)."""
    vectors = Vectors([0] * 120, [0] * 269, [0] * 100)
    for at, character in enumerate("V1.80"):
        vectors.calculations[81 + at] = ord(character)
    for name, raw in calculations.items():
        vectors.calculations[int(name[1:])] = raw
    return vectors


def reader_of(
    pump: LuxtronikPump, profile: Profile | None = None, *, wall: Callable[[], float] = lambda: NOON, silence_s: float = 20.0
) -> LuxtronikReader:
    profile = profile or library.load("luxtronik")
    endpoint = Endpoint("127.0.0.1", pump.port, silence_s)
    return LuxtronikReader("pump", endpoint, Decoder(profile, ZONE), ZONE, wall, settle_s=0.0)


async def live(reader: LuxtronikReader) -> dict[str, Value]:
    snapshots = await reader.read()
    assert snapshots[0].group == "live"
    return dict(snapshots[0].values)


async def read_when_connected(reader: LuxtronikReader) -> None:
    """On a busy machine a connection alone may take longer than the silence that a test allows."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Unreachable):
                await reader.read()
                return


# What it reads


async def test_a_made_up_pump_is_read_whole_however_the_network_cuts_it_up() -> None:
    async with LuxtronikPump(wall=lambda: NOON) as pump:
        kind = await reader_of(pump).read()
        pump.mood.splits = True
        unkind = await reader_of(pump).read()
    assert unkind == kind
    values = dict(kind[0].values)
    assert values["firmware"] == "V3.85.6"
    assert values["operation"] in ("heating", "hot water", "no request")
    assert values["compressor_1"] in ("on", "off")
    assert values["flow_temperature"] == made_up(NOON).calculations[10] / 10
    assert kind[0].gone == library.load("luxtronik").points.keys() - values.keys()  # they may have had a value before a restart
    assert "source_out_temperature" not in values  # -50.0
    assert "solar_collector_temperature" not in values  # 5.0 and never anything else


async def test_one_connection_a_poll() -> None:
    async with LuxtronikPump() as pump:
        reader = reader_of(pump)
        for _ in range(3):
            await reader.read()
        assert pump.connections == 3


async def test_the_rest_is_told_when_it_changes_and_whole_once_a_day() -> None:
    now = [NOON]
    async with LuxtronikPump(small(C121=1)) as pump:
        assert pump.vectors is not None
        reader = reader_of(pump, wall=lambda: now[0])
        first = (await reader.read())[1]
        assert first.group == "further"
        assert first.values["hauptmenuahp_stufe"] == 1
        assert first.values["visi_heizung"] == 0
        assert "calculation_82" not in first.values  # a character of the version
        assert [snapshot.group for snapshot in await reader.read()] == ["live"]
        pump.vectors.calculations[121] = 2
        pump.vectors.parameters[14] = 333
        assert dict((await reader.read())[1].values) == {"hauptmenuahp_stufe": 2, "einst_hzmk1e_akt": 333}
        now[0] += 86_400
        assert (await reader.read())[1].values.keys() == first.values.keys()


async def test_more_numbers_than_before_are_told_by_their_number() -> None:
    """Counts vary with the firmware, which may be updated while we run."""
    async with LuxtronikPump(small()) as pump:
        assert pump.vectors is not None
        reader = reader_of(pump)
        await reader.read()
        pump.vectors.calculations += [0] * 10 + [77]
        assert (await reader.read())[1].values["calculation_279"] == 77


async def test_two_pumps_share_nothing() -> None:
    async with LuxtronikPump(small(C10=301)) as one, LuxtronikPump(small(C10=402)) as other:
        first, second = reader_of(one), reader_of(other)
        await first.read()
        assert (await live(second))["flow_temperature"] == 40.2
        assert (await live(first))["flow_temperature"] == 30.1


async def test_a_sensor_that_is_not_there_is_absent_and_0_or_5_degrees_may_be_true() -> None:
    async with LuxtronikPump(small(C13=50, C15=0, C17=750, C19=-500, C26=2**31 - 1)) as pump:
        assert pump.vectors is not None
        reader = reader_of(pump)
        values = await live(reader)
        assert values["outside_temperature"] == 0.0  # every pump has that sensor
        for absent in ("external_return", "hot_water", "source_in", "solar_collector", "solar_storage"):
            assert f"{absent}_temperature" not in values
        assert "high_pressure" not in values
        pump.vectors.calculations[13] = 51
        assert (await live(reader))["external_return_temperature"] == 5.1
        for tenths in (50, 0):
            pump.vectors.calculations[13] = tenths
            assert (await live(reader))["external_return_temperature"] == tenths / 10
        pump.vectors.calculations[13] = -500
        (lost, *_) = await reader.read()
        assert "external_return_temperature" not in lost.values
        assert lost.gone == {"external_return_temperature"}  # what was shown of it is not true any more
        assert (await reader.read())[0].gone == frozenset()


async def test_of_another_controller_nothing_is_known_that_was_known_before() -> None:
    async with LuxtronikPump(small(C13=51)) as pump:
        reader = reader_of(pump)
        assert (await live(reader))["external_return_temperature"] == 5.1
        pump.vectors = small(C13=0)
        assert (await live(reader))["external_return_temperature"] == 0
        pump.vectors.calculations[83] = ord("2")  # V1.80 → V1280
        assert "external_return_temperature" not in await live(reader)


async def test_a_code_that_nobody_knows_and_a_moment_that_never_was_are_absent() -> None:
    async with LuxtronikPump(small(C80=99, C95=0, C111=1_500_921_119)) as pump:
        values = await live(reader_of(pump))
    assert "operation" not in values
    assert "last_error_time" not in values
    assert values["last_switch_off"] == "2017-07-24T20:31:59+02:00"


async def test_an_electrical_power_that_cannot_be_is_absent() -> None:
    now = [NOON]
    async with LuxtronikPump(small(C44=1, C257=8000, C268=2500)) as pump:
        assert pump.vectors is not None
        reader = reader_of(pump, wall=lambda: now[0])
        assert (await live(reader))["electrical_power"] == 2500
        for power in (40, 19_000, 60_000):
            pump.vectors.calculations[268] = power
            values = await live(reader)
            assert "electrical_power" not in values
            assert values["heat_output"] == 8000
        now[0] += 600
        assert "electrical_power" not in await live(reader)  # and from now on it is not believed at all
        pump.vectors.calculations[44] = pump.vectors.calculations[257] = 0
        assert "electrical_power" not in await live(reader)
        pump.vectors.calculations[44], pump.vectors.calculations[257], pump.vectors.calculations[268] = 1, 8000, 2500
        assert "electrical_power" not in await live(reader)
        now[0] += 600
        assert (await live(reader))["electrical_power"] == 2500


async def test_a_compressor_that_starts_or_stops_is_no_doubt() -> None:
    """It takes power before there is heat, and its heat is still there when it takes none any more."""
    now = [NOON]
    async with LuxtronikPump(small()) as pump:
        assert pump.vectors is not None
        reader = reader_of(pump, wall=lambda: now[0])
        for compressor, heat, power, told in (
            (0, 0, 15, 15),
            (1, 100, 2500, None),
            (1, 8000, 2500, 2500),
            (0, 4000, 15, 15),
            (0, 0, 15, 15),
        ) * 3:
            pump.vectors.calculations[44], pump.vectors.calculations[257], pump.vectors.calculations[268] = compressor, heat, power
            for _ in range(3):
                now[0] += 60
                assert (await live(reader)).get("electrical_power") == told


async def test_garbage_in_the_version_is_no_version() -> None:
    async with LuxtronikPump(small(C82=-5)) as pump:
        assert "firmware" not in await live(reader_of(pump))


async def test_a_dump_can_be_served_again_and_has_no_addresses(tmp_path: Path) -> None:
    async with LuxtronikPump(wall=lambda: NOON) as pump:
        said = await reader_of(pump).dump()
        values = await live(reader_of(pump))
    path = tmp_path / "dump.json"
    path.write_text(json.dumps({"device": "pump", "raw": said}))
    vectors = read_dump(path)
    assert vectors.calculations[91:95] == [0, 0, 0, 0]
    async with LuxtronikPump(vectors) as again:
        assert await live(reader_of(again)) == values


# What an unkind one leads to


async def test_a_hang_up_after_any_number_of_bytes_gives_nothing() -> None:
    """Truncated anywhere: never a value, always the same kind of error, and the next poll is right."""
    vectors = Vectors([7] * 100, small().calculations[:101], [1] * 100)
    whole = 4 * (2 + 100) + 4 * (3 + 101) + 4 * 2 + 100
    async with LuxtronikPump(vectors) as pump:
        reader = reader_of(pump)
        for offset in range(whole):
            pump.mood.ends_after = offset
            with pytest.raises(NoAnswer, match=r"hung up|connection|reset|broken"):
                await reader.read()
        pump.mood.ends_after = whole
        assert (await live(reader))["firmware"] == "V1.80"


@pytest.mark.parametrize("mood", [Mood(silent=True), Mood(stops_after=5), Mood(stops_after=700), Mood(stops_after=1500)], ids=str)
async def test_silence_ends_a_poll(mood: Mood) -> None:
    async with LuxtronikPump(small(), mood=mood) as pump:
        reader = reader_of(pump, silence_s=0.05)
        with pytest.raises(NoAnswer, match=r"no whole answer within 0\.05 s"):
            await read_when_connected(reader)


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        (Mood(counts={3003: 2**31 - 1}), "2147483647 of them"),
        (Mood(counts={3004: -1}), "-1 of them"),
        (Mood(counts={3005: 0}), "0 of them"),
        (Mood(counts={3003: 118}), "is this a Luxtronik"),  # less than it sends: the rest is taken for the next answer
        (Mood(echoes={3004: 3003}), "asked for 3004, it answered with 3003"),
        (Mood(echoes={3003: 1_347_703_880}), "is this a Luxtronik"),
    ],
)
async def test_a_wrong_answer_gives_nothing(mood: Mood, said: str) -> None:
    async with LuxtronikPump(small(), mood=mood) as pump:
        with pytest.raises(WrongAnswer, match=re.escape(said)):
            await reader_of(pump).read()


async def test_nobody_there() -> None:
    async with LuxtronikPump() as pump:
        reader = reader_of(pump)
    with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{pump.port}: connection refused"):
        await reader.read()


async def test_a_poll_that_is_given_up_hangs_up() -> None:
    async with LuxtronikPump(small(), mood=Mood(silent=True)) as pump:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader_of(pump).read()
        async with asyncio.timeout(20):
            await asyncio.gather(*pump.talks)


async def test_it_is_away_and_back_again() -> None:
    """Through the poller: offline while the controller is off, and back with its first answer."""
    told: list[Snapshot] = []
    async with LuxtronikPump(small(C10=342)) as pump:
        source = PolledSource("pump", reader_of(pump), told.append, period_s=0.1, timeout_s=20)
        polling = asyncio.create_task(source.run())

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(20):
                while True:
                    if condition():
                        return
                    await asyncio.sleep(0.005)

        await until(lambda: source.online is True)
        await pump.stop()
        await until(lambda: source.online is False)
        before = len(told)
        await pump.start()
        await until(lambda: source.online is True)
        assert len(told) > before
        assert source.counters["no_answer"] > 0
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


# What it writes


async def test_a_setting_is_written_and_read_back_and_not_twice() -> None:
    async with LuxtronikPump() as pump:
        reader = reader_of(pump)
        assert await reader.write("P2", 480) == 480
        assert await reader.write("P2", 480) == 480
        assert pump.written == [(2, 480)]
        assert (await live(reader))["hot_water_target"] == 48.0


async def test_a_write_that_is_not_obeyed_is_seen() -> None:
    async with LuxtronikPump(mood=Mood(ignores_writes=True)) as pump:
        assert await reader_of(pump).write("P2", 480) == 500
        assert pump.written == [(2, 480)]


@pytest.mark.parametrize("version", ["V1.90.0", "V2.90.0-9", ""])
async def test_software_that_restarts_at_a_write_is_not_written_to(version: str) -> None:
    vectors = small()
    for at in range(10):
        vectors.calculations[81 + at] = ord(version[at]) if at < len(version) else 0
    async with LuxtronikPump(vectors) as pump:
        with pytest.raises(Refused):
            await reader_of(pump).write("P2", 480)
        assert pump.written == []


@pytest.mark.parametrize("field", ["P0", "P700", "C10"])
async def test_nothing_else_is_written(field: str) -> None:
    """What no control names, and what the library does not hold safe."""
    async with LuxtronikPump() as pump:
        with pytest.raises(Refused, match="nothing that may be written"):
            await reader_of(pump).write(field, 1)
        assert pump.connections == 0


async def test_without_a_control_nothing_is_written() -> None:
    async with LuxtronikPump() as pump:
        profile = library.load("luxtronik").model_copy(update={"controls": {}})
        with pytest.raises(Refused):
            await reader_of(pump, profile).write("P2", 480)
        assert pump.connections == 0


@pytest.mark.parametrize("mood", [Mood(ends_after=500), Mood(echoes={3002: 3003}), Mood(counts={3003: 1})], ids=str)
async def test_a_write_that_goes_wrong_says_so(mood: Mood) -> None:
    async with LuxtronikPump(small(), mood=mood) as pump:
        with pytest.raises(SourceError):
            await reader_of(pump).write("P2", 480)


# Names


def test_no_two_numbers_have_one_name() -> None:
    known = entries()
    ids = [one.id for one in known.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", id_) for id_ in ids)
    chosen = {point.id: point.field for point in library.load("luxtronik").points.values()}
    assert {one.id for one in known.values() if one.id in chosen and one.field != chosen[one.id]} == set()


def test_the_library_s_names_are_found_again() -> None:
    assert called("temperatur_tfb2") == entries()["C24"]
    assert called("parameter_einst_bws_akt") == entries()["P2"]
    assert called("calculation_268") is not None
    assert called("calculation_10") is None  # it has a name
    assert called("temperatur_tfp") is None


def test_every_number_can_be_a_point() -> None:
    profile = extended(library.load("luxtronik"), entries().values(), "on-request")
    assert len(profile.points) > 1600
    assert profile.points["temperatur_rfv"].unit == "°C"
    assert profile.points["temperatur_rfv"].shown == "on-request"
    assert profile.points["flow_temperature"].shown == "always"
