"""Each deviation in gateway/CONTRACTS.md names a test that exists; what it shows of a configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

from ohmstead.config import load
from tests.conftest import REPOSITORY
from tests.unit.homes import writer


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


def test_each_device_that_it_shows_passes_the_check(tmp_path: Path) -> None:
    text = (REPOSITORY / "gateway" / "CONTRACTS.md").read_text()
    shown = re.findall(r"`(\{(?:source|profile):[^`]*)\}`", text)
    assert len(shown) > 7
    for device in shown:
        device = device.replace("password_file: …", "password: x").replace("…", "a1")
        load(writer(tmp_path)(f"devices:\n  shown: {device}}}\n"))
    load(writer(tmp_path)("devices:\n  pump: {source: luxtronik, host: 192.0.2.13, points: {temperatur_rfv: {}}, further: on-request}\n"))
    assert "`points: {temperatur_rfv: {}}`, `further: on-request`" in text
