"""What the demo starts it also ends, and a part that dies is reported with its last words."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from ohmstead.sim.children import Child, ChildEndedError, free_port, wait_for_port
from tests.conftest import wait_for

LISTENS = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def python(code: str, folder: Path, *arguments: str) -> Child:
    return Child("the part", [sys.executable, "-c", code, *arguments], folder / "part.log")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_part_is_ended_by_its_number(tmp_path: Path) -> None:
    port = free_port()
    child = python(LISTENS, tmp_path, str(port))
    child.start()
    pid = child.pid
    wait_for_port(child, port)
    assert child.stop() == -signal.SIGTERM
    assert not alive(pid)
    assert child.stop() is None


def test_a_part_that_does_not_listen_to_reason_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ohmstead.sim.children._POLITE", 0.2)
    child = python(STUBBORN, tmp_path)
    child.start()
    wait_for(lambda: child.last_lines() == ["deaf"], what="the part's start")
    assert child.stop() == -signal.SIGKILL


def test_a_part_that_dies_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    child = python("print('before'); print('no bus'); raise SystemExit(3)", tmp_path)
    child.start()
    wait_for(lambda: not child.running, what="its end")
    with pytest.raises(ChildEndedError, match="code 3") as caught:
        child.check()
    assert "no bus" in str(caught.value)


def test_nobody_waits_for_the_port_of_a_part_that_is_gone(tmp_path: Path) -> None:
    child = python("raise SystemExit(1)", tmp_path)
    child.start()
    with pytest.raises(ChildEndedError):
        wait_for_port(child, free_port(), seconds=10)


def test_a_taken_port_is_not_the_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_a_part_that_asks_for_it_is_started_again(tmp_path: Path) -> None:
    """Here with the code 85, as a node that has been told to restart."""
    lives = tmp_path / "lives"
    code = "import pathlib, sys, time; f = pathlib.Path(sys.argv[1]); n = f.read_text() if f.exists() else ''; f.write_text(n + 'x')"
    code += "; len(n) < 2 and sys.exit(85); time.sleep(60)"
    child = Child("the part", [sys.executable, "-c", code, str(lives)], tmp_path / "part.log", again=85)
    child.start()

    def third_life() -> bool:
        child.check()
        return lives.exists() and lives.read_text() == "xxx"

    wait_for(third_life, what="its third life")
    assert child.running
    child.stop()
