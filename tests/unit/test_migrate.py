"""Moving in: what is read of the former services' files, what is written, and what is never overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ohmstead.cli import main
from ohmstead.config import load
from ohmstead.errors import ConfigurationError
from ohmstead.migrate.settings import Fate, Settings, read
from ohmstead.migrate.upstreams import move

MTEC = """\
MODBUS_IP: 192.0.2.10
MQTT_SERVER: nas
MQTT_LOGIN: me
MQTT_PASSWORD: 0123456
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["migrate", *(str(argument) for argument in arguments)])


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def only(path: Path) -> Settings:
    (settings,) = read(path)
    return settings


def test_a_key_is_found_however_it_is_spelled(tmp_path: Path) -> None:
    for text in (
        "DTU_HOST=192.0.2.11\n",
        "dtu-host = 192.0.2.11\n",
        "--dtu-host=192.0.2.11\n",
        "dtu_host: 192.0.2.11\n",
        "export DTU_HOST='192.0.2.11'\n",
    ):
        setting = only(written(tmp_path, "settings", f"# said\n{text}")).get("DTU_HOST")
        assert setting is not None, text
        assert (setting.text, setting.line) == ("192.0.2.11", 2), text


def test_comments_quotes_and_blanks_of_an_env_file_are_no_values(tmp_path: Path) -> None:
    settings = only(written(tmp_path, ".env", 'A=1.0   # a comment\nB="x # y"  # z\nC=\nD=a#b\nE=# nothing\n'))
    assert [(setting.key, setting.text) for setting in settings] == [("A", "1.0"), ("B", "x # y"), ("C", ""), ("D", "a#b"), ("E", "")]


def test_a_password_of_digits_stays_what_it_is(tmp_path: Path) -> None:
    setting = only(written(tmp_path, "config.yaml", MTEC)).get("MQTT_PASSWORD")
    assert setting is not None
    assert setting.text == "0123456"
    assert setting.shown == "…"


def test_each_service_of_a_compose_file_that_is_known_is_carried_over(tmp_path: Path) -> None:
    compose = written(
        tmp_path,
        "docker-compose.yml",
        """\
services:
  mosquitto: {image: eclipse-mosquitto}
  east:
    environment:
      - MQTT_BROKER=nas
      - DTU_HOST=192.0.2.11
  west:
    environment: {MQTT_BROKER: nas, DTU_HOST: 192.0.2.12}
""",
    )
    moved = move([compose])
    assert [str(device.via) for device in moved.config.devices.values()] == ["tcp://192.0.2.11:502", "tcp://192.0.2.12:502"]
    assert any("mosquitto" in note and "left alone" in note for note in moved.notes)


def test_several_services_become_one_home(tmp_path: Path) -> None:
    files = [
        written(tmp_path, "config.yaml", MTEC),
        written(tmp_path, "hoymiles.env", "MQTT_BROKER=nas\nMQTT_USER=me\nMQTT_PASSWORD=0123456\nDTU_HOST=192.0.2.11\n"),
        written(tmp_path, "lux.env", "HOST=192.0.2.13\nINTERVAL_SEC=60\n"),
    ]
    moved = move(files)
    assert list(moved.config.devices) == ["mtec", "roof", "heatpump"]
    assert moved.config.mqtt.password == "0123456"
    assert {outcome.fate for service in moved.services for outcome in service.outcomes} == {Fate.CARRIED}


def test_the_second_broker_is_told_of_and_not_taken(tmp_path: Path) -> None:
    moved = move(
        [written(tmp_path, "config.yaml", MTEC), written(tmp_path, "h.env", "MQTT_BROKER=pi\nMQTT_USER=you\nDTU_HOST=192.0.2.11\n")]
    )
    assert moved.config.mqtt.host == "nas"
    assert moved.config.mqtt.user == "me"
    left = {outcome.key: outcome.text for outcome in moved.services[1].outcomes if outcome.fate is Fate.NOT_CARRIED}
    assert left.keys() == {"MQTT_BROKER", "MQTT_USER"}
    assert "mqtt://nas already, by config.yaml:2 MQTT_SERVER" in left["MQTT_BROKER"]


def test_every_key_is_accounted_for_also_one_that_nobody_knows(tmp_path: Path) -> None:
    moved = move([written(tmp_path, "config.yaml", f"{MTEC}MODBUS_COLOUR: blue\n")])
    (service,) = moved.services
    assert [outcome.key for outcome in service.outcomes] == ["MODBUS_IP", "MQTT_SERVER", "MQTT_LOGIN", "MQTT_PASSWORD", "MODBUS_COLOUR"]
    assert service.outcomes[-1].fate is Fate.NOT_CARRIED
    assert "#   config.yaml:5 MODBUS_COLOUR:" in moved.text


def test_what_is_written_says_where_it_came_from_and_passes_the_check(tmp_path: Path) -> None:
    output = tmp_path / "home" / "ohmstead.yaml"
    output.parent.mkdir()
    result = call(written(tmp_path, "config.yaml", MTEC), "-o", output)
    assert result.exit_code == 0, result.output
    assert "via: tcp://192.0.2.10  # config.yaml:1 MODBUS_IP" in output.read_text()
    assert load(output).mqtt.password == "0123456"
    assert CliRunner().invoke(main, ["check", str(output)]).exit_code == 0


def test_a_secret_goes_into_a_file_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    output = tmp_path / "ohmstead.yaml"
    result = call(written(tmp_path, "config.yaml", MTEC), "-o", output)
    secret = tmp_path / "secrets" / "mqtt_password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    assert "0123456" not in output.read_text() + result.output
    assert "0123456" not in call(tmp_path / "config.yaml", "--dry-run").output


@pytest.mark.parametrize("there", ["ohmstead.yaml", "secrets/mqtt_password"])
def test_nothing_is_overwritten_without_being_asked(tmp_path: Path, there: str) -> None:
    (tmp_path / "secrets").mkdir()
    kept = written(tmp_path, there, "kept")
    source, output = written(tmp_path, "config.yaml", MTEC), tmp_path / "ohmstead.yaml"
    result = call(source, "-o", output)
    assert result.exit_code == 1
    assert there in result.stderr
    assert "--force" in result.stderr
    assert kept.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(["config.yaml", kept.name])
    assert call(source, "-o", output, "--force").exit_code == 0
    assert kept.read_text() != "kept"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = call(written(tmp_path, "config.yaml", MTEC), "-o", tmp_path / "ohmstead.yaml", "--dry-run")
    assert result.exit_code == 0
    assert "profile: mtec-energybutler" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODBUS_IP: 192.0.2.10\nMODBUS_PORT: abc\n", "config.yaml:2: MODBUS_PORT: abc — must be a number"),
        ("MODBUS_IP: 192.0.2.10\nHASS_ENABLE: perhaps\n", "config.yaml:2: HASS_ENABLE: perhaps — must be true or false"),
        ("MODBUS_IP: 192.0.2.10\nMODBUS_TIMEOUT: [1]\n", 'config.yaml:2: MODBUS_TIMEOUT: ["1"] — must be a single value'),
        ("MODBUS_IP: xx xx\n", "config.yaml:1 MODBUS_IP: devices.mtec.via"),
        ("COLOUR: blue\n", "is no configuration of a service that is known"),
        ("just words\n", "holds neither `key: value` nor KEY=VALUE"),
        ("a: [\n", "config.yaml:2"),
        ("DTU_HOST: 192.0.2.11\nQUERY_PERIOD: 60\nRESET_HOUR: 24\n", "config.yaml:3 RESET_HOUR: devices.roof.hoymiles.reset_hour"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_nothing_is_written(tmp_path: Path, text: str, said: str) -> None:
    result = call(written(tmp_path, "config.yaml", text), "-o", tmp_path / "ohmstead.yaml")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "ohmstead.yaml").exists()


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    assert "cannot be read: no such file" in call(tmp_path / "config.yaml").stderr
    (tmp_path / "config.yaml").write_bytes(b"MODBUS_IP: \xff\n")
    assert "is not UTF-8 text" in call(tmp_path / "config.yaml").stderr


def test_whose_configuration_it_is_may_be_said(tmp_path: Path) -> None:
    path = written(tmp_path, "settings.env", "HOST=192.0.2.13\n")
    with pytest.raises(ConfigurationError, match="--from"):
        move([path])
    assert list(move([path], "luxtronik-logger").config.devices) == ["heatpump"]


def test_a_home_without_a_device_is_told_to_need_one(tmp_path: Path) -> None:
    result = call(
        written(tmp_path, "a.env", "MQTT_BROKER=nas\nLOXONE_HOST=192.0.2.20\nGROWATT_CONTROLLER_ENABLED=no\n"), "-o", tmp_path / "a.yaml"
    )
    assert result.exit_code == 0
    assert "no device in it yet" in result.stdout
    assert "ohmstead run" not in result.stdout
