"""What the gateway asks of a message broker, small enough for a test to stand in for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """A message as it came from the broker. `retain` is True only for the copy a broker keeps for late subscribers."""

    topic: str
    payload: bytes
    retain: bool


Handler = Callable[[Sequence[Message]], None]
"""Takes a batch of messages, in the event loop, in the order of their arrival."""


class Publisher(Protocol):
    """Whoever can send a message. Sending never blocks; while the broker is away the client queues or drops as it says."""

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None: ...


class Messenger(Publisher, Protocol):
    """Publisher and subscriber. Handlers are registered before or after the connection; subscriptions survive reconnects."""

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        """`pattern` is an MQTT topic filter (`+`, `#`)."""
        ...

    def on_connect(self, callback: Callable[[], None]) -> None:
        """`callback` runs in the event loop after each (re)connection, when the subscriptions stand."""
        ...

    @property
    def connected(self) -> bool: ...
