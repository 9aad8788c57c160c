"""What a house allows its controls: thresholds on telemetry, and what a command must keep to. Node and gateway judge by the same code.

No clock in here: whoever asks says how many milliseconds have gone by. So nothing depends on where ticks wrap or what a wall clock
does, and evaluating a rule allocates nothing. All values are raw register values, all of them integers.
"""

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Buffer = bytes | bytearray | memoryview
    Field = Sequence[Any]  # word offset, words, signed, least, most, step, allowed values or None

_FOR_EVER = const(0x1FFFFFFF)  # ms; more would be no small integer on a 32-bit port
_HOUR_MS = const(3600000)
_HOURS = const(25)


class Rule:
    """A limit on one value of telemetry. `spec`: see the rules of `limits` in `firmware/README.md`; ValueError where it makes no sense.

    It is active from the moment that the value has been beyond its threshold for `hold_ms`, until a value has come back as far as
    `clear`. It is stale before the first value and once the last one is older than `stale_ms`.
    """

    def __init__(self, spec: "Mapping[str, Any]") -> None:
        self.name = str(spec["name"])
        self.trip = bool(spec.get("trip"))
        self.value: "int | None" = None  # None: not known yet
        self.active = False
        above = spec.get("above") is not None
        below = spec.get("below")
        self._limit = int(spec["above"] if above else below or 0)
        self._clear = int(spec.get("clear", self._limit))
        # In one number, since a node's memory is small: words, how they are to be read, and whether the limit is an upper one.
        self._form = int(spec.get("words", 1)) << 3 | (spec.get("kind", "u16")[0] == "i") << 2 | (spec.get("order", "big") == "little") << 1
        self._form |= above
        self._start = 2 * int(spec.get("offset", 0))
        self._hold_ms = int(spec.get("hold_ms", 0))
        self._stale_ms = int(spec.get("stale_ms", 60000))
        self._held = -1  # for so long beyond its threshold; below 0: not
        self._age = 0
        if above == (below is not None) or (self._clear > self._limit if above else self._clear < self._limit):
            raise ValueError(f"limit {self.name}: its thresholds make no sense")

    def read(self, buf: "Buffer", start: int) -> None:
        """Takes the value out of the registers of its read, which begin at byte `start`. Allocates nothing."""
        form = self._form
        self.see(integer(buf, start + self._start, form >> 3, form & 4, bool(form & 2)))

    def see(self, value: int) -> None:
        """A fresh value."""
        self.value = value
        self._age = 0
        if value > self._limit if self._form & 1 else value < self._limit:
            self._held = max(self._held, 0)
            if self._hold_ms == 0:
                self.active = True
        else:
            self._held = -1
            if self.cleared():
                self.active = False

    def advance(self, ms: int) -> None:
        """So much time has gone by. Allocates nothing."""
        self._age = min(self._age + ms, _FOR_EVER)
        if self._held >= 0 and not self.active:
            self._held += ms
            if self._held >= self._hold_ms:
                self.active = True

    def lost(self) -> bool:
        """No value for longer than `stale_ms`, since the last one or since the start."""
        return self._age > self._stale_ms

    def blocks(self) -> str:
        """Why a control of this rule may hold nothing but its safe value: the rule's name or "stale"; empty: it may hold others."""
        if self.value is None or self._age > self._stale_ms:
            return "stale"
        return self.name if self.active else ""

    def cleared(self) -> bool:
        """Whether the last value is fresh and as far on the safe side as `clear`, whatever was before."""
        if self.value is None or self._age > self._stale_ms:
            return False
        return self.value <= self._clear if self._form & 1 else self.value >= self._clear

    def tripped(self) -> bool:
        """Whether a trip has to latch."""
        return self.trip and (self.active or self._age > self._stale_ms)


class Budget:
    """At most `most` writes in any 24 hours. `hours`: how many there were in each of the last 25 hours, this one first.

    Keep `hours` over restarts; what is not known to have passed has not passed.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.hours = bytearray(_HOURS)
        self._ms = 0

    def left(self) -> int:
        return 0 if self.hours[0] == 255 else self.most - sum(self.hours)

    def spend(self, writes: int) -> None:
        self.hours[0] = min(self.hours[0] + writes, 255)

    def advance(self, ms: int) -> None:
        self._ms += ms
        while self._ms >= _HOUR_MS:
            self._ms -= _HOUR_MS
            hours = self.hours
            for i in range(_HOURS - 1):
                hours[_HOURS - 1 - i] = hours[_HOURS - 2 - i]
            hours[0] = 0


def refusal(raw: "Buffer", words: int, fields: "Sequence[Field]", safe: "Buffer | None") -> str:
    """Why a control of so many `words` must not be given these register bytes; empty: it may.

    "malformed", "out of range", "off step" or "not allowed". A word that no field covers must be that of the safe value, and
    the safe value itself may always be given.
    """
    if len(raw) != 2 * words:
        return "malformed"
    if safe is not None and raw == safe:
        return ""
    for word in range(words):
        covered = safe is not None and raw[2 * word] == safe[2 * word] and raw[2 * word + 1] == safe[2 * word + 1]
        for field in fields:
            covered = covered or field[0] <= word < field[0] + field[1]
        if not covered:
            return "not allowed"
    for offset, count, signed, least, most, step, allowed in fields:
        value = integer(raw, 2 * offset, count, signed)
        if not least <= value <= most:
            return "out of range"
        if (value - least) % (step or 1):
            return "off step"
        if allowed is not None and value not in allowed:
            return "not allowed"
    return ""


def ramped(current: int, target: int, most: int, field: "Field") -> int:
    """How far the value may go at once: by `most` (not less than the field's step), and only to values that the field has.

    Not for a field of some values only: a control of such a one has no ramp.
    """
    if abs(target - current) <= most:
        return target
    least, most_of_all, step = int(field[3]), int(field[4]), int(field[5] or 1)
    if target > current:
        return max(least, least + (current + most - least) // step * step)
    return min(most_of_all, least - (least - current + most) // step * step)


def integer(buf: "Buffer", start: int, words: int, signed: "bool | int" = False, little: bool = False) -> int:
    """Registers as they came over the line, from byte `start` on, as one number. Allocates nothing where it is a small one."""
    number = 0
    for word in range(words):
        position = start + 2 * (words - 1 - word if little else word)
        number = number << 16 | buf[position] << 8 | buf[position + 1]
    if signed and number >> (16 * words - 1):
        number -= 1 << (16 * words)
    return number
