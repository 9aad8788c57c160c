"""A whole flash for tests: the root's main.py, three slots, the state; and somebody who starts the node again when it asks for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped] # it comes without types

from ohmstead.config import load
from ohmstead.config.model import Config
from ohmstead.nodes.flash import STARTERS
from tests.conftest import REPOSITORY
from tests.integration.node_harness import ESP32_HEAP, KEY, NODE, SITE, flashed

RESTART = 85
CRASH = b"raise RuntimeError('this image is broken')\n"


def image() -> dict[str, bytes]:
    """The files of the image under test, by name."""
    folder = flashed()
    found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.suffix in (".py", ".mpy")}
    return {name: content for name, content in found.items() if not name.startswith("root/")}  # what the flash has beside the slots


def changed(content: bytes, **changes: Any) -> bytes:
    """A `config.ohm` with other values."""
    said = msgpack.unpackb(content[36:], strict_map_key=False) | changes
    body: bytes = msgpack.packb(said)
    return b"OHM1" + hashlib.sha256(body).digest() + body


def home(folder: Path, port: int) -> Config:
    """The configuration of the home that the node of the tests belongs to."""
    file = folder / "ohmstead.yaml"
    file.write_text(
        f"site: {SITE}\nmqtt: {{url: mqtt://127.0.0.1:{port}}}\nnodes:\n  {NODE}: {{bus: {{port: /dev/null}}, key: {KEY.hex()}}}\n"
        f"devices:\n  mtec: {{profile: mtec-energybutler, via: {NODE}}}\n"
    )
    return load(file, {})


class Board:
    """A flash in a folder, and the node that runs from it. `codes`: how its lives ended."""

    def __init__(self, program: list[str], folder: Path, environment: Mapping[str, str], heap: str = ESP32_HEAP) -> None:
        self.folder = folder / "flash"
        self.state = self.folder / "state"
        self.environment = dict(environment)
        self.lines: list[str] = []
        self.codes: list[int] = []
        self._program = program
        self._heap = heap
        self._running: subprocess.Popen[str] | None = None
        self._wanted = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.state.mkdir(parents=True)
        for name in STARTERS:
            shutil.copy(REPOSITORY / "firmware/root" / name, self.folder)
        self.put("a", image())
        self.put("safe", image())

    def put(self, slot: str, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            target = self.folder / slot / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def files(self, slot: str) -> dict[str, bytes]:
        folder = self.folder / slot
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    @property
    def boot(self) -> list[str]:
        """slot, previous slot, tries, confirmed."""
        file = self.state / "boot"
        return file.read_text().split() if file.exists() else []

    def start(self) -> None:
        self._wanted = True
        self._spawn()

    def _spawn(self) -> None:
        # Short paths, as on a board: MicroPython keeps the path of every file it has imported in its heap.
        command = [*self._program, "-X", f"heapsize={self._heap}", "main.py", self.state.name]
        environment = {key: value for key, value in os.environ.items() if key != "MICROPYPATH"} | self.environment
        with self._lock:
            if not self._wanted:
                return
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self._running = process
        thread = threading.Thread(target=self._watch, args=(process,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
        code = process.wait()
        self.codes.append(code)
        if code == RESTART:
            self._spawn()

    def kill(self) -> None:
        """The power goes."""
        with self._lock:
            self._wanted = False
            process = self._running
        if process is not None:
            process.kill()
        for thread in list(self._threads):
            thread.join(10)
        self._threads.clear()

    def said(self, words: str) -> bool:
        return any(words in line for line in list(self.lines))

    @property
    def log(self) -> str:
        return "\n".join(self.lines[-60:])
