"""The gateway's one connection to the broker: paho-mqtt, driven by the event loop itself.

paho needs no thread of its own here: the loop watches its socket, a message is decoded in paho's callback, and what one
wake-up brought goes to the handlers as one batch. What is published in one turn of the loop leaves in one write. On a small
machine a wake-up of a second thread, and a write for each message, cost more than the message itself.

A broker that is absent, restarted or black-holed is tried again for ever. While it is away QoS 0 messages are dropped
(publishers send their retained state again after each `on_connect`), others wait in a bounded queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MessageType
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ohmstead.messages import Handler, Message
from ohmstead.router import Router
from ohmstead.tasks import in_daemon_thread

log = structlog.get_logger(service="mqtt")

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_CONNECT_TIMEOUT_S = 5.0
_QUEUE_MESSAGES = 10_000
_BATCH_MESSAGES = 256
_BATCH_BYTES = 65_536
_CACHED_NAMES = 10_000
_GOODBYE_S = 1.0
_SHORT_S = 10.0
_SUSPICIOUS = 3
"""So many connections in a row that each lasted less than `_SHORT_S` are what two programs of one client id do to each other."""
_NOT_LET_IN = ("Bad user name or password", "Not authorized")


class BrokerAddress(NamedTuple):
    """Where the broker is and who we are to it. With `tls` its certificate must be one that this machine trusts (`SSL_CERT_FILE`)."""

    host: str
    port: int = 1883
    tls: bool = False
    user: str | None = None
    password: str | None = None
    client_id: str = ""


class _Waiting(NamedTuple):
    topic: str
    payload: str | bytes
    retain: bool
    qos: int


class MqttClient:
    """A `Messenger` over one broker connection; `run` keeps it up until it is cancelled, `close` says goodbye.

    `online_topic` is retained: `online` after each connection, `offline` as the last will and at `close`. None: nobody is told of us.
    `keepalive_s` bounds how long a connection that carries nothing goes unnoticed: at most two of them.
    """

    def __init__(self, address: BrokerAddress, online_topic: str | None, *, keepalive_s: int = 10) -> None:
        self.address = address
        self.tried = asyncio.Event()
        """Set once the first attempt to connect has succeeded or failed."""
        self.received = 0
        self.published = 0
        self.configurations = 0
        """How many of those were Home Assistant's discovery."""
        self.dropped = 0
        self.connections = 0
        self.malformed = 0
        self._online_topic = online_topic
        self._keepalive_s = keepalive_s
        self._router = Router()
        self._standing: dict[str, int] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._arrived: list[Message] = []
        self._leaving: list[bytes] = []
        self._leaving_bytes = 0
        self._names: dict[str, bytes] = {}
        self._waiting: deque[_Waiting] = deque()
        self._connected = False
        self._closing = False
        self._refusal = ""
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._suback: int | None = None
        self._watched: Any = None
        self._writing = False
        self._complaint = ""
        self._short = 0
        self._loop = asyncio.get_running_loop()
        self._client = self._make_client()

    def _make_client(self) -> Client:
        address = self.address
        client = Client(CallbackAPIVersion.VERSION2, client_id=address.client_id, clean_session=True)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.max_queued_messages_set(_QUEUE_MESSAGES)
        if self._online_topic is not None:
            client.will_set(self._online_topic, "offline", qos=0, retain=True)
        if address.user is not None:
            client.username_pw_set(address.user, None if address.password is None else str(address.password))
        if address.tls:
            client.tls_set_context(ssl.create_default_context())
        client.on_message = self._on_message
        client.on_connect = self._on_connack
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_suback
        client.on_socket_close = self._on_socket_close
        return client

    # What others use

    @property
    def connected(self) -> bool:
        """The broker has accepted us and our subscriptions stand."""
        return self._connected and self._up.is_set()

    @property
    def queued(self) -> int:
        """Messages that wait for the broker to take them."""
        return len(self._waiting)

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        """QoS 0 leaves at the end of this turn of the loop. Raises ValueError for a topic that cannot be published to."""
        if self._connected and not self._writing and not self._waiting:
            self._send(topic, payload, retain, qos)
        elif self._connected or qos:
            self._waiting.append(_Waiting(topic, payload, retain, qos))
            if len(self._waiting) > _QUEUE_MESSAGES:
                self._waiting.popleft()
                self.dropped += 1
        else:
            self.dropped += 1

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        self._router.add(pattern, handler, qos)
        if self._connected:
            self._subscribe_all()

    def on_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def run(self) -> None:
        """Connects, and connects again, until cancelled."""
        pause = _FIRST_PAUSE_S
        while True:
            self._up.clear()
            self._lost.clear()
            self._refusal = ""
            try:
                await self._open()
            except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
                self._complain(str(error) or type(error).__name__)
            else:
                pause = _FIRST_PAUSE_S
                await self._stay()
            self.tried.set()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def close(self) -> None:
        """Says `offline`, hands out what still waits (for a second at most) and disconnects."""
        self._closing = True
        if self._connected and self._online_topic is not None:
            self.publish(self._online_topic, "offline", retain=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    self._flush()
                    while self._connected and (self._waiting or self._client.want_write()):
                        self._on_writable()
                        await asyncio.sleep(0.01)
        self._client.disconnect()
        self._connected = False

    # The connection

    async def _open(self) -> None:
        """TCP, TLS and CONNACK; OSError says what failed. Name lookup and TLS block, so they run in a thread."""
        if self._watched is not None:  # a black-holed connection that could not even say goodbye
            self._on_socket_close(self._client, None, self._watched)
        await in_daemon_thread(self._connect_blocking, "mqtt-connect")
        sock = self._client.socket()
        if sock is None:
            raise ConnectionError("the broker closed the connection at once")
        self._watched = sock
        self._loop.add_reader(sock, self._on_readable)
        lost = asyncio.ensure_future(self._lost.wait())
        up = asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait({lost, up}, timeout=2 * _CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            up.cancel()
            if not self._up.is_set():
                self._client.disconnect()
        if self._refusal:
            advice = "; are mqtt.user and mqtt.password right?" if self._refusal in _NOT_LET_IN else ""
            raise ConnectionRefusedError(f"the broker refused us: {self._refusal}{advice}")
        if not self._up.is_set():
            raise ConnectionError("the broker did not answer the connection")

    def _connect_blocking(self) -> None:
        self._client.connect(self.address.host, self.address.port, self._keepalive_s)
        if self._closing:
            self._client.disconnect()

    async def _stay(self) -> None:
        self.connections += 1
        self._complaint = ""
        self.tried.set()
        log.info("connected", broker=f"{self.address.host}:{self.address.port}")
        began = self._loop.time()
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._keepalive_s / 4):
                    await self._lost.wait()
            self._client.loop_misc()
        if not self._closing:
            log.warning("connection lost", broker=f"{self.address.host}:{self.address.port}")
            self._short = self._short + 1 if self._loop.time() - began < _SHORT_S else 0
            if self._short == _SUSPICIOUS:
                advice = "does another program use this client id, a second gateway of the same site? Give one of them another `site`"
                log.warning("lost again and again", client_id=self.address.client_id, advice=advice)

    def _complain(self, reason: str) -> None:
        """One line for each new reason, not one for each attempt."""
        if reason != self._complaint and not self._closing:
            log.warning("no connection, trying on", broker=f"{self.address.host}:{self.address.port}", reason=reason)
        self._complaint = reason

    def _on_connack(self, _client: Client, _user: object, _flags: ConnectFlags, reason: ReasonCode, _more: Properties | None) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            return
        self._connected = True
        self._standing = {}
        if self._online_topic is not None:
            self._client.publish(self._online_topic, "online", 0, retain=True)
        self._subscribe_all()
        if not self._standing:
            self._loop.call_soon(self._stand)

    def _subscribe_all(self) -> None:
        wanted = self._router.subscriptions()
        news = [(pattern, qos) for pattern, qos in wanted.items() if self._standing.get(pattern, -1) < qos]
        gone = [pattern for pattern in self._standing if pattern not in wanted]
        if gone:
            self._flush()
            self._client.unsubscribe(gone)
        if news:
            self._flush()
            _, self._suback = self._client.subscribe(news)
        self._standing = wanted

    def _on_suback(self, _client: Client, _user: object, mid: int, reasons: Sequence[ReasonCode], _more: Properties | None) -> None:
        if any(reason.is_failure for reason in reasons):
            log.error("the broker refuses a subscription", patterns=sorted(self._standing))
        if mid == self._suback and not self._up.is_set():
            self._loop.call_soon(self._stand)

    def _stand(self) -> None:
        """The subscriptions stand: what waited goes out, and whoever wants to know is told."""
        if not self._connected or self._up.is_set():
            return
        self._up.set()
        self._on_writable()
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # one publisher's failure is reported and keeps nobody else from its turn
                log.exception("a publisher failed after the connection")

    def _on_disconnect(
        self, _client: Client, _user: object, _flags: DisconnectFlags, _reason: ReasonCode, _more: Properties | None
    ) -> None:
        self._connected = False
        self._loop.call_soon_threadsafe(self._lost.set)  # paho may say so in the thread that connects

    def _on_socket_close(self, _client: Client, _user: object, sock: Any) -> None:
        if sock is self._watched:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            self._watched = None
            self._writing = False

    # Bytes

    def _on_readable(self) -> None:
        """Takes what is there, at most a batch, and hands it over."""
        client, arrived = self._client, self._arrived
        try:
            while len(arrived) < _BATCH_MESSAGES:
                before = len(arrived)
                client.loop_read()
                sock = client.socket()
                if len(arrived) == before and not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                    break
        except Exception:  # paho raises many things on a malformed packet; the connection starts anew
            log.exception("malformed packet from the broker")
            client.disconnect()
        if client.want_write():  # an answer (PUBACK) that paho queued inside its callback
            self._on_writable()
        if arrived:
            self._arrived = []
            self._router.hand_over(arrived)

    def _on_message(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        self.received += 1
        try:
            self._arrived.append(Message(message.topic, bytes(message.payload), message.retain))
        except UnicodeDecodeError:
            self.malformed += 1

    def _send(self, topic: str, payload: str | bytes, retain: bool, qos: int) -> None:
        self.published += 1
        self.configurations += topic.endswith("/config")
        if qos:
            self._flush()
            self._client.publish(topic, payload, qos, retain)
            if self._client.want_write():
                self._watch_writer()
            return
        name = self._names.get(topic) or self._name(topic)
        packet = _publish_packet(name, payload if isinstance(payload, bytes) else payload.encode(errors="replace"), retain)
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(packet)
        self._leaving_bytes += len(packet)
        if self._leaving_bytes >= _BATCH_BYTES:
            self._flush()

    def _name(self, topic: str) -> bytes:
        octets = topic.encode()
        if not octets or len(octets) > 0xFFFF or "+" in topic or "#" in topic or "\0" in topic:
            raise ValueError(f"nothing can be published to {topic[:100]!r}")
        if len(self._names) >= _CACHED_NAMES:
            self._names.clear()
        name = self._names[topic] = len(octets).to_bytes(2, "big") + octets
        return name

    def _flush(self) -> None:
        """Hands the packets of this turn to paho as if they were one: its queue, its partial writes, one call of `send`."""
        if not self._leaving:
            return
        packets, self._leaving, self._leaving_bytes = self._leaving, [], 0
        if not self._connected:
            self.dropped += len(packets)
            return
        self._client._packet_queue(MessageType.PUBLISH, b"".join(packets), 0, 0, MQTTMessageInfo(0))
        if self._client.want_write():
            self._watch_writer()

    def _watch_writer(self) -> None:
        if self._watched is not None and not self._writing:
            self._loop.add_writer(self._watched, self._on_writable)
            self._writing = True

    def _on_writable(self) -> None:
        """Sends what waits, as far as the socket takes it."""
        client = self._client
        if client.want_write():
            client.loop_write()
        while self._waiting and self._connected and not client.want_write():
            message = self._waiting.popleft()
            self._send(message.topic, message.payload, message.retain, message.qos)
            if not self._waiting:
                self._flush()
        if client.want_write() or (self._waiting and self._connected):
            self._watch_writer()
        elif self._writing and self._watched is not None:
            self._loop.remove_writer(self._watched)
            self._writing = False


def _publish_packet(name: bytes, payload: bytes, retain: bool) -> bytes:
    """A PUBLISH of QoS 0 (MQTT 3.1.1, 3.3): `name` is the topic with its length before it."""
    length = len(name) + len(payload)
    if length < 0x80:
        return bytes((MessageType.PUBLISH | retain, length)) + name + payload
    head = bytearray((MessageType.PUBLISH | retain,))
    while length > 0x7F:
        head.append(0x80 | length & 0x7F)
        length >>= 7
    head.append(length)
    return bytes(head) + name + payload
