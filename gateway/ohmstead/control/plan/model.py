"""What a plan is made of and what it is made from. Everything here is data.

Money is in the home's one currency, per kWh where it is a price. Times are UTC seconds. Powers are W, energies kWh.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from ohmstead.prices import QUARTER_S, DayPrices, Tariff

AUTHOR = "plan"

CHARGE, DISCHARGE, EXPORT_LIMIT = "charge", "discharge", "export_limit"
"""The controls that a plan wants something of: W from the grid into the battery, W out of the battery, % of the export that is allowed."""


class Battery(NamedTuple):
    """A battery as the simulation sees it. SOCs in %; `efficiency` is from the grid and back, half of the loss on each way."""

    capacity_kwh: float
    power_w: float
    floor: float = 10.0
    ceiling: float = 100.0
    efficiency: float = 0.9


class Forecast(NamedTuple):
    """What sun and house will do: kWh in each quarter hour from `start` on. `source` says who thinks so."""

    start: int
    sun_kwh: Sequence[float]
    house_kwh: Sequence[float]
    source: str

    def covers(self, start: int, quarters: int) -> bool:
        first = (start - self.start) // QUARTER_S
        return first >= 0 and min(len(self.sun_kwh), len(self.house_kwh)) >= first + quarters


class Telemetry(NamedTuple):
    """What is known of the house at the moment; None is unknown (also what is too old), and never zero.

    `soc` in %, `outside` is the mean outside temperature of the last three days in °C.
    """

    soc: float | None = None
    outside: float | None = None


class Situation(NamedTuple):
    """Everything that a plan is made from, beside the author's own settings. `days` are the known prices, today's first.

    `tariff` is None where the home's currency needs an exchange rate and none is known. `trouble`: why prices are missing.
    """

    now: float
    zone: ZoneInfo
    days: Sequence[DayPrices]
    tariff: Tariff | None
    forecast: Forecast | None
    telemetry: Telemetry
    trouble: str = ""


class Action(StrEnum):
    """What the battery does in a quarter hour."""

    SELF_USE = "self-use"
    CHARGE = "charge"
    DISCHARGE = "discharge"


class Quarter(NamedTuple):
    """The plan's view of a quarter hour. What nothing is known of is None: `soc` is the one expected at its end, in %; `grid_kwh` is
    import positive. `market`, `buy` and `sell` are prices per kWh."""

    start: int
    market: float
    buy: float
    sell: float
    action: Action
    power_w: float
    no_export: bool
    rule: str
    soc: float | None
    sun_kwh: float | None
    house_kwh: float | None
    grid_kwh: float | None


class Step(NamedTuple):
    """One thing that is wanted from `start` to `end`: a control, its value in `unit`, which rule wants it, and why.

    `until_soc`: the SOC in % at which it has done its work, None where there is none.
    """

    start: int
    end: int
    control: str
    value: float
    unit: str
    rule: str
    why: str
    until_soc: float | None = None


class Saving(NamedTuple):
    """What a rule alone would save against plain self-use from now to the end of the plan (negative: cost); None: not known.

    `why` says what it did, or what kept it from doing anything.
    """

    rule: str
    money: float | None
    kwh: float
    why: str


class Wish(NamedTuple):
    """What the plan asks the arbiter for at a moment. `until` (UTC s) is when it ends by itself, at the latest."""

    device: str
    control: str
    value: float
    unit: str
    until: int
    reason: str
    rule: str
    author: str = AUTHOR


@dataclass(frozen=True)
class Plan:
    """What is wanted of a battery from `start` to `end`. No steps: plain self-use, and `notes` say why.

    `cost` and `self_use_cost` are what the whole span costs with the plan and with plain self-use (None: not known), what is left
    in the battery at the end taken into account. `savings` has each rule that is switched on, alone.
    """

    made: float
    device: str
    start: int
    end: int
    currency: str
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    savings: tuple[Saving, ...] = ()
    quarters: tuple[Quarter, ...] = field(default=(), repr=False)
    cost: float | None = None
    self_use_cost: float | None = None
    pause_above_w: float | None = None
    """While the house draws more than this, nothing is charged from the grid and nothing forced out; None: whatever it draws."""

    @property
    def saved(self) -> float | None:
        """Against plain self-use; None where it is not known."""
        return None if self.cost is None or self.self_use_cost is None else self.self_use_cost - self.cost

    def steps_at(self, now: float) -> list[Step]:
        """What is wanted at a UTC second, at most one step for each control."""
        return [step for step in self.steps if step.start <= now < step.end]

    def wishes(self, now: float, house_w: float | None = None) -> list[Wish]:
        """What to ask for at a UTC second; nothing once the plan is over. A wish ends with its step, so that a plan which nobody renews
        ends too. `house_w`: what the house draws at the moment, where it is known, for the pause at a high load."""
        paused = self.pause_above_w is not None and house_w is not None and house_w > self.pause_above_w
        return [
            Wish(self.device, step.control, step.value, step.unit, step.end, step.why, step.rule)
            for step in self.steps_at(now)
            if not paused or step.control == EXPORT_LIMIT
        ]

    def wants_the_same(self, other: Plan | None, now: float) -> bool:
        """Whether two plans want the same from `now` on, however they came to it."""
        return other is not None and self.device == other.device and _ahead(self, now) == _ahead(other, now)

    def as_dict(self) -> dict[str, Any]:
        """For MQTT, the store and the page. `series` has columns of equal length, to be drawn; null is what nobody knows."""
        return {
            "made": round(self.made, 3),
            "device": self.device,
            "start": self.start,
            "end": self.end,
            "currency": self.currency,
            "saved": _rounded(self.saved),
            "cost": _rounded(self.cost),
            "self_use_cost": _rounded(self.self_use_cost),
            "notes": list(self.notes),
            "steps": [step._asdict() for step in self.steps],
            "rules": [{"rule": rule, "saved": _rounded(money), "kwh": round(kwh, 2), "why": why} for rule, money, kwh, why in self.savings],
            "series": _columns(self.quarters),
        }

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":"))


class PlanAuthor(Protocol):
    """Whoever makes plans: the rules of `author.RuleAuthor`, or an optimiser. Pure: the same situation gives the same plan."""

    def plan(self, situation: Situation) -> Plan: ...


def _ahead(plan: Plan, now: float) -> list[tuple[Any, ...]]:
    return [(max(step.start, now), step.end, step.control, step.value, step.rule) for step in plan.steps if step.end > now]


def _columns(quarters: Sequence[Quarter]) -> Mapping[str, list[Any]]:
    names = ("start", "market", "buy", "sell", "action", "power_w", "no_export", "rule", "soc", "sun_kwh", "house_kwh", "grid_kwh")
    return {name: [_rounded(getattr(quarter, name), 4) for quarter in quarters] for name in names}


def _rounded(value: Any, digits: int = 3) -> Any:
    return round(value, digits) + 0.0 if isinstance(value, float) else value
