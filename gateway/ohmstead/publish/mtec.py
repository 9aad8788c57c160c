"""What both M-TEC contracts have in common: nothing before the serial number is known, discovery, and the last values once more for
whoever could not hear them.

The contracts' own values are not retained, so after a restart of Home Assistant day and total values would stay unknown for minutes;
so would those that were read before the broker or the serial number was there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ohmstead.messages import Messenger
from ohmstead.publish.announcement import Announcement, Configuration, Discovery

_SETTLE_S = 5.0
"""Home Assistant needs a moment from a discovery message to the subscription of its state topic."""

_FRESH_PERIODS = 3
"""A group that was not read for so many periods is old and not repeated."""


class Repeat:
    """Publishes the groups of the last polls once more, a moment after `soon`."""

    def __init__(self, periods: dict[str, float], publish: Callable[[str], None]) -> None:
        self._periods = periods
        self._publish = publish
        self._read: dict[str, float] = {}
        self._fresh: set[str] = set()
        self._due: float | None = None
        self._waiting = False

    def read(self, group: str) -> None:
        """A group was read just now."""
        self._fresh.add(group)

    def forget(self) -> None:
        """What was read is another device's."""
        self._read.clear()
        self._fresh.clear()

    def soon(self) -> None:
        self._waiting = True
        self._due = None

    def tick(self, now: float) -> None:
        for group in self._fresh:
            self._read[group] = now
        self._fresh.clear()
        if not self._waiting:
            return
        if self._due is None:
            self._due = now + _SETTLE_S
        elif now >= self._due:
            self._waiting = False
            for group, period in self._periods.items():
                if group in self._read and now - self._read[group] <= _FRESH_PERIODS * period:
                    self._publish(group)


class ContractDiscovery:
    """Announcement and repetition together. Nothing is announced when `discovery` is None (the owner wants no discovery)."""

    def __init__(
        self,
        messenger: Messenger,
        discovery: Discovery | None,
        compose: Callable[[str], Sequence[Configuration] | None],
        repeat: Repeat,
    ) -> None:
        self._messenger = messenger
        self._repeat = repeat
        self._compose = compose
        self._prefix = discovery.prefix if discovery else ""
        self._announcement = Announcement(messenger, discovery, self._composed) if discovery is not None else None

    def _composed(self) -> Sequence[Configuration] | None:
        configurations = self._compose(self._prefix)
        if configurations is not None:
            self._repeat.soon()
        return configurations

    def start(self) -> None:
        self._messenger.on_connect(self._repeat.soon)
        if self._announcement is not None:
            self._announcement.start()

    def again(self) -> None:
        """The serial number, or what else is announced of the device, is news."""
        self._repeat.soon()
        if self._announcement is not None:
            self._announcement.again()

    def tick(self, now: float) -> None:
        self._repeat.tick(now)
        if self._announcement is not None:
            self._announcement.tick(now)
