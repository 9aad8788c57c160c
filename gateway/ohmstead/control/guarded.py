"""What a node does for its devices, done by the gateway for a device that only it can reach, over commands that may get lost.

Leases: a command that must end is taken back when nobody renews it. Limits: an interlock on fresh telemetry keeps a control at its safe
value. What was taken back is tried again until it reads back as such, with pauses that grow to 30 s; so is everything that must end,
after a start. What is in force is looked at now and then: the inverter's own end of it is put off (`put(ends=True)`), and somebody else who
changes it is not fought for more than `MOST_FIGHTS` times.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import structlog

from ohmcore.limits import Rule
from ohmstead.control.dispatch import Outcome
from ohmstead.control.target import Target
from ohmstead.errors import OhmsteadError, Reason, Rejected
from ohmstead.profiles.limit import thresholds
from ohmstead.profiles.model import Profile
from ohmstead.readings import Snapshot
from ohmstead.units import Bounds

MOST_FIGHTS = 3
EXTERNAL = "external"
"""The reason that is told each time when somebody else has written: it was put right, the last time by taking it back."""

LOOK_S = 60.0
"""How often what is in force is looked at."""

_UNKNOWN = -1
"""Stands for what no register holds."""

_TICK_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Standing(Protocol):
    """What stands in registers after a write, and what was met there before it."""

    @property
    def stands(self) -> Mapping[int, int]: ...
    @property
    def met(self) -> Mapping[int, int]: ...
    @property
    def commands(self) -> int: ...


class Settings(Protocol):
    """A device's holding registers over something slower than Modbus (`sources.growatt_mqtt.GrowattMqtt`). All raise OhmsteadError."""

    @property
    def online(self) -> bool | None: ...

    async def put(self, wanted: Mapping[int, int], *, ends: bool = False) -> Standing:
        """Writes what differs and reads back. `ends`: what begins with it should end soon by itself unless this is called again."""
        ...

    async def read(self, addresses: Sequence[int]) -> Mapping[int, int]: ...

    def let_go(self, wanted: Mapping[int, int], there: Mapping[int, int]) -> None:
        """Sends what leads from `there` to `wanted`, and waits for nothing."""
        ...


class Ended(Protocol):
    def __call__(self, device: str, control: str, reason: str, time: float) -> None:
        """A control was taken from whoever held it, at `time` (UTC)."""
        ...


class Watch(NamedTuple):
    """A limit's end: the point, its scale, the rule in raw values, and the controls that it keeps at their safe value."""

    point: str
    scale: float
    rule: Rule
    controls: frozenset[str]


@dataclass
class _Held:
    """A control in force until `until` (monotonic); `stands` is what read back last, `look_at` when it is looked at again."""

    target: Target
    raw: int
    until: float
    stands: Mapping[int, int]
    look_at: float
    fights: int = 0


@dataclass
class _Homeward:
    """A control that is to be taken back: from `due` (monotonic) on, after so many failures. `sent`: a stop has sent what does it."""

    due: float = 0.0
    failures: int = field(default=0)
    sent: bool = False


class StoppedError(OhmsteadError):
    """An emergency stop came before a command was through."""

    def __init__(self) -> None:
        super().__init__("an emergency stop came before it was through")


class GuardedActuator:
    """`targets` are the controls of the device. `run` until cancelled; `take` gets the readings; `ended` is told what was taken from whom,
    and of each time that somebody else wrote.

    `again_s` is the pause after a first failure, in seconds; it grows by half each time.
    """

    def __init__(
        self,
        device: str,
        targets: Mapping[str, Target],
        watches: Sequence[Watch],
        settings: Settings,
        ended: Ended,
        *,
        again_s: float = 2.0,
        look_s: float = LOOK_S,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._device = device
        self._targets = targets
        self._watches = watches
        self._settings = settings
        self._ended = ended
        self._again_s, self._look_s = again_s, look_s
        self._mono, self._wall = mono, wall
        self._advanced = mono()
        self._turn = asyncio.Lock()
        self._held: dict[str, _Held] = {}
        self._homeward = {
            name: _Homeward()
            for name, target in targets.items()
            if target.lease_required and not target.read_only and _home(target) is not None
        }
        self._stops = 0
        self._writing: dict[str, object] = {}
        self._beginning: asyncio.Future[Standing] | None = None
        self._woken = asyncio.Event()
        self._log = structlog.get_logger(service="control").bind(device=device)

    @property
    def homeward(self) -> list[str]:
        """Controls that are to be at their safe value and have not been seen there yet."""
        return list(self._homeward)

    async def holds(self, target: Target, raw: int) -> bool:
        wanted = _registers(target, raw)
        try:
            async with self._turn:
                found = await self._settings.read(list(wanted))
        except OhmsteadError:
            return False
        return all(found.get(at) == word for at, word in wanted.items())

    async def write(self, target: Target, raw: int, entry: int | str, lease_s: float = 0.0) -> Outcome:
        """As `Actuator.write`. The lease begins when it is asked for, not when it has got through. An emergency stop comes before
        whatever was asked for until then."""
        name, until, stops = target.control, self._mono() + lease_s, self._stops
        held = self._held.get(name)
        forced = lease_s > 0 and raw != _home(target)
        if forced:
            self._judge(name)
        if held is not None and held.raw == raw and forced and name not in self._homeward:
            held.until = until
            return Outcome("unchanged", "it is so already", raw)
        stoppable = forced and target.lease_required
        self._writing[name] = this = object()
        try:
            async with self._turn:
                if stoppable and stops != self._stops:
                    raise StoppedError
                self._homeward.pop(name, None)
                put = await self._put(target, raw, stoppable=stoppable)
        except OhmsteadError as error:
            self._held.pop(name, None)
            if target.lease_required or forced:
                self._take_home(name)
            return Outcome("failed", str(error))
        except asyncio.CancelledError:
            if target.lease_required:  # it may have got through; a newer command goes before that
                self._held.pop(name, None)
                self._take_home(name)
            raise
        finally:
            if self._writing.get(name) is this:
                del self._writing[name]
        self._held.pop(name, None)
        if forced:
            self._held[name] = _Held(target, raw, until, put.stands, self._mono() + self._look_s)
        if put.commands:
            return Outcome("done", "written and read back", raw)
        return Outcome("unchanged", "it is so already", raw)

    def take(self, snapshot: Snapshot) -> None:
        """Judges the limits by what is read of the device."""
        if snapshot.device != self._device or not snapshot.live:
            return
        self._advance()
        for watch in self._watches:
            value = snapshot.values.get(watch.point)
            if isinstance(value, int | float):
                watch.rule.see(round(value / watch.scale))
        self._interlock()

    def stop(self) -> None:
        """The emergency stop, as a node would obey it: what must end is taken back now, whoever holds it. What does that is sent at once,
        whoever's answer is waited for; then it is brought home as always, which is to see that it got there."""
        self._stops += 1
        if self._beginning is not None:
            self._beginning.cancel()
        for name in self._unsettled():
            way = self._homeward.get(name)
            if way is None or not way.sent:
                self._send_home(name)
            if name in self._held:
                self._end(name, "stop")
            elif way is None:
                self._take_home(name)
            self._homeward[name].sent = True

    def let_go(self) -> None:
        """The gateway ends: sends what takes back everything that must end and is or may be in force, as far as it gets out."""
        for name in self._unsettled():
            self._send_home(name)

    def _unsettled(self) -> list[str]:
        """The controls that must end and are or may be in force."""
        return [
            name
            for name, target in self._targets.items()
            if _home(target) is not None
            and target.lease_required
            and (name in self._held or name in self._homeward or name in self._writing)
        ]

    def _send_home(self, name: str) -> None:
        target, held = self._targets[name], self._held.get(name)
        wanted = _registers(target, _home(target) or 0)
        self._settings.let_go(wanted, dict.fromkeys(wanted, _UNKNOWN) if held is None or name in self._writing else held.stands)

    async def run(self) -> None:
        """Time passes, until cancelled."""
        while True:
            self._woken.clear()
            await self.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._woken.wait()

    async def step(self) -> None:
        """What is due now: leases end, limits grow stale, what must go home is brought there, what is in force is looked at."""
        self._advance()
        self._interlock()
        now = self._mono()
        for name in [name for name, held in self._held.items() if held.until <= now]:
            self._end(name, "nobody renewed it")
        await self._bring_home()
        await self._look()

    async def _put(self, target: Target, raw: int, *, stoppable: bool) -> Standing:
        """Puts a value; `stoppable` is what begins something that an emergency stop is about. Raises OhmsteadError, StoppedError too."""
        registers, stops = _registers(target, raw), self._stops
        if not stoppable:
            return await self._settings.put(registers)
        self._beginning = asyncio.ensure_future(self._settings.put(registers, ends=True))
        try:
            put = await self._beginning
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if stops == self._stops or (this is not None and this.cancelling()):
                raise
            raise StoppedError from None
        finally:
            self._beginning = None
        if stops != self._stops:
            raise StoppedError
        return put

    def _judge(self, name: str) -> None:
        """Raises Rejected where a control may hold nothing but its safe value now."""
        if self._settings.online is False:
            raise Rejected(Reason.OFFLINE, f"{self._device} is away")
        self._advance()
        reason = self._blocked(name)
        if reason == "stale":
            raise Rejected(Reason.STALE, "a limit has no fresh reading to judge by")
        if reason:
            raise Rejected(Reason.LIMIT, f"the limit {reason} does not allow it now")

    def _blocked(self, name: str) -> str:
        return next((reason for watch in self._watches if name in watch.controls and (reason := watch.rule.blocks())), "")

    def _advance(self) -> None:
        now = self._mono()
        passed = int((now - self._advanced) * 1000)
        if passed > 0:
            self._advanced += passed / 1000
            for watch in self._watches:
                watch.rule.advance(passed)

    def _interlock(self) -> None:
        for name in list(self._held):
            if reason := self._blocked(name):
                self._end(name, reason)

    def _end(self, name: str, reason: str) -> None:
        """A control is taken from whoever holds it."""
        self._held.pop(name, None)
        self._take_home(name)
        self._log.warning("taken back", control=name, reason=reason)
        self._ended(self._device, name, reason, self._wall())

    def _take_home(self, name: str) -> None:
        if _home(self._targets[name]) is not None:
            self._homeward[name] = _Homeward(self._mono())
            self._woken.set()

    async def _bring_home(self) -> None:
        for name, way in list(self._homeward.items()):
            if way.due > self._mono():
                continue
            target = self._targets[name]
            home = _home(target)
            async with self._turn:
                if self._homeward.get(name) is not way or home is None:
                    continue
                try:
                    put = await self._settings.put(_registers(target, home))
                except OhmsteadError as error:
                    way.failures += 1
                    way.due = self._mono() + min(_LONGEST_PAUSE_S, self._again_s * 1.5 ** min(way.failures - 1, 20))
                    self._log.warning("not taken back yet", control=name, failures=way.failures, reason=str(error))
                    continue
                self._homeward.pop(name, None)
                self._log.info("at its safe value", control=name, commands=put.commands)

    async def _look(self) -> None:
        for name, held in list(self._held.items()):
            if held.look_at > self._mono():
                continue
            held.look_at = self._mono() + self._look_s
            async with self._turn:
                if self._held.get(name) is not held:
                    continue
                try:
                    put = await self._put(held.target, held.raw, stoppable=held.target.lease_required)
                except OhmsteadError as error:
                    self._log.warning("not looked at", control=name, reason=str(error))
                    continue
            foreign = any(put.met.get(at) != word for at, word in held.stands.items())
            held.stands = put.stands
            if not foreign:
                continue
            held.fights += 1
            self._log.warning("external", control=name, times=held.fights)
            if held.fights >= MOST_FIGHTS:
                self._held.pop(name, None)
                self._take_home(name)
            self._ended(self._device, name, EXTERNAL, self._wall())


def watches(profile: Profile, ends: Mapping[str, Bounds], periods: Mapping[str, float]) -> list[Watch]:
    """The limits of a profile that stop anything at this home: `ends` are their ranges (in the unit of their points), `periods` says how
    often each group is read, in seconds. A trip lasts as long as its reason here: nothing latches."""
    found: list[Watch] = []
    for limit in profile.limits.values():
        for point in (profile.points[name] for name in limit.point):
            for threshold in thresholds(limit, point, ends[limit.id]):
                rule = Rule(
                    {
                        "name": f"{limit.id.replace('_', ' ')} {threshold.end}",
                        "below" if threshold.below else "above": threshold.at,
                        "clear": threshold.clear,
                        "hold_ms": round(limit.hold * 1000),
                        "stale_ms": round(limit.stale_s(periods[point.group]) * 1000),
                    }
                )
                found.append(Watch(point.id, point.scale, rule, frozenset(profile.stopped(threshold.stops))))
    return found


def _home(target: Target) -> int | None:
    """The raw value that a control goes back to."""
    return target.returns_to


def _registers(target: Target, raw: int) -> dict[int, int]:
    """Every register of a control's blocks, and the word that it has for a raw value."""
    addresses = [at for _, first, count in target.requests for at in range(first, first + count)]
    return dict(zip(addresses, target.registers(raw), strict=True))
