"""The node: the heap in which it polls a whole M-TEC (the budget is 96 kB), and its poll cycle against the physical limit of the line.

The very code that is flashed, compiled as for a board, on MicroPython's unix port; a simulated inverter on a line of 9600 baud that
thinks for 20 ms; a real broker; somebody who acknowledges. Objects of the 64-bit port are some 1.45 times larger than an ESP32's.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import NamedTuple

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
from tests.conftest import REPOSITORY
from tests.integration.node_harness import Gateway, flashed

HEAPS_KB = (96, 104, 112, 120, 128, 136, 144, 160)
TRIAL_S = 35.0
FIRST_FRAME_S = 20.0
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


class Run(NamedTuple):
    """Requests as the device understood them, the probe's lines, how many frames arrived, the longest wait of the node's loop in ms."""

    config: Config
    seen: list[tuple[float, Read]]
    probes: list[tuple[int, int, int]]
    frames: int
    lag_ms: int


def run(seconds: float, heap_kb: int) -> Run | None:
    """Polls for that long; None if the heap was too small."""
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
                [micropython, "-X", f"heapsize={heap_kb}k", REPOSITORY / "tests/bench/node_probe.py", folder],
                env={**os.environ, "MICROPYPATH": str(flashed())}, stdout=output, stderr=output,
            )  # fmt: skip
            try:
                deadline = time.monotonic() + FIRST_FRAME_S
                while not gateway.frames and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                if gateway.frames:
                    time.sleep(seconds)  # the length of the measurement
                alive = process.poll() is None
            finally:
                process.terminate()
                process.wait(10)
                output.close()
        said = (folder / "node.log").read_text()
        if any(words in said for words in ("MemoryError", "memory allocation failed", "no configuration")) or not gateway.frames:
            print(f"  {heap_kb} kB: {said.strip().rpartition(chr(10))[2][-160:] or 'no frame'}", flush=True)
            return None  # a heap that is nearly large enough shows by a node that does nothing but collect its garbage
        assert alive, said[-1000:]
        lines = [text.split()[1:] for text in said.splitlines() if text.startswith("probe ")]
        lags = [int(event.detail["lag_max_ms"]) for event in gateway.heard("bus", "")]
        return Run(config, station.seen, [(int(a), int(b), int(c)) for a, b, c in lines], len(gateway.frames), max(lags, default=0))


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
    for heap_kb in HEAPS_KB:
        if run(min(seconds, TRIAL_S), heap_kb) is not None and (measured := run(seconds, heap_kb)) is not None:
            break
        print(f"  a heap of {heap_kb} kB is too small", flush=True)
    else:
        raise SystemExit(f"the node does not run in {HEAPS_KB[-1]} kB")
    config, seen, probes, frames, lag_ms = measured
    planned = {read for group in config.poll_groups("mtec") for read in group.reads}
    assert {read for _, read in seen} == planned, "the node reads what was planned and nothing else"
    ratio, scans = cycle_ratio(config, seen)
    allocated = [used for used, _, _ in probes if used > 0]
    note = f"{seconds:g} s in a heap of {heap_kb} kB, {frames} frames, {len(seen)} requests"
    return [
        Figure("node: heap it runs in, 64-bit MicroPython", heap_kb, "kB", 96, note="an ESP32's objects are smaller: about 1.45 times"),
        Figure("node: poll cycle against the line's physical limit", ratio, "×", 1.05, note=f"9600 baud, 20 ms turnaround, {scans} scans"),
        Figure("node: allocated per poll, median", statistics.median(allocated), "B", note=note),
        Figure("node: allocated per request", sum(allocated) / len(seen), "B"),
        Figure("node: smallest free heap before a collection", min(free for _, free, _ in probes) / 1024, "kB"),
        Figure("node: longest wait of the bus for anything else", lag_ms, "ms", 100),
        Figure("node: live after a collection, at most", max(live for _, _, live in probes) / 1024, "kB"),
    ]
