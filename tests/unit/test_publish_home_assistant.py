"""Device-based discovery: one message says what a device has, and only what Home Assistant accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ohmstead.profiles.model import Point, Profile, RawLimits
from ohmstead.publish.announcement import Discovery
from ohmstead.publish.classes import classes
from ohmstead.publish.home_assistant import HomeAssistantDevice
from ohmstead.publish.mtec_json import MtecJson
from ohmstead.publish.mtec_state import MtecState
from ohmstead.publish.retired import RetiredDevices
from ohmstead.readings import Quality, Snapshot, Value
from tests.publishing import Recorder, Requests, mtec

DISCOVERY = Discovery("homeassistant", "homeassistant/status", 1.0)
TOPIC = "homeassistant/device/home_mtec/config"
IDENTITY: dict[str, Value] = {
    "serial_no": "MTEC12K3P4012345",
    "firmware_version": "V27.52.04.00-V20.01.10.03",
    "equipment_info": "12K-40A-3P",
}


@pytest.fixture
def profile() -> Profile:
    return mtec()


@pytest.fixture
def broker() -> Recorder:
    return Recorder()


def _announced(broker: Recorder, outlet: HomeAssistantDevice, now: float = 0.0) -> str | None:
    """The payload that the device's topic has after the grace, or None if nothing was sent."""
    outlet.tick(now)
    outlet.tick(now + 1.0)
    sent = broker.take()
    assert {message.topic for message in sent} <= {TOPIC}
    assert all(message.retain for message in sent)
    return sent[-1].payload if sent else None


def _body(broker: Recorder, profile: Profile, **options: Any) -> dict[str, Any]:
    outlet = HomeAssistantDevice("home", "mtec", "Energybutler", profile, broker, DISCOVERY, **options)
    outlet.start()
    broker.connect()
    payload = _announced(broker, outlet)
    assert payload
    body: dict[str, Any] = json.loads(payload)
    return body


def test_the_device_has_an_origin_and_is_available_with_gateway_and_device(broker: Recorder, profile: Profile) -> None:
    body = _body(broker, profile, known=IDENTITY)

    assert body["o"]["name"] == "ohmstead"
    assert [entry["topic"] for entry in body["availability"]] == ["ohm/home/bridge/online", "ohm/home/device/mtec/online"]
    assert body["availability_mode"] == "all"
    assert body["dev"] == {
        "identifiers": ["home_mtec"],
        "name": "Energybutler",
        "manufacturer": "M-TEC",
        "model": "Energy-Butler",
        "model_id": "12K-40A-3P",
        "serial_number": "MTEC12K3P4012345",
        "sw_version": "V27.52.04.00-V20.01.10.03",
    }


def test_every_component_has_a_unique_id_a_platform_and_a_topic(broker: Recorder, profile: Profile) -> None:
    components = _body(broker, profile)["cmps"]

    assert len(components) == 93
    assert len({component["unique_id"] for component in components.values()}) == 93
    assert all(component["state_topic"].startswith("ohm/home/device/mtec/") for component in components.values())
    assert all(component["p"] in ("sensor", "number", "switch", "select") for component in components.values())


def test_energy_is_in_kwh_and_grows(broker: Recorder, profile: Profile) -> None:
    energies = [entity for entity in _body(broker, profile)["cmps"].values() if entity.get("device_class") == "energy"]

    assert len(energies) == 14
    assert all((entity["unit_of_measurement"], entity["state_class"]) == ("kWh", "total_increasing") for entity in energies)


def test_an_enumeration_carries_its_options_and_faults_are_diagnostic_text(broker: Recorder, profile: Profile) -> None:
    components = _body(broker, profile)["cmps"]

    assert components["battery_mode"]["options"] == ["Discharge", "Charge", "Unknown"]
    assert components["bms_protection_code"]["entity_category"] == "diagnostic"
    assert "device_class" not in components["bms_protection_code"]


def test_diagnostic_are_temperatures_versions_and_faults_but_no_power(broker: Recorder, profile: Profile) -> None:
    components = _body(broker, profile)["cmps"]
    diagnostic = {key for key, entity in components.items() if entity.get("entity_category") == "diagnostic"}

    assert {"inverter_temp1", "battery_temp", "firmware_version", "serial_no", "fault_flag_1", "bms_alarm_code"} <= diagnostic
    assert diagnostic.isdisjoint({"grid_power", "battery_soc", "pv", "pv_day", "inverter_status"})


def test_controls_are_set_within_their_limits(broker: Recorder, profile: Profile) -> None:
    components = _body(broker, profile)["cmps"]
    number, switch, select = components["grid_inject_limit"], components["grid_inject_switch"], components["mode"]

    assert (number["p"], number["min"], number["max"], number["step"], number["unit_of_measurement"]) == ("number", 0, 100, 0.1, "%")
    assert number["command_topic"] == "ohm/home/device/mtec/grid_inject_limit/set"
    assert (switch["p"], switch["payload_on"], switch["payload_off"], switch["state_on"], switch["state_off"]) == (
        "switch", "on", "off", "1", "0",
    )  # fmt: skip
    assert (select["p"], select["options"]) == ("select", ["General mode", "Economic mode", "UPS mode", "Off grid"])
    assert {entity["entity_category"] for entity in (number, switch, select)} == {"config"}


def test_the_limits_of_this_home_are_those_home_assistant_shows(broker: Recorder, profile: Profile) -> None:
    limits = {"grid_inject_limit": RawLimits(100, 505, 1, None), "mode": RawLimits(257, 258, 1, (257, 258))}
    components = _body(broker, profile, limits=limits)["cmps"]

    assert (components["grid_inject_limit"]["min"], components["grid_inject_limit"]["max"]) == (10, 50.5)
    assert components["mode"]["options"] == ["General mode", "Economic mode"]


def test_a_device_that_is_only_read_has_no_controls(broker: Recorder, profile: Profile) -> None:
    components = _body(broker, profile, read_only=True)["cmps"]

    assert {entity["p"] for entity in components.values()} == {"sensor"}
    assert len(components) == 93


def test_beside_contract_json_only_what_it_lacks_is_announced_on_the_same_device(broker: Recorder, profile: Profile) -> None:
    covered = MtecJson("mtec", profile, profile.contracts["json"], broker).covers
    body = _body(broker, profile, covered=covered, joins="{}", known=IDENTITY)

    assert body["dev"]["identifiers"] == ["MTEC12K3P4012345"]
    assert set(body["cmps"]) == set(profile.controls) | {
        "fault_flag_1", "fault_flag_2", "bms_status", "bms_error_code", "bms_protection_code", "bms_alarm_code",
    }  # fmt: skip


def test_beside_contract_state_nothing_is_left_to_announce(broker: Recorder, profile: Profile) -> None:
    covered = MtecState("mtec", profile, profile.contracts["state"], broker, Requests()).covers
    outlet = HomeAssistantDevice("home", "mtec", "x", profile, broker, DISCOVERY, covered=covered)

    assert not outlet.has_entities


def test_a_shared_device_waits_for_its_serial_number(broker: Recorder, profile: Profile) -> None:
    outlet = HomeAssistantDevice("home", "mtec", "x", profile, broker, DISCOVERY, joins="{}")
    outlet.start()
    broker.connect()
    assert _announced(broker, outlet) is None

    outlet.take(Snapshot("mtec", "1h", 0.0, Quality.GOOD, IDENTITY))
    assert _announced(broker, outlet, 10.0)


def test_it_is_announced_again_when_home_assistant_is_born_and_when_the_firmware_is_known(broker: Recorder, profile: Profile) -> None:
    outlet = HomeAssistantDevice("home", "mtec", "x", profile, broker, DISCOVERY)
    outlet.start()
    broker.connect()
    first = _announced(broker, outlet)
    assert _announced(broker, outlet, 10.0) is None

    broker.arrive("homeassistant/status", b"online")
    assert _announced(broker, outlet, 20.0) == first

    outlet.take(Snapshot("mtec", "1h", 0.0, Quality.GOOD, IDENTITY))
    renewed = _announced(broker, outlet, 30.0)
    assert renewed
    assert json.loads(renewed)["dev"]["sw_version"] == IDENTITY["firmware_version"]


def _retire(broker: Recorder, *arrived: tuple[str, str], retain: bool = True) -> list[str]:
    """The topics that are taken back when these configurations are found at the broker."""
    retired = RetiredDevices("home", "homeassistant", broker, [TOPIC])
    retired.start()
    broker.connect()
    for topic, payload in arrived:
        broker.arrive(topic, payload.encode(), retain)
    sent = broker.take()
    assert all(message.payload == "" and message.retain for message in sent)
    return [message.topic for message in sent]


def test_what_nobody_announces_any_more_is_taken_back(broker: Recorder, profile: Profile) -> None:
    body = json.dumps(_body(broker, profile))

    assert _retire(broker, (TOPIC, body), ("homeassistant/device/home_old/config", body)) == ["homeassistant/device/home_old/config"]


def test_other_gateways_other_programs_and_nonsense_are_left_alone(broker: Recorder, profile: Profile) -> None:
    neighbour = json.dumps(_body(broker, profile)).replace("ohm/home/", "ohm/home_2/")
    others = (
        ("homeassistant/device/home_2_mtec/config", neighbour),
        ("homeassistant/device/zigbee/config", '{"availability": [{"topic": "zigbee2mqtt/bridge/state"}]}'),
        ("homeassistant/device/a/config", ""),
        ("homeassistant/device/b/config", "["),
        ("homeassistant/device/c/config", "[1]"),
    )

    assert _retire(broker, *others) == []


def test_what_is_being_announced_at_this_moment_is_not_taken_back(broker: Recorder, profile: Profile) -> None:
    body = json.dumps(_body(broker, profile))

    assert _retire(broker, ("homeassistant/device/home_old/config", body), retain=False) == []


def _point(**keys: str) -> Point:
    return Point.model_validate({"id": "energy", "name": "Energy", "holding": 1, "as": "u16", "group": "day", "class": "energy", **keys})


def test_a_class_that_does_not_fit_its_unit_is_left_out() -> None:
    assert classes(_point(unit="W", sign="import positive")) == {"unit_of_measurement": "W"}


def test_an_energy_never_claims_to_be_a_measurement() -> None:
    assert classes(_point(unit="kWh", state="measurement"))["state_class"] == "total_increasing"


def test_a_moment_is_one_to_home_assistant() -> None:
    assert classes(
        Point.model_validate({"id": "seen", "name": "Seen", "field": "x", "as": "str", "group": "day", "class": "timestamp"})
    ) == {"device_class": "timestamp"}


def test_the_weather_has_its_classes() -> None:
    assert classes(_point(**{"unit": "W/m²", "class": "irradiance"}))["device_class"] == "irradiance"
    assert classes(_point(**{"unit": "bar", "class": "pressure"}))["device_class"] == "pressure"
