"""Commands as plain text over MQTT: `ohm/<site>/device/<device>/<control or point>/set` takes what a person would say.

A retained message never commands: it is what somebody wanted once, not what somebody wants now. Everything else is answered,
names that nobody has and bytes that are no text among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from ohmstead.control.target import MAX_TEXT
from ohmstead.messages import Message, Messenger

log = structlog.get_logger(service="control")

AUTHOR = "mqtt"
_SET = "/set"


class ControlTopics:
    """Hands the text of each command to `request` (device, control, text, author)."""

    def __init__(self, site: str, messenger: Messenger, request: Callable[[str, str, str, str], None]) -> None:
        self._root = f"ohm/{site}/device/"
        self._messenger = messenger
        self._request = request

    def start(self) -> None:
        self._messenger.subscribe(f"{self._root}+/+{_SET}", self._take)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.retain:
                log.warning("retained, not a command", topic=message.topic)
                continue
            device, control = message.topic[len(self._root) : -len(_SET)].split("/")
            self._request(device, control, message.payload[: 4 * MAX_TEXT + 4].decode(errors="replace"), AUTHOR)
