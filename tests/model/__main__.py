"""`python -m tests.model [--large] [world…]`: searches small worlds and says what was found; `--large`: larger constants, for minutes."""

from __future__ import annotations

import argparse
import sys

from tests.model.search import search
from tests.model.worlds import WORLDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("worlds", nargs="*", choices=[[], *WORLDS], help="which of them; all unless named")
    parser.add_argument("--large", action="store_true", help="larger constants")
    parser.add_argument("--most", type=int, default=100_000_000, help="transitions in each world, at most")
    asked = parser.parse_args()
    failures = 0
    for name in asked.worlds or WORLDS:
        outcome = search(WORLDS[name](asked.large), most=asked.most)
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()
        for violation in outcome.violations:
            failures += 1
            sys.stdout.write(f"  {violation.invariant}: {'; '.join(violation.path)}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
