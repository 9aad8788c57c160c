"""Readings of a Miniserver by UDP, and topics that it hears by UDP."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohmstead.publish.loxone_udp import LARGEST, LoxoneBridge, NoDatagramError, datagram
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources import loxone_udp
from ohmstead.sources.loxone_udp import TOPIC, LoxoneUdp, MalformedError, parse
from tests.publishing import Recorder

PRAGUE = ZoneInfo("Europe/Prague")
SOUND = b"2024-01-15 10:30:00;temperature;21.5"


@pytest.mark.parametrize(
    "bad",
    [
        b"", b";;", b"2024-01-15 10:30:00;x", b"2024-01-15 10:30:00;;1", b"2024-01-15 10:30:00;x;", b"2024-01-15 10:30:00;x;inf",
        b"2024-01-15 10:30:00;x;1e309", b"2024-13-15 10:30:00;x;1", b"2024-01-15;x;1", b"0001-01-01 00:00:00;x;1",
        b"9999-12-31 23:59:59;x;1",
        b"\xff\xfe;x;1", SOUND + b";a\x00b", SOUND + b";" + b"r" * 65, SOUND + b";" + b"r;" * 300,
    ],
)  # fmt: skip
def test_what_is_no_reading_is_refused(bad: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(bad, PRAGUE)


@given(
    st.binary(max_size=600)
    | st.lists(st.text(max_size=20), max_size=9).map(lambda fields: ";".join(["2024-01-15 10:30:00", *fields]).encode())
)
def test_whatever_comes_is_a_reading_with_a_finite_value_or_refused(bad: bytes) -> None:
    try:
        reading = parse(bad, PRAGUE)
    except MalformedError:
        return
    assert math.isfinite(reading.value)
    assert reading.name
    assert "." not in reading.point


def test_empty_fields_are_fields_that_were_not_given() -> None:
    assert parse(SOUND + b";;;;", PRAGUE) == parse(SOUND, PRAGUE)


def test_room_and_tags_tell_series_apart() -> None:
    assert parse(SOUND, PRAGUE).point == "temperature"
    assert parse(SOUND + b";attic;sensor;a;b", PRAGUE).point == "temperature;room=attic;tag1=a;tag2=b"
    assert parse(b"2024-01-15 10:30:00;a.b;1;1.NP", PRAGUE).point == "a_b;room=1_NP"


class Home:
    """A receiver with what it told."""

    def __init__(self, *senders: str) -> None:
        self.broker = Recorder()
        self.stored: list[Snapshot] = []
        self.udp = LoxoneUdp(PRAGUE, self.broker, self.stored.append, wall=lambda: 1_705_311_000.0, senders=senders)
        self.udp.start()
        self.broker.connect()

    def send(self, *datagrams: bytes, sender: str = "127.0.0.1") -> None:
        for sent in datagrams:
            self.udp.datagram_received(sent, (sender, 4711))


async def until(condition: Callable[[], object]) -> None:
    """Fails the test when the condition does not come true."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come")


async def test_a_reading_is_kept_under_its_type_and_name_and_published() -> None:
    home = Home()
    home.send(b"2024-01-15 10:30:00;Room Temperature;21.5;living_room;sensor;x")
    await asyncio.sleep(0)
    home.udp.close()

    assert home.stored == [Snapshot("loxone/sensor", "udp", 1705311000.0, Quality.GOOD, {"room_temperature;room=living_room;tag1=x": 21.5})]
    said = home.broker.take()[-1]
    assert (said.topic, said.retain) == (TOPIC, True)
    assert json.loads(said.payload) == {
        "timestamp": "2024-01-15T10:30:00+01:00",
        "sensor": {"room_temperature": {"value": 21.5, "room": "living_room", "tag1": "x"}},
        "_metadata": {"final": True, "cache_size": 1},
    }


async def test_a_flood_is_stored_whole_and_published_now_and_then() -> None:
    home = Home()
    home.send(*(f"2024-01-15 10:30:{second % 60:02};x{second % 7};{second}".encode() for second in range(2000)))
    await asyncio.sleep(0.01)

    assert (home.udp.received, len(home.stored)) == (2000, 2000)
    assert len(home.broker.take()) <= 2
    home.udp.close()


async def test_what_is_malformed_is_counted_by_its_reason_and_changes_nothing() -> None:
    home = Home()
    home.send(b"nonsense", b"a;b;c", b"2024-01-15 10:30:00;x;nan", b"2024-01-15 10:30:00;x;12,5", b"2024-01-15 10:30:00;x;it's")

    assert (home.udp.malformed, home.udp.received, home.stored) == (5, 0, [])
    assert home.udp.reasons == {
        "fewer than three fields": 1,
        "no time such as 2024-01-15 10:30:00": 1,
        "no finite number": 1,
        "no number": 2,
    }


async def test_only_those_who_are_named_may_send() -> None:
    home = Home("192.0.2.7")
    home.send(SOUND, sender="192.0.2.8")
    home.send(SOUND, sender="192.0.2.7")

    assert (home.udp.strangers, home.udp.received) == (1, 1)
    home.udp.close()


async def test_series_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loxone_udp, "_MOST_SERIES", 3)
    home = Home()
    home.send(*(f"2024-01-15 10:30:00;x{number};1".encode() for number in range(5)), b"2024-01-15 10:31:00;x0;2")

    assert (len(home.stored), home.udp.crowded) == (4, 2)
    home.udp.close()


async def test_a_new_connection_and_half_a_minute_bring_the_status_again() -> None:
    home = Home()
    home.send(SOUND)
    await asyncio.sleep(0)
    home.broker.take()
    home.broker.connect()
    assert [said.topic for said in home.broker.take()] == [TOPIC]
    now = asyncio.get_running_loop().time()
    home.udp.tick(now + 10)
    assert home.broker.take() == []
    home.udp.tick(now + 31)
    assert [said.topic for said in home.broker.take()] == [TOPIC]
    home.udp.close()


async def test_datagrams_of_the_network_arrive() -> None:
    home = Home()
    port = await home.udp.listen("127.0.0.1", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as miniserver:
        miniserver.sendto(SOUND, ("127.0.0.1", port))
    await until(lambda: home.stored)
    home.udp.close()
    assert home.stored[0].values == {"temperature": 21.5}


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"a": {"b": 1}, "c": null, "d": true}', b"a={'b': 1};c=None;d=True"),
        (b"[1, 2]", b"x/y=[1, 2]"),
        (b"0", b"x/y=0"),
        ('"žlutý"'.encode(), "x/y=žlutý".encode()),
    ],
)
def test_values_are_printed_as_upstream_prints_them(payload: bytes, said: bytes) -> None:
    assert datagram("x/y", payload) == said


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"online", b"NaN", b'{"a": Infinity}', b"[" * 2000, b"\xff", b'"\\ud800"', b'"' + b"x" * LARGEST + b'"']
)
def test_what_gives_no_datagram_is_refused(payload: bytes) -> None:
    with pytest.raises(NoDatagramError):
        datagram("x/y", payload)


async def test_messages_of_the_topics_go_out_and_others_are_counted() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    class Miniserver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            heard.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Miniserver, local_addr=("127.0.0.1", 0))
    broker = Recorder()
    bridge = LoxoneBridge(broker, ["energy/solar", "teplomer/+"], *transport.get_extra_info("sockname"))
    bridge.start()
    await until(lambda: bridge._transport)
    broker.arrive("energy/solar", b'{"power": 2500.5, "voltage": 240.1}', retain=True)
    broker.arrive("teplomer/TC", b"not json{")
    broker.arrive("teplomer/TC", b"23.5")
    async with asyncio.timeout(20):
        assert [await heard.get(), await heard.get()] == [b"power=2500.5;voltage=240.1", b"teplomer/TC=23.5"]
    assert (bridge.sent, bridge.dropped) == (2, 1)
    bridge.close()
    transport.close()


async def test_a_miniserver_that_nobody_knows_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, asked = asyncio.get_running_loop(), 0

    async def nobody(*_: object, **__: object) -> None:
        nonlocal asked
        asked += 1
        raise OSError("Name or service not known")

    with monkeypatch.context() as patched:
        patched.setattr(loop, "create_datagram_endpoint", nobody)
        broker = Recorder()
        bridge = LoxoneBridge(broker, ["energy/solar"], "miniserver.invalid", 4000)
        bridge.start()
        await until(lambda: asked == 1)
        broker.arrive("energy/solar", b"1")
        assert (bridge.sent, bridge.dropped) == (0, 1)
        bridge.tick(100.0)
        await until(lambda: asked == 2)
        bridge.tick(110.0)
        await asyncio.sleep(0)
        assert asked == 2
    bridge.close()
