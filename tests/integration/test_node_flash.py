"""A board becomes a node: real mpremote, real MicroPython behind a serial port, a real broker."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ohmstead.cli import main
from ohmstead.nodes.chip import CHIPS
from ohmstead.nodes.compile import read_node_config
from ohmstead.nodes.flash import STARTERS
from tests.conftest import REPOSITORY, Broker, free_port, wait_for
from tests.integration.board_rig import Board
from tests.integration.node_harness import flashed
from tests.unit.test_node_chip import micropython_image

HOME = """\
site: home
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
nodes:
  cellar:
    bus: {{pins: {{tx: 17, rx: 16}}}}
    wifi: {{ssid: at home, password: secret}}
    mqtt: {{url: "mqtt://0.0.0.0:{port}"}}  # a connection to it comes to this machine; 127.0.0.1 is refused for a board
devices:
  mtec: {{profile: mtec-energybutler, via: cellar}}
"""


@pytest.fixture
def home(tmp_path: Path, broker: Broker) -> Path:
    file = tmp_path / "ohmstead.yaml"
    file.write_text(HOME.format(port=broker.port))
    return file


@pytest.fixture
def board(micropython: list[str], tmp_path: Path) -> Iterator[Board]:
    with Board(micropython, tmp_path / "board") as plugged_in:
        yield plugged_in


def flash(home: Path, board: Board, *more: str) -> Result:
    arguments = ["node", "flash", "cellar", "-c", str(home), "--port", board.port, "--image", str(flashed()), *more]
    return CliRunner().invoke(main, arguments)


def test_a_board_gets_all_of_it_starts_and_says_hello(home: Path, board: Board) -> None:
    result = flash(home, board)
    assert result.exit_code == 0, result.output
    assert "cellar says hello" in result.stdout


def slots(board: Board) -> dict[str, bytes]:
    """All files of the flash but what the running node writes."""
    files = (path for path in board.flash.rglob("*") if path.is_file())
    return {str(path.relative_to(board.flash)): path.read_bytes() for path in files}


def test_the_board_gets_the_image_twice_its_starter_and_the_configuration(home: Path, board: Board) -> None:
    result = flash(home, board, "--wait", "0")
    assert result.exit_code == 0, result.output
    there = slots(board)
    image = {name: (flashed() / name).read_bytes() for name in names_of(flashed())}
    assert {name: there[f"a/{name}"] for name in image} == image
    assert {name: there[f"safe/{name}"] for name in image} == image
    for name in STARTERS:
        assert there[name] == (REPOSITORY / "firmware/root" / name).read_bytes()
    assert read_node_config(there["state/config.ohm"])["node"] == "cellar"
    assert not [name for name in there if name.endswith(".tmp") and not name.startswith("state/")]
    wait_for(lambda: board.starts == 1, what="the start of main.py")


def test_what_is_there_already_is_not_copied_again(home: Path, board: Board) -> None:
    assert flash(home, board).exit_code == 0
    whole = board.received
    again = flash(home, board)
    assert again.exit_code == 0, again.output
    assert "files are there already" in again.stdout
    assert "says hello" in again.stdout
    assert board.received - whole < whole / 4
    home.write_text(home.read_text().replace("at home", "elsewhere"))
    other = flash(home, board)
    assert other.exit_code == 0, other.output
    assert [line.split()[1] for line in other.stdout.splitlines() if line.startswith("  write")] == ["state/config.ohm"]


def test_a_running_node_s_watchdog_waits_while_it_stands_still(home: Path, board: Board) -> None:
    assert flash(home, board).exit_code == 0
    assert not board.watchdog.exists()
    assert flash(home, board).exit_code == 0
    assert int(board.watchdog.read_text()) >= 600_000


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_copy_that_was_cut_off_is_completed_by_the_next(home: Path, board: Board, part: float) -> None:
    board.cut_at = int(part * cable_bytes())
    cut = flash(home, board)
    assert cut.exit_code == 1, cut.output
    assert "Run this again" in cut.stderr
    assert not (board.flash / "main.py").exists()
    whole = {name for name in slots(board) if not name.endswith(".tmp")}
    board.power_on()
    assert board.starts == 0
    again = flash(home, board)
    assert again.exit_code == 0, again.output
    assert "says hello" in again.stdout
    assert whole
    assert not whole & {line.split()[1] for line in again.stdout.splitlines() if line.startswith("  write")}
    assert not [name for name in slots(board) if name.endswith(".tmp") and not name.startswith("state/")]


def test_a_changed_module_and_an_old_one_leave_no_mixture_behind(home: Path, board: Board) -> None:
    assert flash(home, board).exit_code == 0
    name = next(name for name in names_of(flashed()) if name.endswith(".mpy"))
    (board.flash / "a" / name).write_bytes(b"broken")
    (board.flash / "safe/old.mpy").write_bytes(b"of last year")
    (board.flash / "state/boot").write_text("b a 0 1")
    result = flash(home, board)
    assert result.exit_code == 0, result.output
    assert (board.flash / "a" / name).read_bytes() == (flashed() / name).read_bytes()
    assert not (board.flash / "safe/old.mpy").exists()
    assert "slot a" in result.stdout


def test_an_erased_board_does_not_obey_recorded_commands_of_the_past(home: Path, board: Board) -> None:
    before = time.time()
    assert flash(home, board, "--wait", "0").exit_code == 0
    counter = board.flash / "state/command.counter"
    assert before - 1 < int(counter.read_text()) <= time.time()
    counter.write_text("17")  # a board that has one keeps it
    assert flash(home, board, "--wait", "0").exit_code == 0
    assert counter.read_text() == "17"


def test_micropython_that_is_there_already_is_not_written_again(home: Path, micropython: list[str], tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(micropython_image(CHIPS[0], "v1.27.0"))
    with Board(micropython, tmp_path / "board", version="3.4.0; MicroPython v1.27.0 on 2026-01-02") as same:
        result = flash(home, same, "--firmware", str(image), "--wait", "0")
        assert result.exit_code == 0, result.output
        assert "Chip:" not in result.stdout


def test_a_board_comes_back_with_its_new_micropython(home: Path, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The board erased and written, then found: esptool is not asked here, as in `test_esptool.py`, but says what it says to a chip."""
    image = tmp_path / "image.bin"
    image.write_bytes(micropython_image(CHIPS[0]))
    asked: list[str] = []

    def esptool(command: Sequence[str], show: bool) -> tuple[int, str]:
        asked.append(next(word for word in command if word in ("chip-id", "erase-flash", "write-flash")))
        return 0, f"Connected to ESP32 on {board.port}:\n"

    monkeypatch.setattr("ohmstead.nodes.chip._run", esptool)
    result = flash(home, board, "--erase", "--yes", "--firmware", str(image))
    assert result.exit_code == 0, result.output
    assert asked == ["chip-id", "erase-flash", "write-flash"]
    assert "says hello" in result.stdout


def test_a_dry_run_changes_nothing(home: Path, board: Board) -> None:
    result = flash(home, board, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "write   main.py" in result.stdout
    assert slots(board) == {}


def test_what_the_flash_does_not_keep_is_noticed_and_never_gets_its_name(home: Path, micropython: list[str], tmp_path: Path) -> None:
    with Board(micropython, tmp_path / "worn", worn=True) as worn:
        result = flash(home, worn)
        assert result.exit_code == 1
        assert "not what was sent (SHA-256" in result.stderr
        assert [name for name in slots(worn) if not name.endswith(".tmp")] == []


def test_another_kind_of_board_is_refused(home: Path, micropython: list[str], tmp_path: Path) -> None:
    with Board(micropython, tmp_path / "pico", platform="rp2") as pico:
        result = flash(home, pico)
        assert result.exit_code == 1
        assert "no ESP32" in result.stderr
        assert slots(pico) == {}


def test_a_damaged_image_is_refused_before_the_board_is_touched(home: Path, board: Board, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(flashed(), image)
    (image / "main.py").write_text("")
    result = CliRunner().invoke(main, ["node", "flash", "cellar", "-c", str(home), "--port", board.port, "--image", str(image)])
    assert result.exit_code == 1
    assert "SHA-256" in result.stderr
    assert board.received == 0


def test_a_broker_that_hears_nothing_is_told_with_what_to_do(home: Path, board: Board, broker: Broker) -> None:
    home.write_text(home.read_text().replace(f"0.0.0.0:{broker.port}", f"0.0.0.0:{free_port()}"))
    silent = flash(home, board, "--wait", "1")
    assert silent.exit_code == 1
    assert "node logs cellar --port" in silent.stderr
    broker.stop()
    deaf = flash(home, board)
    assert deaf.exit_code == 1
    assert "The board is flashed" in deaf.stderr


def names_of(image: Path) -> list[str]:
    """Its files but those for the board's root."""
    names = [line.partition("  ")[2] for line in (image / "SHA256SUMS").read_text().splitlines()]
    return [name for name in names if not name.startswith("root/")]


def cable_bytes() -> int:
    """What a whole copy takes over the cable, roughly: each file once in base64."""
    return sum((flashed() / name).stat().st_size for name in names_of(flashed())) * 4 // 3
