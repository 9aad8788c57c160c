"""Which image starts: the root's starter.py, and what the images' own module says of it."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ohmstead.config import load
from ohmstead.nodes.compile import node_config
from tests.conftest import REPOSITORY
from tests.unit.homes import WITH_NODE, writer
from tests.unit.node_modules import FakeHal


@pytest.fixture(scope="module")
def root() -> ModuleType:
    """firmware/root/starter.py, not started."""
    specification = importlib.util.spec_from_file_location("node_starter", REPOSITORY / "firmware/root/starter.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def starts(root: ModuleType, file: Path, count: int) -> list[str]:
    """The slots of so many starts in a row, of which none is confirmed."""
    return [root.choose(str(file)) for _ in range(count)]


def test_an_unconfirmed_image_has_three_starts_then_the_previous_one_then_safe(root: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "boot"
    file.write_text("b a 0 0")
    assert starts(root, file, 11) == ["b"] * 3 + ["a"] * 3 + ["safe"] + ["a"] * 3 + ["safe"]


def test_a_new_board_starts_what_was_flashed_and_falls_back_to_safe_for_one_start(root: ModuleType, tmp_path: Path) -> None:
    """Three short power cuts do not end a node, and an image that fails leaves each fourth start to whoever has a better one."""
    assert starts(root, tmp_path / "boot", 12) == (["a"] * 3 + ["safe"]) * 3


def test_an_image_that_ran_long_enough_after_safe_is_confirmed_for_good(root: ModuleType, tmp_path: Path) -> None:
    slots, hal, file = importlib.import_module("ohmnode.slots"), FakeHal(), tmp_path / "boot"
    assert starts(root, file, 5)[3:] == ["safe", "a"]
    hal.files["boot"] = file.read_bytes()
    slot, previous, _, _ = slots.read(hal)
    slots.write(hal, slot, previous, 0, True)  # as `Proof` does
    file.write_bytes(hal.files["boot"])
    assert starts(root, file, 5) == ["a"] * 5


@pytest.mark.parametrize("content", ["", "b", "x a 0 0", "b a many 0", "b a 0 0 0", "\udcff", "b a 0"])
def test_a_file_that_makes_no_sense_is_that_of_the_first_day(root: ModuleType, tmp_path: Path, content: str) -> None:
    file = tmp_path / "boot"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert root.read(str(file)) == ("a", "safe", 0, False)


def test_a_confirmed_image_is_not_counted_and_costs_the_flash_nothing(root: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "boot"
    file.write_text("b a 0 1")
    before = file.stat().st_mtime_ns
    assert starts(root, file, 5) == ["b"] * 5
    assert file.stat().st_mtime_ns == before


def test_a_confirmed_image_that_raises_is_counted_from_then_on(root: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "boot"
    file.write_text("b a 0 1")
    root.failed(str(file))
    assert root.read(str(file)) == ("b", "a", 1, False)
    root.failed(str(file))
    assert root.read(str(file)) == ("b", "a", 1, False), "its start counts a try, not its end"
    assert starts(root, file, 3) == ["b", "b", "a"]


@pytest.mark.parametrize("fails", [True, False])
def test_on_a_board_the_watchdog_runs_before_the_image_so_one_that_hangs_has_failed(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """The file itself, as the port starts it; the image is a module that is found in place of one on the flash."""
    did: list[str] = []

    def load(name: str, *_: object) -> object:
        if name == "main":
            did.append("image")
            if fails:
                raise RuntimeError("broken")
        return found.get(name) or importlib.import_module(name)

    def reset() -> None:
        did.append("reset")
        raise SystemExit

    found = {
        "main": SimpleNamespace(),
        "machine": SimpleNamespace(WDT=lambda timeout: did.append("watchdog"), reset=reset),
        "starter": SimpleNamespace(choose=lambda _: "b", failed=lambda _: did.append("failed")),
    }
    modules = {"starter": ModuleType("starter"), "main": ModuleType("main")}
    found["sys"] = SimpleNamespace(modules=modules, platform="esp32", path=[], print_exception=print, exit=sys.exit)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    source = (REPOSITORY / "firmware/root/main.py").read_text()
    with pytest.raises(SystemExit):
        exec(source, {"__builtins__": vars(builtins) | {"__import__": load}})  # noqa: S102 - a program, and no module
    assert did == ["watchdog", "image", *(["failed"] if fails else []), "reset"]
    assert ("main" in modules) is not fails, "what failed takes no memory from who counts it"


def test_both_sides_read_and_write_the_same_file(root: ModuleType, tmp_path: Path) -> None:
    slots = importlib.import_module("ohmnode.slots")
    hal = FakeHal()
    slots.write(hal, "b", "a", 2, False)
    (tmp_path / "boot").write_bytes(hal.files["boot"])
    assert root.read(str(tmp_path / "boot")) == slots.read(hal) == ("b", "a", 2, False)
    root.write(str(tmp_path / "boot"), "a", "safe", 0, True)
    hal.files["boot"] = (tmp_path / "boot").read_bytes()
    assert slots.read(hal) == ("a", "safe", 0, True)
    assert slots.read(FakeHal()) == root.read(str(tmp_path / "none"))
    assert slots.running() == ""


def test_what_the_gateway_compiles_passes_the_nodes_own_check(tmp_path: Path) -> None:
    check = importlib.import_module("ohmnode.check")
    config = load(writer(tmp_path)(WITH_NODE), {})
    assert check.refusal(node_config(config, "cellar")) == ""
