"""What the guard's measurements share: a Growatt SPH and a plain battery on lines of 9600 baud, and the image with a probe in it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import statistics
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ohmstead.config import load
from ohmstead.config.model import Config
from ohmstead.sim.station import Answer, Station
from tests.conftest import REPOSITORY
from tests.integration.node_harness import KEY, NODE, flashed
from tests.integration.node_slots import Board, image

BAUD = 9600
CHARACTER_S = 10 / BAUD
SILENCE_S = 3.5 * CHARACTER_S
HEAP = "200k"
NEW_LIFE = "evaluated by a new life"
PROBE = REPOSITORY / "tests" / "bench" / "guard_probe.py"
HOUSE = """
    mqtt: {{url: "mqtt://127.0.0.1:{broker}"}}
    nodes:
      {node}: {{bus: {{port: {line}, baud: {baud}}}, key: "{key}", update_key_file: {update}}}
    devices:
      growatt:
        profile: growatt-sph
        via: {node}
        every: {{live: 1 s, energy: 30 s, settings: 10 s, static: 1 h}}
        limits: {{soc: 15..95 %, grid_import: 11 kW, grid_export: 10 kW}}
"""


def interpreter() -> list[str]:
    """MicroPython's unix port. Raises SystemExit where there is none."""
    found = shutil.which("micropython", path=f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise SystemExit("the guard is not measured: no micropython on this machine")
    return [found]


def house(folder: Path, broker: int, line: str, update_key: Path) -> Config:
    """A home with a Growatt SPH on its node, as its owner would write it."""
    text = textwrap.dedent(HOUSE).format(broker=broker, node=NODE, line=line, baud=BAUD, key=KEY.hex(), update=update_key)
    (folder / "ohmstead.yaml").write_text(text)
    return load(folder / "ohmstead.yaml", {})


def probed() -> dict[str, bytes]:
    """The files of the image, with the probe where its main.py was."""
    files = image()
    return files | {"image_main.py": files["main.py"], "main.py": PROBE.read_bytes()}


def names_for_the_probe() -> dict[str, str]:
    """What the linker made of the guard's names, as the environment of a node with a probe."""
    said = flashed().with_suffix(".map").read_text()
    found = {}
    patterns = {
        "GUARD": r"(\S+) = ohmnode\.guard\.Guard",
        "EVALUATE": r"\.(\S+) = \.evaluate\(\)",
        "WARD": r"(\S+) = ohmnode\.supervisor\.Ward",
        "BEAT": r"\.(\S+) = \.beat\(\)",
    }
    for variable, pattern in patterns.items():
        match = re.search(f"^{pattern}$", said, re.MULTILINE)
        if match is None:
            raise SystemExit(f"the guard is not measured: the image's map does not say what became of {variable.lower()}")
        found[f"OHM_PROBE_{variable}"] = match[1]
    return found


@contextmanager
def running(folder: Path, content: bytes, **environment: str | Path) -> Iterator[Board]:
    """A node of the probed image in a heap of `HEAP`, the power cut at the end."""
    quick = {"OHM_NODE_GOOD_AFTER_MS": "300", "OHM_NODE_LINGER_MS": "100"}
    board = Board(interpreter(), folder, {**quick, **names_for_the_probe(), **{key: str(said) for key, said in environment.items()}}, HEAP)
    board.put("a", probed())
    (board.state / "config.ohm").write_bytes(content)
    board.start()
    try:
        deadline = time.monotonic() + 20
        while sum(map(len, evaluations(board.lines))) < 3:
            if time.monotonic() > deadline:
                raise SystemExit(f"the guard is not measured: the node does not run; it says\n{board.log}")
            time.sleep(0.05)
        yield board
    finally:
        board.kill()


def evaluations(lines: Iterable[str]) -> list[list[float]]:
    """For each life of a node when its guard's own task looked at the limits, in seconds on the monotonic clock. What every fresh reading
    causes besides is left out: the task of the first evaluation of a life is the guard's, since no reading can be there yet.
    """
    lives: list[list[float]] = []
    its = ""
    for line in list(lines):
        if line == NEW_LIFE:
            its = ""
            lives.append([])
        elif line.startswith("evaluated "):
            _, at, task = line.split()
            its = its or task
            if task == its:
                lives[-1].append(int(at) / 1e6)
    return lives


def intervals_ms(lives: Iterable[Sequence[float]], begin: float, end: float) -> list[float]:
    """Between the evaluations of a life that follow each other, if any of that time is within the window (seconds, monotonic clock)."""
    pairs = (pair for moments in lives for pair in itertools.pairwise(moments))
    return [1000 * (later - earlier) for earlier, later in pairs if later >= begin and earlier <= end]


def spread(values: Sequence[float]) -> str:
    return f"min {min(values):.0f}, median {statistics.median(values):.0f}, max {max(values):.0f} ms"


def load_now() -> str:
    """How busy this machine was in the last minute: beside every figure that depends on it."""
    return f"machine's load {os.getloadavg()[0]:.1f}"


class Exchange(NamedTuple):
    """A request and its answer on the line: from its first bit to the answer's last, on the monotonic clock."""

    begin: float
    end: float
    pdu: bytes


@dataclass
class Recorded(Station):
    """A station that remembers what was on the line."""

    exchanges: list[Exchange] = field(default_factory=list)

    def answer(self, unit: int, request: bytes) -> Answer | None:
        now = time.monotonic()
        answer = super().answer(unit, request)
        took = 0.0 if answer is None else answer.delay + (len(answer.pdu) + 3) * CHARACTER_S
        self.exchanges.append(Exchange(now - SILENCE_S - (len(request) + 3) * CHARACTER_S, now + took, request))
        return answer

    def write_of(self, values: bytes, since: float) -> Exchange | None:
        """The first write of these words (function 16) that began after `since`."""
        return next(
            (seen for seen in list(self.exchanges) if seen.begin >= since and seen.pdu[:1] == b"\x10" and seen.pdu[6:] == values), None
        )


def content_of(changed: dict[str, Any], device: int = 0) -> dict[str, Any]:
    """The map of a device within an unpacked configuration."""
    found: dict[str, Any] = changed["buses"][0]["devices"][device]
    return found
