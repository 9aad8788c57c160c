"""Puts the arbiter together from the configuration: which batteries there are, who may wish, and where the events come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from ohmcore.standing import Device as Standing
from ohmstead.clock import Clock
from ohmstead.config.limits import returning
from ohmstead.config.model import Config
from ohmstead.control.arbiter import Arbiter
from ohmstead.control.desk import Answer, Desk
from ohmstead.control.dispatch import Actuator
from ohmstead.control.entrance import Entrance
from ohmstead.control.guarded import MOST_FIGHTS, GuardedActuator
from ohmstead.control.operator import GridInput
from ohmstead.control.plan.model import Wish
from ohmstead.control.planned import PlanAuthor
from ohmstead.control.setup import Battery, Rules, battery, governed
from ohmstead.control.target import Target, targets
from ohmstead.messages import Messenger
from ohmstead.nodes.fleet import Event, ends_ownership
from ohmstead.profiles.formula import Formula
from ohmstead.readings import Snapshot
from ohmstead.store.trail import Trail
from ohmstead.units import quantity

log = structlog.get_logger(service="control")

_FRESH_S = 60.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_RESULT_S = 3600.0
"""An actuator always answers, and waits for a device that is away; this is for one that was lost all the same."""


def targets_of(config: Config, device: str) -> dict[str, Target]:
    """What may be written to a device at this home."""
    profile, chosen = config.profile(device), config.devices[device]
    found = targets(
        device,
        profile,
        {control: config.raw_limits(device, control) for control in profile.controls},
        periods=config.periods(device),
        read_only=chosen.read_only,
        ends=config.limit_ends(device),
        lease_s=chosen.control.lease,
    )
    for name, target in found.items():
        home = returning(target.limits, target.returns_to, config.layout(device, name).safe)
        if home != target.returns_to:
            found[name] = replace(target, returns_to=home)
    return found


def batteries(config: Config, known: Mapping[str, Mapping[str, Target]]) -> dict[str, Battery]:
    """The batteries that the arbiter commands: those that a node or an OpenInverterGateway reaches. What is reached over Modbus TCP by the
    gateway itself stays with the desk: nobody would end a command there."""
    section = config.control
    found: dict[str, Battery] = {}
    for device, chosen in config.devices.items():
        if chosen.via.node is None and chosen.via.topic is None:
            continue
        rules = Rules(
            lease_s=chosen.control.lease,
            longest_s=section.longest,
            dwell_s=section.dwell,
            heartbeat_s=section.grid.heartbeat,
            failsafe_w=round(section.grid.failsafe or 0.0),
            result_s=_RESULT_S,
            fights=3 if chosen.via.topic is None else MOST_FIGHTS - 1,  # the guard's last time is the end of it
            burst=section.burst,
            refill_s=section.refill,
        )
        one = battery(
            chosen.name or config.profile(device).name,
            config.profile(device),
            known[device],
            config.limit_ends(device),
            config.periods(device),
            None if chosen.rated is None else quantity(chosen.rated, "W"),
            rules,
            read_only=chosen.read_only,
        )
        if one is not None:
            found[device] = one
    return found


def uncommanded(config: Config) -> dict[str, str]:
    """The batteries that nobody commands because the gateway itself reaches them over Modbus TCP, and what their owner can do."""
    found: dict[str, str] = {}
    for device, chosen in config.devices.items():
        names = governed(config.profile(device)) if chosen.via.node is None and chosen.via.topic is None else []
        forced = [name for name in names if config.profile(device).controls[name].lease == "required"]
        if forced and not chosen.read_only:
            found[device] = (
                f"{' and '.join(forced)} cannot be commanded via {chosen.via}: when the gateway died nobody would end it. "
                "Reach it through a node, or a Growatt through its OpenInverterGateway (via: growatt-mqtt:energy/solar)"
            )
    return found


class Batteries:
    """The arbiter and all that is around it. `take` gets the readings, `tick` the time (monotonic seconds) once a second.

    `known` are the controls of all devices, `actuators` write to them, `online` tells whether one can be reached (None: not known yet),
    `wishes` says what the plan wants at a UTC second and at a load of the house (W; None: not known).
    """

    def __init__(
        self,
        config: Config,
        known: Mapping[str, Mapping[str, Target]],
        actuators: Mapping[str, Actuator],
        trail: Trail,
        messenger: Messenger,
        online: Callable[[str], bool | None],
        wishes: Callable[[float, float | None], Sequence[Wish]],
        clock: Clock,
    ) -> None:
        self._config = config
        self._messenger = messenger
        self._actuators = actuators
        self._clock = clock
        self._found = batteries(config, known)
        self._house = {device: house for device in self._found if (house := _house(config, device)) is not None}
        self._house_w: dict[str, tuple[float, float]] = {}
        self._wishes = wishes
        self.arbiter = Arbiter(
            self._found,
            actuators,
            trail,
            reachable=lambda device: messenger.connected and online(device) is True,
            relay=self._relay,
            boot=boot_id(),
            keep_s=config.control.keep,
            flush_s=config.store.flush,
            mono=clock.mono,
            wall=clock.wall,
            clock_text=lambda moment: datetime.fromtimestamp(moment, config.zone).strftime("%H:%M"),
        )
        self.grid = GridInput(config.site, messenger, config.control.grid.words, self._feed_all, clock.mono)
        judge = self.arbiter
        self.plan = PlanAuthor(self._planned, judge.devices, judge.state, judge.next_identity, judge.feed)

    def others(self, known: Mapping[str, Mapping[str, Target]]) -> dict[str, dict[str, Target]]:
        """The controls that the arbiter leaves to the desk."""
        return {
            device: {name: target for name, target in named.items() if device not in self._found or name not in self._found[device].targets}
            for device, named in known.items()
        }

    def entrance(self, desk: Desk, answer: Callable[[Answer], None]) -> Entrance:
        """Where requests in words come in, for arbiter and desk alike."""
        return Entrance(desk, self.arbiter, answer, node_of=self._node, wall=self._clock.wall)

    async def start(self) -> None:
        """Goes on from the store. Raises StoreError. After it `run` is to be run."""
        for device, why in uncommanded(self._config).items():
            log.warning("not commanded", device=device, reason=why)
        await self.arbiter.start()
        if self._found:
            self.grid.start()

    async def run(self) -> None:
        """Keeps the audit, until closed."""
        await self.arbiter.run()

    async def close(self) -> None:
        """What is being written gets a moment, what was decided is kept."""
        await self.arbiter.close()

    def take(self, snapshot: Snapshot) -> None:
        self.arbiter.take(snapshot)
        house = self._house.get(snapshot.device)
        if house is not None and snapshot.live and (watts := house.evaluate(snapshot.values)) is not None:
            self._house_w[snapshot.device] = (watts, self._clock.mono() - max(snapshot.age, 0.0))

    def tick(self, now: float) -> None:
        if self._found:
            self.arbiter.tick()
            self.plan.look(self._clock.wall(), now)

    def tell(self, event: Event, latched: str | None) -> None:
        """A node's event. `latched`: what is known of its latch by now; None: nothing."""
        judge = self.arbiter
        ours = [device for device in self._config.devices_of(event.node) if device in judge.devices]
        if event.kind in ("link", "latch", "reset"):
            for device in ours if latched is not None else ():
                judge.node_latch(device, latched or "")
        elif event.kind == "control" and event.device in ours:
            rival = event.detail.get("stage") == "external"
            if rival or ends_ownership(event.detail):
                value = event.detail.get("value") if rival else None
                judge.node_says(event.device, str(event.detail.get("control")), value if isinstance(value, int) else None, event.time)

    def guard_ended(self, device: str, control: str, reason: str, time: float) -> bool:
        """The gateway's own guard took a control from whoever held it, or put right what somebody else wrote, at `time` (UTC); False: it
        is none of the arbiter's."""
        if device not in self._found or control not in self._found[device].targets:
            return False
        log.warning("the guard", device=device, control=control, reason=reason)
        self.arbiter.node_says(device, control, None, time)
        return True

    def _planned(self, now: float) -> Sequence[Wish]:
        known = [watts for watts, read_at in self._house_w.values() if self._clock.mono() - read_at <= _FRESH_S]
        return self._wishes(now, max(known) if known else None)

    def _feed_all(self, event: tuple[object, ...], fresh: bool) -> None:
        """The network operator's statements go to every battery; one that is not fresh means nothing in failsafe."""
        for device in self.arbiter.devices:
            if fresh or not Standing(self.arbiter.state(device)).failsafe:
                self.arbiter.feed(device, event)

    def _relay(self, device: str, level: int) -> None:
        """The emergency stop goes to the node as well, or to the guard in its place, which obey it without us. It ends at the node when it
        stands for none of its batteries any more."""
        node, actuator = self._node(device), self._actuators[device]
        if node is not None:
            others = [other for other in self.arbiter.devices if other != device and self._node(other) == node]
            if not level and any(Standing(self.arbiter.state(other)).level == 1 for other in others):
                return
            self._messenger.publish(f"ohm/{self._config.site}/node/{node}/stop", str(level), retain=True)
        elif level and isinstance(actuator, GuardedActuator):
            actuator.stop()

    def _node(self, device: str) -> str | None:
        chosen = self._config.devices.get(device)
        return None if chosen is None else chosen.via.node


def _house(config: Config, device: str) -> Formula | None:
    flow = config.profile(device).flow
    return Formula(flow.house) if flow is not None and flow.house else None


def boot_id() -> str:
    """The name of this run of the machine; empty where the system does not say: then nothing is known of the time that has passed."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
