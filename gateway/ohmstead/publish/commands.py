"""Commands that come over MQTT: what a topic of a contract means, and how a plain topic is called (`control.topics` listens to those)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from ohmstead.messages import Message
from ohmstead.publish.outlet import Request
from ohmstead.publish.values import device_topic

log = structlog.get_logger(service="publish")

AUTHOR = "mqtt"
"""Who writes to a command topic cannot be told apart: Home Assistant, Loxone, a script."""


def command_topic(site: str, device: str, control: str) -> str:
    """Takes a value in the control's unit, one of its options, or on/off."""
    return f"{device_topic(site, device)}/{control}/set"


def deliver(messages: Sequence[Message], controls: Mapping[str, str], device: str, request: Request) -> None:
    """Hands each command to `request`; `controls` maps topics to controls, other topics are nobody's.

    A retained command is one of yesterday: it is ignored, and the log says so. The words `on` and `off` are none of a contract's.
    """
    for message in messages:
        control = controls.get(message.topic)
        if control is None:
            continue
        if message.retain:
            log.warning("retained command ignored", topic=message.topic, device=device, control=control)
            continue
        request(device, control, message.payload.decode("utf-8", "replace"), AUTHOR, on_off=False)
