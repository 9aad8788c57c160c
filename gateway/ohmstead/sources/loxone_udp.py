"""Readings that a Miniserver sends by UDP: `ts;name;value[;room[;type[;tag1[;tag2]]]]`, one in a datagram, the time local.

They are kept in the store as the series `name` of `loxone/<type>`, with room and tags behind the name where there are any, and published
together on `loxone/status` (JSON, retained), as the LoxoneSmartHome service does. They are readings, never commands: UDP proves nobody.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import structlog

from ohmstead.messages import Messenger
from ohmstead.readings import Quality, Snapshot

log = structlog.get_logger(service="loxone")

TOPIC = "loxone/status"
NONE = "_"
"""What stands for a room or a tag that was not given."""

_TIME = "%Y-%m-%d %H:%M:%S"
_YEARS = range(2000, 2100)
_LONGEST = 512
_MOST_TEXT = 64
_MOST_SERIES = 2000
_MOST_SHOWN = 500
_RESERVED = ("timestamp", "_metadata")
_AGAIN_S = 30.0
_APART_S = 0.5
_EPOCH = datetime(1970, 1, 1)


class LoxoneReading(NamedTuple):
    """One datagram: `time` in UTC seconds; `kind` is its type; rooms and tags that were not given are `_`."""

    time: float
    name: str
    value: float
    room: str = NONE
    kind: str = "default"
    tag1: str = NONE
    tag2: str = NONE

    @property
    def point(self) -> str:
        """The name of its series in the store, without dots (those are a decoder's own)."""
        tags = [f"{key}={text}" for key, text in (("room", self.room), ("tag1", self.tag1), ("tag2", self.tag2)) if text != NONE]
        return ";".join([self.name, *tags]).replace(".", "_")


class MalformedError(ValueError):
    """A datagram that is no reading; `kind` says why, the message with the field as it was."""

    def __init__(self, kind: str, field: str | None = None) -> None:
        self.kind = kind
        super().__init__(kind if field is None else f"{field!r} is {kind}")


def parse(datagram: bytes, zone: ZoneInfo) -> LoxoneReading:
    """The reading in a datagram. Raises MalformedError.

    An hour that the day has twice is taken for its second one, and one that the day does not have for standard time: both as upstream
    does it.
    """
    if len(datagram) > _LONGEST:
        raise MalformedError(f"longer than {_LONGEST} bytes")
    try:
        fields = datagram.decode().strip().split(";")
    except UnicodeDecodeError:
        raise MalformedError("no UTF-8") from None
    if len(fields) < 3:
        raise MalformedError("fewer than three fields")
    fields = fields[:7]
    if not all(field.isprintable() and len(field) <= _MOST_TEXT for field in fields):
        raise MalformedError("a field that is too long or cannot be printed")
    moment, name, value, *rest = fields
    name = name.strip().replace(" ", "_").lower()
    if not name:
        raise MalformedError("no name")
    room, kind, tag1, tag2 = (text or default for text, default in zip(rest + [""] * 4, (NONE, "default", NONE, NONE), strict=False))
    return LoxoneReading(_utc(moment, zone), name, _number(value), room, kind, tag1, tag2)


def _number(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        raise MalformedError("no number", text) from None
    if not math.isfinite(size):
        raise MalformedError("no finite number", text)
    return size


def _utc(text: str, zone: ZoneInfo) -> float:
    try:
        local = datetime.strptime(text, _TIME)
    except ValueError:
        raise MalformedError("no time such as 2024-01-15 10:30:00", text) from None
    if local.year not in _YEARS:
        raise MalformedError("a clock that was never set", text)
    offsets = [local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)]
    return (local - _EPOCH).total_seconds() - min(offset.total_seconds() for offset in offsets if offset is not None)


class LoxoneUdp(asyncio.DatagramProtocol):
    """Listens on a UDP port. `record` takes each reading for the store. `senders`: who may send (all, if there are none).

    `received` counts readings, `malformed` what was none, by reason; `strangers` what others sent; `crowded` readings of more series than
    are kept. Times in seconds; `wall` is UTC.
    """

    def __init__(
        self,
        zone: ZoneInfo,
        messenger: Messenger,
        record: Callable[[Snapshot], None],
        *,
        wall: Callable[[], float],
        senders: Collection[str] = (),
    ) -> None:
        self.received = 0
        self.malformed = 0
        self.strangers = 0
        self.crowded = 0
        self.reasons: Counter[str] = Counter()
        self._zone = zone
        self._messenger = messenger
        self._record = record
        self._wall = wall
        self._senders = frozenset(senders)
        self._series: set[tuple[str, str]] = set()
        self._newest: dict[tuple[str, str], LoxoneReading] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._said = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int) -> int:
        """Binds the port (0: any); the one that it got. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        bound: int = self._transport.get_extra_info("sockname")[1]
        log.info("listening for readings of a Miniserver", port=bound)
        return bound

    def start(self) -> None:
        self._messenger.on_connect(self._publish)

    def take(self, snapshot: Snapshot) -> None:
        """Readings of others do not concern it."""

    def tick(self, now: float) -> None:
        """`now` is monotonic."""
        if self._newest and now - self._said >= _AGAIN_S:
            self._publish()

    def close(self) -> None:
        """The last status says that it is the last."""
        if self._transport is not None:
            self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._newest:
            self._publish(final=True)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._senders and addr[0] not in self._senders:
            self.strangers += 1
            return
        try:
            reading = parse(data, self._zone)
        except MalformedError as error:
            self._refuse(error, addr[0])
            return
        series = (reading.kind, reading.point)
        if series not in self._series:
            if len(self._series) >= _MOST_SERIES:
                self.crowded += 1
                return
            self._series.add(series)
        self.received += 1
        self._record(Snapshot(f"loxone/{reading.kind}", "udp", reading.time, Quality.GOOD, {reading.point: reading.value}))
        self._show(reading)

    def error_received(self, exc: Exception) -> None:
        log.debug("UDP", reason=str(exc))

    def _refuse(self, error: MalformedError, sender: str) -> None:
        self.malformed += 1
        self.reasons[error.kind] += 1
        if self.reasons[error.kind] == 1:
            log.warning("a datagram that is no reading", reason=str(error), sender=sender)

    def _show(self, reading: LoxoneReading) -> None:
        if reading.kind in _RESERVED:
            return
        key = (reading.kind, reading.name)
        self._newest.pop(key, None)
        self._newest[key] = reading
        if len(self._newest) > _MOST_SHOWN:
            del self._newest[next(iter(self._newest))]
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(self._said + _APART_S - loop.time(), 0.0), self._publish)

    def _publish(self, final: bool = False) -> None:
        self._timer = None
        self._said = asyncio.get_running_loop().time()
        if self._newest:
            self._messenger.publish(TOPIC, json.dumps(self.status(final), ensure_ascii=False), retain=True)

    def status(self, final: bool = False) -> dict[str, object]:
        """The newest readings, by type and name, in the shape that upstream has."""
        said: dict[str, dict[str, dict[str, object]]] = {}
        for reading in self._newest.values():
            one: dict[str, object] = {"value": reading.value, "room": reading.room}
            one |= {key: text for key, text in (("tag1", reading.tag1), ("tag2", reading.tag2)) if text != NONE}
            said.setdefault(reading.kind, {})[reading.name] = one
        now = datetime.fromtimestamp(self._wall(), self._zone).isoformat(timespec="seconds")
        return {"timestamp": now, **said, "_metadata": {"final": final, "cache_size": len(self._newest)}}
