"""ohmstead.yaml: what an owner may write, and what he is told when something is wrong."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ohmstead.config
from ohmstead import yamlfile
from ohmstead.config import Config, Via, load, summary
from ohmstead.config.model import EVERY_GROUP
from ohmstead.config.schema import json_schema
from ohmstead.errors import ConfigurationError

Write = Callable[[str], Path]

EXAMPLE = Path(ohmstead.config.__file__).with_name("example.yaml")

SMALLEST = """
    devices:
      mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}
"""
WITH_NODE = """
    mqtt: {url: mqtt://nas}
    nodes:
      cellar: {bus: {pins: {tx: 17, rx: 16, de: 4}}}
    devices:
      mtec: {profile: mtec-energybutler, via: cellar}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "ohmstead.yaml"
        path.write_text(textwrap.dedent(text).strip("\n") + "\n", encoding="utf-8")
        return path

    return write


def mistakes(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """What is told about the file, without its folder."""
    with pytest.raises(ConfigurationError) as error:
        load(path, environ or {})
    return [str(mistake).replace(f"{path.parent}/", "") for mistake in error.value.mistakes]


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
        "ohmstead.yaml:4: nodes.a.key — a key is 32 random bytes, as 64 hexadecimal digits or as base64",
        "ohmstead.yaml:7: nodes.b.mqtt.password_file: empty — the file is empty",
        "ohmstead.yaml:10: nodes.c.mqtt.password_file — give `password` or `password_file`, not both",
    ]


# For editors


README = Path(__file__).resolve().parents[2] / "README.md"


def complaints(value: object, schema: dict[str, Any], defs: dict[str, Any], at: str = "") -> Iterator[str]:
    """What `value` breaks of the words of JSON schema that ours uses."""
    if "$ref" in schema:
        yield from complaints(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs, at)
        return
    if "anyOf" in schema:
        if all(any(complaints(value, choice, defs, at)) for choice in schema["anyOf"]):
            yield f"{at}: {value} fits no choice"
        return
    kinds = {"object": dict, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if allowed and not any(isinstance(value, kinds[kind]) for kind in allowed):
        yield f"{at}: {value} is no {allowed}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value} does not match"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value} is none of {schema['enum']}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of range"
    if not isinstance(value, dict):
        return
    yield from (f"{at}: {key} is missing" for key in schema.get("required", []) if key not in value)
    for key, below in value.items():
        by_pattern = [inner for pattern, inner in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        inner = schema.get("properties", {}).get(key) or next(iter(by_pattern), schema.get("additionalProperties", True))
        if inner is False:
            yield f"{at}: {key} is unknown"
        elif inner is not True:
            yield from complaints(below, inner, defs, f"{at}.{key}")


def schema_complaints(text: str) -> list[str]:
    schema = json_schema()
    return list(complaints(yamlfile.parse(text, "example").value, schema, schema["$defs"]))


def examples() -> list[str]:
    """The reference in the package, and each configuration that the README shows."""
    shown = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [EXAMPLE.read_text(encoding="utf-8"), *(text for text in shown if "devices:" in text)]


def test_the_examples_fit_the_schema_and_the_gateway(write: Write) -> None:
    assert len(examples()) > 1, "the README shows no configuration"
    for text in examples():
        assert schema_complaints(text) == []
        path = write("")
        path.write_text(re.sub(r"password_file: \S+?(?=[\s}])", "password: x", text), encoding="utf-8")
        assert load(path).devices


def test_the_schema_refuses_what_the_gateway_refuses() -> None:
    assert schema_complaints("devices: {mtec: {profile: x, via: y, contrat: json}}") == [".devices.mtec: contrat is unknown"]
    assert schema_complaints("devices: {mtec: {via: y}}") == [".devices.mtec: profile is missing"]
    assert schema_complaints("devices: {My Device: {profile: x, via: y}}") == [".devices: My Device is unknown"]
    assert schema_complaints("store: {flush: 1}") == [".store.flush: 1 is no ['string']"]
    assert schema_complaints("store: {flush: soon}") == [".store.flush: soon does not match"]
    assert schema_complaints("log: {format: xml}") == [".log.format: xml is none of ['console', 'json']"]
    assert schema_complaints("mqtt: {url: nas}") == [".mqtt.url: nas does not match"]
    assert schema_complaints("web: {port: 99999}") == [".web.port: 99999 is out of range"]


def test_the_schema_says_defaults_as_people_write_them() -> None:
    schema = json_schema()
    store, mqtt = schema["$defs"]["Store"]["properties"], schema["$defs"]["Mqtt"]["properties"]
    assert (store["flush"]["default"], store["keep_raw"]["default"]) == ("1 s", "7 d")
    assert "title" not in mqtt["url"]
    assert mqtt["url"]["description"]
    json.dumps(schema)


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


# Mistakes


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
        ("loxone: {udp_in: 2000}\n", "1: loxone — not supported by this version; remove it"),
        ("plan: {}\nprices: {source: ote}\n", "2: prices — not supported by this version; remove it"),
        (
            "devices:\n  hp: {source: vicare, user: me}\n",
            "2: devices.hp.source: vicare — not supported by this version, which only knows devices with a `profile`; remove the device",
        ),
    ],
)
def test_what_is_wrong_in_one_place_is_told_in_plain_words(write: Write, text: str, told: str) -> None:
    assert told in "\n".join(mistakes(write(text)))


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
        ("exclude: [a]", "3: devices.mtec.exclude — not supported by this version; remove it"),
        ("line: {max_read: 3}", "3: devices.mtec.line.max_read"),
        (
            "limits: {on_grid_soc_limit: 10..150 %}",
            "3: devices.mtec.limits.on_grid_soc_limit: 10..150 % — the upper end must be at most 100 %",
        ),
        ("limits: {charge_limit: 3 kW}", "a range is written `a..b`"),
        ("limits: {charge_limit: 1..3 kW}", "the unit must be mA or A, not kW"),
        ("limits: {on_grid_soc_limit: 1.01..1.02 %}", "leaves no value: the step is 0.1 %"),
        ("limits: {charge_limt: 1..2 %}", "no control of mtec-energybutler; did you mean `charge_limit`?"),
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


def test_two_devices_of_one_bus_need_two_units_and_one_speed(write: Write) -> None:
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
        "ohmstead.yaml:4: devices.b — 19200 baud, parity none, 1 stop bit, but a on the same bus: 9600 baud, parity none, 1 stop bit;"
        " one bus has one speed and format",
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


def test_the_configuration_cannot_be_changed(write: Write) -> None:
    config: Config = load(write(SMALLEST))
    with pytest.raises(ValueError, match="frozen"):
        config.site = "other"  # type: ignore[misc] # what the test is about
