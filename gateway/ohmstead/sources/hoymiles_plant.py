"""What the lists of a Hoymiles DTU mean, whoever read them: the plant, each inverter, and what is remembered of their production.

A list that broke off keeps what came before its fault; what was not read is absent, and so is every sum over it, except where the
remembered production (`hoymiles_production`) accounts for each port there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import NamedTuple

import structlog

from ohmstead.errors import OhmsteadError, SourceError
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.hoymiles_models import inverter_fields, inverter_model
from ohmstead.sources.hoymiles_production import Key, Production
from ohmstead.sources.hoymiles_records import CurrentUnits, Record, by_inverter, doubled
from ohmstead.sources.polling import Adopt, Member, Memory

GROUP = "plant"
_SAVE_EVERY_S = 10.0
"""Productions are remembered with each poll, and where polls are closer than this, so often."""
_MISSED_S = 86400.0
"""A port that the list has left out for longer is gone as far as the power of the plant is concerned."""
_COOLER = 2.0
"""°C below the threshold at which it counts as cool again."""


class Wishes(NamedTuple):
    """What the owner wants of a DTU. `names` are keyed by the serial number of an inverter, or "serial/port"; `hot` is in °C."""

    exclude: frozenset[str] = frozenset()
    names: Mapping[str, str] = {}
    reset_hour: int = 0
    hot: float | None = None


class PortList(NamedTuple):
    """The records that were read; `fault` says what ended it before its end."""

    records: list[Record]
    fault: str | None = None


class _Inverter(NamedTuple):
    """What is known of one. `measured` are the points that it has while it is awake."""

    ports: frozenset[int]
    decoder: Decoder
    measured: frozenset[str]


class DtuPlant:
    """The plant behind one DTU. `profile` is the DTU's own (hoymiles-dtu), `pattern` that of its inverters (hoymiles-inverter); `zone` is
    the home's. `shaped` is what the owner wants otherwise of the points of an inverter.

    `restore` before the first `snapshots`, `keep` after each; both block nobody. `serial` is the DTU's own serial number, None while it is
    not known; `said` are the values of controls as they were last taken.
    """

    def __init__(
        self,
        device: str,
        profile: Profile,
        pattern: Profile,
        adopt: Adopt,
        memory: Memory,
        *,
        zone: tzinfo,
        period_s: float,
        wishes: Wishes | None = None,
        shaped: Callable[[Profile], Profile] = lambda profile: profile,
    ) -> None:
        self.device = device
        self.serial: str | None = None
        self.said: dict[str, int] = {}
        self.restored = False
        self._decoder = Decoder(profile, zone)
        self._pattern = pattern
        self._adopt = adopt
        self._memory = memory
        self._key = f"hoymiles/{device}/production"
        self._period_s = period_s
        self._wishes = wishes or Wishes()
        self._shaped = shaped
        self._production = Production(zone, self._wishes.reset_hour)
        self._units = CurrentUnits()
        self._inverters: dict[str, _Inverter] = {}
        self._saved = float("-inf")
        self._forgetful = False
        self._hot: set[str] = set()
        self._strangers: set[Key] = set()
        self._told: set[str] = set()
        self._log = structlog.get_logger(service="hoymiles").bind(device=device)

    @property
    def inverters(self) -> Sequence[str]:
        """The serial numbers of all that are known."""
        return list(self._inverters)

    @property
    def seen(self) -> float:
        """When the newest list was read that is remembered, in UTC seconds; 0 if none is."""
        return self._production.seen

    # What is remembered

    async def restore(self) -> None:
        """Reads what was produced so far. Raises SourceError where that cannot be read: who began anew then would forget it."""
        try:
            text = await asyncio.to_thread(self._memory.read, self._key)
        except OhmsteadError as error:
            raise SourceError(f"what was produced so far cannot be read: {error}") from error
        if text is not None:
            self._production.restore(text)
        self._production.forget(self._wishes.exclude)
        ports: dict[str, set[int]] = {}
        for serial, port in self._production.ports:
            ports.setdefault(serial, set()).add(port)
        for serial, numbers in ports.items():
            self._know(serial, numbers)
        self.restored = True

    async def keep(self) -> None:
        """Remembers what was produced, if it is time."""
        pause_s = _SAVE_EVERY_S if self._period_s < _SAVE_EVERY_S else 0.0
        if self._production.changed and time.monotonic() >= self._saved + pause_s:
            await self._save()

    async def close(self) -> None:
        """Remembers it at the end."""
        if self._production.changed:
            await self._save()

    async def _save(self) -> None:
        """A full disk costs what would be known after a restart, not the readings."""
        self._saved = time.monotonic()
        text = self._production.text()
        try:
            await asyncio.to_thread(self._memory.write, self._key, text)
        except OhmsteadError as error:
            if not self._forgetful:
                self._log.warning("what was produced is not kept", reason=str(error))
            self._forgetful = True
            return
        if text == self._production.text():  # else a list came meanwhile
            self._production.kept()
        if self._forgetful:
            self._log.info("what was produced is kept again")
        self._forgetful = False

    # What a list means

    def snapshots(self, found: PortList, troubles: Sequence[str], now: float, *, live: bool = True, age: float = 0.0) -> list[Snapshot]:
        """What a list says that was read at `now` (UTC seconds): the plant first, then each inverter in the order of the list. `troubles`
        are in words what else went wrong; `live` and `age` as in Snapshot."""
        faults = list(troubles)
        if found.fault is not None:
            faults.append(f"the list of ports ends after {len(found.records)}: {found.fault}")
        excluded = self._wishes.exclude
        listed = [record for record in found.records if record.serial not in excluded]
        listed, strangers = self._familiar(listed)
        faults += [f"port {port} of {serial} is new, it is believed when it is there again" for serial, port in strangers]
        unclear = doubled(listed)
        faults += [f"port {port} of {serial} is in the list twice and not the same" for serial, port in sorted(unclear)]
        inverters = by_inverter(record for record in listed if (record.serial, record.port) not in unclear)
        records = [record for own in inverters.values() for record in own]
        complete = found.fault is None
        keys = {(record.serial, record.port) for record in listed}
        if complete and listed and self.serial is not None:
            self._production.belongs_to(self.serial, keys)
        missing = self._production.missing(keys, now - _MISSED_S) if complete else []
        if found.records:
            faults += [f"port {port} of {serial} is no longer in the list" for serial, port in missing]
        else:
            faults.append("the DTU lists no inverter")
        self._production.take(records, now, complete=complete and bool(listed))
        sure = complete and bool(listed) and not (missing or unclear or strangers)
        self._tell(faults)
        snapshots = [self._of_plant(records, sure, Quality.PARTIAL if faults else Quality.GOOD, now)]
        night = complete and not any(record.awake for record in records)
        for serial, own in inverters.items():
            snapshots.append(self._of_inverter(serial, own, night, now))
        return [one._replace(live=live, age=age) for one in snapshots]

    def _familiar(self, listed: list[Record]) -> tuple[list[Record], list[Key]]:
        """The records of ports that are known, or were in the last list already, and which others there are. One list with something
        strange in it would otherwise make devices, and stay in the sums. The first list of a DTU is believed."""
        known = self._production.ports
        first = not known or self._production.is_of_another(self.serial)
        strange = {(one.serial, one.port) for one in listed if not first and (one.serial, one.port) not in known}
        new, self._strangers = strange - self._strangers, strange
        return [one for one in listed if (one.serial, one.port) not in new], sorted(new)

    def _of_plant(self, records: Sequence[Record], sure: bool, quality: Quality, now: float) -> Snapshot:
        """What the DTU stands for. The power of inverters that it does not hear counts for nothing; their production stays."""
        linked = [record for record in records if record.link]
        alarm = any(record.alarm_code for record in linked)
        today, total = (None, None) if self._production.is_of_another(self.serial) else self._production.plant()
        fields: dict[str, object] = {
            "serial_no": self.serial,
            "pv_power": sum(record.power for record in linked) if sure else None,
            "today_production": today,
            "total_production": total,
            "alarm_flag": int(alarm) if sure or alarm else None,
            **self.said,
        }
        values = self._decoder.decode_fields(fields)
        self._decoder.calculate(values, now)
        return Snapshot(self.device, GROUP, now, quality, values)

    def _of_inverter(self, serial: str, records: Sequence[Record], night: bool, now: float) -> Snapshot:
        known = self._know(serial, {record.port for record in records})
        produced = {record.port: self._production.of(serial, record.port) for record in records}
        values = known.decoder.decode_fields(inverter_fields(records, self._units, produced, night=night))
        known.decoder.calculate(values, now)
        quality = Quality.GOOD if len(records) == len(known.ports) else Quality.PARTIAL
        gone = known.measured - values.keys() if not any(record.awake for record in records) else ()
        self._watch(serial, values.get("temperature"))
        return Snapshot(f"{self.device}-{serial}", GROUP, now, quality, values, gone=gone)

    def _know(self, serial: str, ports: set[int]) -> _Inverter:
        """What is known of an inverter; makes it a device when it or one of its ports is new."""
        known = self._inverters.get(serial)
        if known is not None and ports <= known.ports:
            return known
        every = frozenset(ports | (known.ports if known is not None else frozenset()))
        named = self._wishes.names
        called = {port: named[f"{serial}/{port}"] for port in every if f"{serial}/{port}" in named}
        model = self._shaped(inverter_model(self._pattern, every, called))
        measured = frozenset(point.id for point in model.points.values() if point.state_class == "measurement")
        self._inverters[serial] = known = _Inverter(every, Decoder(model), measured)
        name = named.get(serial, f"{self._pattern.name} {serial}")
        self._adopt(Member(f"{self.device}-{serial}", name, model, self._period_s, serial))
        return known

    # What people hear of it

    def _tell(self, faults: Sequence[str]) -> None:
        """A line for each fault that begins, and one when the last has ended."""
        for fault in faults:
            if fault not in self._told:
                self._log.warning("not all of it was read", reason=fault)
        if self._told and not faults:
            self._log.info("all of it is read again")
        self._told = set(faults)

    def _watch(self, serial: str, temperature: object) -> None:
        """A line when an inverter becomes hotter than its owner wants, and one when it is no longer."""
        if self._wishes.hot is None or not isinstance(temperature, int | float):
            return
        if temperature > self._wishes.hot and serial not in self._hot:
            self._hot.add(serial)
            self._log.warning("hot", inverter=serial, temperature=temperature, threshold=self._wishes.hot)
        elif temperature < self._wishes.hot - _COOLER and serial in self._hot:
            self._hot.discard(serial)
            self._log.info("cool again", inverter=serial, temperature=temperature)
