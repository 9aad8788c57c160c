"""A Growatt with a battery under the real core of the arbiter and nothing else of it: for tests of what a Miniserver says and hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ohmcore import events
from ohmcore.decide import begin, decide, explain, mode_of, next_identity
from ohmcore.records import RANKS, Decision, Event, Why
from ohmstead.config import load
from ohmstead.config.model import Config
from ohmstead.control.arbitration import Told
from ohmstead.control.setup import Rules, battery
from ohmstead.control.target import targets
from ohmstead.control.views import ControlStatus, DeviceView, Refused, Status
from ohmstead.store.protocol import StoreError
from ohmstead.units import quantity
from tests.unit.homes import writer

GROWATT = """
    devices:
      growatt:
        profile: growatt-sph
        via: tcp://192.0.2.11
        rated: 5 kW
        limits: {soc: 15..95 %}
        control: {charge: {power: ..3 kW}}
"""
WRITES = ("command", "revert", "safe")
MINUTE = 60_000


def home(folder: Path, text: str = GROWATT) -> Config:
    return load(writer(folder)(text))


class Desk:
    """The arbiter of one home with one battery. `told` are the events that came, `wrote` what would have been written; the inverter does
    it at once. `now` in ms. `full`: the audit takes nothing."""

    def __init__(self, config: Config, device: str = "growatt") -> None:
        profile, chosen = config.profile(device), config.devices[device]
        limits = {control: config.raw_limits(device, control) for control in profile.controls}
        ends = config.limit_ends(device)
        found = battery(
            profile.name,
            profile,
            targets(device, profile, limits, periods=config.periods(device), read_only=chosen.read_only, ends=ends),
            ends,
            config.periods(device),
            None if chosen.rated is None else quantity(chosen.rated, "W"),
            Rules(),
            read_only=chosen.read_only,
        )
        assert found is not None
        self.now = 1_000_000
        self.told: list[Event] = []
        self.wrote: list[tuple[str, int | None]] = []
        self.full = False
        self._device = device
        self._view = found.view
        self._state = begin(found.setup, self.now)
        self._soc: float | None = None
        self._read_at: int | None = None
        self._refused: Refused | None = None
        self._stop: int | None = None
        self._subscribers: list[Told] = []
        self._sources = [source.name for source in found.setup.sources]
        self._control_names = list(found.view.controls)

    @property
    def devices(self) -> Mapping[str, DeviceView]:
        return {self._device: self._view}

    def read(self, soc: int | None = 60) -> None:
        """Fresh telemetry; all that is no SOC is at 20."""
        self._soc, self._read_at = soc, self.now
        self._decide(events.telemetry([(name, soc if name == "battery_soc" else 20) for name in self._sources]))

    def pass_time(self, ms: int) -> None:
        self.now += ms
        self._decide(events.tick())

    async def submit(self, device: str, event: Event) -> list[Decision]:
        if self.full:
            raise StoreError("no room on the disk")
        self.told.append(event)
        if event[0] == "stop" and event[1] in (0, 1):
            self._stop = event[1]
        return self._decide(event)

    def _decide(self, event: Event) -> list[Decision]:
        self._state, decisions = decide(self._state, event, self.now)
        for decision in decisions:
            if decision.kind == "rejection":
                detail = f"It is {decision.reason}."
                self._refused = Refused(decision.author, decision.control, decision.reason, decision.by, detail, 0.0)
            if decision.kind in WRITES:
                self.wrote.append((decision.control, decision.value))
                done = events.result(decision.control, decision.identity, "done", decision.value)
                self._state, more = decide(self._state, done, self.now)
                assert not [one for one in more if one.kind in WRITES]
        for told in self._subscribers:
            told(self._device, decisions, self.status(self._device))
        return decisions

    def stands(self) -> list[object]:
        """Mode and controls, as they stand."""
        return [self.mode(self._device), *(self.explain(self._device, name) for name in self._control_names)]

    def next_identity(self, device: str, author: str) -> int:
        return next_identity(self._state, author)

    def explain(self, device: str, control: str) -> Why:
        return explain(self._state, control, self.now)

    def why(self, device: str, control: str) -> str:
        return f"{control}: because"

    def mode(self, device: str) -> str:
        return mode_of(self._state)

    def status(self, device: str) -> Status:
        def of(control: str) -> ControlStatus:
            why = self.explain(device, control)
            rank = RANKS[why.rank] if why.rank >= 0 else ""
            return ControlStatus(
                why.author,
                rank,
                why.left_ms / 1000,
                why.wanted,
                why.value,
                why.read_back,
                why.read_back,
                why.pending,
                why.clamp,
                why.by,
                "So.",
            )

        age = None if self._read_at is None else (self.now - self._read_at) / 1000
        mode = self.mode(device)
        latched = "stop" if mode == "stopped" else ""
        controls = {name: of(name) for name in self._control_names}
        return Status(mode, latched, controls, self._soc, age, 3600.0, 0.0, None, False, self._stop, self._refused, "")

    def subscribe(self, told: Told) -> None:
        self._subscribers.append(told)


def wishes(told: Sequence[Event]) -> list[tuple[str, int]]:
    """Control and value of each wish among the events."""
    return [(event[2], event[3]) for event in told if event[0] == "wish"]
