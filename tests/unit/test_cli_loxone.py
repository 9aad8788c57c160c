"""`ohmstead loxone`: what it prints and writes, and its exit codes."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.test_cli import call

HOME = """\
mqtt: {url: mqtt://nas}
nodes:
  cellar: {bus: {port: /dev/ttyUSB0}}
devices:
  mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}
  growatt: {profile: growatt-sph, via: cellar, rated: 5 kW, control: {charge: {power: ..3 kW}}}
loxone: {udp_out: {host: 192.0.2.20, port: 4001, topics: [loxone/growatt/status/json]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ohmstead.yaml"
    path.write_text(HOME)
    return path


def test_it_says_what_to_subscribe_to_recognise_and_publish(file: Path) -> None:
    result = call("loxone", "-c", file)
    assert result.exit_code == 0
    said = result.output
    assert said.startswith("MQTT plugin of the Miniserver, broker mqtt://nas:1883: 1 of 16 subscriptions, 11 of 16 publications.")
    for line in (
        "  loxone/growatt/status",
        "  loxone/growatt/charge/power      kW, from 0 to 3, never negative",
        "  ohm/home/node/cellar/stop        the same level: the node obeys it without the gateway",
    ):
        assert line in said.splitlines()
    assert r"\i;charge_wanted=\i\v" in said
    assert "mtec" not in said


def test_without_the_section_it_says_to_add_it(file: Path) -> None:
    file.write_text(HOME.partition("loxone:")[0])
    assert "has no section `loxone`. Add\n\nloxone: {}\n" in call("loxone", "-c", file).output
    file.write_text(file.read_text() + "loxone: {}\n")
    assert "has no section" not in call("loxone", "-c", file).output


def test_templates_are_written_and_can_be_read(file: Path, tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "VIU.xml", tmp_path / "VO.xml"
    result = call("loxone", "growatt", "-c", file, "--template", inputs, "--commands", outputs, "--loxberry", "192.0.2.30:11885")
    assert (result.exit_code, result.output) == (0, f"{inputs}: written\n{outputs}: written\n")
    assert ElementTree.parse(inputs).getroot().get("Port") == "4001"  # noqa: S314 - our own file
    assert ElementTree.parse(outputs).getroot().get("Address") == "/dev/udp/192.0.2.30/11885"  # noqa: S314 - our own file
    assert inputs.read_bytes().startswith(b"\xef\xbb\xbf<?xml")


def test_a_template_of_what_is_not_sent_says_what_is_missing(file: Path, tmp_path: Path) -> None:
    file.write_text(HOME.replace("growatt/status/json", "other"))
    result = call("loxone", "-c", file, "--template", tmp_path / "VIU.xml")
    assert result.exit_code == 0
    assert "loxone: {udp_out: {host: <the Miniserver>, topics: [loxone/growatt/status/json]}}" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["attic"], "'attic' is no battery that can be commanded; there is growatt"),
        (["mtec"], "'mtec' is no battery that can be commanded; there is growatt"),
        (["--commands", "x.xml"], "--loxberry HOST"),
        (["--commands", "x.xml", "--loxberry", "a:b"], "'b' is no port"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(file: Path, arguments: list[str], told: str) -> None:
    result = call("loxone", "-c", file, *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert list(file.parent.iterdir()) == [file]


def test_a_home_without_a_battery_is_told_what_would_be_one(file: Path) -> None:
    file.write_text("devices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}}\nloxone: {}\n")
    result = call("loxone", "-c", file)
    assert result.exit_code == 2
    assert "there is no battery that could be commanded" in result.stderr


def test_a_file_that_cannot_be_written_is_said(file: Path, tmp_path: Path) -> None:
    result = call("loxone", "-c", file, "--template", tmp_path / "no" / "VIU.xml")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
