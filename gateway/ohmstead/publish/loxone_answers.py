"""What a Miniserver is told about its commands that were not taken: JSON on `loxone/rejected`, and the last one in the device's status."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ohmstead.messages import Publisher

TOPIC = "loxone/rejected"
_APART_S = 0.2
_MOST_DEVICES = 64


class LoxoneRejection(NamedTuple):
    """A command that was not taken: the topic, the text, why (`reason` is a code of the status topics, `detail` a sentence)."""

    topic: str
    text: str
    reason: str
    detail: str


class LoxoneAnswers:
    """Keeps the last rejection of each device and how many there were, and tells of at most five in a second of each.

    `changed` is called with the device. `mono` in seconds.
    """

    def __init__(self, publisher: Publisher, *, mono: Callable[[], float] = time.monotonic) -> None:
        self.last: dict[str, LoxoneRejection] = {}
        self.rejected: Counter[str] = Counter()
        self.changed: Callable[[str], None] | None = None
        self._publisher = publisher
        self._mono = mono
        self._told: dict[str, float] = {}

    def refuse(self, device: str, topic: str, text: str, reason: str, detail: str) -> None:
        """Counts it, keeps it, tells of it."""
        if device not in self.rejected and len(self.rejected) >= _MOST_DEVICES:
            device = ""  # names that nobody has are many
        shown = "".join(letter if letter.isprintable() else "?" for letter in text)
        rejection = self.last[device] = LoxoneRejection(topic[:200], shown, str(reason), detail)
        self.rejected[device] += 1
        now = self._mono()
        if now - self._told.get(device, -_APART_S) >= _APART_S:
            self._told[device] = now
            said = {**rejection._asdict(), "count": self.rejected[device]}
            self._publisher.publish(TOPIC, json.dumps(said, ensure_ascii=False))
        if self.changed is not None:
            self.changed(device)
