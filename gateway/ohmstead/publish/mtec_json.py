"""M-TEC contract `json`: one flat JSON object per group on `MTEC/<serial>/<group>`, at most three decimals.

QoS 0, not retained. What was not read is `null`, as is what would be calculated from it: Home Assistant shows it as unknown, where
a key that is missing would leave its old value and a warning at each message. A group of which nothing was read is not published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ohmstead.messages import Messenger
from ohmstead.profiles.model import Contract, Profile
from ohmstead.publish.announcement import Configuration, Discovery
from ohmstead.publish.layout import layout
from ohmstead.publish.mtec import ContractDiscovery, Repeat
from ohmstead.publish.mtec_discovery import json_configurations
from ohmstead.publish.nameplate import Nameplate
from ohmstead.readings import Snapshot, Value

_encode = json.JSONEncoder(allow_nan=False).encode


class MtecJson:
    """`contract` is the profile's contract `json`; `availability` the topics that must all say `online` for a value to be current."""

    def __init__(
        self,
        device: str,
        profile: Profile,
        contract: Contract,
        messenger: Messenger,
        availability: Sequence[str] = (),
        discovery: Discovery | None = None,
        known: Mapping[str, Value] | None = None,
    ) -> None:
        self._device = device
        self._profile = profile
        self._contract = contract
        self._messenger = messenger
        self._availability = tuple(availability)
        self._layout = layout(profile, contract)
        self._nameplate = Nameplate(profile, known or {})
        self._groups = tuple((group, tuple((entry.point.id, entry.name) for entry in entries)) for group, entries in self._layout.items())
        self._topics: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._repeat = Repeat(dict(profile.groups), self._publish_again)
        self._discovery = ContractDiscovery(messenger, discovery, self._configurations, self._repeat)
        self._rename()

    @property
    def covers(self) -> frozenset[str]:
        """The points that this contract publishes. It has no commands."""
        return frozenset(entry.point.id for entries in self._layout.values() for entry in entries)

    def start(self) -> None:
        self._discovery.start()

    def take(self, snapshot: Snapshot) -> None:
        """Before the serial number is known values are only kept. A late snapshot is good for that number alone."""
        if snapshot.device != self._device:
            return
        if self._nameplate.read(snapshot.values):
            self._rename()
            self._discovery.again()
        if not snapshot.live:
            return
        values = snapshot.values
        decimals = self._contract.decimals
        for group, keys in self._groups:
            body: dict[str, Value | None] = {}
            unread = 0
            for point, key in keys:
                value = values.get(point)
                unread += value is None
                body[key] = round(value, decimals) if type(value) is float else value
            if unread < len(keys):
                payload = self._last[group] = _encode(body)
                self._repeat.read(group)
                if self._topics:
                    self._messenger.publish(self._topics[group], payload)

    def tick(self, now: float) -> None:
        self._discovery.tick(now)

    def close(self) -> None:
        """Nothing: `ohm/<site>/bridge/online` says it."""

    def _publish_again(self, group: str) -> None:
        if self._topics:
            self._messenger.publish(self._topics[group], self._last[group])

    def _rename(self) -> None:
        """Topics carry the serial number: made when it is read, made anew when another inverter answers."""
        if self._nameplate.serial is None:
            return
        root = f"{self._contract.root}/{self._nameplate.serial}"
        topics = {group: f"{root}/{group}" for group in self._layout}
        if self._topics and topics != self._topics:
            self._repeat.forget()
        self._topics = topics

    def _configurations(self, prefix: str) -> Sequence[Configuration] | None:
        return json_configurations(self._profile, self._contract, self._nameplate, prefix, self._availability)
