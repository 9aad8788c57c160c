"""The life of a publisher, the same for all of them.

A constructor only stores what it is given. `start` subscribes; then the app hands over each snapshot (`take`) and, about once a
second, the time (`tick`); `close` is the last that is published.
"""

from __future__ import annotations

from typing import Protocol

from ohmstead.readings import Snapshot


class Outlet(Protocol):
    """Somewhere that readings go."""

    def start(self) -> None:
        """Subscribes to what this publisher listens to. Nothing is published before the broker is there."""
        ...

    def take(self, snapshot: Snapshot) -> None:
        """One snapshot of any device; whoever is not concerned returns at once. Subscribe this to the readings stream."""
        ...

    def tick(self, now: float) -> None:
        """`now` is monotonic, in seconds. What waits for time to pass happens here."""
        ...

    def close(self) -> None:
        """Says goodbye while the broker is still connected."""
        ...
