"""Anything that speaks SunSpec over Modbus TCP: its chain of models is walked once, then its values are read.

Sources: SunSpec device information model specification. The chain begins with "SunS" at 40000, 0 or 50000; each model is an ID, a length
and that many registers, and an ID of 0xFFFF ends it. Scale factors may change at any time, therefore they are read with the values they
belong to, in the same request where that is possible. Every read begins with the ID and length of a model: if they are not the ones that
were found there, the chain is walked anew and nothing of it is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog

from ohmstead.errors import NoAnswer, Refused, WrongAnswer
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.profiles.planner import HOLDING, Span, TcpCost, plan
from ohmstead.profiles.sunspec import COMMON, HEADER, Model, Row, exponent_of, is_static, profile_of, rows, value
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.lasting import Remembered
from ohmstead.sources.polling import Adopt, Member, Memory
from ohmstead.sources.sunspec_limit import FIELD, MODEL, PowerLimit
from ohmstead.sources.sunspec_line import RegisterLine

BASES = (40000, 0, 50000)
_MARK = b"SunS"
_END = 0xFFFF
_MOST_MODELS = 64
_LEAST_READ = 16
"""Registers of the longest text: what a device must answer at once, whatever its owner says."""
_WALK_S = 3600.0
"""So often, and after each poll that failed, its chain is walked and what hardly ever changes is read."""
_REFUSED_S = 60.0
"""After so long where it refused to say who it is: it may have been busy."""
_MUTE_S = 600.0
"""For so long a model is left alone that is met with silence."""
_WHOLE_MODEL = [(0, 0xFFFF)]
"""All registers of a model answer, those of no row too."""
_NOT_THERE = (1, 2, 3)
"""Exceptions of a device that has nothing at an address: illegal function, address, value."""


class _TornError(Exception):
    """Scale factors changed between two requests: nobody knows which values they belong to."""


class _Kept(NamedTuple):
    """What is kept of a device over restarts, so that its points are there before it answers."""

    chain: tuple[Model, ...] = ()
    said: Mapping[str, str] = {}
    known: frozenset[str] = frozenset()

    def text(self) -> str:
        return json.dumps({"chain": self.chain, "said": self.said, "known": sorted(self.known)}, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> _Kept:
        """Raises ValueError, TypeError, KeyError or AttributeError where it is nothing that was kept."""
        content = json.loads(text)
        chain = tuple(Model(*(int(figure) for figure in model)) for model in content["chain"])
        return cls(chain, {str(field): str(said) for field, said in content["said"].items()}, frozenset(map(str, content["known"])))


class SunSpecReader:
    """Reads one device through `line`. `base` is the profile that every such device has at first; the one it really has goes to `adopt`.

    `wanted` gives a profile the names, units and scales that its owner wants; `period_s` is how often it is polled, in seconds; `mono` and
    `wall` are the clocks.
    """

    def __init__(
        self,
        device: str,
        line: RegisterLine,
        base: Profile,
        adopt: Adopt,
        memory: Memory,
        *,
        period_s: float = 5.0,
        wanted: Callable[[Profile], Profile] = lambda profile: profile,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = device
        self._line = line
        self._base = base
        self._most_read = max(base.line.max_read, _LEAST_READ)
        self._adopt = adopt
        self._memory = memory
        self._key = f"sunspec/{device}/chain"
        self._remembered = Remembered(memory, self._key, device)
        self._period_s = period_s
        self._wanted = wanted
        self._wall = wall
        self._mono = mono
        self._chain: tuple[Model, ...] = ()
        self._static: dict[str, str | float] = {}
        self._walk_due = 0.0
        self._base_found: tuple[int, ...] = ()
        self._limit = PowerLimit(line, device, mono=mono)
        self._kept = _Kept()
        self._keep_due = False
        self._answered: set[str] = set()
        self._silent: set[Model] = set()
        self._mute: dict[Model, float] = {}
        self._met: set[str] = set()
        self._decoder: Decoder | None = None
        self._log = structlog.get_logger(service="sunspec").bind(device=device)

    def start(self) -> None:
        """What the device was found to have last time it has until it says otherwise; nothing where the store cannot be read."""
        self._take_up(self._remembered.recall())

    def _take_up(self, text: str | None) -> None:
        """What was kept of it, also where it has answered before that could be read."""
        if text is None:
            return
        now = self._kept
        try:
            kept = _Kept.of(text)
            if self._decoder is not None and kept.chain != now.chain:
                return
            self._kept = _Kept(kept.chain, {**kept.said, **now.said}, kept.known | now.known)
            self._learn()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._kept = now
            self._log.warning("what was kept of its models is unreadable; they are read again", reason=str(error))

    async def read(self) -> Sequence[Snapshot]:
        """One poll: every model that has something to say. Raises SourceError."""
        try:
            return [await self._read()]
        except BaseException:
            self._walk_due = self._mono()  # somebody else may be there when it answers again
            raise

    async def _read(self) -> Snapshot:
        self._answered.clear()
        if not self._remembered.known:
            self._take_up(await asyncio.to_thread(self._remembered.recall))
        if self._mono() >= self._walk_due:
            self._chain = ()
        await self._found()
        if self._mono() >= self._walk_due:
            self._static = await self._unless_refused(model for model in self._chain if is_static(model.id))
            self._walk_due = self._mono() + (_WALK_S if self._static else _REFUSED_S)
        values = self._static | await self._all_of(model for model in self._chain if not is_static(model.id))
        limited = self._limited()
        if limited is not None:
            await self._limit.renew(limited)
        decoder = await self._learned(values)
        decoded = decoder.decode_fields(values)
        decoder.calculate(decoded)
        quality = Quality.PARTIAL if self._met - decoded.keys() else Quality.GOOD
        self._met |= decoded.keys()
        told = {name for name, point in decoder.profile.points.items() if str(point.field).startswith(tuple(self._answered))}
        return Snapshot(self.device, "live", self._wall(), quality, decoded, gone=told - decoded.keys())

    async def close(self) -> None:
        self._line.close()

    async def write(self, field: str, raw: int) -> int:
        """Sets the power limit in whole %; what it reads back as. Nothing else is ever written. Raises SourceError."""
        return await self._limit.set(await self._writable(field), raw)

    async def held(self, field: str) -> int | None:
        """The power limit in force; None for what is not written. Raises SourceError."""
        return await self._limit.held(await self._writable(field)) if field == FIELD else None

    async def dump(self) -> object:
        """Its chain, and each model's registers as hexadecimal digits (None where they are refused). Raises SourceError."""
        await self._found()
        models = []
        for model in self._chain:
            octets = b""
            try:
                for first in range(0, HEADER + model.length, self._most_read):
                    octets += await self._line.read(model.address + first, min(self._most_read, HEADER + model.length - first))
            except Refused:
                octets = b""
            models.append({"model": model.id, "address": model.address, "length": model.length, "registers": octets.hex() or None})
        return {"models": models}

    def _limited(self) -> Model | None:
        return next((model for model in self._chain if model.id == MODEL), None)

    async def _writable(self, field: str) -> Model:
        await self._found()
        model = self._limited()
        if field != FIELD or model is None:
            raise Refused(f"{field} is nothing that may be written to {self._line.where}")
        return model

    async def _found(self) -> None:
        """Its models, unless they are known."""
        if not self._chain:
            self._chain = tuple(await self._walked())

    async def _walked(self) -> list[Model]:
        """The models of the chain that mean something here, in its order."""
        address = await self._begin()
        found: list[Model] = []
        for _ in range(_MOST_MODELS):
            try:
                header = await self._line.read(address, HEADER)
            except Refused as error:
                if error.status not in _NOT_THERE:
                    raise
                self._log.info("the chain of models has no end, what comes before is taken", address=address)
                break
            identity, length = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")
            if identity == _END:
                break
            if address + HEADER + length > 0xFFFF:
                raise WrongAnswer(f"{self._line.where}: model {identity} at {address} says it has {length} registers: no chain of models")
            instance = 1 + sum(model.id == identity for model in found)
            found.append(Model(identity, address, length, instance))
            address += HEADER + length
        known = [model for model in found if any(rows(model))]
        if not any(model.id != COMMON for model in known):
            met = ", ".join(str(model.id) for model in found) or "none"
            raise WrongAnswer(f"{self._line.where} has no model that is known here (it has {met})")
        return known

    async def _begin(self) -> int:
        """The first model's address. Where a device has nothing some refuse and some say nothing."""
        silent: NoAnswer | None = None
        for base in dict.fromkeys((*self._base_found, *BASES)):
            try:
                mark = await self._line.read(base, 2)
            except Refused as error:
                if error.status not in _NOT_THERE:
                    raise  # it is busy, or asleep behind its gateway
                continue
            except NoAnswer as error:
                silent = error
                continue
            if mark == _MARK:
                self._base_found = (base,)
                return base + 2
        if silent is not None:
            raise silent
        raise WrongAnswer(f"{self._line.where} speaks no SunSpec: there is no mark at {', '.join(map(str, BASES))}")

    async def _all_of(self, models: Iterator[Model]) -> dict[str, float | str]:
        """What these models say. One that is refused, whose scale factors change while it is read, or that is met with silence while the
        device answers for another, says nothing this time. Raises the last Refused or NoAnswer where all are."""
        values: dict[str, float | str] = {}
        failed: Refused | NoAnswer | None = None
        for model in models:
            if self._mono() < self._mute.get(model, -math.inf):
                continue
            try:
                values |= await self._said_by(model)
                self._silent.discard(model)
                self._mute.pop(model, None)
            except Refused as error:
                failed = error
                self._log.debug("a model was refused", model=model.id, reason=str(error))
            except NoAnswer as error:
                failed = error
                await self._met_with_silence(model)
            except _TornError:
                self._log.debug("scale factors changed while a model was read", model=model.id)
        if failed is not None and not values:
            raise failed
        return values

    async def _met_with_silence(self, model: Model) -> None:
        """Finds out whose silence it is: raises NoAnswer where the device does not answer at all. A model that is silent twice in a row is
        left alone for a while: each time costs a time-out."""
        with contextlib.suppress(Refused):
            await self._line.read(self._chain[0].address, HEADER)
        if model in self._silent:
            if model not in self._mute:
                self._log.warning("a model is met with silence, the others are read without it", model=model.id, address=model.address)
            self._mute[model] = self._mono() + _MUTE_S
        self._silent.add(model)

    async def _unless_refused(self, models: Iterator[Model]) -> dict[str, float | str]:
        """What these models say; nothing where all of them are refused, or met with silence."""
        try:
            return await self._all_of(models)
        except Refused:
            return {}
        except NoAnswer:
            await self._line.read(self._chain[0].address, HEADER)
            return {}

    async def _said_by(self, model: Model) -> dict[str, float | str]:
        """The values of one model. Raises SourceError, _TornError."""
        listed = list(rows(model))
        last = max(row.end if row.factor_at is None else max(row.end, row.factor_at + 1) for row in listed)
        spans = [(0, last)] if last <= self._most_read else list(_split(listed, self._most_read))
        image: dict[int, bytes] = {}
        for first, end in spans:
            octets = await self._line.read(model.address + first, end - first)
            image |= {first + at: octets[2 * at : 2 * at + 2] for at in range(end - first)}
            if first == 0:
                self._check(model, octets)
        if len(spans) > 1:
            await self._check_factors(model, listed, image)
        self._answered.add(f"{model.id}.{model.instance}.")
        values: dict[str, float | str] = {}
        for row in listed:
            exponent = exponent_of(image[row.factor_at]) if row.factor_at is not None else None
            said = value(row, b"".join(image[at] for at in range(row.at, row.end)), exponent)
            if said is not None:
                values[row.field] = said
        return values

    def _check(self, model: Model, octets: bytes) -> None:
        """That the model is where it was."""
        there = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[2:4], "big")
        if there != (model.id, model.length):
            self._chain = ()
            raise WrongAnswer(f"{self._line.where}: model {model.id} is no longer at {model.address}; its models are looked for anew")

    async def _check_factors(self, model: Model, listed: Sequence[Row], image: Mapping[int, bytes]) -> None:
        places = [Span(HOLDING, row.factor_at, 1) for row in listed if row.factor_at is not None]
        for read in plan(places, self._most_read, _WHOLE_MODEL, TcpCost()):
            octets = await self._line.read(model.address + read.address, read.count)
            there = {read.address + at: octets[2 * at : 2 * at + 2] for at in range(read.count)}
            if any(there.get(place.address, image[place.address]) != image[place.address] for place in places):
                raise _TornError

    async def _learned(self, values: Mapping[str, float | str]) -> Decoder:
        """Decodes what this device says. One that says more than before, or is another one, is made known anew, and kept."""
        said = {field: text for field, text in values.items() if isinstance(text, str) and field.startswith(f"{COMMON}.")}
        same = self._kept.chain == self._chain
        kept = _Kept(self._chain, said, frozenset(values))
        if same:  # what it does not say at the moment it has nevertheless
            kept = _Kept(self._chain, {**self._kept.said, **said}, self._kept.known | values.keys())
        if self._decoder is None or kept != self._kept:
            self._kept = kept
            if not same:
                self._met = set()
            self._learn()
            self._keep_due = True
        if self._keep_due and self._remembered.known:
            self._keep_due = False
            await asyncio.to_thread(self._memory.write, self._key, self._kept.text())
        assert self._decoder is not None  # noqa: S101 - `_learn` has made it
        return self._decoder

    def _learn(self) -> None:
        profile = profile_of(self._base, self._kept.chain, self._kept.said, self._kept.known)
        self._decoder = Decoder(self._wanted(profile))
        serial = self._kept.said.get(f"{COMMON}.1.SN")
        self._adopt(Member(self.device, profile.name, profile, self._period_s, serial))


def _split(listed: Sequence[Row], most: int) -> Iterator[tuple[int, int]]:
    """First register and the one after the last of each request for a model that is too long for one; the first has its header."""
    spans = [Span(HOLDING, 0, HEADER), *(Span(HOLDING, row.at, row.words) for row in listed)]
    spans += [Span(HOLDING, row.factor_at, 1) for row in listed if row.factor_at is not None]
    for read in plan(spans, most, _WHOLE_MODEL, TcpCost()):
        yield read.address, read.address + read.count
