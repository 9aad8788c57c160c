"""A Growatt behind an OpenInverterGateway: its telemetry comes in over the broker, its settings are written and read by commands.

Telemetry is JSON on the base topic, `{"InverterStatus": -1}` when the inverter or the stick is away. A retained copy is of unknown age: it
tells of an absence at most, never a value. A command goes to `<base>/command/<name>` with a correlation id of its own, at QoS 0 so that
none is delivered late; its result comes on `<base>/result`, is retained there by the firmware, and counts only when it is live and has the
id that is waited for. One command is under way at a time.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import structlog

from ohmstead.errors import OhmsteadError
from ohmstead.messages import Message, Messenger
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Point, Profile
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.sources.growatt_commands import (
    AnswerError,
    Command,
    as_in_profile,
    reading,
    registers_in,
    slot_at,
    telemetry_names,
    window,
    writing,
)
from ohmstead.sources.resilience import Health

_MOST_BYTES = 16_384
_PAUSE_GROWS, _LONGEST_PAUSE_S = 1.5, 30.0
_PERIODS, _LEAST_PATIENCE_S = 3, 30.0
_MOST_LET_GO = 32
"""So many commands that nobody waits for are remembered, to know their answers."""
_TRANSIENT = ("Failed to", "failed to")
"""How the messages begin that say that the inverter did not answer its stick; any other refusal will be the same next time."""


class CommandError(OhmsteadError):
    """A command did not come about."""


class NoAnswer(CommandError):  # noqa: N818 - says what happened, in the words of the counters
    """No result with the command's own correlation id came in time, or the broker is away."""

    try_again = True


class Refused(CommandError):  # noqa: N818 - says what happened
    """The stick answered that it did not do it. `try_again` where the inverter only did not answer the stick."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.try_again = message.startswith(_TRANSIENT) or "verify failed" in message


class NotTaken(CommandError):  # noqa: N818 - says what happened
    """The commands succeeded, but the registers read back as something else."""


class Timing(NamedTuple):
    """Seconds; `tries` for one command. As the OpenInverterGateway's users have found to work."""

    timeout_s: float = 10.0
    pause_s: float = 1.0
    """Between two commands."""
    settle_s: float = 2.0
    """Until an inverter that takes a setting late is asked again."""
    settings_s: float = 60.0
    """How often the settings are read, at most."""
    tries: int = 3
    again_s: float = 2.0
    """Until the second try; each further one takes half as long again, up to 30 s."""

    @classmethod
    def of(cls, timeout_s: float | None, pause_s: float | None, retries: int | None) -> Timing:
        """What an owner says of the line, and the usual where he says nothing."""
        usual = cls()
        return usual._replace(
            timeout_s=usual.timeout_s if timeout_s is None else timeout_s,
            pause_s=usual.pause_s if pause_s is None else pause_s,
            tries=usual.tries if retries is None else retries + 1,
        )


class Put(NamedTuple):
    """What a write of registers came to: what stands in them now, what was met there (and around) before, and how many commands wrote."""

    stands: Mapping[int, int]
    met: Mapping[int, int]
    commands: int


def back_off(failures: int, again_s: float = 2.0) -> float:
    """Seconds to wait after so many failures in a row, `again_s` after the first."""
    return min(_LONGEST_PAUSE_S, again_s * _PAUSE_GROWS ** min(failures - 1, 20))


class GrowattMqtt:
    """One inverter. `start` subscribes, `run` reads the settings now and then until it is cancelled; snapshots go to `emit`.

    `period_s` is how often telemetry is expected. `counters` are those of a bus: requests, ok, no_answer, exception (refused) and wrong (a
    result that nobody waits for, or that makes no sense); `retained` counts results that the broker had kept.
    """

    def __init__(
        self,
        device: str,
        base: str,
        profile: Profile,
        messenger: Messenger,
        emit: Callable[[Snapshot], None],
        *,
        period_s: float = 5.0,
        timing: Timing | None = None,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.device = device
        self.base = base
        self.counters = dict.fromkeys(("connections", "requests", "ok", "no_answer", "wrong", "exception", "retained"), 0)
        self._timing = timing or Timing()
        self._profile = profile
        self._decoder = Decoder(profile)
        self._messenger = messenger
        self._emit = emit
        self._wall, self._mono = wall, mono
        inputs = {point.address: point for point in profile.points.values() if point.table == "input"}
        self._points = {name: inputs[address] for name, address in telemetry_names(inputs).items()}
        self._patience_s = max(_LEAST_PATIENCE_S, _PERIODS * period_s)
        self._heard: float | None = None
        self._away = ""
        self._turn = asyncio.Lock()
        self._sent_at = -math.inf
        self._waiting: tuple[str, Command, asyncio.Future[Mapping[str, Any]]] | None = None
        self._identity = f"ohm-{secrets.token_hex(4)}"
        self._number = 0
        self._let_go: deque[str] = deque(maxlen=_MOST_LET_GO)
        self._read_now = asyncio.Event()
        self._log = structlog.get_logger(service="growatt-mqtt").bind(device=device)

    @property
    def online(self) -> bool | None:
        """None until something was heard of the inverter."""
        if self._away:
            return False
        return None if self._heard is None else self._mono() - self._heard <= self._patience_s

    @property
    def trouble(self) -> str:
        """Why the inverter is away; empty while it is not."""
        return self._away or ("" if self.online is not False else f"no telemetry for more than {self._patience_s:g} s")

    def start(self) -> None:
        self._messenger.subscribe(self.base, self._take_telemetry)
        self._messenger.subscribe(f"{self.base}/result", self._take_result)

    @property
    def health(self) -> Health:
        """It cannot be asked, only heard."""
        online = self.online
        return Health.UNKNOWN if online is None else Health.HEALTHY if online else Health.UNHEALTHY

    async def run(self) -> None:
        """Reads the settings each minute or so while the inverter is there, and at once when `poll_soon` asks for it."""
        while True:
            self._read_now.clear()
            if self.online:
                await self._read_settings()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.settings_s):
                    await self._read_now.wait()

    def poll_soon(self, _address: int = 0) -> None:
        self._read_now.set()

    # Settings

    async def put(self, wanted: Mapping[int, int], *, ends: bool = False) -> Put:
        """Makes holding registers `wanted`: reads them, writes what differs, reads back.

        With `ends` a slot that begins a mode lasts for the next `WINDOW_MIN` minutes of the inverter's own clock only, so that it ends
        without us; call again while it is to go on.

        Raises NoAnswer, Refused, NotTaken.
        """
        there = await self.read(wanted)
        target = dict(wanted)
        for first in [at for at in wanted if ends and slot_at(at) and wanted.get(at + 2) == 1]:
            target |= await self._window(first, there)
        commands = writing(target, there)
        for command in commands:
            await self.ask(command)
        stands = await self._read_back(target) if commands else there
        if any(stands[at] != word for at, word in target.items()):
            wrong = ", ".join(f"{at} is {stands[at]} instead of {word}" for at, word in target.items() if stands[at] != word)
            raise NotTaken(f"written, but it reads back otherwise: {wrong}")
        if commands:
            self._emit_registers(stands)
        return Put({at: stands[at] for at in target}, there, len(commands))

    async def read(self, addresses: Iterable[int]) -> dict[int, int]:
        """Holding registers as the profile has them, at least those that were asked for. Raises NoAnswer, Refused."""
        wanted = list(addresses)
        found: dict[int, int] = {}
        for command in reading(wanted):
            answer = await self.ask(command)
            try:
                found |= registers_in(command, answer)
            except AnswerError as error:
                self.counters["wrong"] += 1
                raise NoAnswer(f"{command.name} was answered with nonsense: {error}") from error
        found = as_in_profile(found)
        if missing := [at for at in wanted if at not in found]:
            raise NoAnswer(f"the answers do not tell the registers {', '.join(map(str, missing))}")
        return found

    def let_go(self, wanted: Mapping[int, int], there: Mapping[int, int]) -> None:
        """Sends what ends a mode without waiting for anything, an answer to another command neither: for an emergency stop, and for the
        moment in which the gateway itself ends."""
        if not self._messenger.connected:
            return  # nothing may be delivered late
        for command in writing(wanted, there):
            identity = self._next_id()
            self._let_go.append(identity)
            self._messenger.publish(f"{self.base}/command/{command.name}", json.dumps({**command.payload, "correlationId": identity}))
            self._sent_at = asyncio.get_running_loop().time()

    async def ask(self, command: Command) -> Mapping[str, Any]:
        """The answer to a command; tried again, with a growing pause, where that may help. Raises NoAnswer, Refused."""
        failures = 0
        while True:
            try:
                async with self._turn:
                    return await self._ask_once(command)
            except CommandError as error:
                failures += 1
                if not error.try_again or failures >= self._timing.tries:
                    raise
                self._log.warning("command tried again", command=command.name, failures=failures, reason=str(error))
            await asyncio.sleep(back_off(failures, self._timing.again_s))

    async def _ask_once(self, command: Command) -> Mapping[str, Any]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._sent_at + self._timing.pause_s - loop.time()))
        if not self._messenger.connected:
            raise NoAnswer("the broker is away, nothing was sent")
        identity = self._next_id()
        result: asyncio.Future[Mapping[str, Any]] = loop.create_future()
        self._waiting = (identity, command, result)
        self.counters["requests"] += 1
        try:
            payload = json.dumps({**command.payload, "correlationId": identity})
            self._messenger.publish(f"{self.base}/command/{command.name}", payload)
            async with asyncio.timeout(self._timing.timeout_s):
                answer = await result
        except TimeoutError:
            self.counters["no_answer"] += 1
            raise NoAnswer(f"no result of {command.name} within {self._timing.timeout_s:g} s") from None
        finally:
            self._waiting = None
            self._sent_at = loop.time()
        if answer.get("success") is not True:
            self.counters["exception"] += 1
            raise Refused(str(answer.get("message") or "refused without a word")[:200])
        self.counters["ok"] += 1
        return answer

    def _next_id(self) -> str:
        self._number += 1
        return f"{self._identity}-{self._number}"

    async def _window(self, first: int, there: Mapping[int, int]) -> dict[int, int]:
        """Start and stop of a slot that holds now and ends soon, never across midnight: what is there if that will do, else from now on."""
        answer = await self.ask(Command("datetime/get", {}))
        try:
            now = datetime.strptime(str(answer.get("value")), "%Y-%m-%d %H:%M:%S")
        except ValueError as error:
            self.counters["wrong"] += 1
            raise NoAnswer(f"the inverter's clock says {answer.get('value')!r}") from error
        start, stop = window(now.hour * 60 + now.minute, there[first], there[first + 1], in_force=there[first + 2] == 1)
        return {first: start, first + 1: stop}

    async def _read_back(self, target: Mapping[int, int]) -> dict[int, int]:
        """What stands in registers that were just written; some inverters take them late."""
        for _ in range(2):
            stands = await self.read(target)
            if all(stands[at] == word for at, word in target.items()):
                return stands
            await asyncio.sleep(self._timing.settle_s)
        return await self.read(target)

    async def _read_settings(self) -> None:
        found: dict[int, int] = {}
        partial = False
        holding = [at for point in self._profile.points.values() if point.table == "holding" for at in range(point.address, point.last + 1)]
        for command in reading(holding):
            try:
                found |= registers_in(command, await self.ask(command))
            except NoAnswer as error:
                self._log.warning("settings not read", reason=str(error))
                return
            except (Refused, AnswerError) as error:
                self._log.debug("a setting is not there", command=command.name, reason=str(error))
                partial = True
        self._emit_registers(as_in_profile(found), Quality.PARTIAL if partial else Quality.GOOD)

    def _emit_registers(self, words: Mapping[int, int], quality: Quality = Quality.GOOD) -> None:
        values: dict[str, Value] = {}
        for point in self._profile.points.values():
            if point.table == "holding" and all(at in words for at in range(point.address, point.last + 1)):
                octets = b"".join(words[at].to_bytes(2, "big") for at in range(point.address, point.last + 1))
                values.update(self._decoder.decode(3, point.address, octets))
        if values:
            self._decoder.calculate(values, self._wall())
            self._emit(Snapshot(self.device, "settings", self._wall(), quality, values))

    # What comes in

    def _take_result(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.retain:
                self.counters["retained"] += 1
                continue
            answer = _object(message.payload)
            waiting = self._waiting
            if answer is not None and answer.get("correlationId") in self._let_go:
                if answer.get("success") is not True:
                    self._log.warning("what was to end at once was refused", command=answer.get("command"), reason=answer.get("message"))
                continue
            if answer is None or waiting is None or answer.get("correlationId") != waiting[0] or waiting[2].done():
                if answer is None or str(answer.get("correlationId", "")).startswith(self._identity):
                    self.counters["wrong"] += 1
                continue
            if answer.get("command") != waiting[1].name:
                self.counters["wrong"] += 1
                continue
            waiting[2].set_result(answer)

    def _take_telemetry(self, messages: Sequence[Message]) -> None:
        for message in messages:
            told = _object(message.payload)
            if told is None:
                self.counters["wrong"] += 1
            elif told.get("InverterStatus") == -1:
                if not self._away:
                    self._log.warning("away", reason="the stick says so")
                self._away = "the OpenInverterGateway says that it or the inverter is away"
            elif not message.retain:
                self._take_values(told)

    def _take_values(self, told: Mapping[str, Any]) -> None:
        raws = [(point, _raw(point, told[name])) for name, point in self._points.items() if name in told]
        values: dict[str, Value] = {}
        for point, raw in raws:
            if raw is not None:
                octets = (raw % (1 << 16 * point.words)).to_bytes(2 * point.words, "big")
                values.update(self._decoder.decode(4, point.address, octets))
        if not values:
            self.counters["wrong"] += 1
            return
        if self.online is not True:
            self._log.info("answers")
            self._read_now.set()
        self._away = ""
        self._heard = self._mono()
        now = self._wall()
        quality = Quality.GOOD if all(point.id in values for point, _ in raws) else Quality.PARTIAL
        self._decoder.calculate(values, now)
        self._emit(Snapshot(self.device, "telemetry", now, quality, values))


def _object(payload: bytes) -> dict[str, Any] | None:
    """A JSON object of a sensible length, None for anything else."""
    if len(payload) > _MOST_BYTES:
        return None
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _raw(point: Point, told: object) -> int | None:
    """The raw value behind a value of the telemetry, in the point's own scale; None where there is none. Builds that take a signed register
    for an unsigned one say 2³² too much, which is the same word again."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        return None
    raw = round(told / point.scale)
    return raw if -(1 << 16 * point.words - 1) <= raw < 1 << 16 * point.words else None


__all__ = ["CommandError", "GrowattMqtt", "NoAnswer", "NotTaken", "Put", "Refused", "Timing", "back_off"]
