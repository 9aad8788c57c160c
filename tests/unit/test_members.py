"""Devices that are found while the gateway runs: listed, published, announced, and never taken back by mistake."""

from __future__ import annotations

import json
from typing import Any

from structlog.testing import capture_logs

from ohmstead.profiles.model import Profile
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.members import Members
from ohmstead.publish.retired import RetiredDevices
from ohmstead.readings import Quality, Snapshot
from ohmstead.roster import Listed, Roster
from tests.publishing import Recorder

TOPIC = "homeassistant/device/home_roof-114182a0b1c2/config"


def profile(**points: dict[str, Any]) -> Profile:
    power = {"name": "Power", "field": "power", "unit": "W", "sign": "delivery positive", "group": "live"}
    return Profile.model_validate(
        {
            "profile": "inverter",
            "name": "Inverter",
            "manufacturer": "Hoymiles",
            "model": "HM",
            "reader": "hoymiles",
            "groups": {"live": "60 s"},
            "points": {"power": power, **points},
        }
    )


def listed(of: Profile) -> Listed:
    return Listed("roof-114182a0b1c2", "Inverter 1", of, {"live": 60.0}, "tcp://192.0.2.11:502", "roof", "114182a0b1c2")


def members(broker: Recorder) -> Members:
    return Members("home", broker, Discovery(grace_s=0.0))


def snapshot(**values: float) -> Snapshot:
    return Snapshot("roof-114182a0b1c2", "live", 1.0, Quality.GOOD, values)


def test_what_is_found_is_published_and_announced_behind_its_parent() -> None:
    broker = Recorder()
    broker.connect()
    found = members(broker)
    found.list(listed(profile()))
    found.take(snapshot(power=212.5))
    found.tick(0.0)
    found.tick(1.0)
    said = {sent.topic: sent.payload for sent in broker.sent}
    assert said["ohm/home/device/roof-114182a0b1c2/power"] == "212.5"
    assert said["ohm/home/device/roof-114182a0b1c2/online"] == "online"
    announced = json.loads(said[TOPIC])
    assert announced["dev"]["via_device"] == "home_roof"
    assert announced["dev"]["serial_number"] == "114182a0b1c2"
    assert set(announced["cmps"]) == {"power"}


def test_more_points_are_announced_once_more_and_the_device_stays() -> None:
    broker = Recorder()
    broker.connect()
    found = members(broker)
    found.list(listed(profile()))
    found.tick(0.0)
    voltage = {"name": "Voltage", "field": "voltage", "unit": "V", "group": "live"}
    found.list(listed(profile(voltage=voltage)))
    found.take(snapshot(voltage=229.0))
    for now in (1.0, 2.0):
        found.tick(now)
    announced = [json.loads(sent.payload) for sent in broker.sent if sent.topic == TOPIC]
    assert set(announced[-1]["cmps"]) == {"power", "voltage"}
    assert [sent.payload for sent in broker.sent if sent.topic.endswith("/voltage")] == ["229"]


def test_an_entity_of_a_point_that_is_gone_is_removed_also_one_of_an_earlier_start() -> None:
    broker = Recorder()
    broker.connect()
    found = members(broker)
    voltage = {"name": "Voltage", "field": "voltage", "unit": "V", "group": "live"}
    found.list(listed(profile(voltage=voltage)))
    earlier = {"power": {"p": "sensor", "name": "Power"}, "limit": {"p": "number", "name": "Limit"}, "old": {"p": "sensor"}}
    for payload in (b"", b"nonsense", b"[]", b'{"cmps": 7}', json.dumps({"cmps": earlier}).encode()):
        broker.arrive(TOPIC, payload, retain=True)
    broker.arrive(TOPIC, json.dumps({"cmps": {"other": {"p": "sensor", "name": "x"}}}).encode())
    found.tick(0.0)
    found.list(listed(profile()))
    found.tick(1.0)
    first, then = (json.loads(sent.payload)["cmps"] for sent in broker.sent if sent.topic == TOPIC)
    assert set(first) == {"power", "voltage", "limit"}
    assert first["limit"] == {"p": "number"}
    assert (then["limit"], then["voltage"], then["power"]["name"]) == ({"p": "number"}, {"p": "sensor"}, "Power")
    broker.sent.clear()
    broker.arrive(TOPIC, json.dumps({"cmps": then}).encode(), retain=True)
    found.tick(2.0)
    assert not [sent for sent in broker.sent if sent.topic == TOPIC], "what is removed already is not removed again and again"


def test_a_point_that_a_device_no_longer_has_leaves_no_value_behind() -> None:
    broker = Recorder()
    broker.connect()
    found = members(broker)
    voltage = {"name": "Voltage", "field": "voltage", "unit": "V", "group": "live"}
    found.list(listed(profile(voltage=voltage)))
    found.take(snapshot(power=212.5, voltage=229.0))
    broker.sent.clear()
    found.list(listed(profile()))
    topic = "ohm/home/device/roof-114182a0b1c2/voltage"
    assert [(sent.topic, sent.payload, sent.retain) for sent in broker.sent if "/online" not in sent.topic] == [(topic, "", True)]
    broker.sent.clear()
    broker.connect()  # it may have been away meanwhile
    said = {sent.topic: sent.payload for sent in broker.sent}
    assert (said[topic], said["ohm/home/device/roof-114182a0b1c2/power"]) == ("", "212.5")
    found.list(listed(profile(voltage=voltage)))
    found.take(snapshot(voltage=229.0))
    broker.sent.clear()
    broker.connect()
    assert [sent.payload for sent in broker.sent if sent.topic == topic] == ["229"]


def test_what_is_not_shown_has_no_topic_and_no_entity() -> None:
    broker = Recorder()
    broker.connect()
    found = members(broker)
    raw = {"name": "Raw", "field": "raw", "group": "live", "shown": "never"}
    rare = {"name": "Rare", "field": "rare", "group": "live", "shown": "on-request"}
    found.list(listed(profile(raw=raw, rare=rare)))
    found.take(snapshot(raw=1, rare=2))
    for now in (0.0, 1.0):
        found.tick(now)
    assert not [sent for sent in broker.sent if sent.topic.endswith("/raw")]
    entities = json.loads(next(sent.payload for sent in broker.sent if sent.topic == TOPIC))["cmps"]
    assert set(entities) == {"power", "rare"}
    assert entities["rare"]["enabled_by_default"] is False


def test_a_member_of_yesterday_is_not_taken_back_before_it_can_be_found_but_an_excluded_one_is() -> None:
    broker = Recorder()
    retired = RetiredDevices("home", "homeassistant", broker, [], ["roof"], ["114182999999"])
    retired.start()
    ours = json.dumps({"availability": [{"topic": "ohm/home/bridge/online"}]}).encode()
    for name in ("roof-114182a0b1c2", "roof-114182999999", "roof-114182999999-1", "roof-1141829999990", "shed-1"):
        broker.arrive(f"homeassistant/device/home_{name}/config", ours, retain=True)
    assert [sent.topic.split("/")[2] for sent in broker.sent] == ["home_roof-114182999999", "home_roof-114182999999-1", "home_shed-1"]


def test_what_an_earlier_start_called_online_and_this_one_has_not_found_is_not() -> None:
    broker = Recorder()
    broker.connect()
    found = members(broker)
    found.list(listed(profile()))
    there = ["roof", *(device for device, _ in found.values())]
    broker.sent.clear()
    retired = RetiredDevices("home", "homeassistant", broker, [], ["roof"], listed=lambda: there)
    retired.start()
    for name in ("roof", "roof-114182a0b1c2", "roof-114182999999", "sold"):
        broker.arrive(f"ohm/home/device/{name}/online", b"online", retain=True)
    broker.arrive("ohm/home/device/other/online", b"offline", retain=True)
    broker.arrive("ohm/home/device/other/online", b"online")
    said = [(sent.topic, sent.payload, sent.retain) for sent in broker.sent]
    assert said == [(f"ohm/home/device/{name}/online", "offline", True) for name in ("roof-114182999999", "sold")]


def test_the_roster_tells_what_is_news() -> None:
    roster = Roster()
    told: list[Listed] = []
    roster.on_change(told.append)
    assert roster.list(listed(profile()))
    assert not roster.list(listed(profile()))
    assert roster.list(listed(profile(volts={"name": "Voltage", "field": "voltage", "unit": "V", "group": "live"})))
    assert [len(one.profile.points) for one in told] == [1, 2]
    assert roster["roof-114182a0b1c2"].source == "roof"


def test_two_devices_with_one_serial_number_are_told_once() -> None:
    roster = Roster()
    with capture_logs() as told:
        roster.list(listed(profile()))
        roster.list(listed(profile())._replace(device="shed-114182a0b1c2", parent="shed"))
        roster.list(listed(profile(volts={"name": "Voltage", "field": "voltage", "unit": "V", "group": "live"})))
        for device in ("cellar", "attic"):
            roster.list(listed(profile())._replace(device=device, serial=None))
    (line,) = told
    assert (line["device"], line["other"], line["serial"]) == ("shed-114182a0b1c2", "roof-114182a0b1c2", "114182a0b1c2")
