"""Each deviation in gateway/CONTRACTS.md names a test that exists."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY


def test_each_named_test_exists() -> None:
    text = (REPOSITORY / "gateway" / "CONTRACTS.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    written = {name for path in (REPOSITORY / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}

    assert len(named) > 15
    assert named <= written


def test_each_deviation_names_a_test() -> None:
    text = (REPOSITORY / "gateway" / "CONTRACTS.md").read_text()
    table = text.partition("## Where we deviate")[2].partition("## What the contracts")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][2:]

    assert len(rows) >= 9
    assert all("`test_" in row for row in rows)
