"""Makes one file of a node's image: build/node-image.pack, for updates, unsigned; with `--romfs` build/node-image.romfs as well.

The same image makes the same bytes every time. `ohmstead node update` signs the package with the owner's key and sends it. A ROMFS image
is for MicroPython that was built with VfsRom (the stock firmware of an ESP32 is not): `mpremote romfs deploy` puts it there, the node's
code then runs where it lies and takes no memory. VfsRom has no checksum; SHA256SUMS is in the image.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ohmstead.nodes.package import PackageError, image_id, pack

IMAGE = Path(__file__).resolve().parents[2] / "build" / "node-image"
LISTING = "SHA256SUMS"
ROOT = "root/"
"""What lies beside the slots and no update changes."""


def listed(image: Path) -> list[str]:
    """The files of an image, without what is beside the slots."""
    names = [line.split("  ", 1)[1] for line in (image / LISTING).read_text().splitlines()]
    return [name for name in names if not name.startswith(ROOT)]


def package(image: Path) -> bytes:
    """The unsigned package of an image. Raises PackageError."""
    return pack({name: (image / name).read_bytes() for name in listed(image)})


def romfs(image: Path, target: Path) -> None:
    """A ROMFS image with the files of a node's image and their listing. Raises subprocess.CalledProcessError with mpremote's words."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (*listed(image), LISTING):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image / name, Path(folder) / name)
        mpremote = Path(sys.executable).with_name("mpremote")
        command = [str(mpremote), "romfs", "--no-mpy", "--output", str(target), "build", folder]
        subprocess.run(command, check=True, capture_output=True, text=True)


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--romfs"]):
        sys.exit("usage: package.py [--romfs]")
    target = IMAGE.with_suffix(".pack")
    try:
        content = package(IMAGE)
        target.write_bytes(content)
        print(f"{target.name}: {len(content) / 1024:.1f} KiB, unsigned, package {image_id(content)}")
        if arguments:
            rom = IMAGE.with_suffix(".romfs")
            romfs(IMAGE, rom)
            print(f"{rom.name}: {rom.stat().st_size / 1024:.1f} KiB")
    except (OSError, PackageError) as error:
        sys.exit(f"{IMAGE}: {error}; `just node-image` builds it")
    except subprocess.CalledProcessError as error:
        sys.exit(f"mpremote romfs: {error.stderr.strip() or error.stdout.strip()}")


if __name__ == "__main__":
    main(sys.argv[1:])
