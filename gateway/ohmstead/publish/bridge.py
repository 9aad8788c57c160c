"""What the gateway says about itself: `ohm/<site>/bridge/info` and `…/health`, both retained.

`ohm/<site>/bridge/online` is the last will of the MQTT connection and belongs to the client (`ohmstead.mqtt`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ohmstead.messages import Messenger
from ohmstead.readings import Snapshot


class Bridge:
    """`introduction` never changes while the gateway runs (version, devices); `health` is asked at each tick and sent when it differs."""

    def __init__(
        self, site: str, messenger: Messenger, introduction: Mapping[str, object], health: Callable[[], Mapping[str, object]]
    ) -> None:
        self._info_topic = f"ohm/{site}/bridge/info"
        self._health_topic = f"ohm/{site}/bridge/health"
        self._messenger = messenger
        self._introduction = json.dumps(introduction, ensure_ascii=False)
        self._health = health
        self._said = ""

    def start(self) -> None:
        self._messenger.on_connect(self._introduce)

    def _introduce(self) -> None:
        self._messenger.publish(self._info_topic, self._introduction, retain=True)
        self._said = ""

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern the bridge."""

    def tick(self, now: float) -> None:
        if not self._messenger.connected:
            return
        health = json.dumps(self._health(), ensure_ascii=False)
        if health != self._said:
            self._messenger.publish(self._health_topic, health, retain=True)
            self._said = health

    def close(self) -> None:
        """Nothing: the client says `offline`."""
