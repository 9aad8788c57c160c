"""What a Miniserver commands: `loxone/<device>/<control>/enable` and `…/power`, `loxone/<device>/mode`, `…/timeout`, `…/stop`, `…/reset`.

- `enable` 1 wishes for the power that was said last, also before a restart (as much as the home allows, if none ever was); 0 gives the
  control back.
  For what only restricts, as `export` does, 0 wishes for nothing at all and 1 for the power that was said, or all of it.
- `power` (kW, never negative) alone changes the wish that this author has; else it is kept for the next `enable`.
- `mode` auto or manual, `timeout` in minutes for the wishes to come, `stop` 0 or 1 (a level), `reset` 1.

What belongs together is waited for a moment, so that `power` and `enable` are one wish. Of what comes faster than it can be decided the
latest counts, for each topic of its own; an emergency stop is never among what is left out. A retained message is a wish of yesterday:
it is counted and nothing else, but for the level of the stop. Each rejection is told on `loxone/rejected` and in the status.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from ohmcore import events
from ohmcore.records import Decision, Event
from ohmstead.control import loxone_words
from ohmstead.control.arbitration import LOXONE, Arbitration
from ohmstead.control.dispatch import Outcome
from ohmstead.control.loxone_words import Unreadable
from ohmstead.control.views import ControlView
from ohmstead.errors import Reason, Rejected
from ohmstead.messages import Message, Messenger
from ohmstead.publish.loxone_answers import LoxoneAnswers
from ohmstead.store.protocol import StoreError
from ohmstead.tasks import end

log = structlog.get_logger(service="loxone")

ROOT = "loxone"
SETTLE_S = 0.02
"""So long is waited for what belongs to a wish: `power` and `enable` are two messages."""

PACE_S = 0.2
"""At most one event of a topic in this time."""

_MOST_KW = 1e6
_STOP = "stop"
_READERS: dict[str, Callable[[bytes], bool | float | str]] = {
    "enable": loxone_words.level,
    "power": loxone_words.kilowatts,
    "mode": loxone_words.mode,
    "timeout": loxone_words.minutes,
    "stop": loxone_words.level,
    "reset": loxone_words.level,
}
_OF_CONTROLS = ("enable", "power")


@dataclass
class _Asked:
    """What waits to be decided: the words of one control, or of one topic. `due` is on the loop's clock."""

    topic: str
    text: str
    due: float
    enable: bool | None = None
    power: float | None = None
    word: bool | float | str | Unreadable | None = None


class _Line:
    """What waits for one device."""

    def __init__(self) -> None:
        self.stops: list[_Asked] = []
        self.waiting: dict[tuple[str, str], _Asked] = {}
        self.held: dict[tuple[str, str], float] = {}
        self.changed = asyncio.Event()
        self.worker: asyncio.Task[None] | None = None


class Memory(Protocol):
    """The part of the store that outlives us. Both may block, and raise StoreError."""

    def read_meta(self, key: str) -> str | None: ...
    def write_meta(self, key: str, value: str) -> None: ...


Reset = Callable[[str], Awaitable[Outcome]]
"""Asks for a reset of a device, and tells what came of it."""


class LoxoneCommands:
    """Hands what a Miniserver says to the arbiter. `received`, `retained`, `coalesced` (left out for something newer) count messages.

    `memory` keeps the power that was said last for each control; without one it is forgotten with the process. `reset` ends what a stop
    latched, also at the node before the device; without one only at the arbiter.
    """

    def __init__(
        self,
        messenger: Messenger,
        arbitration: Arbitration,
        answers: LoxoneAnswers,
        memory: Memory | None = None,
        reset: Reset | None = None,
    ) -> None:
        self.received = 0
        self.retained = 0
        self.coalesced = 0
        self.events: Counter[str] = Counter()
        self._messenger = messenger
        self._arbitration = arbitration
        self._answers = answers
        self._lines: dict[str, _Line] = {}
        self._memory = memory
        self._reset = reset
        self._resetting: dict[str, asyncio.Task[None]] = {}
        self._powers: dict[tuple[str, str], int] = {}
        self._unsaved: dict[tuple[str, str], float] = {}
        self._enabled: dict[tuple[str, str], bool] = {}
        self._closed = False

    def start(self) -> None:
        for verb in _READERS:
            pattern = f"{ROOT}/+/+/{verb}" if verb in _OF_CONTROLS else f"{ROOT}/+/{verb}"
            self._messenger.subscribe(pattern, self._take, qos=1 if verb == _STOP else 0)

    async def recall(self) -> None:
        """Takes up the powers that were said before the start. One that the home does not allow any more is none."""
        for device, view in self._arbitration.devices.items():
            for control in view.controls.values():
                try:
                    kept = None if self._memory is None else await asyncio.to_thread(self._memory.read_meta, _key(device, control.name))
                    raw = None if kept is None else control.raw_of_kw(float(kept))
                except (StoreError, ValueError, OverflowError) as error:
                    log.warning("the last power is not known", device=device, control=control.name, reason=str(error))
                    continue
                if raw is not None and control.takes(raw):
                    self._powers[device, control.name] = raw

    async def close(self) -> None:
        """Takes no more; what waits is left out."""
        self._closed = True
        await end([*(line.worker for line in self._lines.values() if line.worker is not None), *self._resetting.values()])
        await self._save()

    # What comes in

    def _take(self, messages: Sequence[Message]) -> None:
        now = asyncio.get_running_loop().time()
        for message in messages:
            self.received += 1
            _, device, *between, verb = message.topic.split("/")
            if message.retain and verb != _STOP:
                self.retained += 1
                if self.retained == 1:
                    log.warning("retained command ignored", topic=message.topic)
                continue
            if not self._closed:
                self._sort(message, device, between[0] if between else "", verb, now)

    def _sort(self, message: Message, device: str, control: str, verb: str, now: float) -> None:
        text = message.payload[: loxone_words.MOST_BYTES].decode("utf-8", "replace")
        view = self._arbitration.devices.get(device)
        if view is None:
            known = ", ".join(self._arbitration.devices) or "none"
            self._answers.refuse(device, message.topic, text, Reason.UNKNOWN, f"there is no battery {device[:64]!r}; there is {known}")
            return
        chosen = view.by_word(control) if control else None
        if control and chosen is None:
            words = ", ".join(one.word or one.name for one in view.controls.values())
            self._answers.refuse(device, message.topic, text, Reason.UNKNOWN, f"{device} has no control {control[:64]!r}; it has {words}")
            return
        line = self._lines.setdefault(device, _Line())
        asked = _Asked(message.topic, text, now + SETTLE_S)
        try:
            asked.word = _READERS[verb](message.payload)
        except Unreadable as error:
            asked.word = error
            self._wait(line, (verb, control + "?"), asked)
        else:
            if verb == _STOP:
                self._stop(line, asked)
            elif chosen is not None:
                asked.enable = bool(asked.word) if verb == "enable" else None
                asked.power = float(asked.word) if verb == "power" else None
                self._wait(line, ("control", chosen.name), asked)
            elif verb != "reset" or asked.word:
                self._wait(line, (verb, ""), asked)
        line.changed.set()
        if line.worker is None or line.worker.done():
            line.worker = asyncio.create_task(self._work(device, line), name=f"loxone-{device}")

    def _stop(self, line: _Line, asked: _Asked) -> None:
        """A level of 1 is decided whatever comes after it; of what follows only the last counts."""
        while line.stops and (asked.word or not line.stops[-1].word):
            line.stops.pop()
            self.coalesced += 1
        line.stops.append(asked)

    def _wait(self, line: _Line, slot: tuple[str, str], asked: _Asked) -> None:
        """The newest goes to the end, but is due when the one that it replaces was."""
        before = line.waiting.pop(slot, None)
        if before is not None:
            asked.due = before.due
            self.coalesced += (asked.enable is None or before.enable is not None) and (asked.power is None or before.power is not None)
            asked.enable = before.enable if asked.enable is None else asked.enable
            asked.power = before.power if asked.power is None else asked.power
        line.waiting[slot] = asked

    # What becomes of it

    async def _work(self, device: str, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        while line.stops or line.waiting or self._unsaved:
            line.changed.clear()
            if not line.stops and not line.waiting:
                await self._save()
                continue
            now = loop.time()
            if line.stops:
                await self._decide(device, line, line.stops.pop(0), ("stop", ""))
                continue
            times = {slot: max(asked.due, line.held.get(slot, 0.0)) for slot, asked in line.waiting.items()}
            slot = next((slot for slot, due in times.items() if due <= now), None)
            if slot is not None:
                line.held[slot] = now + PACE_S
                await self._decide(device, line, line.waiting.pop(slot), slot)
                continue
            timer = loop.call_at(min(times.values()), line.changed.set)
            try:
                await line.changed.wait()
            finally:
                timer.cancel()

    async def _save(self) -> None:
        """Keeps the powers that were said."""
        unsaved, self._unsaved = self._unsaved, {}
        if self._memory is None:
            return
        for (device, control), kw in unsaved.items():
            try:
                await asyncio.to_thread(self._memory.write_meta, _key(device, control), repr(kw))
            except StoreError as error:
                log.warning("the last power is not kept", device=device, control=control, reason=str(error))

    async def _decide(self, device: str, line: _Line, asked: _Asked, slot: tuple[str, str]) -> None:
        try:
            event = self._event(device, slot, asked)
            if event is None:
                return
            self.events[event[0]] += 1
            if event[0] == "reset" and self._reset is not None:
                self._release(device, asked, self._reset)
                return
            decisions = await self._arbitration.submit(device, event)
        except Rejected as rejection:
            self._answers.refuse(device, asked.topic, asked.text, rejection.reason, rejection.detail)
        except StoreError as error:
            self._answers.refuse(device, asked.topic, asked.text, Reason.NO_STORAGE, f"the audit cannot be kept: {error}")
        except Exception as error:
            log.exception("a command failed in an unknown way", topic=asked.topic)
            self._answers.refuse(device, asked.topic, asked.text, Reason.MALFORMED, repr(error))
        else:
            for decision in decisions:
                if decision.kind == "rejection" and decision.author in (LOXONE, ""):
                    self._answers.refuse(device, asked.topic, asked.text, decision.reason, self._detail(device, decision, asked))

    def _release(self, device: str, asked: _Asked, reset: Reset) -> None:
        """A node takes its time to answer: nobody else waits for it, a stop least of all."""

        async def released() -> None:
            outcome = await reset(device)
            if outcome.kind in ("rejected", "failed"):
                self._answers.refuse(device, asked.topic, asked.text, outcome.reason or outcome.kind, outcome.detail)

        running = self._resetting.get(device)
        if running is None or running.done():
            self._resetting[device] = asyncio.create_task(released(), name=f"loxone-reset-{device}")

    def _detail(self, device: str, decision: Decision, asked: _Asked) -> str:
        if isinstance(asked.word, Unreadable):
            return str(asked.word)
        refused = self._arbitration.status(device).rejected
        if refused is not None and (refused.reason, refused.by) == (decision.reason, decision.by):
            return refused.detail
        return f"{decision.reason} ({decision.by})" if decision.by else decision.reason

    def _event(self, device: str, slot: tuple[str, str], asked: _Asked) -> Event | None:
        """What the arbiter is told; None where there is nothing to tell. Raises Rejected."""
        verb, name = slot
        status = self._arbitration.status(device)
        word: Any = asked.word
        if isinstance(word, Unreadable):
            return self._unreadable(device, verb, name.removesuffix("?"), word)
        if verb == "control":
            return self._wish(device, self._arbitration.devices[device].controls[name], asked)
        if verb == "mode":
            is_so = word == status.mode == "auto" and not any(control.rank == "manual" for control in status.controls.values())
            return None if is_so else events.mode(LOXONE, word)
        if verb == "timeout":
            return None if word * 60 == status.lease_s else events.lease(LOXONE, loxone_words.lease_ms(min(max(word, -1.0), 1e7)))
        if verb == _STOP:
            return None if status.stop == int(word) else events.stop(int(word))
        return events.reset(LOXONE)

    def _unreadable(self, device: str, verb: str, control: str, error: Unreadable) -> Event:
        """The event that cannot be taken, so that the audit has it and its answer. Raises Rejected for what has none."""
        nothing: Any = None
        if verb in _OF_CONTROLS:
            chosen = self._arbitration.devices[device].by_word(control)
            identity = self._arbitration.next_identity(device, LOXONE)
            return events.wish(LOXONE, chosen.name if chosen else control, nothing, identity, words=f"{verb} {error.shown}")
        if verb == "mode":
            return events.mode(LOXONE, error.shown)
        if verb == "timeout":
            return events.lease(LOXONE, nothing)
        if verb == _STOP:
            return events.stop(nothing)
        raise Rejected(Reason.MALFORMED, str(error))

    def _wish(self, device: str, control: ControlView, asked: _Asked) -> Event | None:
        key = (device, control.name)
        if asked.power is not None:
            raw = _raw(control, asked.power)
            if not control.takes(raw):
                return self._wish_for(device, control, raw)  # the arbiter says that it is out of range
            if self._powers.get(key) != raw:
                self._powers[key] = raw
                self._unsaved[key] = asked.power
        enable = asked.enable
        if enable is None:
            if not self._is_enabled(device, control):
                return None
            enable = True
        self._enabled[key] = enable
        if enable:
            return self._wish_for(device, control, self._powers.get(key, control.most))
        if restricts(control):
            return self._wish_for(device, control, control.least)
        return events.withdraw(LOXONE, control.name) if self._arbitration.status(device).controls[control.name].rank == "manual" else None

    def _wish_for(self, device: str, control: ControlView, raw: int) -> Event:
        return events.wish(LOXONE, control.name, raw, self._arbitration.next_identity(device, LOXONE))

    def _is_enabled(self, device: str, control: ControlView) -> bool:
        """Whether a wish of this author rules that a new power would change."""
        status = self._arbitration.status(device).controls[control.name]
        if status.author != LOXONE:
            return False
        return self._enabled.get((device, control.name), not restricts(control) or status.wanted > control.least)


def _key(device: str, control: str) -> str:
    return f"loxone-power/{device}/{control}"


def restricts(control: ControlView) -> bool:
    """Whether a control only takes something away (an export limit): at rest it has all there is."""
    return control.home == control.most > control.least


def _raw(control: ControlView, kw: float) -> int:
    """The raw value of a power, on the step below it; one that is out of range for a power that is. Raises Rejected."""
    if kw < 0:
        return min(control.least, control.home, control.safe) - 1
    raw = control.raw_of_kw(min(kw, _MOST_KW))
    if raw is None:
        raise Rejected(
            Reason.MALFORMED, f"{control.name} is in {control.unit}; how many kW that is, nobody said (`rated: 5 kW` of the device)"
        )
    return raw
