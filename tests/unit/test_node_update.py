"""An update as the node takes it: what a key signed and nothing else, a squaring at a time, into the slot that does not run."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path

import pytest

from ohmstead.nodes import package
from tests.chaos import virtual
from tests.unit import node_world
from tests.unit.node_modules import FakeHal

PACKAGE = b"OHMPACK1" + bytes(100)
SIGNATURE = 256


class Asyncio:
    """Counts how often others may run."""

    def __init__(self) -> None:
        self.turns = 0

    async def sleep_ms(self, _: int) -> None:
        self.turns += 1


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    """Digest, signature and modulus."""
    pytest.importorskip("cryptography")
    file = tmp_path_factory.mktemp("keys") / "update.pem"
    file.write_bytes(package.new_key_pair()[0])
    key = package.read_private_key(file)
    return hashlib.sha256(PACKAGE).digest(), package.sign(PACKAGE, key)[-SIGNATURE:], package.modulus_of(key)


def turns_for(digest: bytes, signature: bytes, modulus: bytes) -> tuple[bool, int]:
    """Whether it is genuine, and how often others could run meanwhile."""
    assert node_world  # it puts the firmware on the path
    update, counting = importlib.import_module("ohmnode.update"), Asyncio()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update, "asyncio", counting)
        return virtual.World().run(update.genuine(digest, signature, modulus)), counting.turns


def genuine(digest: bytes, signature: bytes, modulus: bytes) -> bool:
    return turns_for(digest, signature, modulus)[0]


def test_what_the_key_signed_is_genuine_and_others_run_between_the_squarings(signed: tuple[bytes, bytes, bytes]) -> None:
    assert turns_for(*signed) == (True, 16), "all the squarings in a row are too long for a board's bus"


def test_nothing_else_is_genuine(signed: tuple[bytes, bytes, bytes]) -> None:
    digest, signature, modulus = signed
    number, n = int.from_bytes(signature, "big"), int.from_bytes(modulus, "big")
    assert not genuine(hashlib.sha256(PACKAGE + b"\0").digest(), signature, modulus)
    for wrong in (0, 1, n - 1, n - number, number ^ 1, number ^ 1 << 2000):
        assert not genuine(digest, (wrong % n).to_bytes(SIGNATURE, "big"), modulus)
    assert not genuine(digest, signature, modulus[:-1] + bytes([modulus[-1] ^ 2]))
    assert not genuine(digest, signature, modulus[1:])
    assert not genuine(digest, bytes(SIGNATURE), bytes(SIGNATURE))


def test_the_same_signature_in_larger_numbers_is_none(signed: tuple[bytes, bytes, bytes]) -> None:
    digest, signature, modulus = signed
    larger = int.from_bytes(signature, "big") + int.from_bytes(modulus, "big")
    assert not genuine(digest, larger.to_bytes(SIGNATURE + 1, "big"), modulus)


# The slots


@pytest.fixture(scope="module")
def update_of_one_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A signed package and the modulus of its key."""
    pytest.importorskip("cryptography")
    file = tmp_path_factory.mktemp("keys") / "update.pem"
    file.write_bytes(package.new_key_pair()[0])
    key = package.read_private_key(file)
    return package.sign(package.pack({"main.py": b"new"}), key), package.modulus_of(key)


@pytest.mark.parametrize(
    ("running", "boot", "outcome", "after"),
    [
        ("a", "a safe 0 1", "", "b a 0 0"),
        ("b", "b a 0 1", "", "a b 0 0"),
        ("safe", "a safe 3 0", "", "b a 0 0"),
        ("", "a safe 0 0", "", "b a 0 0"),
        ("a", "b a 3 0", "restart it first", "b a 3 0"),
        ("b", "a safe 0 0", "restart it first", "a safe 0 0"),
    ],
)
def test_an_update_never_goes_where_the_image_that_runs_is(
    update_of_one_file: tuple[bytes, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    running: str,
    boot: str,
    outcome: str,
    after: str,
) -> None:
    """The root starts the previous image also when the flash does not take that it does: then the file is about another one."""
    assert node_world
    update, digest = importlib.import_module("ohmnode.update"), importlib.import_module("ohmnode.digest")
    octets, modulus = update_of_one_file
    for slot in ("a", "b", "safe"):
        (tmp_path / slot).mkdir()
        (tmp_path / slot / "main.py").write_bytes(b"old")
    (tmp_path / "update.new").write_bytes(octets)
    hal = FakeHal()
    hal.files["boot"] = boot.encode()
    monkeypatch.setattr(update.slots, "running", lambda: running)
    monkeypatch.setattr(sys, "path", [f"{tmp_path}/{running or 'a'}", *sys.path])
    monkeypatch.setattr(os, "ilistdir", lambda folder: [(name, 0x8000) for name in os.listdir(folder)], raising=False)  # noqa: PTH208 - the node's
    for module in (update, digest):
        monkeypatch.setattr(module, "asyncio", Asyncio())
    said = virtual.World().run(update.install(hal, str(tmp_path / "update.new"), len(octets), modulus))
    assert (said, hal.files["boot"].decode()) == (outcome, after)
    changed = [slot for slot in ("a", "b", "safe") if (tmp_path / slot / "main.py").read_bytes() != b"old"]
    assert changed == ([] if outcome else [after[0]])
