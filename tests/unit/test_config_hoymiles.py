"""A Hoymiles DTU in ohmstead.yaml: what is understood, what is refused with its line, and what the model allows then."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.config.device import DeviceConfig
from ohmstead.nodes.compile import node_config, read_node_config
from ohmstead.profiles.compiler import MAX_FRAME, frame_bound
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


BY_NODE = """
    mqtt: {{url: mqtt://nas}}
    nodes: {{cellar: {{bus: {{pins: {{tx: 17, rx: 16, de: 4}}}}}}}}
    devices:
      roof:
        profile: hoymiles-dtu
        via: {via}
        {said}
"""


@pytest.mark.parametrize("via", ["cellar", "cellar/tcp://192.0.2.20"])
def test_a_node_reads_a_fixed_number_of_records_in_one_frame(tmp_path: Path, via: str) -> None:
    config = load(writer(tmp_path)(BY_NODE.format(via=via, said="hoymiles: {ports: 18}")), {})
    (group,) = config.poll_groups("roof")
    records = [(3, 0x1000 + 40 * place, 20) for place in range(19)]

    assert (group.name, group.period_s, group.groups) == ("1min", 60.0, ("plant",))
    assert [(read.function, read.address, read.count) for read in group.reads] == [(3, 0x2000, 3), *records]
    assert frame_bound(group.reads, "roof", group.name) <= MAX_FRAME
    content = read_node_config(node_config(config, "cellar"))
    (device,) = [device for bus in content["buses"] for device in bus["devices"]]
    assert (device["name"], device["unit"], device["controls"], device["vitals"]) == ("roof", 1, [], [])
    assert len(device["groups"][0]["reads"]) == 20


@pytest.mark.parametrize(
    ("said", "line", "told"),
    [
        ("every: 60 s", 4, "hoymiles.ports — is missing: a node cannot tell where the list ends; write how many PV ports the DTU has"),
        ("hoymiles: {ports: 0}", 7, "hoymiles.ports: 0 — must be at least 1"),
        (
            "hoymiles: {ports: 19}",
            7,
            "hoymiles.ports: 19 — a node's message carries no more than 18 of this device; let the gateway read it",
        ),
        (
            "hoymiles: {ports: 20}",
            7,
            "hoymiles.ports: 20 — a node's message carries no more than 18 of this device; let the gateway read it",
        ),
        ("hoymiles: {ports: 9}\n        control: {power_limit: {}}", 8, "control.power_limit — a node does not write to a DTU"),
    ],
)
def test_what_a_node_needs_to_read_a_dtu_is_told_with_its_line(tmp_path: Path, said: str, line: int, told: str) -> None:
    (mistake,) = mistakes(writer(tmp_path)(BY_NODE.format(via="cellar", said=said)))

    assert mistake.startswith(f"ohmstead.yaml:{line}: devices.roof.")
    assert told in mistake


def test_the_number_of_ports_is_only_for_a_node(tmp_path: Path) -> None:
    (mistake,) = mistakes(writer(tmp_path)(HOME.format(said="hoymiles: {ports: 9}")))

    assert "hoymiles.ports: 9 — is only for a DTU that a node reads" in mistake


def test_nobody_reads_a_dtu_through_an_open_inverter_gateway(tmp_path: Path) -> None:
    (mistake,) = mistakes(writer(tmp_path)("devices: {roof: {profile: hoymiles-dtu, via: growatt-mqtt:energy/solar}}"))

    assert "nobody reads Hoymiles DTU that way; write tcp://host" in mistake


def test_an_inverter_is_not_configured_but_its_dtu(tmp_path: Path) -> None:
    (mistake,) = mistakes(writer(tmp_path)("devices: {roof: {profile: hoymiles-inverter, via: tcp://192.0.2.20}}"))

    assert "is found behind its DTU; write `hoymiles-dtu` and the DTU's address" in mistake


def test_what_is_said_for_a_dtu_fits_no_other_device(tmp_path: Path) -> None:
    (mistake,) = mistakes(
        writer(tmp_path)("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10, hoymiles: {reset_hour: 1}}}")
    )

    assert "only fits a Hoymiles DTU" in mistake
