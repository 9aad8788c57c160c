"""A node's image as one file: the package of an update, and a ROMFS image that a MicroPython mounts and runs."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from ohmstead.nodes.package import PackageError, image_id, modulus_of, new_key_pair, pack, read_private_key, sign
from tests.conftest import REPOSITORY
from tests.integration.node_harness import flashed


@pytest.fixture(scope="module")
def packing() -> ModuleType:
    specification = importlib.util.spec_from_file_location("node_package", REPOSITORY / "images/node/package.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_package_is_the_same_bytes_twice_and_leaves_the_root_alone(packing: ModuleType) -> None:
    first, second = packing.package(flashed()), packing.package(flashed())
    assert first == second
    assert b"main.py" in first
    assert b"root/" not in first[: 12 + int.from_bytes(first[8:12], "big")]


def test_a_package_has_names_sizes_digests_and_contents_in_order() -> None:
    content = pack({"b/c.mpy": b"two", "a.mpy": b"one!"})
    manifest = b"".join(
        bytes([len(name)]) + name + len(text).to_bytes(4, "big") + hashlib.sha256(text).digest()
        for name, text in ((b"a.mpy", b"one!"), (b"b/c.mpy", b"two"))
    )
    assert content == b"OHMPACK1" + len(manifest).to_bytes(4, "big") + manifest + b"one!two"
    assert image_id(content) == hashlib.sha256(content).hexdigest()[:16]


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a//b", ".hidden", "x" * 100])
def test_a_name_that_a_node_refuses_is_refused_here(name: str) -> None:
    with pytest.raises(PackageError):
        pack({name: b""})


def test_what_is_too_large_for_a_node_is_refused_here() -> None:
    with pytest.raises(PackageError, match="a node takes 524032"):
        pack({"large.mpy": bytes(524_288)})


def test_a_signature_is_what_rfc_8017_says(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    file = tmp_path / "key.pem"
    file.write_bytes(new_key_pair()[0])
    key = read_private_key(file)
    content = pack({"a.mpy": b"one"})
    signed = sign(content, key)
    assert signed[:-256] == content
    opened = pow(int.from_bytes(signed[-256:], "big"), 65537, int.from_bytes(modulus_of(key), "big")).to_bytes(256, "big")
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(content).digest()
    assert opened == b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
    assert sign(content, key) == signed


def test_what_is_no_signing_key_is_said_to_be_none(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    private, public = new_key_pair()
    for content in (public, b"", private[:200]):
        (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(PackageError, match="no private key"):
            read_private_key(tmp_path / "key.pem")
    with pytest.raises(PackageError, match="ohmstead keys"):
        read_private_key(tmp_path / "missing.pem")


def test_a_romfs_image_mounts_and_its_modules_import(packing: ModuleType, tmp_path: Path, micropython: list[str]) -> None:
    for name in ("first", "second"):
        packing.romfs(flashed(), tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    parts = sorted(name.removesuffix(".mpy") for name in packing.listed(flashed()) if name.count("/") == 0 and "esp32" not in name)
    parts.remove("main.py")
    program = (
        "import sys, vfs\n"
        f"vfs.mount(vfs.VfsRom(open({str(tmp_path / 'first')!r}, 'rb').read()), '/rom')\n"
        "sys.path[:] = ['/rom', '.frozen']\n"
        f"import {', '.join(parts)}\n"
        "print(node.__file__, len(open('/rom/main.py').read()) > 0)\n"
    )
    done = subprocess.run([*micropython, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "/rom/node.mpy True", done.stderr
