"""Topics that a Miniserver hears by UDP: a JSON object becomes `k=v;k=v`, any other JSON value `topic=value`, one datagram each.

This is the MQTT bridge of the LoxoneSmartHome service: what is no JSON is dropped and counted, and a value inside of a value is printed
as Python prints it (`True`, `None`, `{'a': 1}`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import NoReturn

import structlog

from ohmstead.messages import Message, Messenger
from ohmstead.readings import Snapshot

log = structlog.get_logger(service="loxone")

LARGEST = 1400
"""Bytes of a datagram: it goes over the network in one piece."""

_AGAIN_S = 30.0


class NoDatagramError(ValueError):
    """A message that gives no datagram; the text says why."""


def datagram(topic: str, payload: bytes) -> bytes:
    """What a Miniserver hears of a message. Raises NoDatagramError."""
    if len(payload) > 2 * LARGEST:
        raise NoDatagramError("too long")
    try:
        value = json.loads(payload, parse_constant=_refused)
        text = ";".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else f"{topic}={value}"
        sent = text.encode()
    except (ValueError, RecursionError):
        raise NoDatagramError("no JSON") from None
    if not 0 < len(sent) <= LARGEST:
        raise NoDatagramError("too long" if sent else "nothing in it")
    return sent


def _refused(constant: str) -> NoReturn:
    raise ValueError(constant)


class LoxoneBridge:
    """Sends the messages of `topics` (filters) to a Miniserver. `sent` and `dropped` count."""

    def __init__(self, messenger: Messenger, topics: Sequence[str], host: str, port: int) -> None:
        self.sent = 0
        self.dropped = 0
        self._messenger = messenger
        self._topics = topics
        self._address = (host, port)
        self._transport: asyncio.DatagramTransport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._again = 0.0
        self._complaint = ""

    def start(self) -> None:
        """Looks up the Miniserver's address, again and again while nobody knows it."""
        self._open()
        for topic in self._topics:
            self._messenger.subscribe(topic, self._forward)

    def take(self, snapshot: Snapshot) -> None:
        """Messages go out, not readings."""

    def tick(self, now: float) -> None:
        """`now` is monotonic, in seconds."""
        if self._transport is None and now >= self._again:
            self._again = now + _AGAIN_S
            self._open()

    def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _open(self) -> None:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._opened(), name="loxone-udp")

    async def _opened(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=self._address)
        except OSError as error:
            log.warning("the Miniserver is not known in the network", host=self._address[0], reason=str(error))

    def _forward(self, messages: Sequence[Message]) -> None:
        for message in messages:
            try:
                said = datagram(message.topic, message.payload)
            except NoDatagramError as error:
                self.dropped += 1
                if message.topic != self._complaint:
                    self._complaint = message.topic
                    log.warning("a message that cannot go to the Miniserver", topic=message.topic, reason=str(error))
                continue
            if self._transport is None:
                self.dropped += 1
            else:
                self._transport.sendto(said)
                self.sent += 1
