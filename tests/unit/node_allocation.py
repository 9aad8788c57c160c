"""Run by MicroPython: prints how many bytes the guard takes from the heap in so many evaluations with fresh telemetry.

`micropython -m tests.unit.node_allocation`; MICROPYPATH names the repository, `firmware` and `shared`.
"""

import gc
import sys

sys.path.append(".frozen")

from ohmcore.pack import Packer
from ohmnode.guard import Guard  # type: ignore[import-not-found] # on MicroPython's path
from ohmnode.schedule import Device, Group  # type: ignore[import-not-found] # on MicroPython's path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TURNS = 1000
LASTING = 1 << 40
SAFE, LIVE = bytes(4), b"\0\1\0\0"
LEASED, IDLE = 2, 4  # as in `leases` and `writes`


class Machine:
    """A clock by hand; no flash."""

    def __init__(self) -> None:
        self.now = 0

    def ticks_ms(self) -> int:
        return self.now

    def ticks_diff(self, later: int, earlier: int) -> int:
        return later - earlier

    def read(self, name: str) -> None:
        return None

    def write(self, name: str, content: bytes) -> None:
        pass


class Box:
    """Says nothing to nobody."""

    def __init__(self) -> None:
        self.packer = Packer(bytearray(1104))

    def log(self, task: str, words: str) -> None:
        pass

    def event(self, device: str, kind: str, detail: "dict[str, Any]") -> None:
        pass


def rule(number: int) -> "dict[str, Any]":
    described: dict[str, Any] = {
        "name": "rule",
        "device": "battery",
        "group": "1s",
        "below": 15,
        "clear": 18,
        "stale_ms": 60000,
        "kind": "i16",
    }
    described["trip"] = number % 2 == 0
    described["controls"] = [["battery", "control0"], ["battery", "control1"]]
    return described


def control(number: int) -> "dict[str, Any]":
    fields = [[0, 2, 0, 0, 0x7FFFFFFF, 1, None]]
    described: dict[str, Any] = {"name": f"control{number}", "blocks": [[16, 200, 2]], "fields": fields, "safe": SAFE, "reversion": SAFE}
    described["lease"] = 1
    described["budget"] = 20
    return described


def main() -> None:
    machine = Machine()
    guard = Guard(machine, Box(), {"limits": [rule(i) for i in range(10)]})
    group = Group("1s", 1000, 0, [[3, 100, 10]], 0)
    group.position = 0
    device = Device("battery", 1, 100, 1, 5, [group])
    for i in range(9):
        guard.add(device, control(i))
    guard.bind([device])
    guard.start()
    for one in guard.controls:
        work = one.work
        work.state, work.phase, work.target = LEASED, IDLE, LIVE
        work.lease_ms = work.left_ms = LASTING
    for i in range(20):
        group.image[i] = 50

    def turn() -> None:
        machine.now += 250
        guard.fresh(group)
        guard.evaluate()

    turn()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()  # type: ignore[attr-defined] # MicroPython
    for _ in range(TURNS):
        turn()
    taken = gc.mem_alloc() - before  # type: ignore[attr-defined] # MicroPython
    busy = [one.name for one in guard.controls if one.work.state != LEASED]
    print(taken, len(busy), guard.cause or "-")  # noqa: T201 - the answer


main()
