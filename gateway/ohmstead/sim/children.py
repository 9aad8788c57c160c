"""Processes that the demo starts: each with its own log file, each ended by its own number, none left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_POLITE = 8.0
"""Seconds a process has to end by itself before it is killed."""


class ChildEndedError(Exception):
    """A process that should run has ended; says which, how, and its last words."""

    def __init__(self, child: Child) -> None:
        words = "\n".join(f"    {line}" for line in child.last_lines()) or "    (it said nothing)"
        super().__init__(f"{child.name} ended by itself with code {child.code}; its last lines:\n{words}")
        self.child = child


class Child:
    """A process in a session of its own, so that Ctrl-C reaches only us and we end the others in order.

    `again`: the exit code by which it asks to be started again; `check` does that.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        again: int | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._again = again
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises `OSError` where the program cannot be started."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Starts it again if it asked for that; raises `ChildEndedError` if it was started and runs no more."""
        if self._process is None or self.running:
            return
        if self._again is None or self.code != self._again:
            raise ChildEndedError(self)
        self.start()

    def stop(self) -> int | None:
        """Asks it to end, kills it where it does not; its exit code, None if it was never started."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            code = self._process.wait(_POLITE)
        except subprocess.TimeoutExpired:
            code = self.kill()
        self._process = None
        return code

    def kill(self) -> int:
        """kill -9, and nothing is left to do."""
        assert self._process is not None  # noqa: S101 - only a started process can be killed
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def last_lines(self, count: int = 8) -> list[str]:
        if not self.log.exists():
            return []
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]


def free_port(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """`wanted` if nobody listens there, else any free TCP port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port")


def wait_for_port(child: Child, port: int, seconds: float = 15.0, host: str = "127.0.0.1") -> None:
    """Until somebody listens. Raises `ChildEndedError` if the process ends first, `TimeoutError` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{child.name} does not listen on port {port} after {seconds:g} s")
        time.sleep(0.02)
