"""Which devices there are: those of the configuration, and the members that are found behind them while the gateway runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import structlog

from ohmstead.config.device import DeviceConfig
from ohmstead.config.model import Config
from ohmstead.profiles.model import Profile

log = structlog.get_logger(service="app")


class Listed(NamedTuple):
    """A device as everybody sees it. `periods` says how often each of its groups is read, in seconds; `parent` is what it was found
    behind."""

    device: str
    title: str
    profile: Profile
    periods: Mapping[str, float]
    via: str
    parent: str | None = None
    serial: str | None = None

    @property
    def period_s(self) -> float:
        """Of its fastest group."""
        return min(self.periods.values())

    @property
    def source(self) -> str:
        """The device that is asked for it: itself, or what it is behind."""
        return self.parent or self.device


class Roster:
    """The devices by name, in the order of the configuration; members stand where they were found."""

    def __init__(self) -> None:
        self._listed: dict[str, Listed] = {}
        self._listeners: list[Callable[[Listed], None]] = []
        self._twins: set[frozenset[str]] = set()

    def __getitem__(self, device: str) -> Listed:
        return self._listed[device]

    def __contains__(self, device: str) -> bool:
        return device in self._listed

    def __iter__(self) -> Iterator[Listed]:
        return iter(list(self._listed.values()))

    def on_change(self, listener: Callable[[Listed], None]) -> None:
        """`listener` is told of each device that is listed, or listed anew, from now on."""
        self._listeners.append(listener)

    def list(self, listed: Listed) -> bool:
        """Makes a device known; whether that is news."""
        if self._listed.get(listed.device) == listed:
            return False
        self._listed[listed.device] = listed
        self._tell_twins(listed)
        for listener in self._listeners:
            listener(listed)
        return True

    def _tell_twins(self, listed: Listed) -> None:
        """Says once of two devices that have the same serial number: they may be one, which would then be counted twice."""
        for other in self._listed.values() if listed.serial else ():
            pair = frozenset((listed.device, other.device))
            if other.device != listed.device and (other.serial, other.profile.id) == (listed.serial, listed.profile.id):
                if pair not in self._twins:
                    log.warning(
                        "two devices say the same serial number; are they one?",
                        device=listed.device,
                        other=other.device,
                        serial=listed.serial,
                    )
                self._twins.add(pair)


def roster_of(config: Config) -> Roster:
    """The devices of the configuration."""
    roster = Roster()
    for device, chosen in config.devices.items():
        profile = config.profile(device)
        via = f"node {chosen.via}" if chosen.via.node else str(chosen.via) if isinstance(chosen, DeviceConfig) else chosen.address
        roster.list(Listed(device, chosen.name or profile.name, profile, config.periods(device), via))
    return roster
