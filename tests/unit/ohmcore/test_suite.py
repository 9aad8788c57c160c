"""The checks of `suite/`, on CPython and, the very same files, on a real MicroPython."""

from __future__ import annotations

import importlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SUITE = Path(__file__).parent / "suite"
REPOSITORY = Path(__file__).resolve().parents[3]
NAMES = sorted(path.stem for path in SUITE.glob("check_*.py"))
ON_MICROPYTHON_ONLY = {"check_allocation"}

for _name in [*NAMES, "expect"]:
    pytest.register_assert_rewrite(f"tests.unit.ohmcore.suite.{_name}")


def checks(name: str) -> dict[str, Callable[[], None]]:
    module = importlib.import_module(f"tests.unit.ohmcore.suite.{name}")
    return {key: function for key, function in vars(module).items() if key.startswith("test_")}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name[6:]}-{key[5:]}")
        for name in NAMES
        if name not in ON_MICROPYTHON_ONLY
        for key, check in checks(name).items()
    ],
)
def test_on_cpython(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("name", NAMES)
def test_on_micropython(name: str, micropython: list[str]) -> None:
    result = subprocess.run(
        [*micropython, "-m", "tests.unit.ohmcore.suite.run", f"tests.unit.ohmcore.suite.{name}"],
        env={"MICROPYPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'shared'}", "PATH": os.environ.get("PATH", "")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    passed = {line[3:] for line in result.stdout.splitlines() if line.startswith("ok ")}
    assert result.returncode == 0, result.stdout + result.stderr
    assert passed == set(checks(name)), result.stdout
