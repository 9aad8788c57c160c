"""ohmstead.yaml: every mistake is told at once, in plain words, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load, summary
from ohmstead.errors import ConfigurationError
from tests.unit.homes import WITH_NODE, Write, mistakes, writer


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_five_different_mistakes_are_all_told_with_their_lines(write: Write) -> None:
    path = write("""
        site: My Home
        timezone: Europe/Pragu
        mqtt: {url: nas}

        nodes:
          cellar: {bus: {port: /dev/ttyUSB0}}

        devices:
          mtec:
            profile: mtec-energybuttler
            via: cellar
            contrat: json
    """)
    with pytest.raises(ConfigurationError) as error:
        load(path)
    assert summary(error.value).replace(f"{path.parent}/", "").splitlines() == [
        "ohmstead.yaml:1: site: My Home — a name here is made of a-z, 0-9, _ and - only",
        "ohmstead.yaml:2: timezone: Europe/Pragu — not a time zone; write it like Europe/Prague",
        "ohmstead.yaml:3: mqtt.url: nas — not an address; write it like mqtt://nas or mqtts://nas:8883",
        "ohmstead.yaml:10: devices.mtec.profile: mtec-energybuttler — there is none of this name; did you mean `mtec-energybutler`?",
        "ohmstead.yaml:12: devices.mtec.contrat — unknown; did you mean `contract`?",
        "5 mistakes, nothing was changed.",
    ]


def test_one_mistake_is_one() -> None:
    with pytest.raises(ConfigurationError) as error:
        load(Path("/nonexistent/ohmstead.yaml"))
    assert summary(error.value).splitlines() == [
        "/nonexistent/ohmstead.yaml: cannot be read: No such file or directory",
        "1 mistake, nothing was changed.",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "1: must be a map of `key: value`"),
        ("mqtt: text\n", "1: mqtt: text — must be a map of `key: value`"),
        ("site: a\nsite: b\n", "2: site — stands here a second time; the first is in line 1"),
        ("web: {port: 80 80}\n", "1: web.port: 80 80 — must be a whole number"),
        ("web: {port: 99999}\n", "1: web.port: 99999 — must be at most 65535"),
        ("web: {enabled: maybe}\n", "1: web.enabled: maybe — must be true or false"),
        ("store: {flush: 1}\n", "1: store.flush: 1 — say the unit, e.g. 60 s"),
        ("log: {format: xml}\n", "1: log.format: xml — must be `console` or `json`"),
        ("mqtt: {url: 'mqtt://me:x@nas'}\n", "user and password have keys of their own, `user` and `password` or `password_file`"),
        ("mqtt: {url: 'mqtt://nas/x'}\n", "nothing may follow host and port; write it like mqtt://nas or mqtts://nas:8883"),
        ("mqtt: {url: 'mqtt://nas:99999'}\n", "not an address; write it like mqtt://nas or mqtts://nas:8883"),
        ("mqtt: {url: 'mqtt://na..s'}\n", "not an address; write it like mqtt://nas or mqtts://nas:8883"),
        (f"mqtt: {{url: 'mqtt://{'n' * 64}'}}\n", "not an address; write it like mqtt://nas or mqtts://nas:8883"),
        ("web: {host: a..b}\n", "1: web.host: a..b — not an address; write it like 127.0.0.1, 0.0.0.0 or ::1"),
        ("nodes: {Cellar: {bus: {port: /dev/a}}}\n", "1: nodes.Cellar: Cellar — a name here is made of a-z, 0-9, _ and - only"),
        ("nodes: {a: {}}\n", "1: nodes.a.bus — is missing"),
        (
            "nodes: {a: {bus: {}}}\n",
            "1: nodes.a.bus — where is the bus? give `pins: {tx: 17, rx: 16, de: 4}` (ESP32) or `port: /dev/ttyUSB0`",
        ),
        (
            "nodes: {a: {bus: {port: COM1}}}\n",
            "1: nodes.a.bus.port: COM1 — the path of a serial device (/dev/ttyUSB0), or the number of a UART (1)",
        ),
        ("nodes: {a: {bus: {port: /dev/a, pins: {tx: 1, rx: 2}}}}\n", "either `pins` (ESP32) or the path of a `port`, not both"),
        (
            "devices:\n  hp: {source: vicar, user: me}\n",
            "2: devices.hp.source: vicar — there is no such source; did you mean `vicare`?",
        ),
        (
            "devices:\n  sun: {profile: sunspec, via: tcp://192.0.2.14, line: {timeout: 0 s}}\n",
            "2: devices.sun.line.timeout: 0 s — must be more than 0",
        ),
        (
            "devices:\n  house: {source: shelly, host: 192.0.2.12, via: cellar}\n",
            "2: devices.house.via — does not fit here",
        ),
        (
            "devices:\n  pump: {source: luxtronik}\n",
            "2: devices.pump.host — is missing",
        ),
    ],
)
def test_what_is_wrong_in_one_place_is_told_in_plain_words(write: Write, text: str, told: str) -> None:
    assert told in "\n".join(mistakes(write(text)))


def test_a_key_that_stands_twice_hides_no_other_mistake(write: Write) -> None:
    text = "site: home\nsite: HOME!\nmqtt:\n  pasword: x\ndevices:\n  mtec: {profile: mtec-energybutlr, via: tcp://a}\nwebb: {}\n"
    assert [mistake.split(" ")[0] for mistake in mistakes(write(text))] == [
        "ohmstead.yaml:2:",
        "ohmstead.yaml:4:",
        "ohmstead.yaml:6:",
        "ohmstead.yaml:7:",
    ], "of the two sites the first counts, so the second is no other mistake"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("via: celar", "3: devices.mtec.via: celar — there is no such node under `nodes`; did you mean `cellar`?"),
        ("via: Cellar 2", "3: devices.mtec.via: Cellar 2 — a name here is made of a-z, 0-9, _ and - only"),
        ("via: udp://a", "3: devices.mtec.via: udp://a — not an address; write it like tcp://192.0.2.10 or tcp://192.0.2.10:502"),
        ("every: 10", "3: devices.mtec.every: 10 — say the unit, e.g. 60 s"),
        ("every: 1 ms", "3: devices.mtec.every: 1 ms — shorter than 100 ms, which no device answers"),
        ("every: {now-bse: 1 s}", "3: devices.mtec.every.now-bse — no group of mtec-energybutler; did you mean `now-base`?"),
        ("every: {now-base: soon}", "3: devices.mtec.every.now-base: soon — is not a number with a unit, e.g. 60 s"),
        ("contract: xml", "3: devices.mtec.contract: xml — must be `json`, `state` or `none`"),
        ("exclude: [a]", "3: devices.mtec.exclude — only fits a Hoymiles DTU, not M-TEC Energybutler"),
        ("line: {max_read: 3}", "3: devices.mtec.line.max_read"),
        (
            "limits: {on_grid_soc_limit: 10..150 %}",
            "3: devices.mtec.limits.on_grid_soc_limit: 10..150 % — the upper end must be at most 100 %",
        ),
        ("limits: {charge_limit: 3 kW}", "a range is written `a..b`"),
        ("limits: {charge_limit: 1..3 kW}", "the unit must be mA or A, not kW"),
        ("limits: {on_grid_soc_limit: 1.01..1.02 %}", "leaves no value: the step is 0.1 %"),
        ("limits: {charge_limt: 1..2 %}", "no limit and no control of mtec-energybutler; did you mean `charge_limit`?"),
        ("limits: {mode: 1..2}", "this control takes one of some words; only a number can be limited"),
    ],
)
def test_what_does_not_fit_a_device_is_told(write: Write, keys: str, told: str) -> None:
    via = "" if keys.startswith("via") else "via: tcp://a, "
    path = write(f"nodes: {{cellar: {{bus: {{port: /dev/a}}}}}}\ndevices:\n  mtec: {{profile: mtec-energybutler, {via}{keys}}}\n")
    assert told in "\n".join(mistakes(path))


def test_periods_that_part_a_calculated_point_from_its_inputs_are_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "my-meter.yaml").write_text(
        "profile: my-meter\nname: Meter\nmanufacturer: Me\nmodel: M\ngroups: {live: 10 s, also: 10 s}\npoints:\n"
        "  a: {name: A, holding: 1, as: u16, group: live}\n  twice: {name: Twice, calc: 2 * a, group: also}\n",
        encoding="utf-8",
    )
    path = write("devices:\n  meter:\n    profile: my-meter\n    via: tcp://a\n    every: {also: 5 s}\n")
    assert mistakes(path) == [
        "ohmstead.yaml:5: devices.meter.every — twice would have no value any more: its inputs are never read together:"
        " a every 10 s, twice every 5 s"
    ]


def test_a_group_that_no_message_of_a_node_can_carry_is_refused_and_read_directly_is_not(write: Write, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    points = "".join(f"  p{number}: {{name: P{number}, holding: {10 * number}, as: u64, group: live}}\n" for number in range(100))
    (tmp_path / "profiles" / "my-meter.yaml").write_text(
        f"profile: my-meter\nname: Meter\nmanufacturer: Me\nmodel: M\ngroups: {{live: 10 s}}\npoints:\n{points}", encoding="utf-8"
    )
    home = "nodes: {cellar: {bus: {port: /dev/a}}}\ndevices:\n  meter:\n    profile: my-meter\n    unit: 3\n    via: "
    assert mistakes(write(home + "cellar")) == [
        "ohmstead.yaml:4: devices.meter.profile: my-meter — the group live is 1638 bytes long, and a node's message takes 1000:"
        " divide the points of the profile among more groups, or reach the device over tcp://"
    ]
    (scan,) = load(write(home + "tcp://a")).poll_groups("meter")
    assert len(scan.reads) == 100


def test_two_devices_of_one_bus_need_two_units(write: Write) -> None:
    path = write("""
        nodes: {cellar: {bus: {port: /dev/a}}}
        devices:
          a: {profile: mtec-energybutler, via: cellar}
          b: {profile: mtec-energybutler, via: cellar, line: {baud: 19200}}
          c: {profile: mtec-energybutler, via: tcp://x}
          d: {profile: mtec-energybutler, via: tcp://x:502}
          e: {profile: mtec-energybutler, via: tcp://x, unit: 3}
          f: {profile: mtec-energybutler, via: tcp://y}
    """)
    assert mistakes(path) == [
        "ohmstead.yaml:4: devices.b.unit: 252 — a is unit 252 of the bus of cellar already; give one of them another",
        "ohmstead.yaml:6: devices.d.unit: 255 — c is unit 255 of tcp://x already; give one of them another",
    ]


def test_an_esp32_cannot_reach_a_broker_at_localhost(write: Write) -> None:
    path = write(WITH_NODE.replace("mqtt://nas", "mqtt://127.0.0.1"))
    assert mistakes(path) == [
        "ohmstead.yaml:3: nodes.cellar.mqtt.url — 127.0.0.1 is the node itself; give it the address of the broker in the home network"
    ]
    assert load(path, {"OHM_NODES__CELLAR__MQTT__URL": "mqtt://192.0.2.2"}).nodes["cellar"].mqtt.url is not None


def test_a_faulty_node_is_told_once_and_its_devices_are_not_blamed(write: Write) -> None:
    path = write("""
        nodes:
          cellar: {bus: {baud: fast}}
        devices:
          mtec: {profile: mtec-energybutler, via: cellar}
    """)
    assert mistakes(path) == [
        "ohmstead.yaml:2: nodes.cellar.bus.baud: fast — must be a whole number",
        "ohmstead.yaml:2: nodes.cellar.bus — where is the bus? give `pins: {tx: 17, rx: 16, de: 4}` (ESP32) or `port: /dev/ttyUSB0`",
    ]


def test_mistakes_of_an_own_profile_are_told_with_its_own_lines(write: Write, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "my-meter.yaml").write_text(
        "profile: my-meter\nname: Meter\nmanufacturer: Me\nmodel: M\ngroups: {live: 10 s}\npoints: {power: {}}\n", encoding="utf-8"
    )
    told = mistakes(write("devices: {a: {profile: my-meter, via: tcp://a}, b: {profile: my-meter, via: tcp://b}}"))
    assert told
    assert all(line.startswith("profiles/my-meter.yaml:6: ") for line in told)
    assert len(told) == len(set(told))


def test_a_device_or_a_node_of_which_nothing_is_said_is_not_passed_over(write: Write) -> None:
    path = write("""
        nodes:
          cellar:
        devices:
          mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}
          roof:
          shed:
    """)
    text = "nothing is said of it; say what it is, indented below, or take the line out"
    assert mistakes(path, {"OHM_DEVICES__SHED__PROFILE": "mtec-energybutler", "OHM_DEVICES__SHED__VIA": "tcp://192.0.2.11"}) == [
        f"ohmstead.yaml:2: nodes.cellar — {text}",
        f"ohmstead.yaml:5: devices.roof — {text}",
    ]


@pytest.mark.parametrize("address", ["192.0.2.10", "192.0.2.10:502", "inverter.lan", "inverter:502"])
def test_an_address_without_its_way_is_told_how_to_be_written(write: Write, address: str) -> None:
    path = write(f"devices: {{mtec: {{profile: mtec-energybutler, via: '{address}'}}}}")
    assert mistakes(path) == [
        f"ohmstead.yaml:1: devices.mtec.via: {address} — no node is called like that; for Modbus TCP write tcp://{address}"
    ]


@pytest.mark.parametrize(
    ("tx", "said"),
    [("16", " — tx, rx and de each need a GPIO of their own"), ("99", ".tx: 99 — must be at most 48"), ("", ".tx — is missing")],
)
def test_pins_that_cannot_be_are_told_and_the_bus_is_not_blamed(write: Write, tx: str, said: str) -> None:
    path = write(WITH_NODE.replace("tx: 17", f"tx: {tx}"))
    assert mistakes(path) == [f"ohmstead.yaml:3: nodes.cellar.bus.pins{said}"]


def test_an_unknown_setting_of_the_environment_is_told_by_its_variable(write: Write) -> None:
    assert mistakes(write(WITH_NODE), {"OHM_MQTTT__URL": "mqtt://nas", "OHM_LOG__LEVL": "info"}) == [
        "OHM_LOG__LEVL: log.levl — unknown; did you mean `level`?",
        "OHM_MQTTT__URL: mqttt — unknown; did you mean `mqtt`?",
    ]
