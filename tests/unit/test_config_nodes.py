"""Nodes with several buses, on the network, with a stop pin; limits and controls of devices: from ohmstead.yaml to `config.ohm`."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from ohmstead.config import Config, Via, load
from ohmstead.config.rsa import public_modulus
from ohmstead.errors import ConfigurationError
from ohmstead.nodes.compile import node_config, read_node_config
from ohmstead.profiles.model import RawLimits
from ohmstead.units import Bounds
from tests.unit.homes import Write, mistakes, writer

KEY = "00ff" * 16
GROWATT = """
    mqtt: {url: mqtt://nas}
    nodes:
      cellar: {bus: {pins: {tx: 17, rx: 16, de: 4}}, key: "KEY"}
    devices:
      growatt:
        profile: growatt-sph
        via: cellar
        rated: 5 kW
        limits: {soc: 15..95 %, grid_import: 11 kW}
        control: {charge: {power: ..3 kW}, discharge: {power: ..60 %}, lease: 30 min}
""".replace("KEY", KEY)


METER = """\
profile: meter
name: Meter
manufacturer: Acme
model: M
groups: {live: 10 s}
points: {power: {name: Power, holding: 1, as: i32, unit: W, sign: import positive, group: live}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "meter.yaml").write_text(METER, encoding="utf-8")
    return writer(tmp_path)


def compiled(config: Config, node: str = "cellar") -> dict[str, Any]:
    return read_node_config(node_config(config, node))


# What an owner allows a device


def test_limits_of_the_profile_are_narrowed_in_any_unit(write: Write) -> None:
    config = load(write(GROWATT))
    ends = config.limit_ends("growatt")
    assert (ends["soc"], ends["grid_import"]) == (Bounds(15, 95), Bounds(None, 11000))
    assert ends["battery_temperature"] == Bounds(0, 50), "what the owner does not say is the profile's"
    assert ends["grid_export"] == Bounds(None, None)


def test_a_control_is_narrowed_in_kw_where_it_is_percent_of_the_rated_power(write: Write) -> None:
    config = load(write(GROWATT))
    assert config.raw_limits("growatt", "charge") == RawLimits(0, 60, 1, None)
    assert config.raw_limits("growatt", "discharge") == RawLimits(0, 60, 1, None)
    assert config.devices["growatt"].control.lease == 1800
    assert load(write("devices: {g: {profile: growatt-sph, via: tcp://a}}")).devices["g"].control.lease == 3600


def test_what_an_owner_limits_too_widely_or_cannot_mean_is_told_with_its_line(write: Write) -> None:
    for line, told in (
        ("limits: {soc: 15..195 %}", "limits.soc: 15..195 % — the upper end must be at most 100 %"),
        ("limits: {soc: 15 %}", "limits.soc: 15 % — this limit has two ends; write it `a..b`"),
        ("limits: {grid_import: 11 A}", "limits.grid_import: 11 A — the unit must be W or kW or MW, not A"),
        ("limits: {grid_inport: 11 kW}", "limits.grid_inport: 11 kW — no limit and no control of growatt-sph; did you mean `grid_import`?"),
        ("control: {charge: {power: ..3 kW}}", "control.charge.power: ..3 kW — this control is in % of the rated power; say which that is"),
        ("rated: 2 kW, control: {charge: {power: ..3 kW}}", "control.charge.power: ..3 kW — more than the rated power, 2 kW"),
        ("rated: 2 A", "rated: 2 A — the unit must be W"),
        ("control: {chrge: {power: ..3 %}}", "control.chrge — no control of growatt-sph; did you mean `charge`?"),
        ("control: {charge: {powr: ..3 %}}", "control.charge.powr — unknown"),
        ("control: {charge: ..3 kW}", "control.charge: ..3 kW — must be a map"),
        ("control: {lease: 60}", "control.lease: 60 — say the unit, e.g. 60 s"),
        ("limits: {charge: 50..100 %}, control: {charge: {power: ..20 %}}", "power: ..20 % — leaves no value together with `limits`"),
    ):
        found = mistakes(write(f"devices:\n  g: {{profile: growatt-sph, via: tcp://a, {line}}}\n"))
        assert len(found) == 1, found
        assert found[0].startswith("ohmstead.yaml:2: devices.g.")
        assert told in found[0]


def test_a_reading_that_comes_too_seldom_for_a_limit_is_refused(write: Write) -> None:
    found = mistakes(write("devices:\n  g: {profile: growatt-sph, via: tcp://a, every: {live: 30 s}}\n"))
    assert found[0] == (
        "ohmstead.yaml:2: devices.g.every — the limit soc would never hold: battery_soc is read every 30 s: it would always be too old"
    )
    assert len(found) == 3, "the others take what is three periods old"


# What becomes of it in the node's file


def test_a_limit_is_a_rule_for_each_end_with_thresholds_in_raw_values(write: Write) -> None:
    config = load(write(GROWATT))
    content = compiled(config)
    rules = {rule["name"]: rule for rule in content["limits"]}
    assert list(rules) == [
        *("soc floor", "soc ceiling", "battery temperature floor", "battery temperature ceiling"),
        *("inverter temperature ceiling", "grid import ceiling"),
    ]
    floor, ceiling, imported = rules["soc floor"], rules["soc ceiling"], rules["grid import ceiling"]
    assert floor["controls"] == [["growatt", "discharge"]]
    assert ceiling["controls"] == imported["controls"] == [["growatt", "charge"]]
    assert (floor["below"], floor["clear"], floor["stale_ms"], floor["hold_ms"], floor["trip"]) == (16, 17, 30_000, 0, False)
    assert (ceiling["above"], ceiling["clear"]) == (94, 93)
    assert (imported["above"], imported["clear"], imported["kind"], imported["words"]) == (109_999, 105_000, "u32", 2)
    groups = {group["name"]: group for group in content["buses"][0]["devices"][0]["groups"]}
    for name, point in (("soc floor", "battery_soc"), ("grid import ceiling", "grid_import")):
        rule, register = rules[name], config.profile("growatt").points[point]
        function, address, count = groups[rule["group"]]["reads"][rule["read"]]
        assert (function, address + rule["offset"]) == (register.function, register.address)
        assert rule["offset"] + rule["words"] <= count


def test_a_control_is_its_blocks_its_fields_and_what_it_returns_to(write: Write) -> None:
    controls = {control["name"]: control for control in compiled(load(write(GROWATT)))["buses"][0]["devices"][0]["controls"]}
    off = b"\x00\x64\x00\x5f\x00\x00\x00\x00\x17\x3b\x00\x00"
    assert controls["charge"] == {
        "name": "charge",
        "blocks": [[16, 1090, 3], [16, 1100, 3]],
        "fields": [[0, 1, 0, 0, 60, 1, None], [2, 1, 0, 0, 1, 1, [0, 1]], [5, 1, 0, 0, 1, 1, [0, 1]]],
        "budget": 50,
        "safe": off,
        "reversion": off,
        "lease": 1,
    }
    assert controls["export_limit"]["fields"] == [[0, 1, 1, 0, 1000, 1, None]]
    assert "lease" not in controls["export_limit"]


def test_what_the_node_refuses_is_not_in_its_file(write: Write) -> None:
    """The rules of the node itself, on what the gateway compiles."""
    from ohmcore.limits import Rule, refusal

    content = compiled(load(write(GROWATT)))
    for spec in content["limits"]:
        Rule(spec)
    for control in content["buses"][0]["devices"][0]["controls"]:
        words = sum(block[2] for block in control["blocks"])
        for key in ("safe", "reversion"):
            if key in control:
                assert refusal(control[key], words, control["fields"], control.get("safe")) == "", (control["name"], key)


def test_a_read_only_device_has_neither_controls_nor_limits(write: Write) -> None:
    content = compiled(load(write(GROWATT.replace("rated: 5 kW", "rated: 5 kW\n        read_only: true"))))
    assert content["limits"] == []
    device = content["buses"][0]["devices"][0]
    assert (device["controls"], device["read_only"]) == ([], True)


def test_a_node_without_a_key_only_reads(write: Write) -> None:
    content = compiled(load(write(GROWATT.replace(f', key: "{KEY}"', ""))))
    assert (content["key"], content["limits"], content["buses"][0]["devices"][0]["controls"]) == (None, [], [])
    assert mistakes(write("nodes: {cellar: {bus: {port: /dev/a}, stop_pin: 5}}\n")) == [
        "ohmstead.yaml:1: nodes.cellar.stop_pin — has no effect: without a `key` the node writes nothing, so that there is nothing "
        "to stop; give it a key or take this out"
    ]


def test_the_stop_pin_the_loss_of_the_link_and_the_room_on_flash(write: Write) -> None:
    said = f"key: {KEY}, bus: {{pins: {{tx: 17, rx: 16}}}}, stop_pin: {{pin: 27, active: low}}, link_loss: 2 min, flash_spool: 128 KiB"
    content = compiled(load(write(f"mqtt: {{url: mqtt://nas}}\nnodes: {{cellar: {{{said}}}}}\n")))
    assert content["stop_pin"] == {"pin": 27, "active": 0}
    assert (content["link_loss_ms"], content["flash_spool"]) == (120_000, 131_072)
    content = compiled(load(write(GROWATT)))
    assert (content["stop_pin"], content["link_loss_ms"], content["flash_spool"], content["update_key"]) == (None, 60_000, 262_144, None)
    content = compiled(load(write(f"nodes: {{cellar: {{key: {KEY}, bus: {{port: /dev/a}}, stop_pin: 5, flash_spool: 0}}}}\n")))
    assert (content["stop_pin"], content["flash_spool"]) == ({"pin": 5, "active": 1}, 0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("stop_pin: 99", "nodes.cellar.stop_pin: 99 — must be at most 48"),
        ("stop_pin: {pin: 5, active: maybe}", "nodes.cellar.stop_pin.active: maybe — must be `high` or `low`"),
        ("flash_spool: 256 kW", "nodes.cellar.flash_spool: 256 kW — the unit must be B or kB"),
        ("flash_spool: 64 MiB", "from 0 to 8 MiB, e.g. 256 KiB"),
        ("link_loss: 60", "nodes.cellar.link_loss: 60 — say the unit"),
        ("update_key: abc", "no public key; `ohmstead keys` makes one"),
        ("buses: {a: {port: /dev/b}}", "nodes.cellar — either one `bus` or several `buses`, not both"),
    ],
)
def test_what_is_wrong_with_a_node_is_told(write: Write, said: str, told: str) -> None:
    assert told in "\n".join(mistakes(write(f"nodes:\n  cellar: {{bus: {{port: /dev/a}}, {said}}}\n")))


# Several buses, and the network

BUSES = """
    mqtt: {url: mqtt://nas}
    nodes:
      cellar:
        buses:
          house: {pins: {tx: 17, rx: 16}}
          roof: {pins: {tx: 25, rx: 26, de: 27}, baud: 19200}
    devices:
      growatt: {profile: growatt-sph, via: cellar/house}
      slow: {profile: growatt-sph, via: cellar/house, unit: 2, read_only: true, line: {baud: 4800, parity: even}}
      mtec: {profile: mtec-energybutler, via: cellar/roof}
      far: {profile: mtec-energybutler, via: cellar/tcp://192.0.2.10}
      near: {profile: meter, via: "cellar/tcp://192.0.2.10:502", unit: 7}
      other: {profile: meter, via: "cellar/tcp://192.0.2.11:5020"}
      direct: {profile: mtec-energybutler, via: tcp://192.0.2.10, unit: 9}
"""


def test_a_device_names_its_bus_or_the_address_that_its_node_asks(write: Write) -> None:
    config = load(write(BUSES))
    vias = {name: device.via for name, device in config.devices.items()}
    assert (vias["growatt"], vias["far"]) == (Via("cellar", bus="house"), Via("cellar", "192.0.2.10", 502))
    assert (vias["other"], vias["direct"]) == (Via("cellar", "192.0.2.11", 5020), Via(None, "192.0.2.10", 502))
    assert [str(vias[name]) for name in ("growatt", "far", "direct")] == [
        "cellar/house",
        "cellar/tcp://192.0.2.10:502",
        "tcp://192.0.2.10:502",
    ]
    assert config.devices_of("cellar") == ["growatt", "slow", "mtec", "far", "near", "other"]
    assert (config.unit("far"), config.unit("mtec")) == (255, 252)


def test_each_line_and_each_address_is_a_bus_of_the_node(write: Write) -> None:
    buses = compiled(load(write(BUSES)))["buses"]
    house, roof, one, other = buses
    assert (house["name"], house["port"], house["baud"], [device["name"] for device in house["devices"]]) == (
        "house",
        1,
        9600,
        ["growatt", "slow"],
    )
    assert (roof["name"], roof["port"], roof["pins"], roof["baud"]) == ("roof", 2, {"tx": 25, "rx": 26, "de": 27}, 19200)
    assert {key: one[key] for key in ("name", "kind", "host", "port")} == {
        **{"name": "192.0.2.10:502", "kind": "tcp"},
        **{"host": "192.0.2.10", "port": 502},
    }
    assert [(device["name"], device["unit"]) for device in one["devices"]] == [("far", 255), ("near", 7)]
    assert (other["host"], other["port"]) == ("192.0.2.11", 5020)


def test_a_device_has_the_format_of_its_bus_or_says_its_own(write: Write) -> None:
    growatt, slow = compiled(load(write(BUSES)))["buses"][0]["devices"]
    assert not {"baud", "parity", "stop"} & set(growatt)
    assert (slow["baud"], slow["parity"], "stop" in slow) == (4800, "E", False)


@pytest.mark.parametrize(
    ("via", "told"),
    [
        ("cellar", "devices.m.via: cellar — which of its buses? write cellar/house or cellar/roof"),
        ("cellar/rof", "devices.m.via: cellar/rof — cellar has no such bus; did you mean `roof`?"),
        ("cellar/udp://x", "devices.m.via: cellar/udp://x — not an address; write it like cellar/tcp://192.0.2.10"),
        ("celar/tcp://x", "devices.m.via: celar — there is no such node under `nodes`; did you mean `cellar`?"),
    ],
)
def test_a_way_that_leads_nowhere_is_told(write: Write, via: str, told: str) -> None:
    text = "nodes: {cellar: {buses: {house: {port: /dev/a}, roof: {port: /dev/b}}}}\ndevices:\n"
    found = mistakes(write(f'{text}  m: {{profile: mtec-energybutler, via: "{via}"}}\n'))
    assert len(found) == 1
    assert told in found[0]


def test_two_units_may_be_the_same_on_two_buses_but_not_behind_one_address(write: Write) -> None:
    load(write(BUSES.replace("mtec: {profile: mtec-energybutler, via: cellar/roof}", "mtec: {profile: growatt-sph, via: cellar/roof}")))
    found = mistakes(write(BUSES.replace(", unit: 9}", "}")))
    assert found == ["ohmstead.yaml:14: devices.direct.unit: 255 — far is unit 255 of tcp://192.0.2.10 already; give one of them another"]


def test_a_node_may_live_on_the_network_alone(write: Write) -> None:
    config = load(write("nodes: {cellar: {}}\ndevices:\n  m: {profile: mtec-energybutler, via: cellar/tcp://a}\n"))
    assert [bus.get("kind") for bus in compiled(config)["buses"]] == ["tcp"]


# The key of updates


def der(tag: int, content: bytes) -> bytes:
    length = len(content).to_bytes(2, "big")
    return bytes([tag, 0x82]) + length + content


def pem(name: str, content: bytes) -> str:
    return f"-----BEGIN {name}-----\n{base64.encodebytes(content).decode()}-----END {name}-----\n"


MODULUS = (1 << 2047 | 0x1234567).to_bytes(256, "big")
RSA = der(0x30, der(0x02, b"\0" + MODULUS) + b"\x02\x03\x01\x00\x01")
SPKI = der(0x30, b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00" + der(0x03, b"\0" + RSA))


@pytest.mark.parametrize("text", [pem("PUBLIC KEY", SPKI), pem("RSA PUBLIC KEY", RSA)])
def test_a_public_key_is_read_from_both_forms_of_pem(text: str, write: Write, tmp_path: Path) -> None:
    (tmp_path / "update.pem").write_text(text, encoding="utf-8")
    config = load(write("nodes: {cellar: {bus: {port: /dev/a}, update_key_file: update.pem}}\n"))
    assert compiled(config)["update_key"] == MODULUS


def test_anything_else_is_no_key_of_updates() -> None:
    short = der(0x30, der(0x02, b"\0" + MODULUS[128:] + b"\1") + b"\x02\x03\x01\x00\x01")
    for text, told in (
        (pem("PRIVATE KEY", b"x"), "this is the private key"),
        (pem("PUBLIC KEY", SPKI[:200]), "no public key"),
        (pem("RSA PUBLIC KEY", RSA[:-2]), "no public key"),
        (pem("RSA PUBLIC KEY", short), "a node takes RSA-2048"),
        (pem("RSA PUBLIC KEY", RSA[:-1] + b"\x03"), "exponent 65539"),
    ):
        with pytest.raises(ValueError, match=told):
            public_modulus(text)


def test_more_limits_than_a_node_can_hold_are_refused(write: Write) -> None:
    devices = "".join(f"  g{unit}: {{profile: growatt-sph, via: cellar, unit: {unit}}}\n" for unit in range(1, 9))
    config = load(write(f"nodes: {{cellar: {{bus: {{port: /dev/a}}, key: {KEY}}}}}\ndevices:\n{devices}"))
    with pytest.raises(ConfigurationError, match="larger than a node takes"):
        node_config(config, "cellar")
