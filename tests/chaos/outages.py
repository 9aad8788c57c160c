"""Each device of a whole house is cut off for a minute: its entities go, its neighbours stay, and it is back within one poll."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import structlog

from tests.chaos.rows import Plan, RigError, Row, bar
from tests.conftest import Broker
from tests.whole_house import WholeHouse

_MINUTE, _QUICK = 60.0, 8.0
_READ_S = 1.5
"""What a poll itself may take, and the way of its readings through the broker."""


def rows(plan: Plan) -> list[Row]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))  # what leaves is no news to a simulator
    room = plan.room("outages")
    broker = Broker(room)
    broker.start()
    gone = Row("device cut off: says so", 0, budget="offline, and nothing is published")
    blinks = Row("its neighbours meanwhile", 0, budget="none goes offline")
    back = Row("device back", 0, budget="within one poll")
    try:
        with WholeHouse(room, f"{broker.host}:{broker.port}") as house:
            _wait(house, lambda: all(house.online(device) == "online" and house.value(device) for device in house.devices), "the house")
            slowest = 0.0
            with bar("outages", len(house.devices)) as tell:
                for device in house.devices:
                    slowest = max(slowest, _outage(house, device, plan.of(int(_MINUTE), int(_QUICK)), gone, blinks, back))
                    tell(1)
            back.note = f"the slowest after {slowest:.1f} s"
    finally:
        broker.stop()
    return [gone, blinks, back]


def _outage(house: WholeHouse, device: str, seconds: float, gone: Row, blinks: Row, back: Row) -> float:
    """One device, once; how long it took to come back."""
    neighbour = house.neighbours.known[device]
    cut = time.monotonic()
    house.neighbours.cut(device)
    dark = cut + 4 * neighbour.every_s
    while time.monotonic() < cut + seconds:
        house.gateway.check()
        time.sleep(0.1)
    gone.tried += 1
    if house.online(device, cut) != "offline":
        gone.findings.append(f"{device} was away for {seconds:g} s and nobody said so")
    late = [heard.topic for heard in house.listener.all(f"ohm/home/device/{device}/+", dark) if not heard.topic.endswith("/online")]
    if late:
        gone.findings.append(f"{device} was away, and there came {late[0]}")
    for other in house.devices:
        if other == device:
            continue
        blinks.tried += 1
        if any(heard.payload == b"offline" for heard in house.listener.all(f"ohm/home/device/{other}/online", cut)):
            blinks.findings.append(f"{other} went offline with {device}")
    plugged = time.monotonic()
    house.neighbours.plug(device)
    took = _wait(house, lambda: house.online(device, plugged) == "online", f"{device} again")
    back.tried += 1
    if took > neighbour.every_s + _READ_S:
        back.findings.append(f"{device}, polled each {neighbour.every_s:g} s, was back after {took:.1f} s")
    return took


def _wait(house: WholeHouse, condition: Callable[[], object], what: str) -> float:
    try:
        return house.until(condition, 60, what)
    except TimeoutError as error:
        raise RigError(str(error)) from error
