"""M-TEC contract `state`: one plain text per value on `MTEC/<serial>/<group>/<name>/state`, as aiomtec2mqtt 1.1.0 publishes it.

QoS 0, not retained, every value at each poll. Deviations from upstream are listed in gateway/CONTRACTS.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ohmstead.control.topics import Request
from ohmstead.messages import Message, Messenger
from ohmstead.profiles.model import Contract, Profile
from ohmstead.publish.announcement import Configuration, Discovery
from ohmstead.publish.commands import deliver
from ohmstead.publish.layout import layout
from ohmstead.publish.mtec import ContractDiscovery, Repeat
from ohmstead.publish.mtec_discovery import state_configurations
from ohmstead.publish.nameplate import Nameplate
from ohmstead.publish.numbers import three_decimals
from ohmstead.readings import Snapshot, Value


class MtecState:
    """`contract` is the profile's contract `state`; `known` are values that were read before this start (serial number, firmware).

    `farewell_topic` gets a retained `offline` at the end, where upstream has its last will.
    """

    def __init__(
        self,
        device: str,
        profile: Profile,
        contract: Contract,
        messenger: Messenger,
        request: Request,
        discovery: Discovery | None = None,
        known: Mapping[str, Value] | None = None,
        farewell_topic: str | None = None,
    ) -> None:
        self._device = device
        self._profile = profile
        self._contract = contract
        self._messenger = messenger
        self._request = request
        self._farewell = farewell_topic
        self._layout = layout(profile, contract)
        self._nameplate = Nameplate(profile, known or {})
        self._groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
        self._commands: dict[str, str] = {}
        self._subscribed: set[str] = set()
        self._last: dict[str, Mapping[str, Value]] = {}
        self._repeat = Repeat(dict(profile.groups), self._publish_again)
        self._discovery = ContractDiscovery(messenger, discovery, self._configurations, self._repeat)
        self._rename()

    @property
    def covers(self) -> frozenset[str]:
        """The points, and the controls as `<control>/set`, that this contract announces or publishes."""
        points = {entry.point.id for entries in self._layout.values() for entry in entries}
        return frozenset(points | {f"{control}/set" for control in self._profile.controls})

    def start(self) -> None:
        self._discovery.start()
        self._subscribe()

    def take(self, snapshot: Snapshot) -> None:
        """Before the serial number is known values are only kept. A late snapshot is good for that number alone."""
        if snapshot.device != self._device:
            return
        if self._nameplate.read(snapshot.values):
            self._rename()
            self._subscribe()
            self._discovery.again()
        if not snapshot.live:
            return
        values = snapshot.values
        if not self._groups:
            for group, entries in self._layout.items():
                if any(entry.point.id in values for entry in entries):
                    self._keep(group, values)
        for group, topics in self._groups:
            if self._publish(topics, values):
                self._keep(group, values)

    def tick(self, now: float) -> None:
        self._discovery.tick(now)

    def close(self) -> None:
        if self._farewell is not None:
            self._messenger.publish(self._farewell, "offline", retain=True)

    def _publish(self, topics: tuple[tuple[str, str], ...], values: Mapping[str, Value]) -> int:
        publish = self._messenger.publish
        published = 0
        for point, topic in topics:
            value = values.get(point)
            if value is not None:
                publish(topic, three_decimals(value))
                published += 1
        return published

    def _keep(self, group: str, values: Mapping[str, Value]) -> None:
        self._last[group] = values
        self._repeat.read(group)

    def _publish_again(self, group: str) -> None:
        self._publish(dict(self._groups).get(group, ()), self._last[group])

    def _rename(self) -> None:
        """Topics carry the serial number: made when it is read, made anew when another inverter answers."""
        if self._nameplate.serial is None:
            return
        root = f"{self._contract.root}/{self._nameplate.serial}"
        groups = tuple(
            (group, tuple((entry.point.id, f"{root}/{group}/{entry.name}/state") for entry in entries))
            for group, entries in self._layout.items()
        )
        if self._groups and groups != self._groups:
            self._repeat.forget()
        self._groups = groups
        self._commands = {
            f"{root}/{point.group}/{self._contract.name_of(point.id)}/set": control.id
            for control in self._profile.controls.values()
            for point in (self._profile.points[control.point],)
        }

    def _subscribe(self) -> None:
        for topic in self._commands:
            if topic not in self._subscribed:
                self._subscribed.add(topic)
                self._messenger.subscribe(topic, self._on_commands)

    def _on_commands(self, messages: Sequence[Message]) -> None:
        deliver(messages, self._commands, self._device, self._request)

    def _configurations(self, prefix: str) -> Sequence[Configuration] | None:
        return state_configurations(self._profile, self._contract, self._nameplate, prefix)
