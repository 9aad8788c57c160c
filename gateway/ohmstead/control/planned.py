"""The plan as one of the arbiter's authors: what it wants now is wished for, prolonged, and withdrawn when it wants it no more.

So is what it wanted before a restart: the plan that is made then may be another one, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from ohmcore import events
from ohmcore.decide import explain
from ohmcore.records import Event, State
from ohmstead.control.arbitration import PLAN
from ohmstead.control.plan.model import Wish
from ohmstead.control.views import ControlView, DeviceView

log = structlog.get_logger(service="plan")

_AGAIN_S = 60.0
_MADE_S = 60.0
"""So long after a start the first plan may take to be made."""

_SAME_S = 5.0


class _Wished(NamedTuple):
    raw: int
    until: float
    at: float


class PlanAuthor:
    """`wishes` says what the plan wants of which device at a UTC second. Call `look` once a second or so.

    `next_identity` and `state` are the arbiter's, `feed` takes events. A plan that wants W of a control whose W nobody knows is told once.
    """

    def __init__(
        self,
        wishes: Callable[[float], Sequence[Wish]],
        devices: Mapping[str, DeviceView],
        state: Callable[[str], State],
        next_identity: Callable[[str, str], int],
        feed: Callable[[str, Event], None],
    ) -> None:
        self.trouble = ""
        """Why the plan cannot command what it wants; empty when it can."""
        self._wishes = wishes
        self._devices = devices
        self._state = state
        self._next_identity = next_identity
        self._feed = feed
        self._wished: dict[tuple[str, str], _Wished] = {}
        self._before: set[tuple[str, str]] = set()
        self._begun: float | None = None

    def look(self, wall: float, mono: float) -> None:
        """`wall`: UTC seconds, `mono`: monotonic ones."""
        wanted: set[tuple[str, str]] = set()
        trouble = ""
        for wish in self._wishes(wall):
            device = self._devices.get(wish.device)
            view = device.by_word(wish.control) if device is not None else None
            if device is None or view is None:
                trouble = f"{wish.device} has no control {wish.control} that could be planned for"
                continue
            raw = raw_of(wish, view)
            if raw is None:
                trouble = f"what 100 % of {view.title.lower()} means is not known; say it, e.g. rated: 5 kW"
                continue
            wanted.add((device.name, view.name))
            self._wish(device.name, view, raw, wish, wall, mono)
        for device_name, control in [key for key in self._wished if key not in wanted]:
            del self._wished[device_name, control]
            self._feed(device_name, events.withdraw(PLAN, control))
        self._end_what_was(wanted, mono)
        if trouble != self.trouble:
            self.trouble = trouble
            if trouble:
                log.warning("the plan cannot be carried out", reason=trouble)

    def _end_what_was(self, wanted: set[tuple[str, str]], mono: float) -> None:
        """Withdraws what was wished for before the start and is not any more."""
        if self._begun is None:
            self._begun = mono
            for name, device in self._devices.items():
                for control in device.controls:
                    found = explain(self._state(name), control, round(mono * 1000))
                    if found.plan is not None or found.waiting is not None:
                        self._before.add((name, control))
        self._before -= wanted
        if self._before and mono - self._begun >= _MADE_S:
            for name, control in self._before:
                self._feed(name, events.withdraw(PLAN, control))
            self._before.clear()

    def _wish(self, device: str, view: ControlView, raw: int, wish: Wish, wall: float, mono: float) -> None:
        before = self._wished.get((device, view.name))
        same = before is not None and before.raw == raw and abs(before.until - wish.until) < _SAME_S
        if same and before is not None:
            if mono - before.at < _AGAIN_S:
                return
            found = explain(self._state(device), view.name, round(mono * 1000))
            if raw in (found.plan, found.waiting):
                self._wished[device, view.name] = before._replace(at=mono)
                return
        lease_ms = min(round((wish.until - wall) * 1000), self._state(device)[0].most_lease_ms)
        if lease_ms <= 0:
            return
        self._wished[device, view.name] = _Wished(raw, wish.until, mono)
        self._feed(device, events.wish(PLAN, view.name, raw, self._next_identity(device, PLAN), lease_ms, words=wish.reason))


def raw_of(wish: Wish, view: ControlView) -> int | None:
    """What a wish of the plan is for a control, within what the home allows, and never more than it wants; None where that is not known."""
    if not math.isfinite(wish.value):
        return None
    if wish.unit == view.unit:
        raw: int | None = view.raw_of(wish.value)
    else:
        raw = view.raw_of_kw(wish.value / 1000) if wish.unit == "W" else None
    if raw is None or raw >= view.least:
        return None if raw is None else min(raw, view.most)
    return view.safe if view.safe < view.least else view.least
