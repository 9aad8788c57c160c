"""A Hoymiles DTU in ohmstead.yaml: what is understood, what is refused with its line, and what the model allows then."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.config.device import DeviceConfig
from tests.unit.homes import mistakes, writer

HOME = """
    devices:
      roof:
        profile: hoymiles-dtu
        via: tcp://192.0.2.20
        {said}
"""


def test_two_dtus_with_all_that_can_be_said_of_one(tmp_path: Path) -> None:
    text = """
        devices:
          roof: {profile: hoymiles-dtu, via: tcp://192.0.2.20, exclude: [114182A0B1C2]}
          shed:
            profile: hoymiles-dtu
            via: tcp://192.0.2.21
            every: 30 s
            control: {power_limit: {}}
            hoymiles:
              reset_hour: 23
              names: {116180123456: Garage, 116180123456/1: Left panel}
              entity_names: {pv_power: PV power, alarm_flag: Alarm}
              topics: solar/hoymiles
              multipliers: {pv_power: 0.001}
              inverter_entities: [temperature]
              port_entities: [pv_power, today_production]
              expire_after: 2 min
              hot_above: 75 °C
              offline_after: 10 min
    """
    config = load(writer(tmp_path)(text), {})
    shed = config.devices["shed"]

    assert isinstance(shed, DeviceConfig)
    assert (shed.hoymiles.reset_hour, shed.hoymiles.expire_after, shed.hoymiles.hot_above) == (23, 120.0, 75.0)
    assert shed.hoymiles.names == {"116180123456": "Garage", "116180123456/1": "Left panel"}
    assert config.devices["roof"].contract == "json"


def test_nothing_can_be_written_that_the_owner_does_not_name(tmp_path: Path) -> None:
    def controls(said: str) -> list[str]:
        return list(load(writer(tmp_path)(HOME.format(said=said)), {}).profile("roof").controls)

    assert controls("every: 60 s") == []
    assert controls("control: {power_limit: {}}") == ["power_limit"]
    assert controls("control: {power_limit: {}, production: {}}") == ["power_limit", "production"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("exclude: [roof]", "exclude: roof — a serial number has 12 digits"),
        ("hoymiles: {names: {left: Left}}", "names.left: left — write the 12 digits of a serial number, or serial/port"),
        ("hoymiles: {multipliers: {pv_power: 0}}", "multipliers.pv_power: 0 — must be more than 0"),
        ("hoymiles: {multipliers: {alarm_code: 2}}", "alarm_code"),
        ("hoymiles: {entity_names: {power: Power}}", "entity_names"),
        ("hoymiles: {topics: solar/#}", "topics: solar/#"),
        ("hoymiles: {reset_hour: 24}", "reset_hour: 24 — must be at most 23"),
        ("hoymiles: {port_entities: [power]}", "port_entities.0: power — must be `pv_voltage`"),
        ("hoymiles: {expire_after: 60 s}", "expire_after: 60 s — must be longer than the 60 s between two polls"),
        ("hoymiles: {offline_after: 1 min}", "offline_after: 60 s — must be longer than the 60 s between two polls"),
        ("hoymiles: {hot_above: warm}", "hot_above: warm — is not a number with a unit"),
        ("control: {power_limt: {}}", "power_limt — no control of hoymiles-dtu; did you mean `power_limit`?"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(tmp_path: Path, said: str, told: str) -> None:
    (mistake,) = mistakes(writer(tmp_path)(HOME.format(said=said)))

    assert mistake.startswith("ohmstead.yaml:5: devices.roof.")
    assert told in mistake


def test_only_the_gateway_itself_reads_a_dtu(tmp_path: Path) -> None:
    text = """
        nodes: {cellar: {bus: {pins: {tx: 17, rx: 16, de: 4}}}}
        devices: {roof: {profile: hoymiles-dtu, via: cellar/tcp://192.0.2.20}}
    """
    (mistake,) = [one for one in mistakes(writer(tmp_path)(text)) if "via" in one]

    assert "only the gateway itself reads Hoymiles DTU; write tcp://host" in mistake


def test_an_inverter_is_not_configured_but_its_dtu(tmp_path: Path) -> None:
    (mistake,) = mistakes(writer(tmp_path)("devices: {roof: {profile: hoymiles-inverter, via: tcp://192.0.2.20}}"))

    assert "is found behind its DTU; write `hoymiles-dtu` and the DTU's address" in mistake


def test_what_is_said_for_a_dtu_fits_no_other_device(tmp_path: Path) -> None:
    (mistake,) = mistakes(
        writer(tmp_path)("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10, hoymiles: {reset_hour: 1}}}")
    )

    assert "only fits a Hoymiles DTU" in mistake
