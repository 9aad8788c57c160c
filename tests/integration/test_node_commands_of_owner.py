"""`ohmstead node list`, `logs`, `scan`, `shell`: a person at a terminal, a running node, a real broker, no gateway."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack  # type: ignore[import-untyped] # it comes without types
import pytest
from click.testing import CliRunner, Result

from ohmstead.cli import main
from tests.conftest import Broker, wait_for
from tests.integration.board_rig import Board, far_pty
from tests.integration.node_harness import KEY, Gateway, Inverter, NodeProcess, configuration, device, group, line_of
from tests.processes import Ear

POLLED = device("mtec", 252, group("300ms", 300, (3, 100, 10)))


@pytest.fixture
def home(tmp_path: Path, broker: Broker) -> Path:
    file = tmp_path / "ohmstead.yaml"
    file.write_text(
        f"""
site: home
mqtt: {{url: "mqtt://127.0.0.1:{broker.port}"}}
nodes:
  cellar: {{bus: {{port: /dev/ttyUSB0}}, key: {KEY.hex()}}}
  attic: {{bus: {{port: /dev/ttyUSB1}}}}
devices:
  mtec: {{profile: mtec-energybutler, via: cellar}}
  other: {{profile: mtec-energybutler, via: attic}}
"""
    )
    return file


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["node", arguments[0], *arguments[1:], "-c", str(home)])


def inverter() -> Inverter:
    return Inverter({address: address for address in range(130)})


@pytest.fixture
def running(broker: Broker, node: NodeProcess) -> Callable[..., None]:
    """Starts the node on a line; with `key` it takes commands that are sealed with it."""

    def start(port: str, key: bytes = KEY) -> None:
        node.configure(configuration(port, [(broker.host, broker.port)], POLLED, key=key))
        node.start()

    return start


def test_a_list_tells_who_is_there_what_it_runs_and_what_nobody_knows(
    home: Path, broker: Broker, gateway: Gateway, running: Callable[..., None]
) -> None:
    with line_of({252: inverter()}) as line:
        running(line.path)
        wait_for(lambda: gateway.hellos, what="the node")
        result = call(home, "list", "--listen", "2")
    assert result.exit_code == 0, result.output
    header, cellar, attic = result.stdout.splitlines()
    assert "online" in cellar
    assert gateway.hellos[0][1] in cellar
    assert "differs from the file" in cellar
    assert "mtec 0" in cellar
    assert "never heard" in attic
    assert attic.count("–") == 6
    assert header.split()[0] == "node"


@pytest.mark.parametrize(("kind", "detail", "shown"), [("latch", {"cause": "pin"}, "pin"), ("reset", {"by": "owner"}, "no")])
def test_a_list_tells_a_latch_and_its_end(home: Path, broker: Broker, kind: str, detail: dict[str, str], shown: str) -> None:
    ear = Ear(broker)
    try:
        event = msgpack.packb([1, 7, 1, 1000, "", kind, detail])
        ear.client.publish("ohm/home/node/cellar/up/event", event, qos=1, retain=True).wait_for_publish(5)  # so that it comes in time
        cellar = call(home, "list", "--listen", "1").stdout.splitlines()[1]
    finally:
        ear.close()
    assert cellar.split()[-1] == shown


def test_logs_show_each_event_once(home: Path, gateway: Gateway, running: Callable[..., None]) -> None:
    gateway.acknowledging = False
    with line_of({252: inverter()}) as line:
        running(line.path)
        wait_for(lambda: gateway.hellos, what="the node")
        result = call(home, "logs", "cellar", "--for", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any("bus: " in line and "mtec" in line for line in lines)
    assert any("hello: " in line and "(kept)" in line for line in lines)
    assert len(lines) == len(set(lines))


def test_a_scan_names_the_units_that_answer(home: Path, gateway: Gateway, running: Callable[..., None]) -> None:
    with line_of({252: inverter(), 3: inverter(), 5: inverter()}) as line:
        running(line.path)
        wait_for(lambda: gateway.of("mtec"), what="a frame")
        result = call(home, "scan", "cellar", "--from", "2", "--to", "6")
    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("  unit")] == ["3", "5"]
    assert "2 of 5 units answered" in result.stdout


def test_a_scan_goes_on_where_the_node_s_counter_is(home: Path, gateway: Gateway, running: Callable[..., None]) -> None:
    with line_of({252: inverter(), 3: inverter()}) as line:
        running(line.path)
        wait_for(lambda: gateway.of("mtec"), what="a frame")
        first = call(home, "scan", "cellar", "--from", "3", "--to", "3")
        second = call(home, "scan", "cellar", "--from", "3", "--to", "3")  # within the same second
    assert first.exit_code == 0, first.output
    assert second.exit_code == 0, second.output


def test_a_scan_that_is_refused_says_why(home: Path, gateway: Gateway, running: Callable[..., None]) -> None:
    with line_of({252: inverter()}) as line:
        running(line.path, key=bytes(32))
        wait_for(lambda: gateway.of("mtec"), what="a frame")
        forged = call(home, "scan", "cellar")
    assert forged.exit_code == 1
    assert "unauthorised" in forged.stderr
    nobody = call(home, "scan", "attic")
    assert nobody.exit_code == 1
    assert "knows nothing of node attic" in nobody.stderr


def test_without_a_broker_it_says_where_it_looked(home: Path, broker: Broker) -> None:
    broker.stop()
    for command in (("list",), ("logs", "cellar"), ("scan", "cellar")):
        result = call(home, *command)
        assert result.exit_code == 1
        assert f"no connection to the broker at 127.0.0.1:{broker.port}" in result.stderr


def test_a_node_that_nobody_knows_is_a_mistake(home: Path) -> None:
    for command in ("flash", "logs", "scan", "shell"):
        result = call(home, command, "celar")
        assert result.exit_code == 2
        assert "there is no node 'celar'" in result.stderr


def test_the_console_shows_what_the_board_prints_and_does_not_stop_it(home: Path, micropython: list[str], tmp_path: Path) -> None:
    with Board(micropython, tmp_path / "board") as board:
        board.power_off()
        (board.flash / "main.py").write_text("import time\nwhile True:\n    print('tick')\n    time.sleep_ms(50)\n")
        board.power_on()
        result = call(home, "logs", "cellar", "--port", board.port, "--for", "1.5")
        assert result.exit_code == 0, result.output
        assert result.stdout.count("tick") > 2
        assert board.starts == 1


def test_a_shell_is_micropython_s_prompt_and_ctrl_bracket_leaves_it(home: Path, micropython: list[str], tmp_path: Path) -> None:
    with Board(micropython, tmp_path / "board") as board:
        terminal, ours = far_pty()
        command = [sys.executable, "-m", "ohmstead", "node", "shell", "cellar", "-c", str(home), "--port", board.port]
        process = subprocess.Popen(command, stdin=ours, stdout=ours, stderr=ours, start_new_session=True)
        os.close(ours)
        said = b""

        def heard(words: bytes, typed: bytes = b"") -> bool:
            """Types, once more each time nothing comes: what is typed before mpremote has the terminal is thrown away."""
            nonlocal said
            if select.select([terminal], [], [], 0.5)[0]:
                said += os.read(terminal, 4096)
            elif typed:
                os.write(terminal, typed)
            return words in said

        try:
            wait_for(lambda: heard(b"Ctrl-] or Ctrl-x to exit"), 20, "mpremote")
            assert b"Ctrl-] leaves" in said
            try:
                wait_for(lambda: heard(b"42", b"print(6 * 7)\r"), 20, "the answer")
            except pytest.fail.Exception as failure:
                raise AssertionError(f"said {said!r}, the board {bytes(board.console)!r}, it got {board.received} bytes") from failure
            os.write(terminal, b"\x1d")
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait(30)
            os.close(terminal)
