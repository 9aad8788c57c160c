"""Hostile bus answers and messages, counted; half of them on a real MicroPython: `just chaos fuzz`.

A campaign is batches of `BATCH`, each with a seed of its own that follows from the campaign's, so that a finding is repeated by its batch
alone: `python tests/chaos/fuzz_targets.py <count> <seed>` with the seed of its message.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.chaos.rows import REPOSITORY, Plan, Row, bar, micropython

BATCH = 25_000
SECONDS = 600
HARMLESS = ("authentic commands", "bus answers", "messages", "writes on the bus", "snapshots")
"""Counts that are not of hostile things, or not only."""


def on_this_interpreter(count: int, seed: int) -> Counter[str]:
    firmware = str(REPOSITORY / "firmware")
    if firmware not in sys.path:
        sys.path.append(firmware)
    from tests.chaos import fuzz_targets

    return Counter(fuzz_targets.campaign(count, seed))


def in_a_process(command: Sequence[str], count: int, seed: int, script: str = "fuzz_targets.py") -> Counter[str]:
    """The counts, also of the lines that tell of findings. Raises RuntimeError with the interpreter's last words when it ended with one."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "firmware"), str(REPOSITORY / "shared")])
    process = subprocess.run(
        [*command, str(REPOSITORY / "tests/chaos" / script), str(count), str(seed)],
        env={**os.environ, "PYTHONPATH": path, "MICROPYPATH": f"{path}{os.pathsep}.frozen"},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if process.returncode:
        raise RuntimeError((process.stdout + process.stderr)[-1500:])
    found: Counter[str] = Counter()
    for line in process.stdout.splitlines():
        if line.startswith("found "):
            found[line] += 1
        else:
            kind, _, number = line.removeprefix("fuzz ").partition(" = ")
            found[kind] += int(number)
    return found


def on_micropython(program: str, count: int, seed: int) -> Counter[str]:
    return in_a_process((program, "-X", "heapsize=4m"), count, seed)


class Batch(NamedTuple):
    """What a batch counted, and the last words of one that found something."""

    interpreter: str
    counts: Counter[str]
    finding: str


def rows(plan: Plan) -> list[Row]:
    program = micropython()
    count = plan.of(2_100_000, 100_000)
    batches = -(-count // BATCH)

    def one(batch: int) -> Batch:
        seed = (plan.seed * 1_000_003 + batch) & 0x7FFFFFFF
        name, command = (("MicroPython", (program, "-X", "heapsize=4m")), ("CPython", (sys.executable,)))[batch & 1]
        try:
            return Batch(name, in_a_process(command, BATCH, seed), "")
        except (RuntimeError, subprocess.TimeoutExpired) as finding:
            return Batch(name, Counter(), f"{name}, {BATCH} with seed {seed}: {str(finding).strip().splitlines()[-1]}")

    counts: Counter[str] = Counter()
    on: Counter[str] = Counter()
    findings: list[str] = []
    with bar("fuzz", batches) as tell, ThreadPoolExecutor(2) as pool:
        for batch in pool.map(one, range(batches)):
            counts += batch.counts
            on[batch.interpreter] += batch.counts.total()
            findings += [batch.finding] if batch.finding else []
            tell(1)
    whole = counts["hostile answers"] + counts["hostile messages"]
    parts = sum(number for kind, number in counts.items() if kind not in (*HARMLESS, "hostile answers", "hostile messages"))
    share = on["MicroPython"] * 100 // max(on.total(), 1)
    note = f"{counts['writes on the bus']:,} authorised writes and {counts['snapshots']:,} readings meanwhile; {share} % on MicroPython"
    budget = "no task dies, nothing unauthorised is written"
    return [
        Row("hostile bus answers and messages", whole, findings, budget, 1_000_000, note),
        Row("hostile input to each parser", parts, [], "nothing undeclared is raised", 0, "Modbus TCP, frames, MessagePack, MQTT, DNS"),
    ]
