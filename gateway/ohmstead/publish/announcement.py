"""When Home Assistant is told which entities there are.

After the start and after each birth of Home Assistant a grace passes first: it has just begun to load and may not listen yet. What
cannot be said yet (a contract without its serial number) is said as soon as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ohmstead.messages import Message, Messenger

BIRTH = b"online"


class Discovery(NamedTuple):
    """Where Home Assistant listens (`prefix`), where it announces its birth, and how long it is left to load after that."""

    prefix: str = "homeassistant"
    birth_topic: str = "homeassistant/status"
    grace_s: float = 1.0


class Configuration(NamedTuple):
    """One retained discovery message. An empty payload removes what the topic announced before."""

    topic: str
    payload: str


class Announcement:
    """Sends what `compose` returns after the start, at each birth, after each reconnection and after `again()`.

    `compose` returns None while it does not know enough.
    """

    def __init__(self, messenger: Messenger, discovery: Discovery, compose: Callable[[], Sequence[Configuration] | None]) -> None:
        self._messenger = messenger
        self._birth_topic = discovery.birth_topic
        self._grace_s = discovery.grace_s
        self._compose = compose
        self._due = False
        self._since: float | None = None

    def start(self) -> None:
        self._messenger.subscribe(self._birth_topic, self._on_birth)
        self._messenger.on_connect(self.again)
        self.again()

    def again(self) -> None:
        """Everything is to be sent once more, when the grace has passed."""
        self._due = True
        self._since = None

    def _on_birth(self, messages: Sequence[Message]) -> None:
        if any(message.payload.strip() == BIRTH for message in messages):
            self.again()

    def tick(self, now: float) -> None:
        if not self._due or not self._messenger.connected:
            return
        if self._since is None:
            self._since = now
        if now - self._since < self._grace_s:
            return
        configurations = self._compose()
        if configurations is None:
            return
        self._due = False
        for configuration in configurations:
            self._messenger.publish(configuration.topic, configuration.payload, retain=True)
