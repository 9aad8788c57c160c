"""Which publishers a device has, by what its owner wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ohmstead.config import Config, load
from ohmstead.publish.device import device_outlets, retired_devices
from ohmstead.publish.home_assistant import HomeAssistantDevice
from ohmstead.publish.mtec_json import MtecJson
from ohmstead.publish.mtec_state import MtecState
from ohmstead.publish.outlet import Outlet
from ohmstead.publish.values import DeviceValues
from tests.publishing import Recorder, Requests

IDENTITY = {"serial_no": "MTEC12K3P4012345"}


def _config(tmp_path: Path, device: str = "", more: str = "") -> Config:
    path = tmp_path / "ohmstead.yaml"
    path.write_text(f"devices:\n  mtec: {{profile: mtec-energybutler, via: tcp://192.0.2.10{device}}}\n{more}")
    return load(path, {})


def _announced(config: Config) -> tuple[set[str], dict[str, object]]:
    """Topics of classic discovery, and the body of the native one (empty if taken back or absent)."""
    broker = Recorder()
    outlets: list[Outlet] = [*device_outlets(config, "mtec", broker, Requests(), period_s=10.0, known=IDENTITY).outlets]
    outlets.append(retired_devices(config, broker, outlets))
    for outlet in outlets:
        outlet.start()
    broker.connect()
    for now in (0.0, 1.0):
        for outlet in outlets:
            outlet.tick(now)
    sent = {message.topic: message.payload for message in broker.take() if message.topic.startswith("homeassistant/")}
    native = sent.pop("homeassistant/device/home_mtec/config", "")
    return set(sent), json.loads(native) if native else {}


def test_by_default_the_contract_announces_and_the_rest_joins_its_device(tmp_path: Path) -> None:
    classic, native = _announced(_config(tmp_path))

    assert len(classic) == 83
    components = native["cmps"]
    assert isinstance(components, dict)
    assert len(components) == 9 + 6
    assert native["dev"] == {
        "identifiers": ["MTEC12K3P4012345"],
        "name": "MTEC EnergyButler",
        "manufacturer": "M-TEC",
        "model": "Energy-Butler",
        "serial_number": "MTEC12K3P4012345",
    }


@pytest.mark.parametrize(
    ("device", "more", "classic", "native"),
    [
        (", contract: state", "", 98, 0),
        (", contract: none", "", 0, 93),
        ("", "home_assistant: {entities: native}", 0, 93),
        ("", "home_assistant: {entities: both}", 83, 93),
        (", contract: state, read_only: true", "", 98, 0),
        ("", "home_assistant: {enabled: false}", 0, 0),
        ("", "publish: {values: false}", 83, 0),
    ],
)
def test_entities_are_announced_as_the_owner_says(tmp_path: Path, device: str, more: str, classic: int, native: int) -> None:
    topics, body = _announced(_config(tmp_path, device, more))
    components = body.get("cmps", {})
    assert isinstance(components, dict)

    assert (len(topics), len(components)) == (classic, native)


def test_plain_values_are_there_whatever_the_contract(tmp_path: Path) -> None:
    def kinds(device: str) -> list[type]:
        outlets = device_outlets(_config(tmp_path, device), "mtec", Recorder(), Requests(), period_s=10.0).outlets
        return [type(outlet) for outlet in outlets]

    assert kinds("") == [DeviceValues, MtecJson, HomeAssistantDevice]
    assert kinds(", contract: state") == [DeviceValues, MtecState]
    assert kinds(", contract: none") == [DeviceValues, HomeAssistantDevice]


def test_contract_state_says_goodbye_where_upstream_has_its_last_will(tmp_path: Path) -> None:
    broker = Recorder()
    for outlet in device_outlets(_config(tmp_path, ", contract: state"), "mtec", broker, Requests(), period_s=10.0).outlets:
        outlet.start()
        outlet.close()

    assert [(message.topic, message.payload, message.retain) for message in broker.take()] == [
        ("homeassistant/status/lwt", "offline", True)
    ]


@pytest.mark.parametrize(
    ("said", "components"),
    [
        ("", None),
        (", control: {power_limit: {}}", {"power_limit"}),
        (", control: {power_limit: {}, production: {}}", {"power_limit", "production"}),
        (", contract: none", {"pv_power", "today_production", "total_production", "alarm_flag", "serial_no"}),
    ],
)
def test_what_may_be_written_to_a_dtu_joins_the_device_of_its_contract(tmp_path: Path, said: str, components: set[str] | None) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text(f"devices: {{roof: {{profile: hoymiles-dtu, via: 'tcp://192.0.2.20'{said}}}}}\n")
    broker = Recorder()
    outlets = device_outlets(load(path, {}), "roof", broker, Requests(), period_s=60.0, known={"serial_no": "10f8a1b2c3d4"}).outlets
    native = [outlet for outlet in outlets if isinstance(outlet, HomeAssistantDevice)]
    for outlet in outlets:
        outlet.start()
    broker.connect()
    for now in (0.0, 1.0):
        for outlet in outlets:
            outlet.tick(now)

    sent = {message.topic: message.payload for message in broker.take()}
    if components is None:
        assert not native
        return
    body = json.loads(sent["homeassistant/device/home_roof/config"])
    assert set(body["cmps"]) == components
    if "contract" in said:
        assert body["dev"]["identifiers"] == ["home_roof"]
    else:
        assert body["dev"] == {
            "identifiers": ["hoymiles_mqtt_10f8a1b2c3d4"],
            "manufacturer": "Hoymiles",
            "model": "DTU-Pro",
            "serial_number": "10f8a1b2c3d4",
        }
