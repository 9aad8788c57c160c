"""Commands that must not be obeyed, tens of thousands of each kind, half of them on a real MicroPython: `just chaos commands`."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.fuzz import in_a_process
from tests.chaos.rows import Plan, Row, bar, micropython

BATCH = 20_000
KINDS = (
    "forged", "bit-flipped", "cut or longer", "replayed", "reordered", "for another node", "for another purpose",
    "expired before its turn", "expired in its turn",
)  # fmt: skip


def rows(plan: Plan) -> list[Row]:
    program = micropython()
    batches = plan.of(20, 4)

    def one(batch: int) -> tuple[str, Counter[str]]:
        seed = (plan.seed * 1_000_003 + batch) & 0x7FFFFFFF
        command = ((program, "-X", "heapsize=4m"), (sys.executable,))[batch & 1]
        again = f"{command[0]} tests/chaos/forgeries.py {BATCH} {seed}"
        try:
            return again, in_a_process(command, BATCH, seed, "forgeries.py")
        except (RuntimeError, subprocess.TimeoutExpired) as failure:
            return again, Counter({f"found {str(failure).strip().splitlines()[-1]}": 1})

    counts: Counter[str] = Counter()
    findings: dict[str, list[str]] = {}
    with bar("commands", batches) as tell, ThreadPoolExecutor(2) as pool:
        for again, found in pool.map(one, range(batches)):
            for kind, number in found.items():
                if kind.startswith("found "):
                    of = next((name for name in KINDS if kind.startswith(f"found {name}:")), KINDS[-1])
                    findings.setdefault(of, []).extend([f"{kind[6:]} ({again})"] * number)
                else:
                    counts[kind] += number
            tell(1)
    done = []
    for kind in KINDS:
        note = f"{counts['obeyed']:,} honest ones obeyed meanwhile" if kind == KINDS[0] else ""
        done.append(Row(f"command: {kind}", counts[kind], findings.get(kind, []), "0 accepted", 1000, note))
    return done
