"""Makes one file of a node's image, for updates: build/node-image.pack, unsigned, the same bytes every time.

`ohmstead node update` signs it with the owner's key and sends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ohmstead.nodes.package import PackageError, image_id, pack

IMAGE = Path(__file__).resolve().parents[2] / "build" / "node-image"
LISTING = "SHA256SUMS"
ROOT = "root/"


def package(image: Path) -> bytes:
    """The package of the files that an image's listing names, but for the one that no update changes. Raises PackageError."""
    names = [line.split("  ", 1)[1] for line in (image / LISTING).read_text().splitlines()]
    return pack({name: (image / name).read_bytes() for name in names if not name.startswith(ROOT)})


if __name__ == "__main__":
    target = IMAGE.with_suffix(".pack")
    try:
        content = package(IMAGE)
    except (OSError, PackageError) as error:
        sys.exit(f"{IMAGE}: {error}; `just node-image` builds it")
    target.write_bytes(content)
    print(f"{target.name}: {len(content) / 1024:.1f} KiB, unsigned, package {image_id(content)}")
