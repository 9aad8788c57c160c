"""The node: its memory while it polls a whole M-TEC in a heap of 96 kB, and its poll cycle against the physical limit of the line.

The very code that is flashed, compiled as for a board, on MicroPython's unix port; a simulated inverter on a line of 9600 baud that
thinks for 20 ms; a real broker; somebody who acknowledges. Objects of the 64-bit port are some 1.45 times larger than an ESP32's.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from ohmstead.config import load
from ohmstead.config.model import Config
from ohmstead.nodes.compile import node_config
from ohmstead.profiles.compiler import line_cost
from ohmstead.profiles.planner import Read
from ohmstead.sim.mtec import UNIT_RTU
from ohmstead.sim.rtu import Line
from ohmstead.sim.station import Answer, Station
from tests.bench.figures import Figure
from tests.bench.latency import image
from tests.bench.rig import workplace
from tests.conftest import REPOSITORY, wait_for
from tests.integration.node_harness import Gateway

HEAP_KB = 96
PAUSE_S = 0.5
CONFIGURATION = """
mqtt: {{url: "mqtt://127.0.0.1:{mqtt}"}}
nodes:
  cellar: {{bus: {{port: {port}, baud: 9600}}}}
devices:
  mtec: {{profile: mtec-energybutler, via: cellar}}
"""


@dataclass
class Watched(Station):
    """A station that notes when it understood which request."""

    seen: list[tuple[float, Read]] = field(default_factory=list)

    def answer(self, unit: int, request: bytes) -> Answer | None:
        at = time.monotonic()
        if len(request) == 5:
            self.seen.append((at, Read(request[0], int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big"))))
        return super().answer(unit, request)


def compiled(folder: Path) -> Path:
    """The image of a board, with the unix hardware layer in it as well."""
    specification = importlib.util.spec_from_file_location("node_image", REPOSITORY / "images/node/build.py")
    assert specification is not None
    assert specification.loader is not None
    builder = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(builder)
    builder.LEFT_OUT.clear()
    builder.build(folder)
    return folder


def run(seconds: float) -> tuple[Config, list[tuple[float, Read]], list[tuple[int, int, int]], int]:
    """Requests as the device understood them, the probe's lines, and how many frames arrived."""
    micropython = shutil.which("micropython", path=f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    if micropython is None:
        raise SystemExit("the node is not measured: no micropython on this machine")
    with workplace() as (folder, broker):
        station = Watched(image())
        with Line({UNIT_RTU: station}, link=folder / "rs485") as line, Gateway(broker.host, broker.port) as gateway:
            (folder / "ohmstead.yaml").write_text(CONFIGURATION.format(mqtt=broker.port, port=line.path))
            config = load(folder / "ohmstead.yaml")
            (folder / "config.ohm").write_bytes(node_config(config, "cellar"))
            output = (folder / "node.log").open("w")
            process = subprocess.Popen(
                [micropython, "-X", f"heapsize={HEAP_KB}k", REPOSITORY / "tests/bench/node_probe.py", folder],
                env={**os.environ, "MICROPYPATH": str(compiled(folder / "image"))}, stdout=output, stderr=output,
            )  # fmt: skip
            try:
                wait_for(lambda: gateway.frames or process.poll() is not None, 20, "the first frame")
                time.sleep(seconds)  # the length of the measurement
                assert process.poll() is None, (folder / "node.log").read_text()[-1000:]
            finally:
                process.terminate()
                process.wait(10)
                output.close()
        lines = [text.split()[1:] for text in (folder / "node.log").read_text().splitlines() if text.startswith("probe ")]
        return config, station.seen, [(int(a), int(b), int(c)) for a, b, c in lines], len(gateway.frames)


def cycle_ratio(config: Config, seen: list[tuple[float, Read]]) -> tuple[float, int]:
    """Time between requests of one scan ÷ what the line needs for them; and how many scans were counted.

    A scan is what follows without a pause; from the understanding of one request to that of the next lies one whole read.
    """
    cost = line_cost(config.profile("mtec").line)
    took = needed = 0.0
    scans = 1
    for (at, read), (after, _) in itertools.pairwise(seen):
        if after - at > PAUSE_S + cost.read_s(read):
            scans += 1
            continue
        took += after - at
        needed += cost.read_s(read)
    return took / needed, scans


def measure(quick: bool) -> list[Figure]:
    seconds = 60.0 if quick else 600.0
    config, seen, probes, frames = run(seconds)
    planned = {read for group in config.poll_groups("mtec") for read in group.reads}
    assert {read for _, read in seen} == planned, "the node reads what was planned and nothing else"
    ratio, scans = cycle_ratio(config, seen)
    allocated = [used for used, _, _ in probes if used > 0]
    note = f"{seconds:g} s in a heap of {HEAP_KB} kB, {frames} frames, {len(seen)} requests"
    return [
        Figure("node: poll cycle against the line's physical limit", ratio, "×", 1.05, note=f"9600 baud, 20 ms turnaround, {scans} scans"),
        Figure("node: allocated per poll, median", statistics.median(allocated), "B", note=note),
        Figure("node: allocated per request", sum(allocated) / len(seen), "B"),
        Figure("node: smallest free heap before a collection", min(free for _, free, _ in probes) / 1024, "kB", 0, "at least"),
        Figure("node: live after a collection, at most", max(live for _, _, live in probes) / 1024, "kB"),
    ]
