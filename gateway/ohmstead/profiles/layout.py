"""From a control's value to the registers that are written: all its blocks, in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ohmcore import kinds
from ohmstead.profiles.controls import VALUE, Control, RawLimits
from ohmstead.profiles.model import Profile
from ohmstead.units import Bounds

End = tuple[str, str]
"""An end of a limit: its name, `low` or `high`."""


class Request(NamedTuple):
    """One write: function 6 or 16, first holding register, number of registers."""

    function: int
    address: int
    words: int


class Free(NamedTuple):
    """Words of a command that may differ from the safe ones. `first` counts words from the command's begin; raw values."""

    first: int
    words: int
    signed: bool
    minimum: int
    maximum: int
    step: int
    allowed: tuple[int, ...] | None


@dataclass(frozen=True)
class Layout:
    """How a control is written. `on` and `off` are the words in force and at the safe value; the value's own are None. Without blocks it
    is written by the field of its point."""

    blocks: tuple[Request, ...]
    at: int
    """The first of the value's words."""
    words: int
    """How many words the value has."""
    kind: str
    order: str
    on: tuple[int | None, ...]
    off: tuple[int | None, ...]
    ranges: Mapping[int, tuple[int, int]]
    safe: int | None
    reversion: int | None
    """Raw values; None: it has none, or keeps what was written."""

    def registers(self, raw: int) -> list[int]:
        """The words of all blocks for a raw value. Raises ohmcore's errors for a value that the register cannot hold."""
        octets = kinds.encode(self.kind, raw, self.words, self.order)
        value = [int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)]
        column = self.off if raw == self.safe else self.on
        return [value[index - self.at] if word is None else word for index, word in enumerate(column)]

    def octets(self, raw: int) -> bytes:
        """The same as bytes, high byte first."""
        return b"".join(word.to_bytes(2, "big") for word in self.registers(raw))

    def fields(self, limits: RawLimits) -> list[Free]:
        """What a command may change; the first one is the value."""
        signed = self.kind.startswith("i")
        allowed = limits.allowed
        free = [Free(self.at, self.words, signed, limits.minimum, limits.maximum, limits.step, allowed)]
        for index, (on, off) in enumerate(zip(self.on, self.off, strict=True)):
            if self.at <= index < self.at + self.words:
                continue
            if index in self.ranges:
                low, high = self.ranges[index]
                free.append(Free(index, 1, low < 0, low, high, 1, None))
            elif on is not None and off is not None and on != off:
                low, high = sorted((on, off))
                free.append(Free(index, 1, False, low, high, 1, (low, high)))
        return free


def layout(profile: Profile, control: str, ends: Mapping[str, Bounds] | None = None) -> Layout:
    """The layout of a control; `ends` are the ranges of the limits at this home (the profile's own unless given), in the units of
    their points. Raises KeyError for an unknown control, LookupError where a block needs the end of a limit that has none."""
    chosen = profile.controls[control]
    point = profile.points[chosen.point]
    safe, reversion = (_raw(profile, chosen, said) for said in (chosen.safe, chosen.reversion))
    if not chosen.block:
        blanks = (None,) * point.words
        blocks = (Request(chosen.function, point.address, point.words),) if point.table else ()
        return Layout(blocks, 0, point.words, str(point.kind), point.order, blanks, blanks, {}, safe, reversion)
    ends = limit_ends(profile) if ends is None else ends
    on: list[int | None] = []
    off: list[int | None] = []
    ranges: dict[int, tuple[int, int]] = {}
    at = 0
    requests: list[Request] = []
    for block in chosen.block:
        begin = len(on)
        for word in block.words:
            if word.is_value:
                at = len(on)
            if word.range is not None:
                ranges[len(on)] = (int(word.range.low), int(word.range.high))
            width = point.words if word.is_value else 1
            address = block.holding + len(on) - begin
            on += _column(profile, word.on, address, ends, width)
            off += _column(profile, word.off, address, ends, width)
        requests.append(Request(block.function, block.holding, len(on) - begin))
    return Layout(tuple(requests), at, point.words, str(point.kind), point.order, tuple(on), tuple(off), ranges, safe, reversion)


def limit_ends(profile: Profile, written: Mapping[str, str] | None = None) -> dict[str, Bounds]:
    """The range of each limit, narrowed by what an owner has `written`, in the unit of its first point. Raises UnitError."""
    said = written or {}
    return {name: limit.bounds(profile.points[limit.point[0]].unit, said.get(name)) for name, limit in profile.limits.items()}


def _column(profile: Profile, word: int | str, address: int, ends: Mapping[str, Bounds], width: int) -> list[int | None]:
    if word == VALUE:
        return [None] * width
    if isinstance(word, int):
        return [word & 0xFFFF]
    limit, _, end = word.partition(".")
    size = getattr(ends[limit], end)
    if size is None:
        raise LookupError(f"the limit {limit} has no {end} end here")
    scale = next(point.scale for point in profile.points.values() if point.table == "holding" and point.address == address)
    return [round(size / scale) & 0xFFFF]


def _raw(profile: Profile, control: Control, said: float | str | None) -> int | None:
    """The raw value of what a profile says for `safe` or `reversion`."""
    if said is None or said == "keep":
        return None
    if isinstance(said, str):
        return profile.choices(control.id)[said]
    return round(said / profile.points[control.point].scale)
