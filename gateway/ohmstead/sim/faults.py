"""What can go wrong on a line, to be switched on and off while a device runs.

A fault is written `KIND[=VALUE][@FIRST..LAST][:PERCENT][xTIMES]`:

    no-answer              silence
    no-answer:20%          silence to every fifth request or so
    crc                    the check sum is wrong (RTU)
    half                   the answer stops in the middle
    late=1.5s              the answer comes that much later than it should
    slow=80ms              the same, meant for a turnaround the master still waits for
    exception=4@11000..11041   exception 4 to whatever touches these registers
    refused-write=4            exception 4 to writes only
    ignored-write@1090..1102   a write is answered as if it were obeyed, and nothing changes
    wrong-unit             the answer carries another device's number
    wrong-function         the answer carries another function code
    noise=5                five bytes of noise before the answer
    unplugged              nothing goes in or out
    crcx3                  three times, then never again
"""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, replace

KINDS = (
    "no-answer", "crc", "half", "late", "slow", "exception", "wrong-unit", "wrong-function", "noise", "unplugged",
    "refused-write", "ignored-write",
)  # fmt: skip
WRITES_ONLY = ("refused-write", "ignored-write")
_DEFAULT_VALUE = {"late": 1.5, "slow": 0.08, "exception": 4.0, "noise": 3.0, "refused-write": 4.0}
_TEXT = re.compile(
    r"(?P<kind>[a-z]+(?:-[a-z]+)*?)(?:=(?P<value>\d+(?:\.\d+)?)(?P<unit>ms|s)?)?(?:@(?P<first>\d+)(?:\.\.(?P<last>\d+))?)?"
    r"(?::(?P<percent>\d+(?:\.\d+)?)%)?(?:x(?P<times>\d+))?"
)


@dataclass(frozen=True)
class Fault:
    """One fault. `value` is seconds (late, slow), an exception code, or bytes (noise); `chance` is 0..1; `times` None is for ever."""

    kind: str
    value: float = 0.0
    first: int = 0
    last: int = 0xFFFF
    chance: float = 1.0
    times: int | None = None

    def touches(self, first: int, last: int) -> bool:
        return self.first <= last and first <= self.last


def parse(text: str) -> Fault:
    """A fault from its text. Raises `ValueError` saying what is not understood."""
    match = _TEXT.fullmatch(text.strip())
    if match is None or match["kind"] not in KINDS:
        raise ValueError(f"{text!r} is no fault; known are {', '.join(KINDS)}")
    kind = match["kind"]
    value = _DEFAULT_VALUE.get(kind, 0.0)
    if match["value"] is not None:
        value = float(match["value"]) / (1000.0 if match["unit"] == "ms" else 1.0)
    first = int(match["first"]) if match["first"] else 0
    last = int(match["last"]) if match["last"] else (first if match["first"] else 0xFFFF)
    chance = float(match["percent"]) / 100.0 if match["percent"] else 1.0
    return Fault(kind, value, first, last, chance, int(match["times"]) if match["times"] else None)


class Faults:
    """The faults of one device at the moment. Switched from any thread."""

    def __init__(self, *texts: str, seed: int = 1) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._active: dict[str, Fault] = {}
        for text in texts:
            self.on(text)

    def on(self, fault: Fault | str) -> None:
        """Switches a fault on; one of the same kind is replaced."""
        known = parse(fault) if isinstance(fault, str) else fault
        with self._lock:
            self._active[known.kind] = known

    def off(self, kind: str) -> None:
        with self._lock:
            self._active.pop(kind, None)

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    @property
    def unplugged(self) -> bool:
        with self._lock:
            return "unplugged" in self._active

    def striking(self, first: int = 0, last: int = 0xFFFF, *, writes: bool = False) -> dict[str, Fault]:
        """The faults that strike a request for these registers (`writes`: one that writes them); counts down those that strike a
        limited number of times."""
        struck: dict[str, Fault] = {}
        with self._lock:
            for kind, fault in list(self._active.items()):
                if not writes and kind in WRITES_ONLY:
                    continue
                if not fault.touches(first, last) or (fault.chance < 1.0 and self._random.random() >= fault.chance):
                    continue
                struck[kind] = fault
                if fault.times is not None:
                    if fault.times <= 1:
                        del self._active[kind]
                    else:
                        self._active[kind] = replace(fault, times=fault.times - 1)
        return struck

    def noise(self, length: int) -> bytes:
        """Random bytes, the same for the same seed."""
        with self._lock:
            return self._random.randbytes(length)
