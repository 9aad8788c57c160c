"""Fetches umqtt.simple, the node's MQTT client, into build/micropython-lib: one pinned version, checked by its SHA-256.

It is on PyPI by name, as a plain archive that pip refuses and `unearth` downloads. On an ESP32 the application image carries it
as well (`images/node/build.py`), so that a node never depends on what its firmware happens to have frozen in.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = REPOSITORY / "build" / "micropython-lib" / "umqtt" / "simple.py"
PACKAGE = "micropython-umqtt.simple==1.3.4"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"


def fetch(target: Path) -> None:
    """Downloads the archive, refuses it unless it is the pinned one, and writes its one module to `target`."""
    with tempfile.TemporaryDirectory() as folder:
        unearth = Path(sys.executable).with_name("unearth")
        subprocess.run([str(unearth), "--download", folder, PACKAGE], check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tar.gz")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != SHA256:
            sys.exit(f"{PACKAGE}: the download's SHA-256 is {digest}, the pinned one is {SHA256}; nothing was installed")
        with tarfile.open(archive) as files:
            member = next(m for m in files.getmembers() if m.name.endswith("umqtt/simple.py"))
            module = files.extractfile(member)
            if module is None:
                sys.exit(f"{PACKAGE}: {member.name} is not a file")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(module.read())


if __name__ == "__main__":
    fetch(TARGET)
