"""Viessmann heatings through their maker's cloud, by PyViCare: all features of all devices of an account as points.

The library says which devices there are and how they are asked; token, budget, time-outs and errors are ours (`vicare_cloud`). It blocks,
so it works in a daemon thread: a dead cloud holds up nobody. Nothing is cached; a reading has the time of the newest change that the
cloud knows of the device, and a device of which it has heard nothing for long has no readings.

The configured device is the account's first heating, for ever; each further device is a member, `<device>-<gateway>-<device there>`, and
so is the account with its budget of requests, `<device>-account`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from importlib import import_module
from typing import Any, NamedTuple

import structlog

from ohmstead.errors import NoAnswer, Refused, RetryLater, SourceError, Unauthorised, WrongAnswer
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.model import Profile
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.polling import Adopt, Member, Memory
from ohmstead.sources.vicare_cloud import Cloud, load_requests
from ohmstead.sources.vicare_device import Heard, ViessmannDevice, part_of
from ohmstead.sources.vicare_features import features_of, for_support
from ohmstead.tasks import in_daemon_thread

STALE_S = 7200.0
"""A heating of which the cloud has heard nothing for so long says nothing."""

PERIOD_S = 1800.0
_STALE_OTHERS_S = 43_200.0
"""The same for a thermostat or a gateway, of which little changes."""

_LIST_AGAIN_S = 86_400.0
_HEATING = ("heating", "ventilation", "electricityStorage")
_ACCOUNT = "vicare-account"
_TABLE = "vicare-heating"


class _Found(NamedTuple):
    """A device of the account. `key` is its gateway's serial and its own id there."""

    key: str
    part: str
    gateway: str
    model: str
    roles: tuple[str, ...]
    is_heating: bool
    config: Any


class _Poll(NamedTuple):
    """What one poll brought: of each device its features, and what went wrong."""

    features: dict[str, list[dict[str, Any]]]
    errors: list[Exception]
    used: tuple[int, int]


class VicareReader:
    """Reads an account through `cloud`; its devices go to `adopt`.

    `wanted` makes the owner's profile of a learned one (names, scales), `load` finds a profile by its name. `period_s` and `stale_s` in
    seconds, `zone` is the home's. `one_by_one` asks each device by itself: a request for each, instead of one for each gateway.
    """

    def __init__(
        self,
        device: str,
        cloud: Cloud,
        adopt: Adopt,
        memory: Memory,
        *,
        zone: tzinfo = UTC,
        period_s: float = PERIOD_S,
        stale_s: float = STALE_S,
        one_by_one: bool = False,
        wanted: Callable[[Profile], Profile] = lambda profile: profile,
        load: Callable[[str], Profile] = library.load,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.device = device
        self.cloud = cloud
        self._adopt = adopt
        self._memory = memory
        self._zone = zone
        self._period_s = period_s
        self._stale_s = stale_s
        self._one_by_one = one_by_one
        self._wanted = wanted
        self._load = load
        self._wall = wall
        self._found: list[_Found] = []
        self._listed_at = 0.0
        self._main = ""
        self._table: Profile | None = None
        self._account: Profile | None = None
        self._devices: dict[str, ViessmannDevice] = {}
        self._serials: dict[str, str] = {}
        self._working = False
        self._learned = False
        self._in_part = False
        self._old_list = False
        self._kept_key = f"vicare/{device}/found"
        self._log = structlog.get_logger(service="vicare").bind(device=device)

    def start(self) -> None:
        """What was found before a restart is there before the cloud answers."""
        try:
            listed = _list(self._memory.read(self._kept_key))
        except SourceError as error:
            self._log.warning("what was found before is not known until the first answer", reason=str(error))
            return
        if listed:
            self._load_profiles()
        for kept in listed:
            try:
                device = self._made(str(kept["device"]), str(kept["model"]), kept["roles"], heating=bool(kept["heating"]))
                member = device.recall(kept)
            except (LookupError, TypeError, ValueError):
                self._log.warning("what was found before cannot be read; it will be found again")
                return
            self._devices[str(kept["key"])] = device
            self._adopt(self._with_a_serial_of_its_own(member))
        if self._devices and self._account is not None:
            self._adopt(self._as_member(self._account))

    async def read(self) -> Sequence[Snapshot]:
        """One poll: a request for each gateway. Raises SourceError, or RateLimited where the budget or the cloud say so."""
        snapshots = self._snapshots(await self._polled())
        if self._learned:
            await asyncio.to_thread(self._keep)
        return snapshots

    async def dump(self) -> object:
        """What the cloud says of each device, without the numbers of devices and the place of the house. Raises SourceError."""
        poll = await self._polled()
        told = [(one, poll.features[one.key]) for one in self._found if one.key in poll.features]
        devices = [{"model": one.model, "type": str(one.config.device_type), "roles": one.roles, "data": data} for one, data in told]
        return for_support({"devices": devices, "errors": [str(error) for error in poll.errors]})

    def spent(self) -> Sequence[tuple[str, int, int]]:
        """The two windows of the account's budget."""
        try:
            day, short = self.cloud.budget.used()
        except SourceError:  # said by the poll
            return []
        granted = self.cloud.budget.allowance
        return [("day", day, granted.usable_day), ("ten minutes", short, granted.usable_ten_minutes)]

    async def close(self) -> None:
        self.cloud.stop()
        if self._working:  # in a thread of the executor's, which the end of the process waits for whatever is cancelled
            await asyncio.to_thread(self.cloud.settle)
        if not self._working:
            self.cloud.close()

    async def _polled(self) -> _Poll:
        if self._working:
            raise NoAnswer("Viessmann's cloud: the poll before has not ended yet")
        self.cloud.resume()
        self._working = True
        answers: list[_Poll] = []
        try:
            await in_daemon_thread(lambda: self._work(answers), f"vicare-{self.device}")
        finally:
            if self._working:
                self.cloud.stop()
        return answers[0]

    # In the thread

    def _work(self, answers: list[_Poll]) -> None:
        try:
            answers.append(self._poll())
        finally:
            self._working = False

    def _poll(self) -> _Poll:
        self._load_profiles()
        load_requests()
        import_module("ohmstead.sources.vicare_derived")  # which the event loop will need
        self._list_devices()
        features: dict[str, list[dict[str, Any]]] = {}
        errors: list[Exception] = []
        for asked in self._rounds():
            try:
                features |= self._asked(asked)
            except (RetryLater, SourceError) as error:
                errors.append(error)
                if isinstance(error, Refused) and error.status == 404:
                    self._listed_at = 0.0  # what is asked for may not be there any more
                if isinstance(error, RetryLater) or (isinstance(error, Unauthorised) and error.status != 403):
                    break  # the next one would hear the same
        if not features:
            raise errors[-1] if errors else NoAnswer("Viessmann's cloud: it says nothing of any device")
        return _Poll(features, errors, self.cloud.budget.used())

    def _load_profiles(self) -> None:
        if self._table is None or self._account is None:
            self._table, self._account = self._load(_TABLE), self._load(_ACCOUNT)

    def _list_devices(self) -> None:
        """Which devices there are: once, and then once a day."""
        if self._found and 0 <= self._wall() - self._listed_at < _LIST_AGAIN_S:
            return
        try:
            found = self._listed()
        except SourceError as error:
            if not self._found:
                raise
            if not self._old_list:
                self._log.info("the list of devices is that of before", reason=str(error))
            self._old_list = True
            return  # the devices themselves say what is wrong
        self._choose(found)
        self._old_list = False
        self._learned |= {one.key for one in found} != {one.key for one in self._found}  # what has gone is not kept either
        self._found = found
        self._listed_at = self._wall()

    def _listed(self) -> list[_Found]:
        """What the account has now. Raises SourceError or RetryLater."""
        from PyViCare.PyViCare import PyViCare  # in this thread, not while the buses wait
        from PyViCare.PyViCareUtils import PyViCareInvalidDataError

        api = PyViCare()
        api.setCacheDuration(0)
        api.loadViaGateway(not self._one_by_one)
        try:
            api.initWithExternalOAuth(self.cloud)
            found = [_found(config) for config in api.all_devices]
        except (AttributeError, LookupError, TypeError, ValueError, PyViCareInvalidDataError) as error:
            raise WrongAnswer("Viessmann's cloud: a list of installations that is none") from error
        if not found:
            raise WrongAnswer("Viessmann's cloud: the account has no device; is it the right one?")
        return _told_apart(found)

    def _choose(self, found: Sequence[_Found]) -> None:
        """Which one is the configured device: the first heating of the first time, also when another one comes before it later. One that
        was never there before takes its place when it has gone; one that was a member stays one."""
        key = f"vicare/{self.device}/devices"
        known = _names(self._memory.read(key))
        keys = [one.key for one in found]
        first = next((one.key for one in found if one.is_heating), keys[0])
        if not known or (known[0] not in keys and first not in known):
            if known:
                self._log.warning("the heating is no longer in the account; another one takes its place", was=known[0], now=first)
            known = [first, *known]
        self._main = known[0]
        known += [key for key in keys if key not in known]
        self._memory.write(key, json.dumps(known))

    def _rounds(self) -> Iterator[list[_Found]]:
        """What is asked with one request each."""
        if self._one_by_one:
            yield from ([one] for one in self._found)
            return
        for gateway in dict.fromkeys(one.gateway for one in self._found):
            yield [one for one in self._found if one.gateway == gateway]

    def _asked(self, asked: list[_Found]) -> dict[str, list[dict[str, Any]]]:
        """The features of the devices that answer with one request."""
        from PyViCare.PyViCareService import is_gateway_role
        from PyViCare.PyViCareServiceViaGateway import filter_features_for_device

        config = asked[0].config
        try:
            listed = features_of(config.service.fetch_all_features(config.accessor))
        except TypeError as error:  # the library looks at the roles of the device
            raise WrongAnswer(f"Viessmann's cloud: nobody knows what a {asked[0].model} is") from error
        features = {asked[0].key: listed}
        if not self._one_by_one:
            features = {one.key: filter_features_for_device(listed, str(one.config.device_id)) for one in asked}
            speaker = next((one.key for one in asked if is_gateway_role(one.roles)), asked[0].key)
            features[speaker] += [one for one in listed if "/devices/" not in one.get("uri", "")]
        return {key: told for key, told in features.items() if told}

    # In the event loop

    def _snapshots(self, poll: _Poll) -> list[Snapshot]:
        now = self._wall()
        home = datetime.fromtimestamp(now, self._zone)
        found: list[Snapshot] = []
        silent: list[str] = []
        for one in self._found:
            if one.key not in poll.features:
                continue
            device = self._device(one)
            snapshots, learned = device.take(Heard(poll.features[one.key], now + self.cloud.skew, now, home))
            if learned is not None:
                self._adopt(self._with_a_serial_of_its_own(learned))
                self._learned = True
            if device.silent:
                silent.append(device.silent)
            found += snapshots
        if silent and not found:
            raise NoAnswer(f"Viessmann's cloud: {silent[0]}")
        if bool(poll.errors) != self._in_part:
            self._in_part = bool(poll.errors)
            self._log.info(
                "the account answers in part" if poll.errors else "the account answers as a whole", errors=[*map(str, poll.errors)]
            )
        return [*found, *self._of_account(now, poll, len(silent))]

    def _of_account(self, now: float, poll: _Poll, silent: int) -> list[Snapshot]:
        """What is known of the account itself."""
        if self._account is None:
            return []
        member = self._as_member(self._account)
        self._adopt(member)
        day, short = poll.used
        left = max(self.cloud.budget.allowance.usable_day - day, 0)
        said = {"requests_day": day, "requests_ten_minutes": short, "requests_left": left, "silent": silent, "failed": len(poll.errors)}
        quality = Quality.PARTIAL if poll.errors else Quality.GOOD
        values = Decoder(self._account).decode_fields(said)
        return [Snapshot(member.device, next(iter(self._account.groups)), now, quality, values)]

    def _with_a_serial_of_its_own(self, member: Member) -> Member:
        """Two devices that say the same serial number have none: it would make one of them in Home Assistant."""
        if member.serial is None or self._serials.setdefault(member.serial, member.device) == member.device:
            return member
        self._log.warning("two devices with one serial number", device=member.device, other=self._serials[member.serial])
        return member._replace(serial=None)

    def _as_member(self, account: Profile) -> Member:
        return Member(f"{self.device}-account", account.name, account, self._period_s)

    def _device(self, one: _Found) -> ViessmannDevice:
        name = self.device if one.key == self._main else f"{self.device}-{one.part}"
        known = self._devices.get(one.key)
        if known is None or known.device != name:
            known = self._made(name, one.model, one.roles, heating=one.is_heating)
            self._devices[one.key] = known
        return known

    def _made(self, name: str, model: str, roles: Sequence[str], *, heating: bool) -> ViessmannDevice:
        if self._table is None:
            raise LookupError(_TABLE)
        stale_s = self._stale_s if heating else max(self._stale_s, _STALE_OTHERS_S)
        return ViessmannDevice(name, model, roles, self._table, period_s=self._period_s, stale_s=stale_s, wanted=self._wanted)

    def _keep(self) -> None:
        """For `start`."""
        heating = {one.key: one.is_heating for one in self._found}
        known = [(key, device) for key, device in self._devices.items() if key in heating]
        kept = [
            {"key": key, "device": device.device, "model": device.model, "roles": device.roles, "heating": heating[key], **device.kept()}
            for key, device in known
        ]
        self._memory.write(self._kept_key, json.dumps(kept))
        self._learned = False


def _found(config: Any) -> _Found:
    serial, own = str(config.accessor.serial), str(config.accessor.device_id)
    roles = tuple(role for role in config.roles if isinstance(role, str)) if isinstance(config.roles, list) else ()
    model, heating = str(config.device_model or "Viessmann"), str(config.device_type) in _HEATING
    return _Found(f"{serial}/{own}", part_of(serial, own), serial, model, roles, heating, config)


def _told_apart(listed: Sequence[_Found]) -> list[_Found]:
    """Each device once, each with a part of its own."""
    found = {one.key: one for one in listed}
    alike: dict[str, list[str]] = {}
    for key in sorted(found):
        alike.setdefault(found[key].part, []).append(key)
    for part, keys in alike.items():
        for number, key in enumerate(keys[1:], 2):
            found[key] = found[key]._replace(part=f"{part}-{number}")
    return list(found.values())


def _names(kept: str | None) -> list[str]:
    """What `_choose` kept, the configured device's first."""
    return [str(name) for name in _list(kept)]


def _list(kept: str | None) -> list[Any]:
    """A list that was kept; empty where it cannot be read."""
    try:
        listed = json.loads(kept or "[]")
    except ValueError:
        return []
    return listed if isinstance(listed, list) else []
