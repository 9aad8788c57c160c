"""A Shelly that measures (Gen2 and later), over HTTP or a broker.

Its status is a map of components (`em:0`, `emdata:0`, `em1:0`, `pm1:0`, `switch:0` …); `<component>.<key>` is what the profiles call
a field. Which profile it is is known once it has answered: people switch a Pro 3EM between one meter of three phases and three meters.
What it says by itself is partial: what is absent there has not changed, it is not zero.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import structlog

from ohmstead.errors import WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.lasting import Remembered
from ohmstead.sources.polling import Adopt, Member, Memory
from ohmstead.sources.shelly_energy import Sums
from ohmstead.sources.shelly_rpc import Channel

GROUP = "live"
_SUM = ".sum"
_BROKEN = ("power_meter_failure", "ct_type_not_set")
_OUT_OF_RANGE = "out_of_range:"
_LARGEST = 1e12
_WHO = ("mac", "name", "app", "model")
_KINDS = (("em:", "", "shelly-em"), ("em1:", "", "shelly-em1"), ("pm1:", ".apower", "shelly-pm1"))
"""Component, what it has to say, and the profile of a device with such components; the first that fits."""


class _Kept(NamedTuple):
    """What a device was found to be: its profile's name, the fields it has said something for, and who it says it is. Kept over restarts,
    so that its points are there before it answers."""

    kind: str = ""
    known: frozenset[str] = frozenset()
    info: Mapping[str, str] = {}

    def text(self) -> str:
        return json.dumps({"kind": self.kind, "known": sorted(self.known), "info": self.info}, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> _Kept:
        """Raises ValueError, TypeError, KeyError or AttributeError where it is nothing that was kept."""
        content = json.loads(text)
        info = {str(key): str(said) for key, said in content["info"].items()}
        if content["kind"] not in [kind for _, _, kind in _KINDS] or "mac" not in info:
            raise ValueError(f"no Shelly that is known here: {content['kind']}")
        return cls(content["kind"], frozenset(map(str, content["known"])), info)


class ShellyReader:
    """Reads one device through `channel`; what it is goes to `adopt`, what it says by itself to `emit`.

    `load` finds a profile by its name, `wanted` gives it the names, units and scales that its owner wants; `period_s` is how often it is
    polled, in seconds; `wall` gives seconds since 1970.
    """

    def __init__(
        self,
        device: str,
        channel: Channel,
        adopt: Adopt,
        emit: Callable[[Snapshot], None],
        memory: Memory,
        *,
        period_s: float = 10.0,
        load: Callable[[str], Profile] = library.load,
        wanted: Callable[[Profile], Profile] = lambda profile: profile,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.device = device
        self._channel = channel
        self._adopt = adopt
        self._emit = emit
        self._period_s = period_s
        self._load = load
        self._wanted = wanted
        self._wall = wall
        self._sums = Sums(memory, f"shelly/{device}/energy", device, wall=wall)
        self._memory = memory
        self._key = f"shelly/{device}/model"
        self._remembered = Remembered(memory, self._key, device)
        self._kept = _Kept()
        self._keep_due = False
        self._decoder: Decoder | None = None
        self._info: Mapping[str, Any] = {}
        self._uptime = math.inf
        self._met: set[str] = set()
        self._fields: dict[str, frozenset[str]] = {}
        self._broken: frozenset[str] = frozenset()
        self._sound = False
        """Whether the last poll succeeded. While not, nobody knows who speaks."""
        self._log = structlog.get_logger(service="shelly").bind(device=device)

    def start(self) -> None:
        """What it was found to be last time it is until it says otherwise; nothing where the store cannot be read."""
        self._take_up(self._remembered.recall())
        self._channel.start(self._notified)

    def _take_up(self, text: str | None) -> None:
        """What was kept of it, also where it has answered before that could be read."""
        if text is None:
            return
        try:
            kept = _Kept.of(text)
            if self._decoder is None:
                self._learn(kept)
            elif (kept.kind, kept.info["mac"]) == (self._kept.kind, self._kept.info["mac"]):
                self._learn(self._kept._replace(known=self._kept.known | kept.known))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._log.warning("what was kept of its model is unreadable; it is asked again", reason=str(error))

    async def read(self) -> Sequence[Snapshot]:
        """One poll: its whole status. Raises SourceError."""
        try:
            snapshot = await self._read()
        except BaseException:
            self._sound = False
            raise
        self._sound = True
        return [snapshot]

    async def _read(self) -> Snapshot:
        if not self._remembered.known:
            self._take_up(await asyncio.to_thread(self._remembered.recall))
        if not self._sums.loaded:
            await asyncio.to_thread(self._sums.load)
        if not self._info:
            self._info = await self._asked_who_it_is()
        status = await self._channel.call("Shelly.GetStatus")
        if self._is_new(status):
            self._info = {}  # until it has said so, nobody knows who it is
            self._info = await self._asked_who_it_is()
        self._broken = frozenset(_broken(status))
        fields = dict(_fields(status, self._broken))
        decoder = await self._learned(fields)
        fields |= {f"info.{key}": value for key, value in self._info.items()}
        values = decoder.decode_fields(fields | self._summed(decoder, fields))
        quality = Quality.PARTIAL if self._met - values.keys() or not self._sums.loaded else Quality.GOOD
        self._met |= values.keys()
        gone = decoder.profile.points.keys() - values.keys()
        return Snapshot(self.device, GROUP, self._wall(), quality, values, gone=gone, kept=self._sums.news())

    async def close(self) -> None:
        await self._channel.close()

    async def dump(self) -> object:
        """Who it is, and its whole status, as it says them. Raises SourceError."""
        return {
            "info": dict(await self._channel.call("Shelly.GetDeviceInfo")),
            "status": dict(await self._channel.call("Shelly.GetStatus")),
        }

    async def _asked_who_it_is(self) -> Mapping[str, Any]:
        info = await self._channel.call("Shelly.GetDeviceInfo")
        generation, mac = info.get("gen"), info.get("mac")
        if not isinstance(generation, int) or generation < 2 or not isinstance(mac, str) or not mac:
            raise WrongAnswer(f"{self._channel.address} is no Shelly of the second generation or later")
        return info

    def _is_new(self, status: Mapping[str, Any]) -> bool:
        """Whether the device was restarted, so that its firmware may be another one, or is another device."""
        system = status.get("sys")
        if not isinstance(system, dict):
            return False
        uptime, mac = system.get("uptime"), system.get("mac")
        restarted = isinstance(uptime, int | float) and uptime < self._uptime != math.inf
        self._uptime = uptime if isinstance(uptime, int | float) else self._uptime
        return restarted or (isinstance(mac, str) and mac != self._info["mac"])

    async def _learned(self, fields: Mapping[str, object]) -> Decoder:
        """Decodes what this device says; a device that turns out to be something else, or to say more, is made known anew, and kept."""
        kind = next((kind for component, key, kind in _KINDS if any(n.startswith(component) and n.endswith(key) for n in fields)), None)
        if kind is None:
            model = self._info.get("model", "this device")
            raise WrongAnswer(f"{self._channel.address}: {model} measures nothing (no em, em1 or pm1, no switch with a power)")
        known = self._of_interest(kind) & {name for name, said in fields.items() if said is not None}
        info = {key: str(said) for key in _WHO if (said := self._info.get(key)) is not None}
        if kind == self._kept.kind and info["mac"] == self._kept.info.get("mac"):
            known |= self._kept.known
        else:
            self._met = set()
            if self._kept.kind not in ("", kind):
                self._log.info("it measures in another way now", was=self._kept.kind, now=kind)
        kept = _Kept(kind, known, info)
        if self._decoder is None or kept != self._kept:
            self._learn(kept)
            self._keep_due = True
        if self._keep_due and self._remembered.known:
            self._keep_due = False
            await asyncio.to_thread(self._memory.write, self._key, self._kept.text())
        assert self._decoder is not None  # noqa: S101 - `_learn` has made it
        return self._decoder

    def _of_interest(self, kind: str) -> frozenset[str]:
        """The fields that a profile has points for."""
        if kind not in self._fields:
            points = self._load(kind).points.values()
            self._fields[kind] = frozenset(point.field.removesuffix(_SUM) for point in points if point.field is not None)
        return self._fields[kind]

    def _learn(self, kept: _Kept) -> None:
        self._kept = kept
        profile = _of_this_device(self._load(kept.kind), kept.known, kept.info)
        self._decoder = Decoder(self._wanted(profile))
        self._adopt(Member(self.device, kept.info.get("name", profile.name), profile, self._period_s, kept.info["mac"]))

    def _summed(self, decoder: Decoder, fields: Mapping[str, object]) -> dict[str, float]:
        """The sums of the counters among `fields`, as the profile calls them."""
        counters: dict[str, float] = {}
        for point in decoder.profile.points.values():
            if point.field is not None and point.field.endswith(_SUM):
                reading = fields.get(point.field.removesuffix(_SUM))
                if isinstance(reading, int | float) and reading >= 0.0:
                    counters[point.field.removesuffix(_SUM)] = float(reading)
        return {name + _SUM: total for name, total in self._sums.add(counters, str(self._info["mac"])).items()} if counters else {}

    def _notified(self, changed: Mapping[str, Any]) -> None:
        """What has changed, by the device's own account. Before the first poll, and after one that failed, nobody knows who it is."""
        if self._decoder is None or not self._sound or not self._info:
            return
        fields = dict(_fields(changed, self._broken | frozenset(_broken(changed))))
        values = self._decoder.decode_fields(fields | self._summed(self._decoder, fields))
        told = {point.id for point in self._decoder.profile.points.values() if point.field in fields}
        if values or told:
            kept = self._sums.news()
            self._emit(Snapshot(self.device, GROUP, self._wall(), Quality.GOOD, values, gone=told - values.keys(), kept=kept))


def _of_this_device(profile: Profile, known: frozenset[str], info: Mapping[str, str]) -> Profile:
    """The points that this device has said something for."""
    points = {
        name: point
        for name, point in profile.points.items()
        if point.field is None or point.field.startswith("info.") or point.field.removesuffix(_SUM) in known
    }
    return profile.model_copy(update={"points": points, "model": info.get("app", profile.model)})


def _component(name: str) -> str:
    """A switch with a meter says what a `pm1` says."""
    return f"pm1:{name.removeprefix('switch:')}" if name.startswith("switch:") else name


def _fields(status: Mapping[str, Any], broken: frozenset[str]) -> Iterator[tuple[str, object]]:
    """`<component>.<key>` and what it says, None for what is broken or no value at all; `<component>.<key>.<key>` for what is nested."""
    for name, state in status.items():
        if not isinstance(state, dict) or ":" not in name:
            continue
        component = _component(name)
        for key, said in state.items():
            for field, value in [(f"{key}.{inner}", deep) for inner, deep in said.items()] if isinstance(said, dict) else [(key, said)]:
                path = f"{component}.{field}"
                yield path, None if any(path.startswith(prefix) for prefix in broken) or not _is_value(key, value) else value


def _is_value(key: str, value: object) -> bool:
    if isinstance(value, bool):
        return key == "output"
    return isinstance(value, int | float) and abs(value) < _LARGEST


def _broken(status: Mapping[str, Any]) -> Iterator[str]:
    """What fields begin with whose meter says itself that it fails: a component's, those of a phase (`em:0.a_`) and then the totals too,
    or a single one's."""
    for name, state in status.items():
        for key, errors in state.items() if isinstance(state, dict) else ():
            if not (key == "errors" or key.endswith("_errors")) or not isinstance(errors, list):
                continue
            phase = f"{_component(name)}.{key.removesuffix('errors')}"
            for error in errors:
                if error in _BROKEN:
                    yield phase
                    yield f"{_component(name)}.total_"
                elif isinstance(error, str) and error.startswith(_OUT_OF_RANGE):
                    yield phase + error.removeprefix(_OUT_OF_RANGE)
