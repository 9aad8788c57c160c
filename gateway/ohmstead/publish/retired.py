"""Takes back what an earlier start announced to Home Assistant and this one does not: a device that left the configuration, entities
that a contract announces now. And what nobody would bring up to date: the forecast of a home that asks for none any more.

Only what is there is taken back: Home Assistant warns of a removal that removes nothing. What belongs to another gateway, even one
of a site whose name begins like ours, is known by its availability topic and left alone.

Nor is a device online that an earlier start has said to be, while this one has not found it: its last values still stand on the broker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence

import structlog

from ohmstead.messages import Message, Messenger
from ohmstead.publish.home_assistant import bridge_topic
from ohmstead.publish.values import online_topic
from ohmstead.readings import Snapshot

log = structlog.get_logger(service="publish")


class RetiredDevices:
    """`prefix` is Home Assistant's discovery prefix, `announced` the discovery topics that are in use. What is behind one of `parents` (its
    name begins with theirs) may still be found, unless what follows is `excluded`, or a part of that. `listed` are the devices that there
    are by now."""

    def __init__(
        self,
        site: str,
        prefix: str,
        messenger: Messenger,
        announced: Collection[str],
        parents: Collection[str] = (),
        excluded: Collection[str] = (),
        listed: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._site = site
        self._expected = tuple(f"{prefix}/device/{site}_{parent}-" for parent in parents)
        self._unexpected = tuple(f"{of}{name}{end}" for of in self._expected for name in excluded for end in "-/")
        self._listed = listed
        self._pattern = f"{prefix}/device/+/config"
        self._messenger = messenger
        self._announced = frozenset(announced)

    def start(self) -> None:
        self._messenger.subscribe(self._pattern, self._on_configurations)
        self._messenger.subscribe(online_topic(self._site, "+"), self._on_presences)

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern it."""

    def tick(self, now: float) -> None:
        """Nor does time."""

    def close(self) -> None:
        """Nothing to say."""

    def _on_configurations(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.retain and not self._is_in_use(message.topic) and is_announced_by(self._site, message.payload):
                log.info("entities taken back", topic=message.topic)
                self._messenger.publish(message.topic, "", retain=True)

    def _is_in_use(self, topic: str) -> bool:
        if topic in self._announced:
            return True
        return topic.startswith(self._expected) and not topic.startswith(self._unexpected)

    def _on_presences(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.retain and message.payload == b"online" and message.topic.split("/")[-2] not in self._listed():
                self._messenger.publish(message.topic, "offline", retain=True)


def is_announced_by(site: str, payload: bytes) -> bool:
    """Whether a discovery message is of the gateway of `site`, by its availability topic."""
    try:
        body = json.loads(payload)
    except ValueError:  # empty, or somebody else's nonsense
        return False
    availability = body.get("availability") if isinstance(body, dict) else None
    return isinstance(availability, list) and {"topic": bridge_topic(site)} in availability


class RetiredTopic:
    """Takes back what an earlier start left on a topic of ours that has no source any more."""

    def __init__(self, topic: str, messenger: Messenger) -> None:
        self.topic = topic
        self._messenger = messenger

    def start(self) -> None:
        self._messenger.subscribe(self.topic, self._on_messages)

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern it."""

    def tick(self, now: float) -> None:
        """Nor does time."""

    def close(self) -> None:
        """Nothing to say."""

    def _on_messages(self, messages: Sequence[Message]) -> None:
        if any(message.retain and message.payload for message in messages):
            log.info("taken back", topic=self.topic)
            self._messenger.publish(self.topic, "", retain=True)
