"""Alerts: on beyond a limit, over with a margin, unknown while nothing is known, and on the device that Home Assistant has already."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ohmstead.config.device import PointConfig
from ohmstead.profiles.model import Profile
from ohmstead.publish.alerts import Alerts
from ohmstead.publish.announcement import Discovery
from ohmstead.readings import Quality, Snapshot
from ohmstead.roster import Listed, Roster
from tests.publishing import Recorder

STATE = "ohm/home/device/roof/alert/power"
CONFIG = "homeassistant/device/home_roof_power_alert/config"


def profile(reader: str = "hoymiles", **points: dict[str, Any]) -> Profile:
    power = {"name": "Power", "field": "power", "unit": "W", "sign": "delivery positive", "group": "live"}
    said = {
        "profile": "inverter",
        "name": "Inverter",
        "manufacturer": "Hoymiles",
        "model": "HM",
        "reader": reader,
        "groups": {"live": "60 s"},
    }
    return Profile.model_validate({**said, "points": {"power": power, **points}})


def listed(of: Profile, device: str = "roof", parent: str | None = None) -> Listed:
    return Listed(device, "Roof", of, {"live": 60.0}, "tcp://192.0.2.11:502", parent)


class House:
    """One device `roof`, its alerts, and what was published and noted of them."""

    def __init__(self, of: Profile | None = None, **wanted: PointConfig) -> None:
        self.broker = Recorder()
        self.roster = Roster()
        self.roster.list(listed(of or profile()))
        self.notes: list[tuple[str, str, dict[str, object]]] = []
        self.alerts = Alerts(
            "home",
            self.roster,
            {"roof": wanted},
            self.broker,
            Discovery(grace_s=0.0),
            lambda device, kind, detail: self.notes.append((device, kind, dict(detail))),
        )
        self.alerts.start()
        self.broker.connect()

    def read(self, device: str = "roof", live: bool = True, **values: float | str) -> None:
        self.alerts.take(Snapshot(device, "live", 1.0, Quality.GOOD, values, live))

    def said(self, topic: str = STATE) -> list[str]:
        return [sent.payload for sent in self.broker.sent if sent.topic == topic]

    def announced(self) -> dict[str, dict[str, Any]]:
        self.alerts.tick(0.0)
        return {sent.topic: json.loads(sent.payload) for sent in self.broker.sent if sent.topic.endswith("/config")}


def test_an_alert_is_on_beyond_its_limit_and_over_with_a_margin() -> None:
    house = House(power=PointConfig(above=1000.0))
    for power in (900, 1000, 1001, 999, 981, 980, 999, 1000, 1000.5):
        house.read(power=power)
    assert house.said() == ["OFF", "ON", "OFF", "ON"]
    assert all(sent.retain for sent in house.broker.sent if sent.topic == STATE)


def test_below_and_above_are_one_alert_that_says_which() -> None:
    house = House(power=PointConfig(above=1000.0, below=500.0))
    house.read(power=499)
    assert [(one.on, one.text) for one in house.alerts.standing()] == [(True, "below 500 W")]
    house.read(power=505)
    house.read(power=1200)
    assert [(one.on, one.text) for one in house.alerts.standing()] == [(True, "above 1000 W")]
    assert house.said() == ["ON"]
    house.read(power=700)
    assert house.said() == ["ON", "OFF"]


@pytest.mark.parametrize(("above", "below", "values"), [(50.2, 49.8, (50.21, 50.0)), (50.2, None, (50.21, 50.17))])
def test_an_alert_of_a_narrow_band_can_end(above: float, below: float | None, values: tuple[float, float]) -> None:
    frequency = {"name": "Frequency", "field": "f", "unit": "Hz", "group": "live"}
    house = House(profile(frequency=frequency), frequency=PointConfig(above=above, below=below))
    for value in values:
        house.read(frequency=value)
    assert house.said("ohm/home/device/roof/alert/frequency") == ["ON", "OFF"]


def test_what_was_not_read_or_came_late_changes_nothing() -> None:
    house = House(power=PointConfig(above=1000.0))
    house.read(other=5)
    house.read(power=2000, live=False)
    house.read("garage", power=2000)
    assert house.said() == []
    assert [one.on for one in house.alerts.standing()] == [None]
    house.read(power=2000)
    house.read(other=5)
    assert house.said() == ["ON"]


def test_begin_and_end_are_noted_but_not_that_all_is_well() -> None:
    house = House(power=PointConfig(above=1000.0))
    for power in (10, 1500, 10):
        house.read(power=power)
    assert house.notes == [
        ("roof", "alert", {"point": "power", "value": 1500, "unit": "W", "limit": "above 1000 W", "on": True}),
        ("roof", "alert", {"point": "power", "value": 10, "unit": "W", "limit": "above 1000 W", "on": False}),
    ]


def test_it_is_a_problem_of_the_device_and_unavailable_with_it() -> None:
    body = House(power=PointConfig(above=1000.0)).announced()[CONFIG]
    (entity,) = body["cmps"].values()
    assert (entity["p"], entity["device_class"], entity["state_topic"]) == ("binary_sensor", "problem", STATE)
    assert body["dev"]["identifiers"] == ["home_roof"]
    assert [one["topic"] for one in body["availability"]] == ["ohm/home/bridge/online", "ohm/home/device/roof/online"]


def test_on_the_device_of_a_contract_it_waits_for_the_serial_number() -> None:
    serial = {"name": "Serial", "field": "serial", "as": "str", "group": "live"}
    of = profile(serial=serial).model_copy(update={"identity": profile().identity.model_copy(update={"serial": "serial"})})
    house = House(of)
    roster = Roster()
    roster.list(listed(of))
    wanted = {"roof": {"power": PointConfig(above=1.0)}}
    house.alerts = Alerts("home", roster, wanted, house.broker, Discovery(grace_s=0.0), lambda *_: None, joined={"roof": "{}"})
    house.alerts.start()
    assert house.announced() == {}
    house.read(serial="4711")
    assert house.announced()[CONFIG]["dev"] == {"identifiers": ["4711"]}


def test_what_a_contract_announces_behind_a_dtu_has_its_alerts_there() -> None:
    house = House()
    roster = Roster()
    roster.list(listed(profile()))
    wanted = {"roof": {"power": PointConfig(above=1.0)}}
    joined = {"roof": "hoymiles_mqtt_{}"}
    house.alerts = Alerts("home", roster, wanted, house.broker, Discovery(grace_s=0.0), lambda *_: None, joined=joined)
    house.alerts.start()
    roster.list(listed(profile(), "roof-114182a0b1c2", "roof")._replace(serial="114182a0b1c2"))
    (body,) = house.announced().values()
    assert body["dev"] == {"identifiers": ["hoymiles_mqtt_114182a0b1c2"]}


def test_what_is_found_behind_a_device_has_its_alerts_too() -> None:
    temperature = {"name": "Temperature", "field": "t", "unit": "°C", "group": "live"}
    house = House(temperature=PointConfig(above=75.0))
    assert house.announced() == {}, "the device itself has no temperature"
    house.roster.list(listed(profile(temperature=temperature), "roof-114182a0b1c2", "roof"))
    house.read("roof-114182a0b1c2", temperature=80.0)
    assert house.said("ohm/home/device/roof-114182a0b1c2/alert/temperature") == ["ON"]
    assert set(house.announced()) == {"homeassistant/device/home_roof-114182a0b1c2_temperature_alert/config"}
    more = {"name": "More", "field": "more", "group": "live"}
    house.roster.list(listed(profile(temperature=temperature, more=more), "roof-114182a0b1c2", "roof"))
    assert [one.on for one in house.alerts.standing()] == [True], "what is known stays when a device is known better"


def test_a_new_connection_hears_what_is_known() -> None:
    house = House(power=PointConfig(above=1000.0))
    house.read(power=2000)
    house.broker.sent.clear()
    house.broker.connect()
    assert house.said() == ["ON"]


def test_an_alert_that_nobody_wants_any_more_is_taken_back() -> None:
    house = House(power=PointConfig(above=1000.0))
    for device in ("roof", "roof-1", "garage"):
        for point in ("power", "voltage"):
            house.broker.arrive(f"ohm/home/device/{device}/alert/{point}", b"ON", retain=True)
    house.broker.arrive("ohm/home/device/roof/alert/live", b"ON")
    assert [sent.topic for sent in house.broker.sent if not sent.payload] == [
        "ohm/home/device/roof/alert/voltage",
        "ohm/home/device/roof-1/alert/voltage",
        "homeassistant/device/home_roof-1_voltage_alert/config",
        "ohm/home/device/garage/alert/power",
        "homeassistant/device/home_garage_power_alert/config",
        "ohm/home/device/garage/alert/voltage",
        "homeassistant/device/home_garage_voltage_alert/config",
    ]


def test_texts_have_no_alerts() -> None:
    state = {"name": "State", "field": "state", "values": {0: "off", 1: "on"}, "group": "live"}
    house = House(profile(state=state), state=PointConfig(above=0.5))
    house.read(state="on")
    assert not list(house.alerts.standing())


def test_an_alert_that_stands_over_a_restart_begins_once_and_ends_once() -> None:
    house = House(power=PointConfig(above=1000.0))
    house.broker.arrive(STATE, b"ON", retain=True)
    house.read(power=990.0)
    assert house.said() == ["ON"]
    assert house.notes == []
    house.read(power=900.0)
    assert house.said() == ["ON", "OFF"]
    assert [note["on"] for _, _, note in house.notes] == [False]


def test_an_alert_that_ended_during_a_restart_is_noted_as_over() -> None:
    house = House(power=PointConfig(above=1000.0))
    house.broker.arrive(STATE, b"ON", retain=True)
    house.read(power=100.0)
    assert house.said() == ["OFF"]
    assert [note["on"] for _, _, note in house.notes] == [False]


def test_of_a_point_that_has_no_value_any_more_nothing_is_known() -> None:
    house = House(power=PointConfig(above=1000.0))
    house.read(power=2000.0)
    for _ in range(2):
        house.alerts.take(Snapshot("roof", "live", 2.0, Quality.GOOD, {}, gone=["power"]))
    assert house.said() == ["ON", "None"]
    assert [standing.on for standing in house.alerts.standing()] == [None]
    house.read(power=2000.0)
    assert house.said() == ["ON", "None", "ON"]
    assert len(house.notes) == 1


def test_a_device_whose_name_begins_like_that_of_another_one_has_its_own_alerts() -> None:
    house = House(power=PointConfig(above=1000.0))
    alerts = Alerts("home", house.roster, {"roof": {"power": PointConfig(above=1.0)}, "roof-east": {}}, house.broker, None, print)
    alerts.start()
    house.broker.arrive("ohm/home/device/roof-east/alert/power", b"ON", retain=True)
    assert "ohm/home/device/roof-east/alert/power" in [sent.topic for sent in house.broker.sent if not sent.payload]


def test_the_entity_of_an_alert_that_never_stood_is_taken_back_as_well() -> None:
    house = House(power=PointConfig(above=1000.0))
    ours, others = (json.dumps({"availability": [{"topic": f"ohm/{site}/bridge/online"}]}).encode() for site in ("home", "other"))
    for name, payload in (
        ("home_roof-1_voltage_alert", ours),
        ("home_roof-1_power_alert", ours),
        ("home_roof-2_voltage_alert", others),
        ("home_roof-3_voltage_alert", b"nonsense"),
        ("home_roof_voltage_alert", ours),
        ("home_garage-1_voltage_alert", ours),
        ("home_roof-1", ours),
    ):
        house.broker.arrive(f"homeassistant/device/{name}/config", payload, retain=True)
    assert [sent.topic for sent in house.broker.sent if not sent.payload] == ["homeassistant/device/home_roof-1_voltage_alert/config"]
