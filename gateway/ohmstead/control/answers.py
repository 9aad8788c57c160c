"""The answers to commands: JSON on `ohm/<site>/device/<device>/control/<control>/result`, not retained."""

from __future__ import annotations

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

from ohmstead.control.desk import Answer
from ohmstead.control.target import MAX_TEXT
from ohmstead.messages import Publisher

_NAME = re.compile(r"[a-z0-9_-]{1,64}")


class Answers:
    """Publishes what became of each request."""

    def __init__(self, site: str, publisher: Publisher, zone: ZoneInfo) -> None:
        self._root = f"ohm/{site}/device"
        self._publisher = publisher
        self._zone = zone

    def say(self, answer: Answer) -> None:
        """One that would need a strange topic (the name of a device or a control that nobody has) is only in the log."""
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
        self._publisher.publish(f"{self._root}/{answer.device}/control/{answer.control}/result", json.dumps(said, ensure_ascii=False))
