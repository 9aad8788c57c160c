"""`just chaos`: faults of all kinds against the house, counted. Prints one table; the exit code is 1 when anything was found.

just chaos                          everything (about 40 minutes)
just chaos --quick                  the same with fewer of each (about 5 minutes)
just chaos kills --seed 7           some of it, with another seed
just chaos soak --soak 60           the node for an hour of random faults
just chaos soak --heap 200k         the same in another heap

A seed gives the same faults in the same order. Campaigns of real processes meet them at moments of their own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.chaos import clock_jumps, commands, dtu, fuzz, kills, lines, outages, power_cuts, soak
from tests.chaos.rows import Plan, RigError, Row, table

CAMPAIGNS: dict[str, Callable[[Plan], list[Row]]] = {
    "power": power_cuts.rows,
    "fuzz": fuzz.rows,
    "commands": commands.rows,
    "lines": lines.rows,
    "clocks": clock_jumps.rows,
    "kills": kills.rows,
    "outages": outages.rows,
    "dtu": dtu.rows,
    "soak": soak.rows,
}


def _campaign(name: str) -> str:
    if name not in CAMPAIGNS:
        raise argparse.ArgumentTypeError(f"there is no {name!r}; the campaigns are {', '.join(CAMPAIGNS)}")
    return name


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaigns", nargs="*", type=_campaign, metavar="CAMPAIGN", help=f"of {', '.join(CAMPAIGNS)}; none: all")
    parser.add_argument("--seed", type=int, default=1, help="chooses the faults (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="fewer of each, the numbers of the budgets are not asked for")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="how long the soak lasts (default: 12, with --quick 0.7)")
    parser.add_argument("--heap", default="128k", help="heap of the node in the soak (default: %(default)s)")
    wanted = parser.parse_args(arguments)
    minutes = wanted.soak if wanted.soak is not None else 0.7 if wanted.quick else 12.0
    began = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ohmstead-chaos-") as folder:
        plan = Plan(Path(folder), wanted.seed, wanted.quick, minutes, wanted.heap)
        for name in wanted.campaigns or CAMPAIGNS:
            try:
                rows += CAMPAIGNS[name](plan)
            except (RigError, pytest.fail.Exception, pytest.skip.Exception) as failure:  # the tests' own tools are used here
                rows.append(Row(name, 0, [f"not done: {failure}"]))
    for row in rows:
        if not plan.quick and row.tried < row.least:
            row.findings.append(f"only {row.tried:,} were tried, {row.least:,} are asked for")
    found = sum(len(row.findings) for row in rows)
    print(f"\n{table(rows)}\n\nseed {plan.seed}, {time.monotonic() - began:.0f} s: {found or 'no'} finding{'' if found == 1 else 's'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
