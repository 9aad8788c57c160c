"""What each PV port has produced today and in all: never less than was said before, over nights, restarts and false readings.

A DTU says 0 of an inverter that sleeps, an old total after a fault, and nothing of one that its list leaves out. Here a port keeps what
it had. Its total only grows; so does its day, until the home's day ends: once, at the configured hour of the local clock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

import structlog

from ohmstead.sources.hoymiles_records import Record

log = structlog.get_logger(service="hoymiles")

_MOST_WATTS = 1500
"""More than any PV port gives; what a counter gains faster than this is no production."""
_SLACK_WH = 5000
"""A counter may be ahead of that by so much: an inverter that the DTU could not hear brings its news at once."""
_BELIEVED_AFTER = 3
"""So often in a row a counter has to say something unlikely until it is believed."""
_RESET_AFTER_S = 600.0
"""And for so long, if it is a fall: a counter that begins anew stays low, a false reading does not."""
_WATCHED_S = 7200.0
"""Who looked at a port so short a time before the day's end knows that it has produced nothing since."""

Key = tuple[str, int]
"""Serial number of the inverter, number of the port."""


class Produced(NamedTuple):
    """Wh of today and in all; None where that is not known."""

    today: int | None
    total: int | None


@dataclass
class _Port:
    """What is remembered of a port. Energies in Wh, times in seconds since 1970."""

    today: int | None = None
    total: int | None = None
    register: int = 0
    """What its register of the day said last."""
    before: int = 0
    """The part of that which belongs to the days before."""
    total_at_dawn: int = 0
    """The total when the day began."""
    offset: int = 0
    """What its counter had when it began anew."""
    seen: float = 0.0
    """When it was last in the list."""
    counted: float = 0.0
    """When its total was last believed."""
    unlikely: int = 0
    """How often in a row its total was not."""
    unlikely_since: float = 0.0
    today_unlikely: int = 0
    """The same of its day."""

    def take(self, record: Record, now: float) -> None:
        if not record.awake:
            if self.total is None and record.total:
                self._count(record.total, now)
            self.seen = now
            return
        most = _SLACK_WH + _MOST_WATTS * max(now - self.counted, 0.0) / 3600
        self._take_total(record.total, now, most)
        self._take_today(record.today, most)
        self.seen = now

    def begin_day(self, now: float) -> None:
        """A new day: what its register holds so far is of the old one, unless the inverter has begun anew by itself already."""
        held = self.today is not None and self.register - self.before >= self.today
        self.before = self.register if held else 0
        self.total_at_dawn = self.total or 0
        self.today = 0 if now - self.seen <= _WATCHED_S else None
        self.today_unlikely = 0

    def _take_today(self, register: int, most: float) -> None:
        if self.today is not None and register - self.before - self.today > most:
            self.today_unlikely += 1
            if self.today_unlikely < _BELIEVED_AFTER:
                return
        self.today_unlikely = 0
        if register < self.before or (self.before and self._all_of_today(register)):
            self.before = 0
        self.register = register
        self.today = max(register - self.before, self.today or 0)

    def _all_of_today(self, register: int) -> bool:
        """Whether the register has begun anew and passed its old value since the day began: then the total has grown by about all of it."""
        grown = (self.total or 0) - self.total_at_dawn
        return abs(grown - register) <= abs(grown - (register - self.before))

    def _take_total(self, register: int, now: float, most: float) -> None:
        if self.total is None:
            self._count(register, now)
            return
        gained = register + self.offset - self.total
        if 0 <= gained <= most:
            self._count(register + self.offset, now)
            return
        if not self.unlikely:
            self.unlikely_since = now
        self.unlikely += 1
        if self.unlikely < _BELIEVED_AFTER:
            return
        if gained > 0:
            self._count(register + self.offset, now)
        elif now - self.unlikely_since >= _RESET_AFTER_S:
            self.offset = self.total - register
            self._count(self.total, now)

    def _count(self, total: int, now: float) -> None:
        self.total, self.counted, self.unlikely = total, now, 0


_NUMBERS = frozenset(field.name for field in fields(_Port))


class Production:
    """The ports of one DTU. `zone` is the home's, `reset_hour` the local hour at which its day begins."""

    def __init__(self, zone: tzinfo, reset_hour: int = 0) -> None:
        self._zone = zone
        self._reset_hour = reset_hour
        self._ports: dict[Key, _Port] = {}
        self._day: date | None = None
        self._dtu: str | None = None
        self._complete = False
        self._changed = False

    @property
    def ports(self) -> Collection[Key]:
        """Every port that was ever in the list."""
        return self._ports.keys()

    @property
    def seen(self) -> float:
        """When the newest record was read, in UTC seconds; 0 before the first."""
        return max((port.seen for port in self._ports.values()), default=0.0)

    @property
    def changed(self) -> bool:
        """Whether there is something to remember that was not there when it was last `kept`."""
        return self._changed

    def kept(self) -> None:
        """What `text` says is remembered."""
        self._changed = False

    def text(self) -> str:
        """All of it, for `restore` after the next start."""
        ports = {f"{serial}/{port}": vars(known) for (serial, port), known in self._ports.items()}
        day = self._day.isoformat() if self._day else None
        return json.dumps({"day": day, "dtu": self._dtu, "complete": self._complete, "ports": ports})

    def restore(self, text: str) -> None:
        """What `text` said before. One that means nothing is left out: then the ports are unknown until they are read."""
        try:
            said = json.loads(text)
            day = date.fromisoformat(said["day"]) if said["day"] else None
            ports = {_key(name): _restored(numbers) for name, numbers in said["ports"].items()}
            complete, dtu = said["complete"] is True, said.get("dtu")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("the remembered production means nothing and begins anew", reason=str(error))
            return
        self._day, self._ports, self._complete, self._dtu = day, ports, complete, dtu

    def take(self, records: Iterable[Record], now: float, *, complete: bool) -> None:
        """What was read. `complete`: these are all that there are. The day begins anew before that if it is time."""
        self._begin_day(now)
        for record in records:
            port = self._ports.get((record.serial, record.port))
            if port is None:
                port = self._ports[record.serial, record.port] = _Port()
            port.take(record, now)
            self._changed = True
        self._complete |= complete

    def forget(self, serials: Collection[str]) -> None:
        """The owner leaves these inverters out: they are in no sum."""
        for key in [key for key in self._ports if key[0] in serials]:
            del self._ports[key]
            self._changed = True

    def is_of_another(self, dtu: str | None) -> bool:
        """Whether it was counted behind a DTU with another serial number than this one, as far as both are known."""
        return None not in (dtu, self._dtu) and dtu != self._dtu

    def belongs_to(self, dtu: str, keys: Collection[Key]) -> None:
        """These ports are all that the DTU with this serial number has. Those that only another one had, which it replaces, are gone."""
        if self.is_of_another(dtu):
            for key in [key for key in self._ports if key not in keys]:
                del self._ports[key]
        self._changed |= self._dtu != dtu
        self._dtu = dtu

    def of(self, serial: str, port: int) -> Produced:
        known = self._ports.get((serial, port))
        return Produced(known.today, known.total) if known is not None else Produced(None, None)

    def plant(self) -> Produced:
        """The sums over all ports there are; None while one of them, or whether there are more, is not known."""
        if not self._complete or not self._ports:
            return Produced(None, None)
        todays = [port.today for port in self._ports.values() if port.today is not None]
        totals = [port.total for port in self._ports.values() if port.total is not None]
        every = len(self._ports)
        return Produced(sum(todays) if len(todays) == every else None, sum(totals) if len(totals) == every else None)

    def missing(self, keys: Collection[Key], since: float) -> list[Key]:
        """The ports beside `keys` that were there after the moment `since`."""
        return [key for key, port in self._ports.items() if key not in keys and port.seen > since]

    def _begin_day(self, now: float) -> None:
        local = datetime.fromtimestamp(now, self._zone)
        day = local.date() if local.hour >= self._reset_hour else local.date() - timedelta(days=1)
        if self._day is not None and day > self._day:
            for port in self._ports.values():
                port.begin_day(now)
        if self._day is None or day > self._day or self._day - day > timedelta(days=1):  # that far back only a clock goes that was wrong
            self._day = day
            self._changed = True


def _key(name: str) -> Key:
    serial, _, port = name.partition("/")
    return serial, int(port)


def _restored(numbers: dict[str, float | None]) -> _Port:
    if unknown := set(numbers) - _NUMBERS:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    if any(not isinstance(number, int | float) and not (number is None and name in ("today", "total")) for name, number in numbers.items()):
        raise ValueError("not a number")
    return _Port(**numbers)  # type: ignore[arg-type]  # checked just now
