"""The node image's smaller names: private ones change, and nothing that anybody else can see."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

Shrink = Callable[[Mapping[str, str]], dict[str, str]]


@pytest.fixture(scope="module")
def shrink() -> Shrink:
    specification = importlib.util.spec_from_file_location("node_shrink", REPOSITORY / "images/node/shrink.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    shrink: Shrink = module.shrink
    return shrink


def one(shrink: Shrink, text: str) -> str:
    return shrink({"m.py": text})["m.py"]


def test_private_names_of_a_module_become_short_and_public_ones_stay(shrink: Shrink) -> None:
    text = (
        "_LIMIT = 3\n\nclass Line:\n\n    def __init__(self):\n        self._waiting = _LIMIT\n        self.count = self._next()\n"
        "\n    def _next(self):\n        return 1\n"
    )
    small = one(shrink, text)
    assert not [name for name in ("_LIMIT", "_waiting", "_next") if name in small]
    assert all(name in small for name in ("class Line:", "__init__", "self.count"))


def test_modules_share_the_same_short_names(shrink: Shrink) -> None:
    small = shrink({"a.py": "_one = 1\n", "b.py": "_two = 2\n"})
    assert small == {"a.py": "_a = 1\n", "b.py": "_a = 2\n"}


@pytest.mark.parametrize(
    "text",
    [
        "core._io_queue = 1\n",
        "import _thread\n_thread.exit()\n",
        "from os import _name\nprint(_name)\n",
        "def f(_given):\n    return _given\n",
        "f(_given=1)\n",
        "def f():\n    global _total\n    _total = 1\n",
    ],
)
def test_names_that_belong_to_somebody_else_stay(shrink: Shrink, text: str) -> None:
    assert one(shrink, text) == text


def test_a_name_that_also_stands_in_a_text_or_on_another_object_stays(shrink: Shrink) -> None:
    assert "_size" in one(shrink, "class A:\n    def __init__(self):\n        self._size = getattr(self, '_size')\n")
    small = shrink({"a.py": "class A:\n    def __init__(self):\n        self._size = 1\n", "b.py": "def f(a):\n    return a._size\n"})
    assert all("_size" in text for text in small.values())


def test_a_short_name_that_is_taken_is_not_given_away(shrink: Shrink) -> None:
    small = one(shrink, "_a = 1\n_long = 2\nprint(_a, x._b)\n")
    assert small == "_c = 1\n_d = 2\nprint(_c, x._b)\n"


def test_what_it_means_stays_the_same(shrink: Shrink, micropython: list[str], tmp_path: Path) -> None:
    """The checks of ohmcore pass on its shrunk form as well, on MicroPython."""
    small = shrink({f"ohmcore/{file.name}": file.read_text() for file in sorted((REPOSITORY / "shared/ohmcore").glob("*.py"))})
    (tmp_path / "ohmcore").mkdir()
    for name, text in small.items():
        (tmp_path / name).write_text(text)
    suite = "tests.unit.ohmcore.suite"
    checks = sorted(f"{suite}.{file.stem}" for file in (REPOSITORY / "tests/unit/ohmcore/suite").glob("check_*.py"))
    done = subprocess.run(
        [*micropython, "-m", f"{suite}.run", *checks],
        env={"MICROPYPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr
    assert len(done.stdout.splitlines()) > 50
