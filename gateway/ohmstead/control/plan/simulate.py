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


def simulate(battery: Battery, soc: float, sun: Sequence[float], house: Sequence[float], orders: Sequence[Order]) -> list[Flow]:
    """The flows of each quarter hour, beginning at `soc` in %. `sun` and `house` in kWh a quarter hour."""
    way = math.sqrt(battery.efficiency)
    most = battery.power_w / 1000 * _HOURS
    ceiling, floor = (battery.capacity_kwh * limit / 100 for limit in (battery.ceiling, battery.floor))
    stored = battery.capacity_kwh * soc / 100
    flows: list[Flow] = []
    for pv, load, order in zip(sun, house, orders, strict=True):
        surplus = pv - load
        charged = discharged = from_grid = 0.0
        if order.action is Action.CHARGE:
            room = min(most, max(ceiling - stored, 0.0) / way)
            free = min(max(surplus, 0.0), room)
            from_grid = min(order.charge_kwh, room - free)
            charged = free + from_grid
        elif surplus > 0 and order.action is Action.SELF_USE:
            charged = min(surplus, most, max(ceiling - stored, 0.0) / way)
        else:
            wanted, lowest = max(-surplus, 0.0), floor
            discharged = min(wanted, most, max(stored - lowest, 0.0) * way)
            if order.action is Action.DISCHARGE:
                lowest = max(floor, battery.capacity_kwh * order.floor / 100)
                forced = min(order.power_w / 1000 * _HOURS, most, max(stored - lowest, 0.0) * way)
                discharged = max(discharged, forced)
        stored += charged * way - discharged / way
        grid = charged - discharged - surplus
        lost = -grid if order.no_export and grid < 0 else 0.0
        flows.append(Flow(stored, charged, discharged, max(grid, 0.0), max(-grid, 0.0) - lost, from_grid, lost))
    return flows


def cost(flows: Sequence[Flow], buy: Sequence[float], sell: Sequence[float], kwh_value: float, stored_before: float) -> float:
    """What the flows cost: bought minus sold, minus what the cells hold more at the end than before, each kWh worth `kwh_value`."""
    money = sum(flow.bought * price - flow.sold * gain for flow, price, gain in zip(flows, buy, sell, strict=True))
    return money - (flows[-1].stored - stored_before) * kwh_value if flows else 0.0


def room(battery: Battery, flows: Sequence[Flow], orders: Sequence[Order]) -> list[float]:
    """How much more the cells may hold at the *end* of each quarter hour, in kWh, before the sun that comes later finds them full.

    Backwards in time: what lies in the battery uses room until the house draws it; a quarter hour in which power is bought at
    present frees as much as the battery could give then.
    """
    way = math.sqrt(battery.efficiency)
    most = battery.power_w / 1000 * _HOURS
    ceiling, floor = (battery.capacity_kwh * limit / 100 for limit in (battery.ceiling, battery.floor))
    left = math.inf
    rooms = [0.0] * len(flows)
    for at in range(len(flows) - 1, -1, -1):
        left = min(left, max(ceiling - flows[at].stored, 0.0))
        rooms[at] = left
        if orders[at].action is not Action.CHARGE and flows[at].stored >= floor - _NOTHING_KWH:  # below it nothing more would be drawn
            left += max(min(flows[at].bought, most - flows[at].discharged), 0.0) / way
    return rooms


def fit_charge(
    battery: Battery,
    soc: float,
    sun: Sequence[float],
    house: Sequence[float],
    orders: list[Order],
    candidates: Sequence[int],
    *,
    power_w: float,
    fill_to: float,
) -> list[int]:
    """Puts charging from the grid into `orders`, in the order of `candidates`, up to `fill_to` (%) and as far as the sun leaves room.

    A quarter hour that charges does not discharge: what the battery would have given then stays in it and needs room too.
    Returns the quarter hours that got something.
    """
    way = math.sqrt(battery.efficiency)
    slot = min(power_w, battery.power_w) / 1000 * _HOURS
    full = battery.capacity_kwh * min(battery.ceiling, fill_to) / 100
    got: list[int] = []
    flows = simulate(battery, soc, sun, house, orders)
    rooms = room(battery, flows, orders)
    for at in candidates:
        if orders[at].action is not Action.SELF_USE:
            continue
        kept = flows[at].discharged / way
        takes = min(slot, battery.power_w / 1000 * _HOURS - flows[at].charged)
        fits = min((rooms[at] - kept) / way, takes, max(full - flows[at].stored - kept, 0.0) / way)
        if fits < max(slot * _LEAST_SHARE, _NOTHING_KWH):
            continue
        orders[at] = orders[at]._replace(action=Action.CHARGE, charge_kwh=fits, power_w=fits / _HOURS * 1000)
        got.append(at)
        flows = simulate(battery, soc, sun, house, orders)
        rooms = room(battery, flows, orders)
    return got


def fit_sale(
    battery: Battery, soc: float, sun: Sequence[float], house: Sequence[float], orders: list[Order], candidates: Sequence[int], order: Order
) -> None:
    """Puts `order`, a forced discharge, into those of `candidates`, in their order, in which it brings more into the grid altogether: what
    an earlier one would only take away from one that is already chosen stays in the battery."""
    slot = min(order.power_w, battery.power_w) / 1000 * _HOURS
    sold = sum(flow.sold for flow in simulate(battery, soc, sun, house, orders))
    for at in candidates:
        before, orders[at] = orders[at], order
        more = sum(flow.sold for flow in simulate(battery, soc, sun, house, orders))
        if more - sold < max(slot * _LEAST_SHARE, _NOTHING_KWH):
            orders[at] = before
        else:
            sold = more
