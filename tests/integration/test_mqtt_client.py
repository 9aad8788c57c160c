"""The broker connection against a real mosquitto, and against brokers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.messages import Message
from ohmstead.mqtt import BrokerAddress, MqttClient
from ohmstead.tasks import end
from tests.conftest import Broker, free_port

ONLINE = "ohm/home/bridge/online"


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition can be waited for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(client: MqttClient) -> AsyncIterator[MqttClient]:
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        await end([task])
        await client.close()


def at(broker: Broker, **more: object) -> BrokerAddress:
    return BrokerAddress(broker.host, broker.port, **more)  # type: ignore[arg-type]  # fields of different types


class Listener:
    """Another program on the same broker: what it heard, in order."""

    def __init__(self, broker: Broker, *patterns: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self.ready = False
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _c, _u, m: self.heard.append((m.topic, bytes(m.payload), m.retain))
        self.client.on_subscribe = lambda *_: setattr(self, "ready", True)
        self.client.connect(broker.host, broker.port)
        self.client.subscribe([(pattern, 0) for pattern in patterns])
        self.client.loop_start()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def test_half_a_character_keeps_nothing_from_being_published(broker: Broker) -> None:
    heard = Listener(broker, "home/#")
    client = MqttClient(at(broker), ONLINE)
    try:
        async with running(client):
            await until(lambda: client.connected and heard.ready, 30.0)
            client.publish("home/name", "Heat pump \ud83d")
            client.publish("home/power", "7")
            await until(lambda: len(heard.heard) == 2, 30.0)
    finally:
        heard.close()
    assert [payload for _, payload, _ in heard.heard] == [b"Heat pump ?", b"7"]


async def test_messages_come_in_order_and_in_batches(broker: Broker) -> None:
    heard: list[Message] = []
    batches: list[int] = []

    def take(batch: Sequence[Message]) -> None:
        heard.extend(batch)
        batches.append(len(batch))

    client = MqttClient(at(broker), ONLINE)
    client.subscribe("home/+/power", take)
    async with running(client):
        await until(lambda: client.connected)
        sender = Listener(broker, "nothing")
        for number in range(500):
            sender.client.publish(f"home/{number % 3}/power", str(number))
        await until(lambda: len(heard) == 500)
        sender.close()
    assert [int(message.payload) for message in heard] == list(range(500))
    assert heard[4].topic == "home/1/power"
    assert len(batches) < 500
    assert client.received == 500


async def test_each_handler_gets_a_message_once_however_the_filters_overlap(broker: Broker) -> None:
    wide: list[Message] = []
    narrow: list[Message] = []
    take_wide = wide.extend
    client = MqttClient(at(broker), ONLINE)
    client.subscribe("a/+/c", take_wide)
    client.subscribe("a/b/+", narrow.extend)
    client.subscribe("a/b/#", narrow.extend)
    async with running(client):
        await until(lambda: client.connected)
        client.subscribe("a/#", take_wide)  # one more while connected
        client.publish("a/b/c", "1")
        client.publish("a/x/y", "2")
        client.publish("a/x/end", "3")  # a broker keeps the order: a second copy would come before
        await until(lambda: wide and wide[-1].payload == b"3")
    assert [message.payload for message in wide] == [b"1", b"2", b"3"]
    assert [message.payload for message in narrow] == [b"1"]


async def test_it_says_online_and_offline_and_the_broker_says_offline_for_it_when_it_dies(broker: Broker) -> None:
    listener = Listener(broker, ONLINE)
    await until(lambda: listener.ready)
    async with running(MqttClient(at(broker), ONLINE)) as client:
        await until(lambda: (ONLINE, b"online", False) in listener.heard)
    await until(lambda: listener.heard[-1] == (ONLINE, b"offline", False))

    client = MqttClient(at(broker), ONLINE)
    task = asyncio.create_task(client.run())
    await until(lambda: listener.heard[-1] == (ONLINE, b"online", False))
    task.cancel()
    sock = client._client.socket()
    assert sock is not None
    sock.close()  # as a killed process leaves it
    await until(lambda: listener.heard[-1] == (ONLINE, b"offline", False))
    listener.close()


async def test_a_retained_copy_is_marked_and_a_live_message_is_not(broker: Broker) -> None:
    heard: list[Message] = []
    async with running(MqttClient(at(broker), ONLINE)) as client:
        await until(lambda: client.connected)
        client.publish("kept", "1", retain=True)
        client.subscribe("kept", heard.extend)
        await until(lambda: heard)
        client.publish("kept", "2", retain=True)
        await until(lambda: len(heard) == 2)
    assert [(message.payload, message.retain) for message in heard] == [(b"1", True), (b"2", False)]


async def test_a_broker_that_is_absent_at_the_start_and_goes_away_later_is_found_again(broker: Broker) -> None:
    broker.stop()
    heard: list[Message] = []
    connections: list[float] = []
    client = MqttClient(at(broker), ONLINE)
    client.subscribe("t", heard.extend)
    client.on_connect(lambda: connections.append(time.monotonic()))
    async with running(client):
        await asyncio.wait_for(client.tried.wait(), 5)
        assert not client.connected
        client.publish("t", "lost", qos=0)
        client.publish("t", "kept", qos=1)
        broker.start()
        await until(lambda: [message.payload for message in heard] == [b"kept"])
        broker.kill()
        await until(lambda: not client.connected)
        broker.start()
        await until(lambda: len(connections) == 2)
        client.publish("t", "after")
        await until(lambda: heard[-1].payload == b"after")
    assert client.dropped == 1
    assert client.connections == 2


async def test_two_of_one_client_id_throw_each_other_out_and_that_is_suspected(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ohmstead.mqtt._FIRST_PAUSE_S", 0.05)
    with structlog.testing.capture_logs() as said:
        address = at(broker, client_id="ohmstead-home")
        async with running(MqttClient(address, ONLINE)), running(MqttClient(address, ONLINE)):
            await until(lambda: any(line["event"] == "lost again and again" for line in said), 30.0)
    told = next(line for line in said if line["event"] == "lost again and again")
    assert told["client_id"] == "ohmstead-home"
    assert "a second gateway of the same site" in told["advice"]


async def test_more_than_the_socket_takes_waits_and_goes_out_in_order() -> None:
    heard: list[int] = []
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = (await reader.readexactly(1))[0] >> 4
                length = shift = 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                body = await reader.readexactly(length)
                if kind == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind == 3 and body[2:5] == b"big":
                    await go_on.wait()
                    heard.append(int(body[5:].rstrip(b".")))

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    client = MqttClient(BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1]), ONLINE)
    async with running(client):
        await until(lambda: client.connected)
        for number in range(300):
            client.publish("big", str(number).encode().ljust(100_000, b"."))
            await asyncio.sleep(0)
        assert client.queued > 0, "nothing waited: this test proves nothing"
        go_on.set()
        await until(lambda: len(heard) == 300, 20)
    assert heard == list(range(300))
    server.close()


async def test_a_black_hole_is_noticed_by_the_keepalive_and_the_next_connection_works() -> None:
    answered: list[asyncio.StreamWriter] = []

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.append(writer)
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK, then nothing ever again
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    client = MqttClient(BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1]), ONLINE, keepalive_s=1)
    async with running(client):
        await until(lambda: client.connected)
        await until(lambda: not client.connected)
        await until(lambda: len(answered) == 2)
    server.close()


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x05", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x30\xff\xff\xff\xff\xff\xff", b""])
async def test_a_server_that_refuses_or_speaks_nonsense_is_tried_again(answer: bytes) -> None:
    attempts: list[bytes] = []

    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(await reader.read(1000))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(odd, "127.0.0.1", 0)
    client = MqttClient(BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1]), ONLINE)
    async with running(client):
        await until(lambda: len(attempts) >= 2, 8)
        assert not client.connected
    server.close()


async def test_a_numeric_password_is_a_text_to_the_broker() -> None:
    heard: list[bytes] = []

    async def broker(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    address = BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1], user="me", password=12345)  # type: ignore[arg-type]
    async with running(MqttClient(address, ONLINE)):
        await until(lambda: heard)
    assert b"\x00\x02me\x00\x0512345" in heard[0]
    server.close()


async def test_a_handler_that_fails_keeps_nobody_else_from_the_message(broker: Broker) -> None:
    heard: list[Message] = []

    def fails(_batch: Sequence[Message]) -> None:
        raise ValueError("strange bytes")

    client = MqttClient(at(broker), ONLINE)
    client.subscribe("t", fails)
    client.subscribe("t", heard.extend)
    async with running(client):
        await until(lambda: client.connected)
        client.publish("t", b"\xff\xfe")
        client.publish("t", b"2")
        await until(lambda: len(heard) == 2)


async def test_closing_while_it_connects_leaves_nothing_behind() -> None:
    client = MqttClient(BrokerAddress("127.0.0.1", free_port()), ONLINE)
    async with running(client):
        pass
    assert not client.connected


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0", "a" * 70_000])
async def test_a_topic_that_cannot_be_published_to_is_refused_at_once(broker: Broker, topic: str) -> None:
    async with running(MqttClient(at(broker), ONLINE)) as client:
        await until(lambda: client.connected)
        with pytest.raises(ValueError, match="nothing can be published"):
            client.publish(topic, "1")
        assert client.connected


async def test_over_tls_a_trusted_broker_is_spoken_to_and_another_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "broker.pem", tmp_path / "broker.key"
    request = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    try:
        subprocess.run(  # noqa: ASYNC221 - takes milliseconds
            ["openssl", *request, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no openssl on this machine")
    broker = Broker(tmp_path)
    with broker._configuration.open("a") as more:
        more.write(f"certfile {certificate}\nkeyfile {key}\nuser root\n")
    broker.start()
    address = BrokerAddress("localhost", broker.port, tls=True)
    async with running(MqttClient(address, ONLINE)) as stranger:
        await asyncio.wait_for(stranger.tried.wait(), 5)
        assert not stranger.connected

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    heard: list[Message] = []
    client = MqttClient(address, ONLINE)
    client.subscribe("big/+", heard.extend)
    async with running(client):
        await until(lambda: client.connected)
        for number in range(200):  # many TLS records at once: none may stay unread in the TLS layer
            client.publish(f"big/{number}", str(number).encode().ljust(5000, b"."))
        await until(lambda: len(heard) == 200)
    assert [int(message.payload.rstrip(b".")) for message in heard] == list(range(200))
    broker.stop()
