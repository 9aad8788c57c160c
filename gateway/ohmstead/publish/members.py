"""Publishers of devices that are found while the gateway runs, and of those whose points are."""

from __future__ import annotations

from ohmstead.messages import Messenger
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.home_assistant import HomeAssistantDevice
from ohmstead.publish.values import DeviceValues
from ohmstead.readings import Snapshot
from ohmstead.roster import Listed


class Members:
    """Plain topics and native entities of each device that `list` names, also when it names one again with more points.

    `discovery` is None where Home Assistant is not wanted; with `values` False only `online` is published.
    """

    def __init__(self, site: str, messenger: Messenger, discovery: Discovery | None, *, values: bool = True) -> None:
        self._site = site
        self._messenger = messenger
        self._discovery = discovery if values else None
        self._shows_values = values
        self._values: dict[str, DeviceValues] = {}
        self._entities: dict[str, HomeAssistantDevice] = {}

    def values(self) -> list[tuple[str, DeviceValues]]:
        """Each member and its plain topics."""
        return list(self._values.items())

    def list(self, listed: Listed, *, announce: bool = True) -> None:
        """Publishes a device from now on, with the points that it has now; `announce`: to Home Assistant as well."""
        known = self._values.get(listed.device)
        if known is not None:
            known.learn(listed.profile)
            if (entities := self._entities.get(listed.device)) is not None:
                entities.learn(listed.profile, listed.title, listed.serial)
            return
        site, messenger = self._site, self._messenger
        values = DeviceValues(site, listed.device, listed.profile, messenger, listed.period_s, values=self._shows_values)
        self._values[listed.device] = values
        values.start()
        if messenger.connected:
            values.introduce()
        if announce and self._discovery is not None:
            self._entities[listed.device] = entity = HomeAssistantDevice(
                site, listed.device, listed.title, listed.profile, messenger, self._discovery, behind=listed.parent, serial=listed.serial
            )
            entity.start()

    def start(self) -> None:
        """Nothing: each begins when it is found."""

    def take(self, snapshot: Snapshot) -> None:
        values = self._values.get(snapshot.device)
        if values is None:
            return
        values.take(snapshot)
        if (entities := self._entities.get(snapshot.device)) is not None:
            entities.take(snapshot)

    def tick(self, now: float) -> None:
        for values in self._values.values():
            values.tick(now)
        for entities in self._entities.values():
            entities.tick(now)

    def close(self) -> None:
        """Nothing: the bridge's own `offline` covers them."""
