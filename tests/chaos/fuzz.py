"""`python -m tests.chaos.fuzz --count 1000000 --seed 1`: hostile bus answers and messages, counted; half of them on a real MicroPython.

A campaign is batches of `BATCH`, each with a seed of its own that follows from `--seed`, so that a finding is repeated by its batch
alone: the seed is in its message. Ends with 1 at the first finding.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BATCH = 20_000
SECONDS = 600


def on_this_interpreter(count: int, seed: int) -> Counter[str]:
    firmware = str(REPOSITORY / "firmware")
    if firmware not in sys.path:
        sys.path.append(firmware)
    from tests.chaos import fuzz_targets

    return Counter(fuzz_targets.campaign(count, seed))


def on_micropython(program: str, count: int, seed: int) -> Counter[str]:
    """Raises RuntimeError with the interpreter's last words when it found something."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "firmware"), str(REPOSITORY / "shared"), ".frozen"])
    script = REPOSITORY / "tests/chaos/fuzz_targets.py"
    process = subprocess.run(
        [program, "-X", "heapsize=4m", str(script), str(count), str(seed)],
        env={**os.environ, "MICROPYPATH": path}, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if process.returncode:
        raise RuntimeError((process.stdout + process.stderr)[-1500:])
    found: Counter[str] = Counter()
    for line in process.stdout.splitlines():
        kind, _, number = line.removeprefix("fuzz ").partition(" = ")
        found[kind] += int(number)
    return found


def micropython() -> str | None:
    return shutil.which("micropython", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def campaign(count: int, seed: int) -> dict[str, Counter[str]]:
    """The counts by interpreter. Without a MicroPython all of them are this one's."""
    program = micropython()
    found = {"CPython": Counter[str]()} | ({"MicroPython": Counter[str]()} if program else {})
    batches = max(1, -(-count // BATCH))
    for batch in range(batches):
        size = min(BATCH, count - batch * BATCH)
        number = (seed * 1_000_003 + batch) & 0x7FFFFFFF
        try:
            if program and batch & 1:
                found["MicroPython"] += on_micropython(program, size, number)
            else:
                found["CPython"] += on_this_interpreter(size, number)
        except Exception as finding:
            finding.add_note(f"a batch of {size} with seed {number}")
            raise
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="how many answers and messages")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for interpreter, kinds in campaign(options.count, options.seed).items():
        hostile = sum(number for kind, number in kinds.items() if kind not in ("authentic commands", "writes on the bus", "snapshots"))
        print(f"{interpreter}: {hostile} hostile answers and messages, nothing raised, nothing unauthorised written")
        for kind, number in kinds.items():
            print(f"  {kind}: {number}")


if __name__ == "__main__":
    main()
