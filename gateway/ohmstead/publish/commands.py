"""Commands over MQTT, and the plain topics for them: `ohm/<site>/device/<device>/<control>/set`.

A command is a value in the control's unit, one of its options, or on/off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from ohmstead.messages import Message, Messenger
from ohmstead.profiles.model import Profile
from ohmstead.publish.outlet import Request
from ohmstead.publish.values import device_topic
from ohmstead.readings import Snapshot

log = structlog.get_logger(service="publish")

AUTHOR = "manual"
"""Whoever writes to a command topic (Home Assistant, Loxone, a script) is a person's hand."""


def command_topic(site: str, device: str, control: str) -> str:
    return f"{device_topic(site, device)}/{control}/set"


def deliver(messages: Sequence[Message], controls: Mapping[str, str], device: str, request: Request) -> None:
    """Hands each command to `request`; `controls` maps topics to controls, other topics are nobody's.

    A retained command is one of yesterday: it is ignored, and the log says so.
    """
    for message in messages:
        control = controls.get(message.topic)
        if control is None:
            continue
        if message.retain:
            log.warning("retained command ignored", topic=message.topic, device=device, control=control)
            continue
        request(device, control, message.payload.decode("utf-8", "replace"), AUTHOR)


class DeviceCommands:
    """Listens to the command topics of one device."""

    def __init__(self, site: str, device: str, profile: Profile, messenger: Messenger, request: Request) -> None:
        self._device = device
        self._messenger = messenger
        self._request = request
        self._controls = {command_topic(site, device, control): control for control in profile.controls}

    def start(self) -> None:
        for topic in self._controls:
            self._messenger.subscribe(topic, self._on_commands)

    def take(self, snapshot: Snapshot) -> None:
        """Readings do not concern it."""

    def tick(self, now: float) -> None:
        """Nor does time."""

    def close(self) -> None:
        """Nothing to say."""

    def _on_commands(self, messages: Sequence[Message]) -> None:
        deliver(messages, self._controls, self._device, self._request)
