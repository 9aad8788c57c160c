"""A heat pump with a Luxtronik controller: everything it has to say in one connection a poll.

The points of the profile are told whole each time, all other numbers only when they change, and whole once a day and after a start.
Nothing is written but what the profile's controls name, the library holds safe, and does not read so already.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo

import structlog

from ohmstead.errors import Refused, WrongAnswer
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.luxtronik import NOTHING, VERSION_AT, Entry, entry
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sources.luxtronik_wire import CALCULATIONS, PARAMETERS, Conversation, Endpoint, connected

log = structlog.get_logger(service="luxtronik")

LIVE, FURTHER = "live", "further"
"""The groups of the snapshots: the profile's points, and what changed of the rest."""

REBOOTS = ("V1.90.0", "V2.90.0")
"""Software that restarts the controller at any write."""

_NO_SENSOR = -500
_MAYBE_NO_SENSOR = (0, 50, 750)
OPTIONAL = frozenset(
    f"C{number}"
    for number in (13, 17, 19, 20, 21, 23, 24, 26, 27, 28, 137, 142, 143, 159, 160, 175, 176, 177, 178, 180, 181, 203, 204, 227, 229)
)
"""Sensors that a pump may do without; those of flow, return, hot gas and outside air every pump has."""

ADDRESSES = {"C": (91, 92, 93, 94), "P": (750, 751, 752, 753, 861)}
"""The controller's own network addresses, and that of the maker's server."""

_VERSION_REST = range(VERSION_AT + 1, VERSION_AT + 10)
"""Calculations that are the version's further characters."""

_HEAT, _ELECTRICAL, _COMPRESSORS = 257, 268, (44, 45, 231)
_PLAUSIBLE_COP = (0.7, 15.0)
_JUDGED_AFTER_S = 600.0
_READ_BACKS = 3

Raw = Mapping[str, Sequence[int]]
"""Block (C, P, V) → its integers."""

Wall = Callable[[], float]
IsAbsent = Callable[[Entry, int], bool]


class LuxtronikReader:
    """One controller. `decoder` is that of its profile, `zone` the home's, for the moments that it tells; `settle_s` is the pause before
    what was written is read again where it does not read so yet."""

    def __init__(self, device: str, endpoint: Endpoint, decoder: Decoder, zone: tzinfo, wall: Wall, *, settle_s: float = 0.5) -> None:
        self._device = device
        self._endpoint = endpoint
        self._decoder = decoder
        self._zone = zone
        self._wall = wall
        self._settle_s = settle_s
        self._log = log.bind(device=device)
        self._named = [_entry_of(point.field) for point in decoder.profile.points.values() if point.field is not None]
        self._written = {decoder.profile.points[control.point].field for control in decoder.profile.controls.values()}
        self._further = _Further({one.field for one in self._named}, zone)
        self._there: set[str] = set()
        self._version: Sequence[int] | None = None
        self._told = frozenset(point.id for point in decoder.profile.points.values() if point.field is not None)
        """What has a value on its topic; before the first poll anything may, from before a restart."""
        self._electrical = _ElectricalPower(self._log)

    async def read(self) -> Sequence[Snapshot]:
        """One poll; raises Unreachable, NoAnswer or WrongAnswer."""
        async with connected(self._endpoint) as conversation:
            blocks = await conversation.blocks()
        now = self._wall()
        raw: Raw = {"C": blocks.calculations, "P": blocks.parameters, "V": blocks.visibilities}
        self._recognise(blocks.calculations[VERSION_AT : _VERSION_REST.stop])
        values = self._decoder.decode_fields(self._fields(raw, now))
        self._decoder.calculate(values, now)
        gone, self._told = self._told - values.keys(), frozenset(values)
        snapshots = [Snapshot(self._device, LIVE, now, Quality.GOOD, values, gone=gone)]
        further = self._further.news(raw, datetime.fromtimestamp(now, self._zone).date().toordinal(), self._is_absent)
        if further:
            snapshots.append(Snapshot(self._device, FURTHER, now, Quality.GOOD, further))
        return snapshots

    def _recognise(self, version: Sequence[int]) -> None:
        """Of another controller, or another software, nothing is known that was known before."""
        if self._version is not None and version != self._version:
            self._there.clear()
            self._electrical = _ElectricalPower(self._log)
            self._log.info("another software, or another controller")
        self._version = version

    async def dump(self) -> object:
        """The three blocks raw, as `ohmstead simulate luxtronik --dump` serves them; network addresses are left out."""
        async with connected(self._endpoint) as conversation:
            blocks = await conversation.blocks()
        parameters, calculations = list(blocks.parameters), list(blocks.calculations)
        for numbers, hidden in ((parameters, ADDRESSES["P"]), (calculations, ADDRESSES["C"])):
            for number in hidden:
                if number < len(numbers):
                    numbers[number] = 0
        return {"params": parameters, "calcs": calculations, "visis": list(blocks.visibilities)}

    async def close(self) -> None:
        """Nothing: each poll closes what it opened."""

    async def write(self, field: str, raw: int) -> int:
        """Sets a parameter that a control of the profile names; what it reads back as. Raises Refused before anything is sent."""
        chosen = _entry_of(field)
        if field not in self._written or not chosen.writable:
            raise Refused(f"{field} is nothing that may be written to {self._endpoint}")
        async with connected(self._endpoint) as conversation:
            held = await self._parameter(conversation, chosen)
            if held == raw:
                return held
            self._must_take_writes(await conversation.block(CALCULATIONS))
            self._log.info("write", parameter=chosen.name, was=held, wanted=raw)
            await conversation.write(chosen.number, raw)
            for attempt in range(_READ_BACKS):
                if attempt:
                    await asyncio.sleep(self._settle_s)
                held = await self._parameter(conversation, chosen)
                if held == raw:
                    break
            return held

    async def held(self, field: str) -> int | None:
        """How a parameter stands now; None for what is none. Raises Unreachable, NoAnswer or WrongAnswer."""
        chosen = _entry_of(field)
        if chosen.block != "P":
            return None
        async with connected(self._endpoint) as conversation:
            return await self._parameter(conversation, chosen)

    async def _parameter(self, conversation: Conversation, chosen: Entry) -> int:
        parameters = await conversation.block(PARAMETERS)
        if chosen.number >= len(parameters):
            raise WrongAnswer(f"{self._endpoint} has {len(parameters)} parameters, and {chosen.name} is number {chosen.number}")
        return parameters[chosen.number]

    def _must_take_writes(self, calculations: Sequence[int]) -> None:
        software = entry("C", VERSION_AT).raw({"C": calculations}, self._zone)
        if software is None:
            raise Refused(f"{self._endpoint} does not say which software it has; nothing is written to it")
        if str(software).startswith(REBOOTS):
            raise Refused(f"{self._endpoint} has software {software}, which restarts at any write; have it updated first")

    def _fields(self, raw: Raw, now: float) -> dict[str, object]:
        """What the profile's points take, without what is not there."""
        fields: dict[str, object] = {
            one.field: one.raw(raw, self._zone)
            for one in self._named
            if one.number < len(raw[one.block]) and not self._is_absent(one, raw[one.block][one.number])
        }
        if not self._electrical.is_believed(raw["C"], now):
            fields.pop(f"C{_ELECTRICAL}", None)
        return fields

    def _is_absent(self, one: Entry, raw: int) -> bool:
        """Whether a number stands for a sensor that is not connected.

        0.0, 5.0 and 75.0 °C (and 0 of anything else) may also be true: a sensor that has once said something else is there.
        """
        celsius = one.block == "C" and type(one.type).__name__ == "Celsius"
        if raw == NOTHING or (celsius and raw == _NO_SENSOR):
            return True
        if one.field not in OPTIONAL or one.field in self._there:
            return False
        if raw == 0 or (celsius and raw in _MAYBE_NO_SENSOR):
            return True
        self._there.add(one.field)
        return False


class _ElectricalPower:
    """Whether calculation 268 is to be believed: on some units it has little to do with the power.

    It is held against the heat that is made with it, while a compressor runs: what does not fit is not passed on, neither is anything more
    once it has not fitted for a while. A compressor that starts, and the minutes after a defrost, look the same for less than that.
    """

    def __init__(self, device_log: structlog.stdlib.BoundLogger) -> None:
        self._log = device_log
        self._doubted = False
        self._since: float | None = None
        """When it began to speak against what is held of it."""

    def is_believed(self, calculations: Sequence[int], now: float) -> bool:
        """For the numbers of one poll; `now` is UTC seconds."""
        fits = _fits(calculations)
        if fits is None or fits is not self._doubted:
            self._since = None
            return fits is not False and not self._doubted
        self._since = now if self._since is None else min(self._since, now)
        if now - self._since >= _JUDGED_AFTER_S:
            self._doubted, self._since = not self._doubted, None
            told = (
                "the electrical power is not believed: it does not fit the heat"
                if self._doubted
                else "the electrical power is believed again"
            )
            self._log.warning(told, heat_w=calculations[_HEAT], electrical_w=calculations[_ELECTRICAL])
        return fits and not self._doubted


def _fits(calculations: Sequence[int]) -> bool | None:
    """Whether the electrical power can be true beside the heat; None where nobody can tell."""
    if len(calculations) <= _ELECTRICAL or not any(calculations[at] > 0 for at in _COMPRESSORS):
        return None
    heat, electrical = calculations[_HEAT], calculations[_ELECTRICAL]
    if heat <= 0 or electrical <= 0 or NOTHING in (heat, electrical):
        return None
    least, most = _PLAUSIBLE_COP
    return least <= heat / electrical <= most


class _Further:
    """The numbers that the profile does not name, as they change."""

    def __init__(self, named: set[str], zone: tzinfo) -> None:
        self._named = named
        self._zone = zone
        self._last: dict[str, Sequence[int]] = {"C": (), "P": (), "V": ()}
        self._entries: dict[str, list[Entry | None]] = {"C": [], "P": [], "V": []}
        self._day = 0

    def news(self, raw: Raw, day: int, is_absent: IsAbsent) -> dict[str, Value]:
        """What changed since the last call; all of it on another day than that of the last call."""
        whole, self._day = day != self._day, day
        values: dict[str, Value] = {}
        for block, numbers in raw.items():
            last = () if whole or len(self._last[block]) != len(numbers) else self._last[block]
            entries = self._known(block, len(numbers))
            for at, number in enumerate(numbers):
                if last and last[at] == number:
                    continue
                one = entries[at]
                if one is None or is_absent(one, number):
                    continue
                value = one.value(raw, self._zone)
                if value is not None:
                    values[one.id] = value
            self._last[block] = numbers
        return values

    def _known(self, block: str, count: int) -> list[Entry | None]:
        """The entries of a block up to so many; None for what the profile names, or what is no number of its own."""
        entries = self._entries[block]
        for at in range(len(entries), count):
            one = entry(block, at)
            entries.append(None if one.field in self._named or (block == "C" and at in _VERSION_REST) else one)
        return entries


def _entry_of(field: str) -> Entry:
    """The entry of a field such as C10. Raises ValueError for anything else, which no profile of ours has."""
    match = re.fullmatch(r"([CPV])(\d+)", field)
    if match is None:
        raise ValueError(f"{field!r} is no field of a Luxtronik; they are called C10, P105, V23")
    return entry(match[1], int(match[2]))
