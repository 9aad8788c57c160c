"""What the tests of the publishers share: a messenger that records, and snapshots as the decoder makes them from a register image."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ohmstead.messages import Handler, Message
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.topics import matches

PRAGUE = ZoneInfo("Europe/Prague")
MOMENT = 1_781_953_509.0
"""2026-06-20 13:05:09 in Prague."""

WIRE_GROUPS = {10.0: "10s", 30.0: "30s", 300.0: "5min", 3600.0: "1h"}


class Sent(NamedTuple):
    topic: str
    payload: str
    retain: bool
    qos: int


class Recorder:
    """A broker's client that keeps what was published. `connect` plays a connection, `arrive` a message from the broker."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.connected = False
        self._handlers: list[tuple[str, Handler]] = []
        self._callbacks: list[Callable[[], None]] = []

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        text = payload.decode() if isinstance(payload, bytes) else payload
        self.sent.append(Sent(topic, text, retain, qos))

    def subscribe(self, pattern: str, handler: Handler, *, qos: int = 0) -> None:
        self._handlers.append((pattern, handler))

    def on_connect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def connect(self) -> None:
        self.connected = True
        for callback in self._callbacks:
            callback()

    def arrive(self, topic: str, payload: bytes, retain: bool = False) -> None:
        for pattern, handler in self._handlers:
            if matches(pattern, topic):
                handler([Message(topic, payload, retain)])

    def subscriptions(self) -> list[str]:
        return [pattern for pattern, _ in self._handlers]

    def take(self) -> list[Sent]:
        """What was published since the last call."""
        sent, self.sent = self.sent, []
        return sent


class Requests:
    """Keeps the commands that a publisher hands on; of retained ones it only keeps that they came."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, str]] = []
        self.retained = 0

    def __call__(self, device: str, control: str, text: str, author: str, *, contract: bool = False, retained: bool = False) -> None:
        assert contract, "no contract has the words on and off"
        if retained:
            self.retained += 1
        else:
            self.received.append((device, control, text))


def mtec() -> Profile:
    return library.load("mtec-energybutler")


def read_image(path: Path) -> dict[int, int]:
    """Address → register, from an image's JSON file."""
    return {int(address): word for address, word in json.loads(path.read_text()).items()}


def decoded(profile: Profile, image: Mapping[int, int], without: Iterable[str] = (), moment: float = MOMENT) -> dict[str, Value]:
    """All values of an image, with those calculated from them; the points in `without` could not be read."""
    decoder = Decoder(profile, PRAGUE)
    values: dict[str, Value] = {}
    for first, last in _runs(image):
        words = [image[address] for address in range(first, last + 1)]
        values |= decoder.decode(3, first, struct.pack(f">{len(words)}H", *words))
    for point in without:
        values.pop(point, None)
    decoder.calculate(values, moment)
    return values


def _runs(image: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    addresses = sorted(image)
    first = last = addresses[0]
    for address in addresses[1:]:
        if address != last + 1:
            yield first, last
            first = address
        last = address
    yield first, last


def snapshots(profile: Profile, values: Mapping[str, Value], device: str = "mtec", quality: Quality = Quality.GOOD) -> list[Snapshot]:
    """The values as they come over the wire: one snapshot per period, the slowest first."""
    found = []
    for period, name in sorted(WIRE_GROUPS.items(), reverse=True):
        groups = {group for group, seconds in profile.groups.items() if seconds == period}
        of_period = {key: value for key, value in values.items() if profile.points[key.removesuffix(".raw")].group in groups}
        if of_period:
            found.append(Snapshot(device, name, MOMENT, quality, of_period))
    return found
