"""`just bench`: the figures of the README, each beside its peer or its physical limit in the same run.

just bench                 everything (about 35 minutes: ten of them the node, seven its guard)
just bench --quick         the same with shorter runs, to see whether something broke
just bench gateway ingest  some of it
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable

import psutil

from tests.bench import decisions, gateway, guard, house, hoymiles, ingest_rate, latency, loxone, node, node_bus, plan
from tests.bench.figures import Figure, table

PARTS: dict[str, Callable[[bool], list[Figure]]] = {
    "node": node.measure,
    "node-bus": node_bus.measure,
    "guard": guard.measure,
    "gateway": gateway.measure,
    "house": house.measure,
    "ingest": ingest_rate.measure,
    "latency": latency.measure,
    "plan": plan.measure,
    "decisions": decisions.measure,
    "loxone": loxone.measure,
    "hoymiles": hoymiles.measure,
}


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no {name!r}; the parts are {', '.join(PARTS)}")
    return name


def main() -> None:
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", type=_part, metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="shorter runs, noisier figures")
    options = parser.parse_args()
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}"
    print(f"{platform.python_implementation()} {platform.python_version()}, {machine}")
    figures: list[Figure] = []
    for name in options.parts or PARTS:
        print(f"\nmeasuring: {name} …", flush=True)
        measured = PARTS[name](options.quick)
        print(table(measured), flush=True)
        figures += measured
    verdicts = [figure.met for figure in figures]
    print(f"\n{verdicts.count(True)} budgets met, {verdicts.count(False)} missed, {verdicts.count(None)} figures without a budget")
    raise SystemExit(1 if False in verdicts else 0)


if __name__ == "__main__":
    main()
