"""Hours of a broken line, strangers' answers and the wrap of the ticks, in virtual time with the node's own code: `just chaos lines`."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.chaos.rows import Plan, Row, bar
from tests.chaos.virtual import Random
from tests.unit.node_world import WRAP, Answer, Rig, device, framed, group, holding

# isort: split
from tests.chaos.fuzz_house import Ended, House

_SILENT_MS = 5000
_MINUTE = 60_000
_READS = ((3, 100, 10), (3, 200, 4))
_PROBE_MS = 31_000


def checksum_errors(seed: int, minutes: int) -> tuple[int, list[str]]:
    """Every answer has a wrong checksum for so long; then all are sound. (Broken answers, findings)."""
    chance = Random(seed)
    answered: list[int] = []
    broken = True

    def answer(request: bytes) -> Answer:
        ((delay, frame),) = holding()(request)
        if not broken:
            answered.append(rig.world.now)
            return [(delay, frame)]
        at = chance.number(2)
        return [(delay, frame[: -2 + at] + bytes([frame[-2 + at] ^ (1 << chance.number(8))]) + frame[len(frame) - 1 + at :])]

    rig = Rig([device("mtec", 1, group("1s", 1000, *_READS))], answer)
    rig.run(minutes * _MINUTE)
    tried = rig.counters()["crc"]
    wrong = []
    if rig.outbox.snapshots or rig.counters()["ok"]:
        wrong.append("a broken answer was taken for good")
    if rig.counters()["requests"] != tried:
        wrong.append(f"of {rig.counters()['requests']} broken answers {tried} were counted")
    broken = False
    healed = rig.world.now
    rig.run(40_000)
    online = [at for at, _, kind, _ in rig.outbox.events if kind == "online"]
    if not answered or answered[0] - healed > _PROBE_MS:
        wrong.append("not asked again within 31 s")
    elif not online or online[0] - answered[0] > 100 or not rig.outbox.snapshots:
        wrong.append("the first good answer did not count")
    if rig.beats > _SILENT_MS:
        wrong.append(f"the bus task was silent for {rig.beats} ms")
    return tried, [f"{finding} (seed {seed})" for finding in wrong]


def strangers(seed: int, minutes: int) -> tuple[int, list[str]]:
    """Two devices with other values; answers get mixed up in all ways that leave them sound. (Such answers, findings)."""
    chance = Random(seed)
    earlier: list[bytes] = []
    tried = 0

    def value(unit: int) -> Callable[[int], int]:
        return lambda address: unit << 12 | address

    def answer(request: bytes) -> Answer:
        nonlocal tried
        ((delay, frame),) = holding(value(request[0]))(request)
        kind = chance.number(10)
        stranger = b""
        if kind == 0:  # the other device's, for the same registers
            other = 3 - request[0]
            ((_, stranger),) = holding(value(other))(request)
            stranger = framed(other, stranger[1:-2])
        elif kind == 1 and earlier:  # an answer to something else, of this unit or the other
            stranger = earlier[chance.number(len(earlier))]
            if len(stranger) == len(frame) and stranger[0] == request[0]:
                stranger = b""  # nobody can tell: it is sound, and of the very same shape
        elif kind == 2:  # another function's
            stranger = framed(request[0], bytes([7 - request[1]]) + frame[2:-2])
        elif kind == 3:  # of another length
            stranger = framed(request[0], bytes([request[1], 2]) + frame[3:5])
        elif kind == 4:  # a write's
            stranger = framed(request[0], b"\x10" + request[2:6])
        earlier.append(frame)
        del earlier[:-6]
        if not stranger:
            return [(delay, frame)]
        tried += 1
        return [(delay, stranger)] if chance.number(2) else [(delay, stranger), (delay + 20 + chance.number(60), frame)]

    groups = [group("1s", 1000, (3, 100, 10), (3, 200, 4)), group("5s", 5000, (4, 300, 6))]
    rig = Rig([device("mtec", 1, *groups), device("meter", 2, *groups)], answer, WRAP - 30_000 * minutes)
    rig.run(minutes * _MINUTE)
    units = {"mtec": 1, "meter": 2}
    wrong = [
        f"{name} {address} was read as {word:#06x} (seed {seed})"
        for _, name, _, _, words in rig.outbox.snapshots
        for address, word in words.items()
        if word != value(units[name])(address)
    ]
    if rig.beats > _SILENT_MS:
        wrong.append(f"the bus task was silent for {rig.beats} ms (seed {seed})")
    if len(rig.outbox.snapshots) < 10 * minutes:
        wrong.append(f"hardly anything was read any more: {len(rig.outbox.snapshots)} snapshots (seed {seed})")
    return tried, wrong


class Lease(House):
    """A sound device, and one command shortly before the ticks wrap. `written`: (ms, value) of each write."""

    def __init__(self, seed: int, before_ms: int) -> None:
        super().__init__(seed)
        self.hostile = False
        self.world.now = WRAP - before_ms
        self.written: list[tuple[int, bytes]] = []
        self._end = self.world.now + _MINUTE

    def _check(self, function: int, address: int, request: bytes) -> None:
        self.written.append((self.world.now, request[7:9]))
        for i in range(0, len(request) - 9, 2):
            self.registers[address + i // 2] = request[7 + i] << 8 | request[8 + i]

    def beat(self) -> None:
        self.guard.evaluate()
        if self.world.now > self._end:
            raise Ended

    def live(self, lease_ms: int) -> None:
        self.guard.evaluate()
        self._command("power", b"\x01\x00\x00\x01", lease_ms)
        try:
            self.world.run(self.bus.run(self))
        except Ended:
            return


def wraps(seed: int) -> tuple[int, list[str]]:
    """The ticks wrap in the middle of polls and of a lease."""
    chance = Random(seed)
    wrong = []
    before = 1 + chance.number(30_000)
    rig = Rig([device("mtec", 1, group("1s", 1000, *_READS), group("10s", 10_000, (3, 300, 2)))], holding(), WRAP - before)
    rig.run(_MINUTE)
    taken = [(at - WRAP + before, name) for at, _, name, _, _ in rig.outbox.snapshots]
    if [at // 1000 for at, name in taken if name == "1s"] != list(range(60)):
        wrong.append(f"the polls of a second lost their grid, {before} ms before the wrap")
    if any(word != address for _, _, _, _, words in rig.outbox.snapshots for address, word in words.items()):
        wrong.append(f"a wrong value was read, {before} ms before the wrap")
    lease_ms = 2000 + chance.number(40_000)
    house = Lease(seed, 1 + chance.number(lease_ms))
    began = house.world.now
    house.live(lease_ms)
    ends = [at - began for at, raw in house.written if raw == b"\0\0" and at - began > 1000]
    if not any(raw == b"\x01\x00" for _, raw in house.written):
        wrong.append(f"the command was not carried out, {WRAP - began} ms before the wrap")
    elif not ends or not lease_ms - 50 <= ends[0] <= lease_ms + 1300:
        wrong.append(f"a lease of {lease_ms} ms ended after {ends[:1]} ms, begun {WRAP - began} ms before the wrap")
    return 2, [f"{finding} (seed {seed})" for finding in wrong]


def rows(plan: Plan) -> list[Row]:
    hours, mixed, wrapped = plan.of(10, 1), plan.of(40, 4), plan.of(100, 10)
    seeds = itertools.count(plan.seed * 1000)
    parts: list[tuple[str, str, int, Callable[[int], tuple[int, list[str]]], str]] = [
        ("checksum errors for an hour, all", "none is believed, the first good one counts", hours, lambda s: checksum_errors(s, 60), "h"),
        ("another's frame for an answer", "none is believed", mixed, lambda s: strangers(s, 30), "half hours"),
        ("ticks wrap in polls and leases", "periods and leases keep their time", wrapped, wraps, "pairs"),
    ]
    done = []
    with bar("lines", hours + mixed + wrapped) as tell:
        for fault, budget, count, one, unit in parts:
            tried = 0
            wrong: list[str] = []
            for _ in range(count):
                more, findings = one(next(seeds))
                tried += more
                wrong += findings
                tell(1)
            done.append(Row(fault, tried, wrong, budget, 100, f"{count} {unit} of virtual time"))
    return done
