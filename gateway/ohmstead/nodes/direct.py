"""Talks to nodes through the broker for a person at a terminal, with the gateway's name and password and beside a running gateway."""

from __future__ import annotations

import queue
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from ohmcore.gateway import pack_command, seal
from ohmcore.pack import Packer
from ohmstead.config.model import Config
from ohmstead.errors import OhmsteadError
from ohmstead.messages import Message
from ohmstead.nodes import inbox
from ohmstead.nodes.fleet import Hello
from ohmstead.nodes.inbox import RefusedError

_CONNECT_S = 10.0
_COMMAND_BYTES = 512


class BrokerError(OhmsteadError):
    """The broker cannot be used; says where it is and why."""

    try_again = True


class NodeEvent(NamedTuple):
    """An event of a node as it came: `device` is empty when it is about the node itself."""

    boot: int
    seq: int
    uptime_ms: int
    device: str
    kind: str
    detail: Mapping[str, Any]


class Direct:
    """A connection of its own, open while the context is. `patterns`: what to listen to below `ohm/<site>/node/`.

    Raises BrokerError when the broker cannot be reached or refuses us.
    """

    def __init__(self, config: Config, *patterns: str) -> None:
        self.root = f"ohm/{config.site}/node/"
        self._patterns = [self.root + pattern for pattern in patterns]
        self._address = f"{config.mqtt.host}:{config.mqtt.port}"
        self._seen: set[tuple[str, int, int]] = set()
        self._arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{config.client_id}-{secrets.token_hex(4)}")
        self._client.connect_timeout = _CONNECT_S
        if config.mqtt.user is not None:
            self._client.username_pw_set(config.mqtt.user, config.mqtt.password)
        if config.mqtt.tls:
            self._client.tls_set_context(ssl.create_default_context())
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.put("")
        self._client.on_message = self._on_message
        self._where = config.mqtt.host, config.mqtt.port

    def __enter__(self) -> Self:
        try:
            self._client.connect(*self._where)
        except (OSError, ValueError) as error:
            raise BrokerError(f"no connection to the broker at {self._address}: {error}") from None
        self._client.loop_start()
        try:
            refusal = self._ready.get(timeout=_CONNECT_S)
        except queue.Empty:
            refusal = "it does not answer"
        if refusal:
            self._end()
            raise BrokerError(f"the broker at {self._address} refuses us: {refusal} (see `mqtt` in the configuration)")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, _user: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        if reason.is_failure:
            self._ready.put(str(reason))
        elif self._patterns:
            client.subscribe([(pattern, 0) for pattern in self._patterns])
        else:
            self._ready.put("")

    def _on_message(self, _client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        self._arrived.put(Message(message.topic, bytes(message.payload), message.retain))

    def messages(self, seconds: float | None) -> Iterator[tuple[str, str, Message]]:
        """(node, the topic below it, message) as they come, for so many seconds; None: until nobody asks any more."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 1.0 if deadline is None else deadline - time.monotonic()
            try:
                message = self._arrived.get(timeout=max(left, 0.0))
            except queue.Empty:
                if deadline is not None:
                    return
                continue
            node, _, name = message.topic.removeprefix(self.root).partition("/")
            yield node, name, message

    def event(self, node: str, message: Message) -> NodeEvent | None:
        """A node's event the first time it comes (a node sends it again until a gateway has stored it); None otherwise.

        Raises RefusedError for what is no event.
        """
        event = NodeEvent(*inbox.event(message.payload))
        key = node, event.boot, event.seq
        if key in self._seen:
            return None
        self._seen.add(key)
        return event

    def publish(self, node: str, name: str, payload: bytes) -> None:
        """Hands a message to the broker and waits until it has it. Raises BrokerError."""
        sent = self._client.publish(f"{self.root}{node}/{name}", payload, qos=1)
        try:
            sent.wait_for_publish(_CONNECT_S)
        except (RuntimeError, ValueError) as error:
            raise BrokerError(f"the broker at {self._address} did not take the message: {error}") from None
        if not sent.is_published():
            raise BrokerError(f"the broker at {self._address} did not take the message within {_CONNECT_S:g} s")

    def command(self, config: Config, node: str, identity: str, control: str, words: bytes, ttl_ms: int, above: int = 0) -> int:
        """Sends a sealed system command (no device, no lease) to a node; gives its counter.

        The counter is the clock's, in whole seconds, as the gateway's own is at least, or one more than `above`: so both may speak to
        a node. Raises BrokerError.
        """
        key = config.nodes[node].key
        if key is None:
            raise BrokerError(f"node {node} has no key in the configuration and takes no commands (`key` or `key_file`, 32 random bytes)")
        counter = max(int(time.time()), above + 1)
        packer = Packer(bytearray(_COMMAND_BYTES))
        pack_command(packer, identity, counter, "", control, words, ttl_ms)
        self.publish(node, "down/command", seal(key, f"{config.site}/{node}/command".encode(), packer.message()))
        return counter


def hello_of(message: Message) -> Hello | None:
    """What a node's hello says; None for what is none."""
    try:
        return inbox.hello(message.payload)
    except RefusedError:
        return None


def event_of(message: Message) -> NodeEvent | None:
    """A node's event, the same one as often as it comes; None for what is none."""
    try:
        return NodeEvent(*inbox.event(message.payload))
    except RefusedError:
        return None
