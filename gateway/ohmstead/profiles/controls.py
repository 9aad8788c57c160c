"""A control of a device model: what may be written, where the words of it go, and what ends it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainValidator, field_validator, model_validator

from ohmstead.profiles.point import Range, Strict
from ohmstead.units import Duration, PerDay, UnitError, quantity_as_written

WRITE_FUNCTION = {"fc6": 6, "fc16": 16}
VALUE = "value"
"""What stands in a block where the control's own value goes."""

_INJECTED: Any = Field(default="", json_schema_extra={"injected": True})
_END = re.compile(r"([a-z][a-z0-9_]*)\.(low|high)")

Effect = Literal["charge", "discharge", "export", "none"]
"""What a control makes the device do; the limits name controls by it."""


class Rate(NamedTuple):
    """A size a second, as it was written: the unit is not converted."""

    size: float
    unit: str


def _rate(written: object) -> Rate:
    text, slash, second = written.rpartition("/") if isinstance(written, str) else ("", "", "")
    if not slash or second.strip() != "s":
        raise UnitError("a ramp is written as a size a second, e.g. 5 %/s")
    size, unit = quantity_as_written(text)
    if size <= 0:
        raise UnitError("must be more than 0")
    return Rate(size, unit)


class Word(Strict):
    """One register of a block: what stands there while the control is in force (`on`), and while it is at its `safe` value (`off`).

    Each is a number from -32768 to 65535, `value` for the control's own value, or an end of a limit of this home (`soc.low`).
    """

    on: int | str
    off: int | str
    range: Range | None = None
    """Raw values that may be commanded instead of `on`."""

    @field_validator("on", "off")
    @classmethod
    def _is_a_word(cls, word: int | str) -> int | str:
        if isinstance(word, str) and word != VALUE and not _END.fullmatch(word):
            raise ValueError(f"{word} is neither a number nor `value` nor the end of a limit, such as `soc.low`")
        if isinstance(word, int) and not -0x8000 <= word <= 0xFFFF:
            raise ValueError(f"{word} is nothing that a register can hold")
        return word

    @property
    def is_value(self) -> bool:
        return VALUE in (self.on, self.off)

    def ends(self) -> list[tuple[str, str]]:
        """The ends of limits it refers to: (limit, `low` or `high`)."""
        matches = [_END.fullmatch(word) for word in (self.on, self.off) if isinstance(word, str)]
        return [(match[1], match[2]) for match in matches if match is not None]


def _word(written: object) -> object:
    return written if isinstance(written, dict | Word) else {"on": written, "off": written}


def _one_or_several(written: object) -> object:
    return written if isinstance(written, list | tuple) else [written]


class Block(Strict):
    """Holding registers that are written with one request."""

    holding: int = Field(ge=0, le=0xFFFF)
    write: Literal["fc6", "fc16"] = "fc16"
    words: tuple[Annotated[Word, BeforeValidator(_word)], ...] = Field(min_length=1, max_length=123)

    @property
    def function(self) -> int:
        return WRITE_FUNCTION[self.write]


class Control(Strict):
    """A point that may be written. Exactly one of `range` (a number), `switch` and `options` (a choice) says what it takes."""

    id: str = _INJECTED
    point: str
    name: str = ""
    """What people call it; the point's name unless given."""
    shows: str | None = None
    """The point that says what the control is doing, where that is not `point`."""
    effect: Effect = "none"
    write: Literal["fc6", "fc16"] = "fc6"
    block: Annotated[tuple[Block, ...], BeforeValidator(_one_or_several)] = ()
    """All that is written with the value, in order; the register of the point alone where nothing is said."""
    range: Range | None = None
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    switch: dict[Literal["on", "off"], int] | None = None
    """The raw values of on and off."""
    options: Literal["values"] | tuple[str, ...] | None = None
    """Labels of the point's `values` that may be written; `values` means all."""
    reversion: float | str
    """What it returns to when nobody wants anything: a number, an option, `on`, `off`, or `keep` for what was last written."""
    safe: float | str | None = None
    """What it is set to by an emergency stop or a limit, said like `reversion`; None: those leave it alone."""
    lease: Literal["required", "optional"] = "optional"
    """Whether every command must have an end (`required`: what would be dangerous if it stayed)."""
    ramp: Annotated[Rate, PlainValidator(_rate)] | None = None
    """The most that the value changes in a second."""
    rated: bool = False
    """Whether the value is percent of the device's rated power."""
    budget: PerDay
    """Writes a day."""
    interval: Duration = 0.0
    """The least time between two writes, in seconds."""
    source: str = ""
    doubt: str = ""

    @property
    def function(self) -> int:
        """The Modbus function that writes it."""
        return self.block[0].function if self.block else WRITE_FUNCTION[self.write]

    @property
    def kind(self) -> Literal["number", "switch", "select"]:
        return "number" if self.range else "switch" if self.switch else "select"

    @property
    def minimum(self) -> float | None:
        """The least value of a number, in the point's unit."""
        return self.range.low if self.range else None

    @property
    def maximum(self) -> float | None:
        return self.range.high if self.range else None

    @property
    def shown(self) -> str:
        """The point that says what the control is doing."""
        return self.shows or self.point

    @model_validator(mode="after")
    def _says_what_it_takes(self) -> Control:
        if sum(given is not None for given in (self.range, self.switch, self.options)) != 1:
            raise ValueError("say what it takes: one of `range`, `switch`, `options`")
        if self.switch is not None and set(self.switch) != {"on", "off"}:
            raise ValueError("a switch names both raw values, e.g. {on: 1, off: 0}")
        if (self.step is None) != (self.range is None):
            raise ValueError("a `range` needs a `step`, and only a range has one")
        if self.block and "write" in self.model_fields_set:
            raise ValueError("a `block` says itself how it is written; leave out `write`")
        return self


class RawLimits(NamedTuple):
    """What the register of a control may hold. `allowed` is None where every step between the ends is."""

    minimum: int
    maximum: int
    step: int
    allowed: tuple[int, ...] | None
