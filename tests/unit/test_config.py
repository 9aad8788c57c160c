"""ohmstead.yaml: what an owner may write, and what it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import Config, Via, load
from ohmstead.config.values import EVERY_GROUP
from tests.unit.homes import SMALLEST, WITH_NODE, Write, mistakes, writer


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


# What an owner writes


def test_an_empty_file_is_a_home_with_safe_defaults(write: Write, tmp_path: Path) -> None:
    config = load(write(""))
    assert (config.site, config.timezone, str(config.zone)) == ("home", "Europe/Prague", "Europe/Prague")
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.tls) == ("localhost", 1883, False)
    assert (config.web.host, config.web.port) == ("127.0.0.1", 8080)
    assert config.store.path == tmp_path / "ohmstead.db"
    assert config.store.flush == 1.0
    assert config.client_id == "ohmstead-home"
    assert config.home_assistant.birth_topic == "homeassistant/status"
    assert not config.devices


def test_a_device_without_a_node_is_reached_over_tcp_at_the_port_of_its_profile(write: Write) -> None:
    config = load(write(SMALLEST))
    assert config.devices["mtec"].via == Via(None, "192.0.2.10", 502)
    assert config.unit("mtec") == 255
    assert config.profile("mtec").id == "mtec-energybutler"
    assert config.devices["mtec"].contract == "json"
    assert config.devices["mtec"].name == "M-TEC Energybutler"


def test_behind_a_node_the_same_device_has_its_unit_of_the_serial_line(write: Write) -> None:
    config = load(write(WITH_NODE))
    assert config.devices["mtec"].via == Via("cellar")
    assert config.unit("mtec") == 252
    assert config.devices_of("cellar") == ["mtec"]


def test_a_contract_is_chosen_or_switched_off(write: Write) -> None:
    for written, meant in (("state", "state"), ("json", "json"), ("none", None)):
        config = load(write(f"devices: {{mtec: {{profile: mtec-energybutler, via: tcp://a, contract: {written}}}}}"))
        assert config.devices["mtec"].contract == meant


def test_every_takes_one_duration_or_one_for_each_group(write: Write) -> None:
    config = load(write("devices: {mtec: {profile: mtec-energybutler, via: tcp://a, every: 5 s}}"))
    assert config.devices["mtec"].every == {EVERY_GROUP: 5.0}
    config = load(write("devices: {mtec: {profile: mtec-energybutler, via: tcp://a, every: {now-base: 2 s, day: 1 min}}}"))
    assert config.devices["mtec"].every == {"now-base": 2.0, "day": 60.0}


def test_what_is_polled_follows_the_way_to_the_device(write: Write) -> None:
    direct, behind = load(write(SMALLEST.replace("10}", "10, every: 5 s}"))), load(write(WITH_NODE))
    assert direct.periods("mtec")["now-base"] == 5
    assert [group.name for group in direct.poll_groups("mtec")] == ["5s", "30s", "5min", "1h"]
    assert [group.name for group in behind.poll_groups("mtec")] == ["10s", "30s", "5min", "1h"]
    registers = [sum(read.count for group in config.poll_groups("mtec") for read in group.reads) for config in (direct, behind)]
    assert registers[0] >= registers[1], "a round trip is dear on a network, a register on a serial line"


def test_a_bus_and_a_device_change_the_line_of_the_profile(write: Write) -> None:
    config = load(
        write("""
            mqtt: {url: mqtt://nas}
            nodes: {cellar: {bus: {port: /dev/ttyUSB0, baud: 19200, parity: even}}}
            devices: {mtec: {profile: mtec-energybutler, via: cellar, line: {parity: odd, turnaround: 50 ms, max_read: 40}}}
        """)
    )
    line = config.profile("mtec").line
    assert (line.baud, line.parity, line.stop, line.turnaround, line.max_read) == (19200, "odd", 1, 0.05, 40)


def test_limits_narrow_what_a_control_takes(write: Write) -> None:
    path = write("""
        devices:
          mtec: {profile: mtec-energybutler, via: tcp://a, limits: {grid_inject_limit: 10..50 %, on_grid_soc_limit: ..30.05 %}}
    """)
    config = load(path)
    assert config.raw_limits("mtec", "grid_inject_limit")[:3] == (100, 500, 1)
    assert config.raw_limits("mtec", "on_grid_soc_limit")[:3] == (0, 300, 1)
    assert config.raw_limits("mtec", "off_grid_soc_limit")[:3] == (0, 1000, 1)


def test_an_owner_s_own_profiles_go_first(write: Write, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "my-meter.yaml").write_text(
        "profile: my-meter\nname: Meter\nmanufacturer: Me\nmodel: M\ngroups: {live: 10 s}\n"
        "points: {power: {name: Power, holding: 1, as: i32, unit: W, sign: import positive, group: live}}\n",
        encoding="utf-8",
    )
    config = load(write("devices: {meter: {profile: my-meter, via: tcp://a}}"))
    assert config.profile("meter").name == "Meter"
    assert config.devices["meter"].contract is None
    told = mistakes(write("devices: {meter: {profile: my-meter, via: tcp://a, contract: json}}"))
    assert told == ["ohmstead.yaml:1: devices.meter.contract: json — my-meter has no such contract; leave it out"]


@pytest.mark.parametrize("written", ["12345", "0123", "1e5", "0x10", "yes", "12:30", "1_000", '"12345"'])
def test_a_password_stays_the_text_it_is_written_as(write: Write, written: str) -> None:
    config = load(write(f"mqtt: {{user: 007, password: {written}}}"))
    assert config.mqtt.password == written.strip('"')
    assert config.mqtt.user == "007"


def test_a_password_is_never_shown(write: Write) -> None:
    assert "hunter2" not in repr(load(write("mqtt: {user: me, password: hunter2}")))
    assert "hunter2" not in "\n".join(mistakes(write("mqtt: {user: me, password: [hunter2]}\n")))
    assert "hunter2" not in "\n".join(mistakes(write("nodes: {cellar: {bus: {port: 1}, key: hunter2}}\n")))


def test_an_empty_key_counts_as_not_given(write: Write) -> None:
    assert load(write("mqtt:\n  user:\ndevices:\nsite:\n")).site == "home"


# Secrets


def test_secrets_are_read_from_files_beside_the_configuration(write: Write, tmp_path: Path) -> None:
    (tmp_path / "mqtt.secret").write_text("pass word\n", encoding="utf-8")
    (tmp_path / "cellar.key").write_text("00ff" * 16 + "\n", encoding="utf-8")
    config = load(
        write("""
            mqtt: {url: mqtt://nas, password_file: mqtt.secret}
            nodes:
              cellar:
                bus: {port: /dev/ttyUSB0}
                key_file: cellar.key
                wifi: {ssid: 42, password_file: mqtt.secret}
                mqtt: {user: cellar, password_file: mqtt.secret}
        """)
    )
    assert config.mqtt.password == "pass word"
    node = config.nodes["cellar"]
    assert node.key == bytes.fromhex("00ff" * 16)
    assert node.wifi is not None
    assert (node.wifi.ssid, node.wifi.password, node.mqtt.password) == ("42", "pass word", "pass word")


def test_a_key_may_be_base64_as_well(write: Write) -> None:
    config = load(write("nodes: {cellar: {bus: {port: /dev/ttyUSB0}, key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}}"))
    assert config.nodes["cellar"].key == bytes(32)


def test_a_secret_that_is_not_there_is_told_with_its_line(write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "short.key").write_text("abcd\n", encoding="utf-8")
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    path = write("""
        mqtt:
          password_file: nowhere
        nodes:
          a: {bus: {port: /dev/a}, key_file: short.key}
          b:
            bus: {port: /dev/b}
            mqtt: {password_file: empty}
          c:
            bus: {port: /dev/c}
            mqtt: {password_file: secret, password: x}
    """)
    assert mistakes(path) == [
        "ohmstead.yaml:2: mqtt.password_file: nowhere — cannot be read: no such file or directory",
        "ohmstead.yaml:4: nodes.a.key_file — a key is 32 random bytes, as 64 hexadecimal digits or as base64",
        "ohmstead.yaml:7: nodes.b.mqtt.password_file: empty — the file is empty",
        "ohmstead.yaml:10: nodes.c.mqtt.password_file — give `password` or `password_file`, not both",
    ]


# The environment


def test_the_environment_goes_before_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n", encoding="utf-8")
    config = load(
        write(WITH_NODE.replace("url: mqtt://nas", "url: mqtt://nas, password: old")),
        {
            "OHM_SITE": "chalet",
            "OHM_MQTT__URL": "mqtts://broker",
            "OHM_MQTT__PASSWORD_FILE": "secret",
            "OHM_WEB__PORT": "8081",
            "OHM_HOME_ASSISTANT__ENABLED": "false",
            "OHM_DEVICES__MTEC__EVERY": "{now-base: 2 s}",
            "OHM_DEVICES__SHED__PROFILE": "mtec-energybutler",
            "OHM_DEVICES__SHED__VIA": "tcp://192.0.2.11:5743",
            "OHM_LOG__LEVEL": "",
            "HOME": "/nowhere",
        },
    )
    assert (config.site, config.web.port, config.home_assistant.enabled, config.log.level) == ("chalet", 8081, False, "info")
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.tls, config.mqtt.password) == ("broker", 8883, True, "from the file")
    assert config.devices["mtec"].every == {"now-base": 2.0}
    assert config.devices["shed"].via == Via(None, "192.0.2.11", 5743)


def test_an_underscore_finds_the_dash_of_a_name(write: Write) -> None:
    path = write("devices: {heat-meter: {profile: mtec-energybutler, via: tcp://a}}")
    assert load(path, {"OHM_DEVICES__HEAT_METER__UNIT": "7"}).unit("heat-meter") == 7


def test_a_mistake_in_the_environment_names_the_variable(write: Write) -> None:
    told = mistakes(
        write(SMALLEST),
        {
            "OHM_MQTT__URL": "http://nas",
            "OHM_MQTT__PASSWORD_FILE": "nowhere",
            "OHM_WEB__PROT": "80",
            "OHM_SITTE": "x",
            "OHM_DEVICES__SHED__UNIT": "5",
            "OHM_DEVICES__MTEC__EVERY": "{now-base: 1 s",
        },
    )
    assert told == [
        "OHM_DEVICES__MTEC__EVERY: a comma or the closing brace } is missing (opened in line 1)",
        "OHM_DEVICES__SHED__UNIT: devices.shed.profile — is missing",
        "OHM_DEVICES__SHED__UNIT: devices.shed.via — is missing",
        "OHM_MQTT__PASSWORD_FILE: mqtt.password_file: nowhere — cannot be read: no such file or directory",
        "OHM_MQTT__URL: mqtt.url: http://nas — not an address; write it like mqtt://nas or mqtts://nas:8883",
        "OHM_SITTE: sitte — unknown; did you mean `site`?",
        "OHM_WEB__PROT: web.prot — unknown; did you mean `port`?",
    ]


def test_variables_of_others_are_left_alone(write: Write) -> None:
    assert load(write(SMALLEST), {"OHM_GOLDENS": "/x", "OHMS_LAW": "U=RI", "OHM_CONFIG": "y"}).site == "home"


def test_the_configuration_cannot_be_changed(write: Write) -> None:
    config: Config = load(write(SMALLEST))
    with pytest.raises(ValueError, match="frozen"):
        config.site = "other"  # type: ignore[misc] # what the test is about
