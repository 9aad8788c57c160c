"""What a home's Home Assistant or Loxone would hear: every message of the broker, kept to be looked at."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ohmstead.topics import matches


class Heard(NamedTuple):
    """A message and when it came, on the monotonic clock."""

    at: float
    topic: str
    payload: bytes
    retain: bool


class Listener:
    """Hears everything, also after the broker was away."""

    def __init__(self, host: str, port: int) -> None:
        self._lock = threading.Lock()
        self._heard: list[Heard] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener")
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._keep
        self._client.connect_async(host, port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    def _subscribe(self, client: paho.Client, *_: Any) -> None:
        client.subscribe("#")

    def _keep(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        with self._lock:
            self._heard.append(Heard(time.monotonic(), message.topic, bytes(message.payload), message.retain))

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, retain=retain)

    def all(self, pattern: str, since: float = 0.0) -> list[Heard]:
        """Messages on topics that match, heard since a moment of the monotonic clock."""
        with self._lock:
            heard = list(self._heard)
        return [message for message in heard if message.at >= since and matches(pattern, message.topic)]

    def last(self, topic: str, since: float = 0.0) -> bytes | None:
        heard = self.all(topic, since)
        return heard[-1].payload if heard else None
