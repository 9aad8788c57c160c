"""One device of a Viessmann account: what it has said so far makes its profile, what it says now its snapshots."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sources.polling import Member
from ohmstead.sources.vicare_features import Field, fields, is_told, newest
from ohmstead.sources.vicare_points import Points

_MANY = 12
_CLOCKS_AGREE_S = 120.0
_SAMPLES: dict[str, int | float | str] = {"switch": False, "number": 0, "text": ""}
"""Which kind of value a field has."""
_SERIAL, _NAME, _VARIANT = "device.serial:value", "device.name:name", "device.variant:value"
_PREFIX = re.compile(r"^(E3|Smart)_")
_NO_NAME = re.compile(r"[^a-z0-9_-]+")


class Heard(NamedTuple):
    """What the cloud said of a device. `cloud` is the UTC second by the cloud's clock, `now` by ours, `home` what the clocks show."""

    features: Sequence[Mapping[str, Any]]
    cloud: float
    now: float
    home: datetime


class ViessmannDevice:
    """`take` what was heard of it. `silent` says since when the cloud has heard nothing of it; it is empty while all is well."""

    def __init__(
        self,
        device: str,
        model: str,
        roles: Sequence[str],
        table: Profile,
        *,
        period_s: float,
        stale_s: float,
        wanted: Callable[[Profile], Profile],
    ) -> None:
        self.device = device
        self.silent = ""
        self.model = model
        self.roles = roles
        self._period_s = period_s
        self._stale_s = stale_s
        self._wanted = wanted
        self._name = model
        self._serial: str | None = None
        self._points = Points(table)
        self._decoder: Decoder | None = None
        self._groups: dict[str, str] = {}
        self._valued: frozenset[str] = frozenset()
        self._absent: set[str] = set()
        self._lost: set[str] = set()
        self._log = structlog.get_logger(service="vicare").bind(device=device)

    def recall(self, kept: Mapping[str, Any]) -> Member:
        """What it said before a restart, as `kept` told it: its points are there before it answers. Raises ValueError and its like."""
        told = [Field(str(name), _SAMPLES[kind], str(unit), bool(settable)) for name, kind, unit, settable, _ in kept["fields"]]
        self._points.take(told, {str(name): str(point) for name, *_, point in kept["fields"]})
        member = self._known_as(str(kept["name"]), kept["serial"] if isinstance(kept["serial"], str) else None)
        self._valued = frozenset(member.profile.points)  # what stands on their topics is from then
        return member

    def kept(self) -> dict[str, Any]:
        """For `recall`."""
        return {"name": self._name, "serial": self._serial, "fields": self._points.told()}

    def take(self, heard: Heard) -> tuple[list[Snapshot], Member | None]:
        """Its snapshots, none while it is silent; and the device itself where there is something new to know of it."""
        moment = newest(heard.features, heard.cloud)
        age = max(heard.cloud - moment, 0.0) if moment is not None else float("inf")
        self._say_if_silent(age, moment)
        if self.silent or moment is None:
            return [], None
        from ohmstead.sources.vicare_derived import derived  # the library with it, which nobody waits for who has no Viessmann

        all_told = [*fields(heard.features), *derived(heard.features, self.roles, heard.home), _heard(moment)]
        told = list({field.name: field for field in all_told}.values())
        learned = self._learn(told)
        raw = self._points.raw(told)
        self._say_what_is_missing(heard.features, told)
        values = self._decoder.decode_fields(raw) if self._decoder is not None else {}
        gone, self._valued = self._valued - values.keys(), frozenset(values)
        by_group: dict[str, dict[str, Value]] = {self._groups[point]: {} for point in gone}
        for point, value in values.items():
            by_group.setdefault(self._groups[point], {})[point] = value
        # The cloud's own time where our clock agrees with it: then what has not changed since the last poll has the time that it had.
        time = moment if abs(heard.cloud - heard.now) < _CLOCKS_AGREE_S and moment <= heard.now else heard.now - age
        of_group = {group: [point for point in gone if self._groups[point] == group] for group in by_group}
        return [Snapshot(self.device, group, time, Quality.GOOD, by_group[group], gone=of_group[group]) for group in by_group], learned

    def _learn(self, told: Sequence[Field]) -> Member | None:
        if not self._points.take(told) and self._decoder is not None:
            return None
        said = {field.name: str(field.value) for field in told if field.name in (_SERIAL, _NAME, _VARIANT)}
        variant = said.get(_VARIANT) or _PREFIX.sub("", self.model).replace("_", " ")
        return self._known_as(said.get(_NAME) or f"Viessmann {variant}", said.get(_SERIAL))

    def _known_as(self, name: str, serial: str | None) -> Member:
        self._name, self._serial = name, serial
        names = {"profile": "vicare-learned", "name": self.model, "model": self.model}
        profile = self._points.profile(names, self._period_s)
        self._decoder = Decoder(self._wanted(profile))
        self._groups = {point.id: point.group for point in profile.points.values()}
        return Member(self.device, name, profile, self._period_s, serial)

    def _say_if_silent(self, age: float, moment: float | None) -> None:
        was = self.silent
        if age <= self._stale_s:
            self.silent = ""
        elif moment is None:
            self.silent = f"it says nothing that has a time of {self.model}"
        else:
            since = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
            self.silent = f"it has heard nothing of {self.model} since {since}"
        if bool(was) != bool(self.silent):
            if self.silent:
                self._log.warning("silent", reason=self.silent)
            else:
                self._log.info("heard again")

    def _say_what_is_missing(self, features: Sequence[Mapping[str, Any]], told: Sequence[Field]) -> None:
        """Each thing once: features that this device does not have, values that went away, units that do not fit."""
        there = {field.name for field in told}
        if not self._absent:
            unused = [str(feature["feature"]) for feature in features if not is_told(feature)]
            if unused:
                self._log.info("features without a value", count=len(unused), first=unused[:_MANY])
        gone = {str(point.field) for point in self._points.points() if point.field not in there} - self._absent
        if gone:
            self._log.info("no longer there", fields=sorted(gone)[:_MANY], count=len(gone))
        self._absent |= gone or {""}
        if new := self._points.lost.keys() - self._lost:
            self._log.warning("a unit that does not fit", fields={name: self._points.lost[name] for name in sorted(new)})
            self._lost |= new


def part_of(gateway: str, device: str) -> str:
    """What a device of the account is called behind the configured one."""
    return _NO_NAME.sub("-", f"{gateway}-{device}".lower()).strip("-") or "device"


def _heard(moment: float) -> Field:
    return Field(":heard", datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds"))
