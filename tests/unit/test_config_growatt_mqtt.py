"""A device behind an OpenInverterGateway in ohmstead.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import Via, load
from tests.unit.homes import mistakes, writer

HOME = """
    devices:
      growatt: {{profile: {profile}, via: "{via}"}}
"""


@pytest.mark.parametrize("profile", ["growatt-sph", "growatt-min"])
@pytest.mark.parametrize("topic", ["energy/solar", "solar", "Haus 1/x".replace(" ", "-")])
def test_the_way_names_the_gateway_s_base_topic(tmp_path: Path, profile: str, topic: str) -> None:
    config = load(writer(tmp_path)(HOME.format(profile=profile, via=f"growatt-mqtt:{topic}")), {})
    via = config.devices["growatt"].via
    assert (via, str(via)) == (Via(None, topic=topic), f"growatt-mqtt:{topic}")
    assert config.devices_of("growatt-mqtt") == []
    assert config.poll_groups("growatt")


def test_a_node_may_still_be_called_like_it(tmp_path: Path) -> None:
    text = """
        nodes: {growatt-mqtt: {bus: {port: /dev/ttyUSB0}}}
        devices: {growatt: {profile: growatt-sph, via: growatt-mqtt}}
    """
    assert load(writer(tmp_path)(text), {}).devices["growatt"].via == Via("growatt-mqtt")


@pytest.mark.parametrize("topic", ["", "/solar", "energy/", "energy//solar", "energy/+", "energy/#", "$SYS/x", "a b", "x" * 201])
def test_what_is_no_topic_is_refused(tmp_path: Path, topic: str) -> None:
    (mistake,) = mistakes(writer(tmp_path)(HOME.format(profile="growatt-sph", via=f"growatt-mqtt:{topic}")))
    assert mistake.endswith("the base topic of the OpenInverterGateway is missing or none; write it like growatt-mqtt:energy/solar")


def test_another_make_has_nothing_to_say_there(tmp_path: Path) -> None:
    (mistake,) = mistakes(writer(tmp_path)(HOME.format(profile="mtec-energybutler", via="growatt-mqtt:energy/solar")))
    assert "devices.growatt.via: growatt-mqtt:energy/solar — an OpenInverterGateway has no values for mtec-energybutler" in mistake


def test_two_devices_are_not_behind_one_gateway_but_behind_two(tmp_path: Path) -> None:
    text = """
        devices:
          one: {profile: growatt-sph, via: "growatt-mqtt:energy/solar"}
          two: {profile: growatt-sph, via: "growatt-mqtt:energy/%s"}
    """
    (mistake,) = mistakes(writer(tmp_path)(text % "solar"))
    assert mistake.endswith("devices.two.via: growatt-mqtt:energy/solar — one is behind this OpenInverterGateway already")
    assert load(writer(tmp_path)(text % "shed"), {}).devices["two"].via.topic == "energy/shed"
