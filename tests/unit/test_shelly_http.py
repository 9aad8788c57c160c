"""A Shelly over HTTP: with a password, and with everything that can be wrong with an answer."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ohmstead.errors import NoAnswer, Refused, SourceError, Unauthorised, Unreachable, WrongAnswer
from ohmstead.readings import Snapshot
from ohmstead.sim.shelly import Mood, Shelly, ShellyServer
from ohmstead.sources.polling import PolledSource
from ohmstead.sources.shelly_rpc import HttpChannel
from ohmstead.tasks import end
from tests.conftest import free_port
from tests.unit.shelly_rig import NOON, Rig, channel, until


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_digest_authentication_asks_once_for_a_challenge(rig: Rig) -> None:
    async with ShellyServer(rig.shelly, password="über secret") as server:
        reader = rig.reader(channel(server, "über secret"))
        for _ in range(3):
            assert (await rig.poll(reader))["power"] == 400.0
        assert server.challenges == 1
        server.nonce_lasts = 0
        with pytest.raises(Unauthorised):
            await reader.read()
        server.nonce_lasts = 1
        assert (await rig.poll(reader))["power"] == 400.0, "a nonce that is worn out is replaced"
        await reader.close()


@pytest.mark.parametrize(("password", "says"), [(None, "wants a password"), ("wrong", "does not take the password")])
async def test_a_wrong_password_or_none_is_told_without_it(rig: Rig, password: str | None, says: str) -> None:
    async with ShellyServer(rig.shelly, password="right") as server:
        reader = rig.reader(channel(server, password))
        with pytest.raises(Unauthorised, match=says) as refused:
            await reader.read()
        assert refused.value.status == 401
        assert "wrong" not in str(refused.value)
        await reader.close()


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        (Mood(status=500), Refused),
        (Mood(status=503), Refused),
        (Mood(status=429), Refused),
        (Mood(status=404), Refused),
        (Mood(status=302), Refused),
        (Mood(status=403), Unauthorised),
        (Mood(html=True), WrongAnswer),
        (Mood(wrong_id=True), WrongAnswer),
        (Mood(garbage=b""), WrongAnswer),
        (Mood(garbage=b"[]"), WrongAnswer),
        (Mood(garbage=b'{"id":1}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":7}'), WrongAnswer),
        (Mood(garbage=b"\xff\xfe"), WrongAnswer),
        (Mood(garbage=b"[" * 60_000), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":{"x":"' + b"x" * 200_000 + b'"}}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":{"gen":2,"mac":"AA","name":"\\uD83d"}}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"error":{"code":-109,"message":"busy"}}'), Refused),
        (Mood(garbage=b'{"id":1,"error":{"code":401,"message":"{}"}}'), Unauthorised),
        (Mood(garbage=b'{"id":1,"result":{"gen":1,"mac":"AA"}}'), WrongAnswer),
        (Mood(garbage=b'{"id":1,"result":{}}'), WrongAnswer),
    ],
)
async def test_each_wrong_answer_is_its_own_error_and_gives_no_reading(rig: Rig, mood: Mood, error: type[SourceError]) -> None:
    async with ShellyServer(rig.shelly) as server:
        server.mood = mood
        reader = rig.reader(channel(server))
        with pytest.raises(SourceError) as raised:
            await reader.read()
        assert type(raised.value) is error
        assert f"127.0.0.1:{server.port}" in str(raised.value)
        server.mood = Mood()
        assert (await rig.poll(reader))["power"] == 400.0, "the next one is read"
        await reader.close()


@pytest.mark.parametrize("length", [True, False])
async def test_an_answer_that_breaks_off_anywhere_is_none(rig: Rig, length: bool) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        await reader.read()
        server.mood = Mood(length=length)
        await reader.read()
        whole = server.length
        for cut in (*range(40), *range(40, whole - 40, 29), *range(whole - 40, whole)):
            server.mood.cut = cut
            with pytest.raises((NoAnswer, WrongAnswer)):
                await reader.read()
        server.mood = Mood(length=length)
        assert (await rig.poll(reader))["power"] == 400.0
        await reader.close()


@pytest.mark.parametrize(
    "challenge",
    [
        "Digest",
        "Digest realm",
        "Digest ,,,,",
        'Digest realm="a"',
        'Digest realm="a", nonce="b", algorithm=ROT13',
        'Digest realm="a", nonce="b", qop="auth-int"',
        'Digest realm="\xff", nonce="\xfe"',
    ],
)
async def test_a_password_that_is_asked_for_in_an_unknown_way_is_an_error_of_the_sources_own(rig: Rig, challenge: str) -> None:
    async with ShellyServer(rig.shelly) as server:
        server.mood = Mood(challenge=challenge)
        reader = rig.reader(channel(server, "secret"))
        with pytest.raises(SourceError) as raised:
            await reader.read()
        assert type(raised.value) in (WrongAnswer, Unauthorised)
        assert "secret" not in str(raised.value)
        await reader.close()


async def test_an_answer_without_an_end_is_not_read_to_it(rig: Rig) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" " * 10_000)
                await writer.drain()

    server = await asyncio.start_server(talk, "127.0.0.1")
    async with server, asyncio.timeout(60):
        reader = rig.reader(HttpChannel("127.0.0.1", server.sockets[0].getsockname()[1], timeout_s=20.0))
        with pytest.raises(WrongAnswer, match="more than 65536 bytes"):
            await reader.read()
        await reader.close()


async def test_silence_and_slowness_end_with_the_time_out(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server, timeout_s=0.2))
        server.mood = Mood(silent=True)
        with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
            await reader.read()
        server.mood = Mood(slow_s=30.0)
        with pytest.raises(NoAnswer):
            await reader.read()
        await reader.close()


async def test_a_poll_that_is_cancelled_closes_its_connection(rig: Rig) -> None:
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        server.mood = Mood(silent=True)
        task = asyncio.create_task(reader.read())
        await until(lambda: server.requests == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: server.connections == 0)
        server.mood = Mood()
        assert (await rig.poll(reader))["power"] == 400.0
        await reader.close()


async def test_a_proxy_of_the_machine_s_is_not_asked_for_the_house(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        assert (await rig.poll(reader))["power"] == 400.0
        await reader.close()


async def test_nobody_there_is_unreachable(rig: Rig) -> None:
    reader = rig.reader(HttpChannel("127.0.0.1", free_port()))
    with pytest.raises(Unreachable, match=r"no connection to 127\.0\.0\.1"):
        await reader.read()
    await reader.close()


async def test_one_of_the_first_generation_is_told_to_be_that(rig: Rig) -> None:
    rig.shelly.generation = 1
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        with pytest.raises(WrongAnswer, match="no Shelly of the second generation or later"):
            await reader.read()
        await reader.close()


async def test_one_that_measures_nothing_is_told_to_be_that(rig: Rig) -> None:
    rig.shelly = Shelly("switch", clock=lambda: rig.now)
    status = rig.shelly.status()
    del status["switch:0"]["apower"]
    rig.shelly.status = lambda: status  # type: ignore[method-assign]  # a relay without a meter
    async with ShellyServer(rig.shelly) as server:
        reader = rig.reader(channel(server))
        with pytest.raises(WrongAnswer, match="SNSW-001P16EU measures nothing"):
            await reader.read()
        await reader.close()
    assert rig.members == []


async def test_a_shelly_that_goes_away_comes_back_and_missed_intervals_stay_missed(rig: Rig) -> None:
    snapshots: list[Snapshot] = []
    async with ShellyServer(rig.shelly) as server:
        source = PolledSource("house", rig.reader(channel(server)), snapshots.append, period_s=0.1, timeout_s=20.0)
        task = asyncio.create_task(source.run())
        try:
            await until(lambda: len(snapshots) >= 2)
            await server.stop()
            await until(lambda: source.online is False)
            seen = len(snapshots)
            rig.now += 3600
            await server.start()
            await until(lambda: source.online is True and len(snapshots) > seen)
        finally:
            await end([task])
    assert {snapshot.time for snapshot in snapshots} == {NOON, NOON + 3600}
    assert snapshots[seen].values["energy_import"] == pytest.approx(0.5), "the counter tells what went by, no reading does"
