"""How much of a serial line's time the node uses: two devices, 200 registers, 19200 baud, against the optimal plan.

The limit is the planner's cheapest set of reads for these points (`tests/unit/test_planner.py` holds it against every other set), at the
time that characters, silences and the devices' 20 ms of thinking take. More is asked than fits, so the line is never idle by choice:
every millisecond between two requests counts.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time

from ohmstead.profiles.planner import LineCost, Read, Span, plan
from ohmstead.sim.registers import RegisterImage
from ohmstead.sim.rtu import Line
from tests.bench.figures import Figure
from tests.bench.node import Watched
from tests.bench.rig import workplace
from tests.conftest import REPOSITORY, wait_for
from tests.integration.node_harness import ESP32_HEAP, Gateway, configuration, device, flashed, group

BAUD = 19200
TURNAROUND_S = 0.020
MOST = 125
# By unit: function, and the runs of registers that are wanted, 100 of each device; what else is known to answer.
WANTED = {1: (3, ((0, 40), (45, 20), (1000, 30), (5000, 10))), 2: (4, ((0, 60), (300, 40)))}
READABLE = {1: [(40, 44)], 2: []}


def reads_of(unit: int, cost: LineCost) -> list[Read]:
    function, runs = WANTED[unit]
    spans = [Span(function, first + i, 1) for first, count in runs for i in range(count)]
    return plan(spans, MOST, READABLE[unit], cost)


def measure(quick: bool) -> list[Figure]:
    micropython = shutil.which("micropython", path=f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    if micropython is None:
        raise SystemExit("the node's bus is not measured: no micropython on this machine")
    cost = LineCost.of_line(BAUD, turnaround_s=TURNAROUND_S)
    plans = {unit: reads_of(unit, cost) for unit in WANTED}
    polled = [
        device(f"device-{unit}", unit, group("100ms", 100, *([read.function, read.address, read.count] for read in reads)))
        | {"turnaround_ms": 0}
        for unit, reads in plans.items()
    ]
    stations = {unit: Watched(registers(unit), turnaround=TURNAROUND_S) for unit in WANTED}
    with workplace() as (folder, broker), Line(stations, baud=BAUD) as line, Gateway(broker.host, broker.port) as gateway:
        (folder / "config.ohm").write_bytes(configuration(line.path, [(broker.host, broker.port)], *polled, baud=BAUD))
        log = (folder / "node.log").open("wb")
        process = subprocess.Popen(
            [micropython, "-X", f"heapsize={ESP32_HEAP}", flashed() / "main.py", folder],
            env={**os.environ, "MICROPYPATH": str(flashed())}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_for(lambda: len(gateway.frames) > 4, 20, "the first frames")
            begin = time.monotonic()
            time.sleep(20.0 if quick else 120.0)  # the length of the measurement
            end = time.monotonic()
            assert process.poll() is None, (folder / "node.log").read_text()[-1000:]
            counters = {name: gateway.fresh_counters(f"device-{name}") for name in WANTED}
        finally:
            process.terminate()
            process.wait(10)
            log.close()
        assert all(counter["requests"] - counter["ok"] <= 1 for counter in counters.values()), counters
    seen = sorted((at, unit, read) for unit, station in stations.items() for at, read in station.seen if begin <= at <= end)
    asked = {unit: {read for _, its, read in seen if its == unit} for unit in WANTED}
    assert asked == {unit: set(reads) for unit, reads in plans.items()}, "what was planned is read, and nothing else"
    needed = took = 0.0
    for (at, _, read), (after, _, _) in itertools.pairwise(seen):
        took += after - at
        needed += cost.read_s(read)
    cycle = sum(cost.read_s(read) for reads in plans.values() for read in reads)
    several = sum(len(reads) for reads in plans.values())
    note = f"{several} reads, {cycle * 1000:.0f} ms of line at {BAUD} baud and 20 ms turnaround, {len(seen) / several:.0f} cycles"
    return [Figure("node: two devices, 200 registers: cycle against the optimal plan", took / needed, "×", 1.05, note=note)]


def registers(unit: int) -> RegisterImage:
    function, runs = WANTED[unit]
    known = [*runs, *((first, last - first + 1) for first, last in READABLE[unit])]
    words = {address: address for first, count in known for address in range(first, first + count)}
    return RegisterImage(words) if function == 3 else RegisterImage({}, input_registers=words)
