"""Commands that come over MQTT: what a topic of a contract means, and how a plain topic is called (`control.topics` listens to those)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ohmstead.control.topics import Request
from ohmstead.messages import Message
from ohmstead.publish.values import device_topic

AUTHOR = "mqtt"
"""Who writes to a command topic cannot be told apart: Home Assistant, Loxone, a script."""


def command_topic(site: str, device: str, control: str) -> str:
    """Takes a value in the control's unit, one of its options, or on/off."""
    return f"{device_topic(site, device)}/{control}/set"


def deliver(messages: Sequence[Message], controls: Mapping[str, str], device: str, request: Request) -> None:
    """Hands each command to `request`; `controls` maps topics to controls, other topics are nobody's.

    A retained command is one of yesterday: it is handed on as such, to be counted.
    """
    for message in messages:
        control = controls.get(message.topic)
        if control is not None:
            request(device, control, message.payload.decode("utf-8", "replace"), AUTHOR, contract=True, retained=message.retain)
