"""`ohmstead keys`, `node update` and `node config` as people use them, with a real node behind a real broker."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ohmstead.cli import main
from ohmstead.config import load
from ohmstead.nodes.compile import node_config
from ohmstead.nodes.package import pack
from tests.conftest import Broker, wait_for
from tests.integration.node_harness import NODE, Gateway, Inverter, line_of
from tests.integration.node_slots import CRASH, Board, image

pytest.importorskip("cryptography")

QUICK = {"OHM_NODE_GOOD_AFTER_MS": "500", "OHM_NODE_LINGER_MS": "100"}
ROOMY = "240k"
"""What the commands do is tested here; how little memory the node needs for it is tested elsewhere."""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def bus() -> Iterator[str]:
    with line_of({252: Inverter({})}) as line:
        yield line.path


@pytest.fixture
def house(tmp_path: Path, broker: Broker, bus: str) -> Path:
    file = tmp_path / "ohmstead.yaml"
    made = call("keys", NODE, "--folder", tmp_path / "keys")
    assert made.exit_code == 0, made.output
    file.write_text(
        f"site: home\nmqtt: {{url: mqtt://127.0.0.1:{broker.port}}}\n"
        f"nodes:\n  {NODE}: {{bus: {{port: {bus}}}, key_file: keys/{NODE}.key, update_key_file: keys/update.pub}}\n"
        f"devices:\n  mtec: {{profile: mtec-energybutler, via: {NODE}}}\n"
    )
    return file


@pytest.fixture
def board(house: Path, micropython: list[str], broker: Broker) -> Iterator[Board]:
    with Gateway(broker.host, broker.port) as gateway:
        flash = Board(micropython, house.parent, QUICK, ROOMY)
        (flash.state / "config.ohm").write_bytes(node_config(load(house, {}), NODE))
        flash.start()
        wait_for(lambda: gateway.hellos and flash.boot == ["a", "safe", "0", "1"], 20, "a confirmed node")
        yield flash
        flash.kill()


def test_keys_are_for_their_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    first = call("keys", "cellar", "attic", "--folder", tmp_path / "keys")
    assert first.exit_code == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "keys").iterdir()}
    assert sorted(before) == ["attic.key", "cellar.key", "update.pem", "update.pub"]
    assert before["attic.key"] != before["cellar.key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "keys").iterdir()} == {0o600}
    again = call("keys", "cellar", "garage", "--folder", tmp_path / "keys")
    assert again.exit_code == 0
    assert again.output.count("left as it is") == 2
    after = {file.name: file.read_bytes() for file in (tmp_path / "keys").iterdir()}
    assert {name: after[name] for name in before} == before
    assert "garage.key" in after
    assert call("keys", "no/name", "--folder", tmp_path / "keys").exit_code == 2


def test_a_lost_half_of_the_pair_is_said_and_nothing_is_made_up(tmp_path: Path) -> None:
    call("keys", "cellar", "--folder", tmp_path)
    private = (tmp_path / "update.pem").read_bytes()
    (tmp_path / "update.pub").unlink()
    missing = call("keys", "cellar", "--folder", tmp_path)
    assert missing.exit_code == 1
    assert "openssl pkey" in missing.stderr
    assert (tmp_path / "update.pem").read_bytes() == private


def test_node_update_follows_the_node_until_it_has_confirmed_itself(house: Path, board: Board) -> None:
    package = house.parent / "new.pack"
    package.write_bytes(pack(image() | {"mark.py": b"MARK = 1\n"}))
    result = call("node", "update", NODE, "-c", house, "--image", package, "--wait", "30")
    assert result.exit_code == 0, result.output + board.log
    assert "confirmed slot b" in result.output
    assert board.boot == ["b", "a", "0", "1"]


def test_node_update_says_when_the_node_went_back(house: Path, board: Board) -> None:
    package = house.parent / "new.pack"
    package.write_bytes(pack(image() | {"main.py": CRASH}))
    result = call("node", "update", NODE, "-c", house, "--image", package, "--wait", "30")
    assert result.exit_code == 1
    assert "went back to slot a" in result.stderr
    wait_for(lambda: board.boot == ["a", "safe", "0", "1"], what="the old image")


def test_node_update_refuses_a_key_that_the_node_would_not_believe(house: Path, board: Board) -> None:
    call("keys", "other", "--folder", house.parent / "others")
    result = call("node", "update", NODE, "-c", house, "--key", house.parent / "others" / "update.pem", "--image", _packed(house))
    assert result.exit_code == 1
    assert "another pair" in result.stderr
    assert board.codes == []


def _packed(house: Path) -> Path:
    package = house.parent / "same.pack"
    package.write_bytes(pack(image()))
    return package


def test_node_config_shows_what_changes_and_sends_it(house: Path, board: Board) -> None:
    assert "already" in call("node", "config", NODE, "-c", house).output
    house.write_text(house.read_text().replace("via: cellar", "via: cellar, every: {now-base: 2 s}"))
    shown = call("node", "config", NODE, "-c", house, "--dry-run")
    assert shown.exit_code == 0
    assert "buses[rs485-1].devices[mtec].groups[" in shown.output
    secret = (house.parent / "keys" / f"{NODE}.key").read_text().strip()
    assert secret not in shown.output
    sent = call("node", "config", NODE, "-c", house, "--yes", "--wait", "30")
    assert sent.exit_code == 0, sent.output + board.log
    assert "has kept it" in sent.output
    assert (board.state / "config.ohm").read_bytes() == node_config(load(house, {}), NODE)
    assert board.codes == []
    house.write_text(house.read_text().replace("2 s", "3 s"))
    difference = [line.strip() for line in call("node", "config", NODE, "-c", house, "--dry-run").output.splitlines() if line[2:3] in "+-"]
    assert [line for line in difference if line.startswith("-") and line.endswith(".period_ms: 2000")]
    assert [line for line in difference if line.startswith("+") and line.endswith(".period_ms: 3000")]
    assert not [line for line in difference if "mqtt" in line], "what stays is not shown"


def test_a_node_that_is_not_there_is_said_to_be(house: Path) -> None:
    for command in (("config", "--yes"), ("update", "--image", _packed(house))):
        result = call("node", command[0], NODE, "-c", house, *command[1:])
        assert result.exit_code == 1
        assert "not connected" in result.stderr
