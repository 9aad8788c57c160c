"""A battery and a house over some quarter hours: a pure simulation, for what a plan costs and for what room there is.

What a quarter hour does is the same everywhere: the sun serves the house first, the battery takes or gives what is left within
its power, its floor and its ceiling, the grid does the rest. Losses: the square root of the efficiency on each way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ohmstead.control.plan.model import Action, Battery

_HOURS = 0.25
_NOTHING_KWH = 1e-9
_LEAST_SHARE = 0.1
"""A quarter hour in which less than this share of the power would fit is not worth a switch."""


class Order(NamedTuple):
    """What a quarter hour is to do. `charge_kwh` is what goes from the grid (beside the sun) towards the cells at most, before the loss;
    `power_w` bounds a forced discharge, which ends at `floor` (%). `no_export`: what would flow out is not generated."""

    action: Action = Action.SELF_USE
    power_w: float = 0.0
    charge_kwh: float = 0.0
    floor: float = 0.0
    no_export: bool = False


SELF_USE = Order()


class Flow(NamedTuple):
    """What becomes of a quarter hour, in kWh. `stored` is what the cells hold at its end; `charged` and `discharged` are at the battery's
    terminals; `from_grid` is the part of `charged` that was bought for it; `lost` is sun that nobody took."""

    stored: float
    charged: float
    discharged: float
    bought: float
    sold: float
    from_grid: float
    lost: float


class Course:
    """What becomes of each quarter hour when `orders` are followed from `soc` (%) on; `sun` and `house` in kWh a quarter hour.

    `put` changes an order and simulates only what that changes: up to where the battery holds what it held before.
    """

    def __init__(self, battery: Battery, soc: float, sun: Sequence[float], house: Sequence[float], orders: Sequence[Order]) -> None:
        self.orders = list(orders)
        self.flows: list[Flow] = []
        self.way = math.sqrt(battery.efficiency)
        self.most_kwh = battery.power_w / 1000 * _HOURS
        """What the battery takes or gives in a quarter hour at most, at its terminals."""
        self.floor, self.ceiling = (battery.capacity_kwh * limit / 100 for limit in (battery.floor, battery.ceiling))
        self.capacity = battery.capacity_kwh
        self._surplus = [pv - load for pv, load in zip(sun, house, strict=True)]
        self._before = stored = battery.capacity_kwh * soc / 100
        for surplus, order in zip(self._surplus, self.orders, strict=True):
            flow = self._flow(stored, surplus, order)
            self.flows.append(flow)
            stored = flow.stored

    def put(self, at: int, order: Order) -> list[Flow]:
        """Follows `order` in quarter hour `at` from now on; the flows that were there before, from `at` on."""
        self.orders[at] = order
        stored = self.flows[at - 1].stored if at else self._before
        before: list[Flow] = []
        for number in range(at, len(self.flows)):
            old = self.flows[number]
            flow = self._flow(stored, self._surplus[number], self.orders[number])
            before.append(old)
            self.flows[number] = flow
            stored = flow.stored
            if stored == old.stored:
                break
        return before

    def take_back(self, at: int, order: Order, before: list[Flow]) -> None:
        """Undoes the last `put`."""
        self.orders[at] = order
        self.flows[at : at + len(before)] = before

    def rooms(self) -> list[float]:
        """How much more the cells may hold at the *end* of each quarter hour, in kWh, before the sun that comes later finds them full.

        Backwards in time: what lies in the battery uses room until the house draws it; a quarter hour in which power is bought at
        present frees as much as the battery could give then.
        """
        left = math.inf
        rooms = [0.0] * len(self.flows)
        for at in range(len(self.flows) - 1, -1, -1):
            flow = self.flows[at]
            left = min(left, max(self.ceiling - flow.stored, 0.0))
            rooms[at] = left
            if self.orders[at].action is not Action.CHARGE and flow.stored >= self.floor - _NOTHING_KWH:  # below nothing is drawn
                left += max(min(flow.bought, self.most_kwh - flow.discharged), 0.0) / self.way
        return rooms

    def _flow(self, stored: float, surplus: float, order: Order) -> Flow:
        way, most = self.way, self.most_kwh
        charged = discharged = from_grid = 0.0
        if order.action is Action.CHARGE:
            room = min(most, max(self.ceiling - stored, 0.0) / way)
            free = min(max(surplus, 0.0), room)
            from_grid = min(order.charge_kwh, room - free)
            charged = free + from_grid
        elif surplus > 0 and order.action is Action.SELF_USE:
            charged = min(surplus, most, max(self.ceiling - stored, 0.0) / way)
        else:
            discharged = min(max(-surplus, 0.0), most, max(stored - self.floor, 0.0) * way)
            if order.action is Action.DISCHARGE:
                lowest = max(self.floor, self.capacity * order.floor / 100)
                discharged = max(discharged, min(order.power_w / 1000 * _HOURS, most, max(stored - lowest, 0.0) * way))
        stored += charged * way - discharged / way
        grid = charged - discharged - surplus
        lost = -grid if order.no_export and grid < 0 else 0.0
        return Flow(stored, charged, discharged, max(grid, 0.0), max(-grid, 0.0) - lost, from_grid, lost)


def simulate(battery: Battery, soc: float, sun: Sequence[float], house: Sequence[float], orders: Sequence[Order]) -> list[Flow]:
    """The flows of each quarter hour, beginning at `soc` in %. `sun` and `house` in kWh a quarter hour."""
    return Course(battery, soc, sun, house, orders).flows


def cost(flows: Sequence[Flow], buy: Sequence[float], sell: Sequence[float], kwh_value: float, stored_before: float) -> float:
    """What the flows cost: bought minus sold, minus what the cells hold more at the end than before, each kWh worth `kwh_value`."""
    money = sum(flow.bought * price - flow.sold * gain for flow, price, gain in zip(flows, buy, sell, strict=True))
    return money - (flows[-1].stored - stored_before) * kwh_value if flows else 0.0


def fit_charge(course: Course, candidates: Sequence[int], *, power_w: float, fill_to: float) -> list[int]:
    """Puts charging from the grid into `course`, in the order of `candidates`, up to `fill_to` (%) and as far as the sun leaves room.

    A quarter hour that charges does not discharge: what the battery would have given then stays in it and needs room too.
    Returns the quarter hours that got something.
    """
    way, slot = course.way, min(power_w / 1000 * _HOURS, course.most_kwh)
    full = min(course.ceiling, course.capacity * fill_to / 100)
    got: list[int] = []
    rooms = course.rooms()
    for at in candidates:
        order, flow = course.orders[at], course.flows[at]
        if order.action is not Action.SELF_USE:
            continue
        kept = flow.discharged / way
        fits = min((rooms[at] - kept) / way, slot, course.most_kwh - flow.charged, (full - flow.stored - kept) / way)
        if fits < max(slot * _LEAST_SHARE, _NOTHING_KWH):
            continue
        course.put(at, order._replace(action=Action.CHARGE, charge_kwh=fits, power_w=fits / _HOURS * 1000))
        got.append(at)
        rooms = course.rooms()
    return got


def fit_sale(course: Course, candidates: Sequence[int], order: Order) -> None:
    """Puts `order`, a forced discharge, into those of `candidates`, in their order, in which it brings more into the grid altogether: what
    an earlier one would only take away from one that is already chosen stays in the battery."""
    least = max(min(order.power_w / 1000 * _HOURS, course.most_kwh) * _LEAST_SHARE, _NOTHING_KWH)
    for at in candidates:
        was = course.orders[at]
        before = course.put(at, order)
        more = sum(course.flows[at + number].sold - flow.sold for number, flow in enumerate(before))
        if more < least:
            course.take_back(at, was, before)
