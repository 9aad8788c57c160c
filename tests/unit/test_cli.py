"""The command line: what it says, and its exit codes."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import ohmstead
from ohmstead.cli import main
from ohmstead.cli.common import write_private
from ohmstead.nodes.compile import read_node_config

HOME = """\
site: home
mqtt: {url: mqtt://nas}
nodes:
  cellar: {bus: {port: /dev/ttyUSB0}}
devices:
  mtec: {profile: mtec-energybutler, via: cellar}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ohmstead.yaml"
    path.write_text(HOME)
    return path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_sound_configuration_is_said_to_be_one(file: Path) -> None:
    result = call("check", file)
    assert result.exit_code == 0
    assert result.output == f"{file}: no mistakes (1 device, 1 node; broker nas:1883).\n"


def test_mistakes_come_with_their_lines_and_exit_code_2(file: Path) -> None:
    file.write_text(HOME.replace("via: cellar", "via: celar, contrat: json").replace("mqtt://nas", "nas"))
    result = call("check", file)
    assert result.exit_code == 2
    assert f"{file.name}:2" in result.stderr
    assert f"{file.name}:6" in result.stderr
    assert "did you mean" in result.stderr
    assert result.stderr.splitlines()[-1] == "3 mistakes, nothing was changed."


def test_a_battery_that_nobody_could_stop_is_told_with_what_to_do(file: Path) -> None:
    file.write_text(
        "devices: {growatt: {profile: growatt-sph, via: tcp://192.0.2.11},"
        " b: {profile: growatt-sph, via: tcp://192.0.2.12, read_only: true}}"
    )
    result = call("check", file)
    assert result.exit_code == 0
    first, second = result.output.splitlines()
    assert "no mistakes" in first
    assert second.startswith(f"{file}: devices.growatt: charge and discharge cannot be commanded via tcp://192.0.2.11")
    assert "nobody would end it" in second
    assert "through a node" in second
    file.write_text("devices: {growatt: {profile: growatt-sph, via: growatt-mqtt:energy/solar}}")
    assert len(call("check", file).output.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "site: home\n", "devices: {}\n", "nodes: {cellar: {bus: {port: /dev/a}}}\n"])
def test_without_a_device_there_is_nothing_to_run_and_it_says_what_to_add(file: Path, text: str) -> None:
    file.write_text(text)
    for result in (call("check", file), call("run", "-c", file)):
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{file}: no mistakes, but no device either" in result.stderr
        assert "via: tcp://192.0.2.10}" in result.stderr
    assert list(file.parent.iterdir()) == [file]


def test_the_device_that_is_proposed_is_a_sound_one(file: Path) -> None:
    file.write_text("")
    proposed = call("check", file).stderr.split("\n\n")[1]
    file.write_text(proposed)
    assert call("check", file).exit_code == 0


def test_a_file_that_is_not_there_is_a_mistake_as_well(tmp_path: Path) -> None:
    for command in (["check", tmp_path / "no.yaml"], ["run", "-c", tmp_path / "no.yaml"]):
        result = call(*command)
        assert result.exit_code == 2
        assert "there is no such file" in result.stderr


def test_run_refuses_a_wrong_configuration_before_anything_starts(file: Path) -> None:
    file.write_text("devices: {mtec: {profile: nosuch, via: tcp://192.0.2.1}}")
    result = call("run", "-c", file)
    assert result.exit_code == 2
    assert "nosuch" in result.stderr
    assert list(file.parent.iterdir()) == [file]


def test_a_node_s_configuration_is_written_for_its_owner_only(file: Path) -> None:
    output = file.with_name("config.ohm")
    result = call("compile", "cellar", "-c", file, "-o", output)
    assert result.exit_code == 0
    assert read_node_config(output.read_bytes())["node"] == "cellar"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert str(output) in result.output
    unknown = call("compile", "attic", "-c", file, "-o", output)
    assert unknown.exit_code == 2
    assert "cellar" in unknown.stderr


def test_the_schema_is_json_and_knows_the_sections() -> None:
    schema = json.loads(call("schema").output)
    assert {"site", "mqtt", "devices", "nodes"} <= set(schema["properties"])


def test_every_command_explains_itself() -> None:
    overview = call("--help").output
    for command in ("check", "compile", "demo", "run", "schema", "simulate", "smoke", "version"):
        assert f"  {command} " in overview
        assert call(command, "--help").exit_code == 0
    assert "Examples:" in overview


def test_every_command_for_nodes_explains_itself_with_examples() -> None:
    overview = call("node", "--help").output
    for command in ("config", "flash", "list", "logs", "scan", "shell", "update"):
        assert f"  {command} " in overview
        assert "Example" in call("node", command, "--help").output


def test_version() -> None:
    assert call("version").output == call("--version").output == f"ohmstead {ohmstead.__version__}\n"


def test_asking_for_help_loads_neither_the_web_nor_the_simulation() -> None:
    code = """
import sys
from ohmstead.cli import main
main(["version"], standalone_mode=False)
print([name for name in ("fastapi", "pymodbus", "pydantic", "ohmstead.sim") if name in sys.modules])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_check_takes_its_file_as_the_other_commands_do_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("check", "-c", file).exit_code == 0
    monkeypatch.setenv("OHMSTEAD_CONFIG", str(file))
    assert str(file) in call("check").stdout


@pytest.mark.parametrize("command", ["check", "run", "status"])
def test_a_folder_is_no_configuration(tmp_path: Path, command: str) -> None:
    result = call(command, "-c", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{tmp_path}: is a folder. ")


def test_the_configuration_of_a_node_that_cannot_be_written_leaves_no_copy(file: Path, tmp_path: Path) -> None:
    result = call("compile", "cellar", "-c", file, "-o", tmp_path / "nowhere" / "x")
    assert result.exit_code == 1
    assert "nowhere/x: cannot be written: no such file or directory; name another file with -o" in result.stderr
    assert call("compile", "cellar", "-c", file, "-o", tmp_path).exit_code == 2
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path, b"key")
    assert [path.name for path in (*tmp_path.iterdir(), *tmp_path.parent.glob(f"{tmp_path.name}.*"))] == [file.name]


def test_keys_without_a_folder_say_so(file: Path) -> None:
    result = call("keys", "cellar", "--folder", file)
    assert result.exit_code == 1
    assert result.stderr == f"{file}: file exists; name another folder with --folder\n"


@pytest.mark.parametrize(("typed", "meant"), [(["stauts"], "'status'"), (["node", "flsh"], "'flash'"), (["xyzzy"], "")])
def test_a_command_that_is_misspelt(typed: list[str], meant: str) -> None:
    result = call(*typed)
    assert result.exit_code == 2
    assert f"No such command '{typed[-1]}'." in result.stderr
    assert (f"Did you mean {meant}?" in result.stderr) is bool(meant)
