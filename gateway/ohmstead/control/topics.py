"""Commands as plain text over MQTT, and their answers as JSON.

`ohm/<site>/device/<device>/<point>/set` takes what a person would say; `ohm/<site>/device/<device>/control/<control>/result` says what
became of it. A retained message never commands: it is what somebody wanted once, not what somebody wants now.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import structlog

from ohmstead.control.desk import Answer
from ohmstead.control.target import MAX_TEXT
from ohmstead.messages import Message, Messenger

log = structlog.get_logger(service="control")

AUTHOR = "mqtt"
_NAME = re.compile(r"[a-z0-9_-]{1,64}")


def text_of(message: Message) -> str | None:
    """The text of a command, cut where it is too long for one; None for a retained copy. Bytes that are no text become one that
    nobody means, and is answered as such."""
    if message.retain:
        log.warning("retained, not a command", topic=message.topic)
        return None
    return message.payload[: 4 * MAX_TEXT + 4].decode(errors="replace")


class ControlTopics:
    """Subscribes to the set topics and hands each text to `request`; `answer` publishes results."""

    def __init__(self, site: str, messenger: Messenger, request: Callable[[str, str, str, str], None], zone: ZoneInfo) -> None:
        self._root = f"ohm/{site}/device"
        self._messenger = messenger
        self._request = request
        self._zone = zone

    def start(self) -> None:
        self._messenger.subscribe(f"{self._root}/+/+/set", self._take)

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            device, point = message.topic[len(self._root) + 1 : -len("/set")].split("/")
            text = text_of(message)
            if text is not None:
                self._request(device, point, text, AUTHOR)

    def answer(self, answer: Answer) -> None:
        """Publishes a result. One that would need a strange topic is only in the log."""
        if not _NAME.fullmatch(answer.device) or not _NAME.fullmatch(answer.control):
            return
        outcome = answer.outcome
        said = {
            "requested": answer.text[:MAX_TEXT],
            "author": answer.author,
            "outcome": outcome.kind,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "raw": outcome.value,
            "audit": answer.entry,
            "time": datetime.fromtimestamp(answer.time, self._zone).isoformat(timespec="milliseconds"),
        }
        self._messenger.publish(f"{self._root}/{answer.device}/control/{answer.control}/result", json.dumps(said, ensure_ascii=False))
