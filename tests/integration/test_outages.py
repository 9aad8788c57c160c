"""Devices that go away: they are said to, their neighbours do not blink, and they are back with their first answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Broker
from tests.whole_house import WholeHouse

PERIOD = 1.0


@pytest.fixture
def house(tmp_path: Path, broker: Broker) -> Iterator[WholeHouse]:
    made = WholeHouse(tmp_path, f"{broker.host}:{broker.port}")
    made.neighbours.known = {name: one._replace(every_s=PERIOD) for name, one in made.neighbours.known.items()}
    with made:
        yield made


def test_every_device_that_is_cut_off_says_so_alone_and_comes_back(house: WholeHouse) -> None:
    """Two rounds, so that everybody is once cut off and once a neighbour of somebody who is."""
    devices = house.devices
    house.until(lambda: all(house.value(device) and house.online(device) == "online" for device in devices), 40, "the house")
    for gone in (devices[::2], devices[1::2]):
        there = [device for device in devices if device not in gone]
        cut = time.monotonic()
        for device in gone:
            house.neighbours.cut(device)
        house.until(lambda gone=gone, cut=cut: all(house.online(one, cut) == "offline" for one in gone), 40, f"the absence of {gone}")
        blinked = [device for device in there if "offline" in said(house, device, cut)]
        assert not blinked, f"{blinked} went offline with {gone}"
        plugged = time.monotonic()
        for device in gone:
            house.neighbours.plug(device)
        house.until(lambda gone=gone, plugged=plugged: all(house.online(one, plugged) == "online" for one in gone), 40, f"{gone} again")
        assert not [device for device in there if "offline" in said(house, device, cut)]


def said(house: WholeHouse, device: str, since: float) -> list[str]:
    """All that was said of its being there."""
    return [message.payload.decode() for message in house.listener.all(f"ohm/home/device/{device}/online", since)]


def test_nothing_false_is_published_while_a_device_is_away(house: WholeHouse) -> None:
    devices = house.devices
    house.until(lambda: all(house.value(device) for device in devices), 40, "the house")
    cut = time.monotonic()
    for device in devices:
        house.neighbours.cut(device)
    house.until(lambda: all(house.online(device, cut) == "offline" for device in devices), 40, "the absence of all")
    dark = time.monotonic()
    house.until(lambda: time.monotonic() - dark > 3 * PERIOD, 20, "some polls")
    numbers = [message for message in house.listener.all("ohm/home/device/#", dark) if message.topic.rpartition("/")[2] != "online"]
    assert not numbers, "readings of devices that were away"
