"""What all tests share: the goldens, free ports, a real broker, the real MicroPython."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Property tests judge what comes out, never how fast: the machines that run them are busy.
settings.register_profile("ohmstead", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ohmstead")

REPOSITORY = Path(__file__).resolve().parents[1]

# Where Python must not keep what it compiled beside its sources, each process of the tests would compile everything anew.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(REPOSITORY / "build" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PATIENCE = 20.0
"""Seconds that everything may take at least on a machine that is busy with other tests."""


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "the condition") -> None:
    """Polls until `condition()` is true; fails the test after `seconds` (but not before `PATIENCE`), naming what did not come."""
    seconds = max(seconds, PATIENCE)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {seconds:g} s")
        time.sleep(0.01)


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The folder of recorded upstream behaviour: `$OHM_GOLDENS`, else `../shared/goldens` beside the checkout."""
    folder = Path(os.environ.get("OHM_GOLDENS", REPOSITORY.parent / "shared" / "goldens"))
    if not folder.is_dir():
        pytest.skip(f"no goldens at {folder} (set OHM_GOLDENS)")
    return folder


@pytest.fixture(scope="session")
def micropython() -> list[str]:
    """The command that starts a real MicroPython (unix port): from the environment of the tests, else from PATH."""
    found = shutil.which("micropython", path=f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("no micropython on this machine (there is no wheel for it; put one on PATH)")
    return [found]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """However a test configures the log, the next one finds it as it was."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


class Broker:
    """A mosquitto of the test's own on a port of its own. `stop` and `start` keep the port, `kill` is kill -9."""

    def __init__(self, folder: Path) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\npersistence false\nlog_type error\nlog_type warning\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")

    def start(self) -> None:
        """Does nothing when it runs."""
        if self._process is not None:
            return
        if self._program is None:
            pytest.skip("no mosquitto on this machine (apt install mosquitto)")
        self._process = subprocess.Popen([self._program, "-c", str(self._configuration)], stderr=subprocess.DEVNULL)
        wait_for(self._listens, 20, "mosquitto")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running mosquitto, ended with the test."""
    mosquitto = Broker(tmp_path)
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded as their figures (`record_property("figures", …)`) is shown at the end."""
    reports = [report for group in terminalreporter.stats.values() for report in group if getattr(report, "when", "") == "call"]
    figures = [str(value) for report in reports for name, value in report.user_properties if name == "figures"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
