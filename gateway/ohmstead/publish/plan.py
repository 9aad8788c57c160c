"""The plan on `ohm/<site>/plan`: JSON, retained, whenever it is made anew.

`steps` are what is wanted and why, `rules` what each rule saves against plain self-use, `series` columns to draw, `notes` what is to
be said. It ends at `end`: whoever reads it after that reads an old one.
"""

from __future__ import annotations

from ohmstead.control.plan.model import Plan
from ohmstead.messages import Messenger
from ohmstead.readings import Snapshot


class PlanTopic:
    """`show` takes each new plan; the last one is sent again after each reconnection."""

    def __init__(self, site: str, messenger: Messenger) -> None:
        self.topic = f"ohm/{site}/plan"
        self._messenger = messenger
        self._text = ""

    def start(self) -> None:
        self._messenger.on_connect(self._send)

    def show(self, plan: Plan) -> None:
        self._text = plan.as_json()
        if self._messenger.connected:
            self._send()

    def _send(self) -> None:
        if self._text:
            self._messenger.publish(self.topic, self._text, retain=True)

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern the plan's topic."""

    def tick(self, now: float) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing: a plan says itself when it ends."""
