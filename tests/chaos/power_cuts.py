"""Power cuts at every operation of the node's flash: `just chaos power`.

The node's own code writes to littlefs on a flash of blocks in a file; at a program or erase drawn by lot the power goes, with part of that
operation done. A fresh interpreter then starts like a node, sometimes to lose its power again, and what it finds is held against what had
been done for good before the cut. Each operation has its invariant in `OPERATIONS`. Counted, seeded, repeatable: 0 inconsistent boots.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from msgpack import packb, unpackb  # type: ignore[import-untyped] # it comes without types

from tests.chaos.rows import REPOSITORY, Plan, RigError, Row, bar, micropython
from tests.integration import node_harness

PROGRAM = Path(__file__).with_name("cut_node.py")
_CUT_CODE = 3
_BASES = 3
"""So many different histories an operation begins from."""
NEW = 5000

Lines = Sequence[Sequence[str]]


class CutError(RigError):
    """The rig itself failed: the text has the words of the interpreter."""


class Rig:
    """One flash. `files` holds what the operations need from outside."""

    def __init__(self, micropython: str, folder: Path) -> None:
        self.micropython = micropython
        self.folder = folder
        self.image = folder / "flash"
        self.files = folder / "files"
        self.files.mkdir()
        for number in range(6):
            (self.files / f"config-{number}").write_bytes(configuration(number))
        (self.files / "config-new").write_bytes(delivered())
        for name, content in update_files().items():
            (self.files / name).write_bytes(content)

    def start(self, mode: str, operation: str, seed: int, cut: int = 0) -> tuple[bool, list[list[str]]]:
        """(whether the power went, the words of each line). Raises CutError when the program failed of itself."""
        done = subprocess.run(
            [self.micropython, "-X", "heapsize=4m", str(PROGRAM), str(self.image), mode, operation, str(seed), str(cut), str(self.files)],
            env={"MICROPYPATH": f"{REPOSITORY / 'firmware'}:{REPOSITORY / 'shared'}:.frozen"},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        lines = [line.split(" ") for line in done.stdout.splitlines()]
        if done.returncode == _CUT_CODE and cut:
            return True, lines
        if done.returncode:
            raise CutError(
                f"{mode} of {operation}, seed {seed}, cut {cut}: exit code {done.returncode}\n{done.stdout[-500:]}{done.stderr[-2000:]}"
            )
        return False, lines

    def blank(self) -> None:
        self.image.write_bytes(b"\xff" * 96 * 4096)

    def prepare(self, operation: str, seed: int) -> tuple[Path, Lines, int, int]:
        """A flash with a history: its copy, what the history did, and the programs and erases of the whole operation after it."""
        self.blank()
        base = self.folder / f"{operation}-{seed}"
        _, before = self.start("prepare", operation, seed)
        shutil.copyfile(self.image, base)
        _, lines = self.start("run", operation, seed + 1)
        programs, erases = (int(word) for word in lines[-1][1:])
        return base, said("did", before), programs, erases


def configuration(number: int) -> bytes:
    """A `config.ohm` that says its number, each of another size."""
    content = {
        "protocol": 1, "site": "home", "node": "cellar", "mqtt": {}, "buses": [], "spool": {}, "bus_report_ms": number,
        "fill": bytes(900 * number),
    }  # fmt: skip
    body: bytes = packb(content)
    return b"OHM1" + hashlib.sha256(body).digest() + body


def delivered() -> bytes:
    """A configuration that a node takes, of some size: it reports every `NEW` ms."""
    devices = [node_harness.device(f"meter{number}", number, node_harness.group("1s", 1000, (3, 0, 10))) for number in range(1, 20)]
    return node_harness.configuration("/dev/ttyS0", [("127.0.0.1", 1883)], *devices, report_ms=NEW)


def update_files() -> dict[str, bytes]:
    """A signed package of an image, the key's modulus, and the file that picks one."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    from ohmstead.nodes import package

    key = rsa.generate_private_key(65537, 2048)
    image = {"main.py": b"new main" * 500, "node.mpy": b"new node" * 4000}
    return {
        "package": package.sign(package.pack(image), key),
        "modulus": package.modulus_of(key),
        "starter.py": (REPOSITORY / "firmware/root/starter.py").read_bytes(),
        "b-new": hashlib.sha256(b"".join(b"/" + name.encode() + image[name] for name in sorted(image))).hexdigest().encode(),
    }


def said(kind: str, lines: Lines) -> list[list[str]]:
    return [list(words[1:]) for words in lines if words[0] == kind]


# The invariants: what must not be, in words; empty: all is as it should be. `before`: what the history did.


def judge_configuration(_rig: Rig, _before: Lines, did: Lines, found: Lines) -> str:
    last = int(did[-1][0]) if did else 0
    current, good, source, complaint = int(found[0][0]), int(found[0][1]), found[0][2], " ".join(found[0][3:])
    if source != "config.ohm" or complaint:
        return f"runs on {source}: {complaint}"
    if current not in (last, last + 1):
        return f"runs on configuration {current} after {last} had been taken"
    return "" if current - 1 <= good <= current else f"the last good configuration is {good} while {current} runs"


def judge_counter(_rig: Rig, _before: Lines, did: Lines, found: Lines) -> str:
    last, now = int(did[-1][0]) if did else 100, int(found[0][0])
    return "" if last <= now <= last + 164 else f"commands beyond {now} are taken, {last} had been obeyed"


def judge_control_state(_rig: Rig, _before: Lines, did: Lines, found: Lines) -> str:
    last, cause = int(did[-1][0]) if did else 0, " ".join(found[0])
    return "" if cause in (f"stop {last}", f"stop {last + 1}") else f"latched by {cause!r} after stop {last}"


def judge_spool(_rig: Rig, before: Lines, did: Lines, found: Lines) -> str:
    return _judge_spool(before, did, found, thinned=False)


def judge_thinning(_rig: Rig, before: Lines, did: Lines, found: Lines) -> str:
    return _judge_spool(before, did, found, thinned=True)


def _judge_spool(before: Lines, did: Lines, found: Lines, thinned: bool) -> str:
    """What was put on flash and not acknowledged is there; of readings at least their number is told where segments are thinned."""
    stored: dict[int, int] = {}
    settled: dict[int, int] = {}
    events: set[tuple[int, int]] = set()
    for words in [*before, *did]:
        if words[0] == "event":
            events.add((int(words[1]), int(words[2])))
        elif words[0] == "acking":  # the cut may come before anything was freed, or after
            settled[int(words[1])] = int(words[2])
        elif words[0] == "stored":
            boot, last, _ = map(int, words[1:])
            stored[boot] = last
    held: set[tuple[int, int]] = set()
    gone: set[tuple[int, int]] = set()
    for words in found:
        if words[0] == "table" and words[1] != "0":
            return f"the flash refused {words[1]} times"
        if words[0] == "frame":
            frame = unpackb(bytes.fromhex(words[1]))
            held.add((frame[1], frame[2]))
        if words[0] == "told":
            detail = unpackb(bytes.fromhex(words[1]))
            gone.update((detail["boot"], seq) for first, last in detail["ranges"] for seq in range(first, last + 1))
            gone.update((detail["boot"], seq) for seq in range(1, detail.get("first", 1)))
    for boot, last in stored.items():
        due = {(boot, seq) for seq in range(settled.get(boot, 0) + 1, last + 1)}
        if lost := (due & events) - held:
            return f"{len(lost)} events are lost, such as {min(lost)}"
        if lost := due - held - (gone if thinned else set()):
            return f"{len(lost)} of {len(due)} frames are lost, such as {min(lost)}"
        if thinned and len(due & held) < len(due) // 16:
            return f"only {len(due & held)} of {len(due)} frames are left"
    return ""


def judge_chunks(rig: Rig, before: Lines, did: Lines, found: Lines) -> str:
    """What the node said that it has it has, unless it has made use of it."""
    installed = [words for words in did if words[0] == "installed"]
    slot = next(words[1] for words in found if words[0] == "slot")
    has = max((int(words[1]) for words in did if words[0] == "has"), default=0)
    kept = max((int(words[1]) for words in found if words[0] == "part"), default=0)
    if slot == "a" and kept < has:
        return f"has {kept} bytes of an update, and had told of {has}"
    return judge_update(rig, before, installed, found)


def judge_configuration_in_chunks(_rig: Rig, _before: Lines, _did: Lines, found: Lines) -> str:
    said_of = {words[0]: words[1] for words in found}
    if said_of["current"] != "0":
        return f"runs on configuration {said_of['current']}, which nobody has tried"
    return "" if said_of["next"] in ("none", str(NEW)) else f"would try {said_of['next']}"


def judge_update(rig: Rig, _before: Lines, did: Lines, found: Lines) -> str:
    slots, files = [words[1:] for words in found if words[0] == "slot"], {words[1]: words[2] for words in found if words[0] == "files"}
    slot = slots[0][0]
    for name in ("a", "safe"):
        if files[name] != old_slot(name):
            return f"the image {name} was touched"
    if did and slot != "b":
        return f"installed, and {slot} starts"
    if slot not in ("a", "b"):
        return f"{slot} starts"
    if slot == "b" and files["b"] != (rig.files / "b-new").read_text():
        return "an image starts that is not whole"
    return ""


def old_slot(slot: str) -> str:
    return hashlib.sha256(
        b"".join(f"/{name}".encode() + f"{slot} {name} old".encode() * 300 for name in ("main.py", "node.mpy"))
    ).hexdigest()


Judge = Callable[[Rig, Lines, Lines, Lines], str]
OPERATIONS: Mapping[str, Judge] = {
    "configuration": judge_configuration,
    "counter": judge_counter,
    "control state": judge_control_state,
    "spool": judge_spool,
    "thinning": judge_thinning,
    "update": judge_update,
    "update in chunks": judge_chunks,
    "configuration in chunks": judge_configuration_in_chunks,
}


class Outcome(NamedTuple):
    """Of one operation: cuts that happened, boots that were cut as well, the complaints, programs and erases that could be hit."""

    cuts: int
    second_cuts: int
    inconsistent: list[str]
    moments: int


def campaign(micropython: str, folder: Path, operation: str, cuts: int, seed: int, tell: Callable[[], object] = lambda: None) -> Outcome:
    """`cuts` cuts of one operation, from several histories, and half of the starts after them cut as well, if they come that far.

    Calls `tell` after each. Raises CutError when a boot fails altogether without a cut of its own.
    """
    dice = random.Random(f"{operation} {seed}")
    folder.mkdir()
    rig = Rig(micropython, folder)
    bases = [
        (number, *rig.prepare(operation, number)) for number in (seed * 1000 + 10 * base for base in range(min(_BASES, -(-cuts // 2))))
    ]
    second = 0
    wrong = []
    for turn in range(cuts):
        history, base, before, programs, erases = bases[turn % len(bases)]
        cut = dice.randint(1, programs + erases)
        shutil.copyfile(base, rig.image)
        gone, lines = rig.start("run", operation, history + 1, cut)
        if not gone:
            raise CutError(f"{operation}, history {history}: the cut at {cut} of {programs + erases} did not come")
        again = 0
        try:
            if dice.random() < 0.5:
                again = int(dice.expovariate(1 / 8)) + 1
                gone, more = rig.start("recover", operation, history + 2 + turn, again)
                second += gone
                lines += more
            _, look = rig.start("look", operation, turn)
            complaint = OPERATIONS[operation](rig, before, said("did", lines), said("found", look))
        except CutError as failed:
            complaint = f"no start: {failed}"
        if complaint:
            then = f", then at {again} of the start after it" if again else ""
            wrong.append(f"{operation}, seed {seed}, history {history}, cut at {cut} of {programs + erases}{then}: {complaint}")
        tell()
    return Outcome(cuts, second, wrong, sum(programs + erases for _, _, _, programs, erases in bases))


def rows(plan: Plan) -> list[Row]:
    """Cuts at the node's files, two operations at a time."""
    program = micropython()
    each = plan.of(60, 6)
    folder = plan.room("power")
    done: list[Row] = []
    with bar("power cuts", each * len(OPERATIONS)) as tell, ThreadPoolExecutor(2) as pool:
        lock = Lock()

        def step() -> None:
            with lock:
                tell(1)

        def one(operation: str) -> Outcome:
            return campaign(program, folder / operation.replace(" ", "-"), operation, each, plan.seed, step)

        for operation, outcome in zip(OPERATIONS, pool.map(one, OPERATIONS), strict=True):
            note = f"at {outcome.moments} programs and erases, {outcome.second_cuts} of the starts cut as well"
            done.append(
                Row(f"power cut: {operation}", outcome.cuts + outcome.second_cuts, outcome.inconsistent, "0 inconsistent boots", 50, note)
            )
    return done
