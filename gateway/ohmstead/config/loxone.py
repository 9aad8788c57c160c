"""The section `loxone`: that a Miniserver may command the batteries of this home, and what goes to and fro by UDP."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from ohmstead.config.values import MAX_TOPIC, Duration, Section, TcpPort, listening

_FILTER = re.compile(r"(?:[^/+#\0\s][^/+#\0]*|\+)(?:/(?:[^/+#\0]+|\+))*(?:/#)?")
_SHORTEST_S = 1.0


def topic_filter(written: str) -> str:
    """A topic, or a filter with `+` and a final `#`. Raises ValueError."""
    if len(written) > MAX_TOPIC or not _FILTER.fullmatch(written):
        raise ValueError("no topic; write it like energy/solar or loxone/+/status/json")
    return written


def sender(written: str) -> str:
    """An IP address. Raises ValueError."""
    try:
        return str(ipaddress.ip_address(written))
    except ValueError:
        raise ValueError("no IP address; write it like 192.0.2.20") from None


def beat(seconds: float) -> float:
    if not seconds >= _SHORTEST_S:
        raise ValueError("at least 1 s")
    return seconds


class UdpIn(Section):
    """Readings from a Miniserver: `ts;name;value[;room[;type[;tag1[;tag2]]]]`."""

    host: Annotated[str, AfterValidator(listening)] = Field("0.0.0.0", description="The address that is listened on.")
    port: TcpPort = 2000
    senders: list[Annotated[str, AfterValidator(sender)]] = Field(
        default_factory=list, description="The addresses that may send, e.g. [192.0.2.20]; everybody in the network unless given."
    )


class UdpOut(Section):
    """Topics that a Miniserver hears by UDP: `k=v;k=v` of a JSON object, `topic=value` of any other JSON value."""

    host: Annotated[str, AfterValidator(listening)] = Field(description="The Miniserver's address, e.g. 192.0.2.20.")
    port: TcpPort = 4000
    topics: Annotated[list[Annotated[str, AfterValidator(topic_filter)]], Field(min_length=1)] = Field(
        description="What it hears, e.g. [loxone/growatt/status/json, energy/solar]."
    )


class Loxone(Section):
    """A Miniserver, by MQTT (`loxone/<device>/…`; `ohmstead loxone` says what to enter there) and by UDP."""

    heartbeat: Annotated[Duration, AfterValidator(beat)] = Field(
        10.0, description="How often the status is sent again with a number that counts up, e.g. 10 s."
    )
    udp_in: UdpIn | None = Field(None, description="Readings from the Miniserver.")
    udp_out: UdpOut | None = Field(None, description="Topics for the Miniserver.")
