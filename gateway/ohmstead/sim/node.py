"""The real node for the demo: the firmware of this checkout on the MicroPython of this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from ohmcore.pack import Packer
from ohmstead.config.model import Config
from ohmstead.nodes.compile import MAGIC, MAX_BYTES, node_config, read_node_config

from .children import Child

CHECKOUT = Path(__file__).resolve().parents[3]
RESTART = 85
"""The exit code of a node that wants to be started again (`hal/unix.py`)."""

HEAP = "2m"
"""Room to compile the sources in; a board gets them compiled and has far less. `just bench` measures what the node needs."""


def find_micropython() -> str | None:
    """Beside this Python, or on PATH."""
    return shutil.which("micropython", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def why_none() -> str | None:
    """Why no node can run here, in words; None where one can."""
    if find_micropython() is None:
        return "there is no `micropython` on this machine (no wheel for it; put one on PATH)"
    if not (CHECKOUT / "firmware" / "main.py").exists():
        return "the firmware is not here (it comes with a checkout, not with the package)"
    if not (CHECKOUT / "build" / "micropython-lib" / "umqtt" / "simple.py").exists():
        return "umqtt.simple is not here (just setup demo fetches it)"
    return None


def node_process(config: Config, node: str, folder: Path, *, report_every_ms: int | None = None) -> Child:
    """The node `node` of `config`, its state below `folder`, ready to be started.

    `report_every_ms` makes it report its bus counters more often than a node in a house does.
    """
    program = find_micropython()
    if program is None:
        raise FileNotFoundError("micropython")
    state = folder / node
    state.mkdir(exist_ok=True)
    compiled = node_config(config, node)
    (state / "config.ohm").write_bytes(compiled if report_every_ms is None else _reporting(compiled, report_every_ms))
    paths = os.pathsep.join(str(CHECKOUT / part) for part in ("firmware", "shared", "build/micropython-lib"))
    command = [program, "-X", f"heapsize={HEAP}", str(CHECKOUT / "firmware" / "main.py"), str(state)]
    return Child(f"the node {node}", command, folder / f"{node}.log", folder=CHECKOUT, environment={"MICROPYPATH": paths}, again=RESTART)


def _reporting(compiled: bytes, every_ms: int) -> bytes:
    content = read_node_config(compiled)
    content["bus_report_ms"] = every_ms
    packer = Packer(bytearray(MAX_BYTES))
    packer.value(content)
    body = packer.message()
    return MAGIC + hashlib.sha256(body).digest() + body
