"""Alerts that an owner asked for (`points: {x: {above: …, below: …}}`): `ohm/<site>/device/<device>/alert/<point>`, retained.

`ON` while the value is beyond its limit, else `OFF`. An alert is over when the value is inside by a margin, so that a value at its limit is
one alert and not a hundred: 2 % of the limit (0.05 % for a frequency), and never more than a quarter of the way from `below` to `above`.
What was not read changes nothing; of a point that has no value any more nothing is known (`None`). After a restart an alert stands as the
broker has it until the first value says otherwise, and only a change is told. Home Assistant has each as a problem of its device,
unavailable with the device. What an owner wants of a device is wanted of what is found behind it as well, where that has such a point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import structlog

import ohmstead
from ohmstead.messages import Message, Messenger
from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Point
from ohmstead.publish.announcement import Announcement, Configuration, Discovery
from ohmstead.publish.home_assistant import bridge_topic
from ohmstead.publish.nameplate import Nameplate
from ohmstead.publish.numbers import plain
from ohmstead.publish.retired import is_announced_by
from ohmstead.publish.values import NONE, device_topic, online_topic
from ohmstead.readings import Snapshot, Value
from ohmstead.roster import Listed, Roster

log = structlog.get_logger(service="publish")

ON, OFF = "ON", "OFF"
_MARGIN = 0.02
_MARGIN_OF_FREQUENCY = 0.0005
_MOST_OF_THE_WAY = 0.25


class Limits(Protocol):
    """What an owner wants to be told of a point, in its unit."""

    @property
    def above(self) -> float | None: ...
    @property
    def below(self) -> float | None: ...


Wanted = Mapping[str, Mapping[str, Limits]]
"""Device → point → limits."""

Noted = Callable[[str, str, Mapping[str, object]], None]
"""Keeps what happened: device, kind of event, detail."""


class Alert:
    """One point of one device with its limits. `on` is None before its first value."""

    def __init__(self, device: str, point: Point, limits: Limits) -> None:
        self.device = device
        self.point = point
        self.on: bool | None = None
        self.text = ""
        """The limit that it is beyond, for people; empty while it is not."""
        self._above = limits.above
        self._below = limits.below
        share = _MARGIN_OF_FREQUENCY if point.unit == "Hz" else _MARGIN
        room = float("inf") if limits.above is None or limits.below is None else _MOST_OF_THE_WAY * (limits.above - limits.below)
        self._margins = [min(share * abs(end), room) if end is not None else 0.0 for end in (limits.above, limits.below)]

    def judge(self, value: float, stood: bool | None = None) -> bool:
        """Takes a value; True if that changed the alert. `stood`: how it stood before the first value, as far as somebody knows."""
        above, below = self._above, self._below
        was = self.on
        over, under = self._margins if (stood if was is None else was) else (0.0, 0.0)
        if above is not None and value > above - over:
            self.on, self.text = True, self._said("above", above)
        elif below is not None and value < below + under:
            self.on, self.text = True, self._said("below", below)
        else:
            self.on, self.text = False, ""
        return self.on is not was

    def forget(self) -> None:
        """The point has no value any more."""
        self.on, self.text = None, ""

    def _said(self, where: str, limit: float) -> str:
        return f"{where} {plain(None)(float(limit))} {self.point.unit}".rstrip()


class Standing(NamedTuple):
    """How an alert stands; `on` is None where nothing is known."""

    device: str
    point: str
    on: bool | None
    text: str


class Alerts:
    """All alerts of the home. `wanted` has the devices of the configuration; `joined` those whose entities, and those of what is behind
    them, are on the device that their contract announces, and how it is identified there ("{}" stands for the serial number). `known` are
    values of the store: the serial number is read seldom. `noted` keeps each change."""

    def __init__(
        self,
        site: str,
        roster: Roster,
        wanted: Wanted,
        messenger: Messenger,
        discovery: Discovery | None,
        noted: Noted,
        *,
        joined: Mapping[str, str] = MappingProxyType({}),
        known: Mapping[str, Mapping[str, Value]] | None = None,
    ) -> None:
        self._site = site
        self._messenger = messenger
        self._prefix = "" if discovery is None else discovery.prefix
        self._noted = noted
        self._wanted = {device: {name: one for name, one in points.items() if _limits(one)} for device, points in wanted.items()}
        self._alerts: dict[str, dict[str, Alert]] = {}
        self._stood: dict[tuple[str, str], bool] = {}
        self._listed: dict[str, Listed] = {}
        self._nameplates: dict[str, Nameplate] = {}
        self._joined = joined
        self._known = known or {}
        self._announcement = None if discovery is None else Announcement(messenger, discovery, self._configurations)
        for listed in roster:
            self._list(listed)
        roster.on_change(self._list)

    def standing(self) -> Iterator[Standing]:
        """Each alert that there is."""
        for alerts in self._alerts.values():
            for alert in alerts.values():
                yield Standing(alert.device, alert.point.id, alert.on, alert.text)

    def topics(self) -> list[str]:
        """Where those of the configuration's devices are announced to Home Assistant, also of points that are yet to be learned."""
        return [self._topic(device, point) for device, points in self._wanted.items() for point in points] if self._prefix else []

    def start(self) -> None:
        self._messenger.subscribe(self._state_topic("+", "+"), self._on_states)
        self._messenger.on_connect(self._publish_all)
        if self._prefix:
            self._messenger.subscribe(f"{self._prefix}/device/+/config", self._on_configurations)
        if self._announcement is not None:
            self._announcement.start()

    def take(self, snapshot: Snapshot) -> None:
        nameplate = self._nameplates.get(snapshot.device)
        if nameplate is not None and nameplate.read(snapshot.values) and self._announcement is not None:
            self._announcement.again()
        alerts = self._alerts.get(snapshot.device)
        if alerts is None or not snapshot.live:
            return
        for name, alert in alerts.items():
            value = snapshot.values.get(name)
            if isinstance(value, int | float):
                text = alert.text
                stood = alert.on if alert.on is not None else self._stood.get((snapshot.device, name))
                if alert.judge(value, stood):
                    self._changed(alert, value, stood, text)
            elif name in snapshot.gone and alert.on is not None:
                self._stood[snapshot.device, name] = alert.on
                alert.forget()
                self._messenger.publish(self._state_topic(snapshot.device, name), NONE, retain=True)

    def tick(self, now: float) -> None:
        if self._announcement is not None:
            self._announcement.tick(now)

    def close(self) -> None:
        """Nothing: the bridge's own `offline` covers them."""

    def _list(self, listed: Listed) -> None:
        """Finds the alerts of a device that is known from now on, or known better; what is known of them stays."""
        wanted = self._wanted.get(listed.parent or listed.device, {})
        before = self._alerts.get(listed.device, {})
        alerts = {name: before.get(name) or Alert(listed.device, point, wanted[name]) for name, point in _numbers(listed.profile, wanted)}
        if not alerts:
            return
        self._alerts[listed.device] = alerts
        self._listed[listed.device] = listed
        if listed.source in self._joined and listed.device not in self._nameplates:
            self._nameplates[listed.device] = Nameplate(listed.profile, self._known.get(listed.device, {}))
        if self._announcement is not None and alerts.keys() != before.keys():
            self._announcement.again()

    def _changed(self, alert: Alert, value: float, stood: bool | None, text: str) -> None:
        self._publish(alert)
        detail = {"point": alert.point.id, "value": value, "unit": alert.point.unit, "limit": alert.text or text}
        if alert.on and not stood:
            log.warning("alert", device=alert.device, **detail)
            self._noted(alert.device, "alert", {**detail, "on": True})
        elif stood and not alert.on:
            log.info("alert is over", device=alert.device, **detail)
            self._noted(alert.device, "alert", {**detail, "on": False})

    def _publish(self, alert: Alert) -> None:
        if alert.on is not None:
            self._messenger.publish(self._state_topic(alert.device, alert.point.id), ON if alert.on else OFF, retain=True)

    def _publish_all(self) -> None:
        for alerts in self._alerts.values():
            for alert in alerts.values():
                self._publish(alert)

    def _state_topic(self, device: str, point: str) -> str:
        return f"{device_topic(self._site, device)}/alert/{point}"

    def _on_states(self, messages: Sequence[Message]) -> None:
        """How an alert stood before a restart, and what the broker keeps of one that nobody wants any more: that is taken back. What is
        behind a device may still be found."""
        for message in messages:
            device, _, point = message.topic.split("/")[-3:]
            if not message.retain or not message.payload:
                continue
            if self._may_be_wanted(device, point):
                self._stood.setdefault((device, point), message.payload == ON.encode())
                continue
            self._messenger.publish(message.topic, "", retain=True)
            if self._prefix and device not in self._wanted:  # was found behind a device; nobody else knows of its entity
                self._messenger.publish(self._topic(device, point), "", retain=True)

    def _on_configurations(self, messages: Sequence[Message]) -> None:
        """Takes back the entity of an alert that was wanted of what is behind a device and never stood: no topic tells of it. Those of
        the devices in the configuration are in `topics`."""
        begin, end = f"{self._site}_", "_alert"
        for message in messages:
            name = message.topic.split("/")[-2]
            if not message.retain or not name.startswith(begin) or not name.endswith(end):
                continue
            of = name.removeprefix(begin).removesuffix(end)
            parents = [device for device in self._wanted if of.startswith(f"{device}-")]
            if not parents or any(of.startswith(f"{device}_") for device in self._wanted):
                continue
            wanted = any(of.endswith(f"_{point}") for parent in parents for point in self._wanted[parent])
            if not wanted and is_announced_by(self._site, message.payload):
                self._messenger.publish(message.topic, "", retain=True)

    def _may_be_wanted(self, device: str, point: str) -> bool:
        if device in self._wanted:
            return point in self._wanted[device]
        return any(point in points for parent, points in self._wanted.items() if device.startswith(f"{parent}-"))

    # Home Assistant

    def _topic(self, device: str, point: str) -> str:
        return f"{self._prefix}/device/{self._id(device, point)}/config"

    def _id(self, device: str, point: str) -> str:
        return f"{self._site}_{device}_{point}_alert"

    def _configurations(self) -> Sequence[Configuration] | None:
        """Each alert is a discovery message of its own: one that is wanted no more is taken back alone."""
        found = [
            self._configuration(alert, described)
            for device, alerts in self._alerts.items()
            if (described := self._described(device)) is not None
            for alert in alerts.values()
        ]
        return found if found or not self._alerts else None

    def _described(self, device: str) -> Mapping[str, object] | None:
        """The device that the alerts of one are on. What a contract announces has its name from there."""
        listed = self._listed[device]
        form = self._joined.get(listed.source)
        if form is None:
            return {"identifiers": [f"{self._site}_{device}"], "name": listed.title}
        serial = self._nameplates[device].serial or listed.serial
        return None if serial is None else {"identifiers": [form.format(serial)]}

    def _configuration(self, alert: Alert, described: Mapping[str, object]) -> Configuration:
        body = {
            "dev": described,
            "o": {"name": "ohmstead", "sw_version": ohmstead.__version__},
            "availability": [{"topic": bridge_topic(self._site)}, {"topic": online_topic(self._site, alert.device)}],
            "availability_mode": "all",
            "cmps": {
                "alert": {
                    "p": "binary_sensor",
                    "unique_id": self._id(alert.device, alert.point.id),
                    "name": f"{alert.point.name}: alert",
                    "state_topic": self._state_topic(alert.device, alert.point.id),
                    "device_class": "problem",
                }
            },
        }
        return Configuration(self._topic(alert.device, alert.point.id), json.dumps(body, ensure_ascii=False))


def _limits(wanted: Limits) -> bool:
    return wanted.above is not None or wanted.below is not None


def _numbers(profile: Profile, wanted: Mapping[str, Limits]) -> Iterator[tuple[str, Point]]:
    """The points that limits are wanted for, as far as the profile has them as numbers."""
    for name in wanted:
        point = profile.points.get(name)
        if point is not None and not point.is_text:
            yield name, point
