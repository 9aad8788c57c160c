"""A point of a device model: where its registers are, and what they mean."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationInfo, field_validator, model_validator

from ohmcore.kinds import WORDS
from ohmstead.profiles.decoders import DECODERS
from ohmstead.profiles.formula import Formula, FormulaError
from ohmstead.units import Span, span
from ohmstead.yamlfile import Where, did_you_mean, problems

Shown = Literal["always", "on-request", "never"]
Kind = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "str", "bit", "dat", "byte"]
Table = Literal["holding", "input"]
Range = Annotated[Span, PlainValidator(span)]

INTEGERS = ("u16", "i16", "u32", "i32", "u64", "i64")
NUMBERS = (*INTEGERS, "f32", "f64")
TEXTS = ("str", "dat", "byte")
READ_FUNCTION: dict[Table, int] = {"holding": 3, "input": 4}

_ADDRESS = Field(default=None, ge=0, le=0xFFFF)
_INJECTED: Any = Field(default="", json_schema_extra={"injected": True})
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_SIGN = re.compile(r"\S.* positive")
_RESERVED = {"min", "max", "abs", "round", "sum", "int", "float", "keep"}
_REGISTER_KEYS = ("words", "order", "scale", "values", "otherwise", "bits", "clear", "decoder", "raw", "vital")
_FIELD_KEYS = ("words", "order", "bits", "clear", "decoder", "raw", "vital")
_SOURCES = ("holding", "input", "field", "calc", "clock")


class Strict(BaseModel):
    """Frozen, and no key that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, ser_json_inf_nan="constants")


def formula_text(text: str | None) -> str | None:
    """For validators: the text of a formula as it is. Raises ValueError where it is none."""
    try:
        if text is not None:
            Formula(text)
    except FormulaError as error:
        raise ValueError(str(error)) from error
    return text


class Point(Strict):
    """Something the device says (`holding`, `input` or `field`), or what follows from it (`calc`, `clock`)."""

    id: str = _INJECTED
    name: str = Field(min_length=1)
    holding: int | None = _ADDRESS
    input: int | None = _ADDRESS
    field: str | None = Field(default=None, min_length=1)
    """What the profile's reader calls it, for devices that speak in names."""
    calc: str | None = None
    """A formula over other points of the profile."""
    clock: str | None = None
    """The moment of the reading in the home's zone, in this strftime format."""
    kind: Kind | None = Field(default=None, alias="as")
    words: int = Field(default=0, ge=0, le=125, validate_default=True)
    order: Literal["big", "little"] = "big"
    """Which word of a number comes first."""
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Value in `unit` = raw × scale."""
    unit: str = ""
    group: str
    sign: str = ""
    """What a positive power or current means: "export positive"."""
    values: dict[int | str, str] = Field(default_factory=dict)
    """Raw value → what it means."""
    otherwise: str = "Unknown"
    """What a raw value means that is not in `values`."""
    bits: dict[int, str] = Field(default_factory=dict)
    """Number of a bit (0 is the lowest) → what it means when set."""
    clear: str = "OK"
    """What no set bit means."""
    decoder: str | None = None
    """A decoder in code (`decoders.DECODERS`), for what this file cannot say."""
    raw: bool = False
    """Whether the text before `values` or `decoder` is kept as well, as `<id>.raw`."""
    valid: Range | None = None
    """Plausible values, in `unit`; others are absent."""
    device_class: str | None = Field(default=None, alias="class")
    state_class: Literal["measurement", "total", "total_increasing"] | None = Field(default=None, alias="state")
    round: int | None = Field(default=None, ge=0, le=6)
    """Decimals that are worth showing."""
    template: str | None = None
    """Home Assistant's value template, where `round` does not say it."""
    shown: Shown = "always"
    """`on-request`: an entity that its owner has to enable; `never`: kept, and neither a topic nor an entity."""
    vital: bool = False
    """Whether a node decodes it itself, for its limits and for when the gateway is away."""
    source: str = ""
    doubt: str = ""

    @property
    def table(self) -> Table | None:
        """Where its registers are; None for a calculated point."""
        return "holding" if self.holding is not None else "input" if self.input is not None else None

    @property
    def address(self) -> int:
        """Its first register. Only points with a `table` have one."""
        address = self.holding if self.holding is not None else self.input
        if address is None:
            raise LookupError(f"{self.id} is calculated, it has no address")
        return address

    @property
    def last(self) -> int:
        """Its last register."""
        return self.address + self.words - 1

    @property
    def function(self) -> int:
        """The Modbus function that reads it; 0 for a calculated point."""
        return READ_FUNCTION[self.table] if self.table else 0

    @property
    def divisor(self) -> int:
        """Value = raw / divisor where 1/scale is a whole number; 1 elsewhere (then value = raw × scale)."""
        inverse = round(1 / self.scale)
        return inverse if inverse >= 1 and abs(inverse * self.scale - 1) < 1e-9 else 1

    @property
    def is_text(self) -> bool:
        """Whether its value is a text."""
        return bool(self.kind in TEXTS or self.bits or self.values or self.clock or self.decoder)

    @property
    def is_read(self) -> bool:
        """Whether the device itself says it; what it does not say is calculated."""
        return self.table is not None or self.field is not None

    @property
    def kind_of(self) -> Literal["measurement", "counter", "state", "text"]:
        """How its values behave over time: `counter` only grows, `state` is one of some words."""
        if self.values or self.bits:
            return "state"
        if self.is_text:
            return "text"
        return "counter" if self.state_class in ("total", "total_increasing") else "measurement"

    @cached_property
    def formula(self) -> Formula | None:
        """`calc`, compiled."""
        return Formula(self.calc) if self.calc else None

    @field_validator("words")
    @classmethod
    def _words_of_kind(cls, words: int, info: ValidationInfo) -> int:
        kind = info.data.get("kind")
        if kind is None:
            return words
        if kind == "str" and not words:
            if info.data.get("field") is not None:
                return 0
            raise ValueError("a text needs `words`, its number of registers")
        if words and words != WORDS[kind] and kind not in ("str", "bit", "byte"):
            raise ValueError(f"{kind} has {WORDS[kind]} registers")
        if kind == "bit" and words > 4:
            raise ValueError("bits have at most 4 registers")
        return words or WORDS[kind]

    @field_validator("calc")
    @classmethod
    def _is_formula(cls, text: str | None) -> str | None:
        return formula_text(text)

    @field_validator("sign")
    @classmethod
    def _says_positive(cls, sign: str) -> str:
        if sign and not _SIGN.fullmatch(sign):
            raise ValueError("say what is positive, e.g. `export positive`")
        return sign

    @model_validator(mode="after")
    def _makes_sense(self) -> Point:
        found = list(self._nonsense())
        if found:
            raise problems(found)
        return self

    def _nonsense(self) -> Iterator[tuple[Where, str]]:
        if not _SNAKE_CASE.fullmatch(self.id):
            yield (), "a point's name is snake_case: small letters, digits and single underscores"
        if keyword.iskeyword(self.id) or self.id in _RESERVED:
            yield (), "this word has a meaning in formulas and cannot name a point"
        if sum(getattr(self, key) is not None for key in _SOURCES) != 1:
            yield (), f"say where it comes from: one of {', '.join(f'`{key}`' for key in _SOURCES)}"
            return
        if self.unit in ("W", "kW") and not self.sign:
            yield ("sign",), "is missing: the sign of a power must be said, e.g. `export positive`"
        if self.valid is not None and (self.is_text or self.valid.unit not in ("", self.unit)):
            yield (
                ("valid",),
                f"must be a range of numbers in {self.unit or 'the point’s unit'}" if not self.is_text else "only fits numbers",
            )
        if self.field is not None:
            yield from self._nonsense_of_field()
        else:
            yield from self._nonsense_of_registers() if self.table else self._nonsense_of_calculation()

    def _nonsense_of_field(self) -> Iterator[tuple[Where, str]]:
        for key in _FIELD_KEYS:
            if key in self.model_fields_set and key != "words":
                yield (key,), "only fits a point with registers (`holding` or `input`)"
        if self.kind not in (None, "str", *INTEGERS):
            yield ("as",), f"a field is a number; `str` where it is a text; {', '.join(INTEGERS)} where a control writes it"
        if "scale" in self.model_fields_set and (self.values or self.kind == "str"):
            yield ("scale",), "does not fit a text or a point with `values`"

    def _nonsense_of_calculation(self) -> Iterator[tuple[Where, str]]:
        for key in _REGISTER_KEYS:
            if key in self.model_fields_set:
                yield (key,), "only fits a point with registers (`holding` or `input`)"
        if self.kind is not None:
            yield ("as",), "only fits a point with registers (`holding` or `input`)"

    def _nonsense_of_registers(self) -> Iterator[tuple[Where, str]]:
        if self.kind is None:
            yield ("as",), f"is missing: what the registers hold, one of {', '.join(WORDS)}"
            return
        if self.last > 0xFFFF:
            yield (str(self.table),), f"its {self.words} registers go beyond address 65535"
        if "scale" in self.model_fields_set and (self.kind not in NUMBERS or self.values):
            yield ("scale",), f"does not fit {self.kind if self.kind not in NUMBERS else 'a point with `values`'}"
        if self.bits and self.kind != "bit":
            yield ("bits",), "need `as: bit`"
        for bit in self.bits:
            if not 0 <= bit < 16 * self.words:
                yield (
                    ("bits", bit),
                    f"is no bit of {self.words} registers; bits are numbered 0 to {16 * self.words - 1}, they are not masks",
                )
        if self.values and self.kind not in (*INTEGERS, "byte", "str"):
            yield ("values",), f"do not fit {self.kind}"
        for value in self.values:
            if self.kind in INTEGERS and not (isinstance(value, int) and fits(self.kind, self.words, value)):
                yield ("values", value), f"is nothing that {self.kind} can hold"
        if self.decoder is not None and self.decoder not in DECODERS:
            yield ("decoder",), f"{self.decoder} does not exist{did_you_mean(self.decoder, DECODERS)}"
        if (self.decoder is not None or self.raw) and self.kind not in TEXTS:
            yield ("decoder" if self.decoder else "raw",), f"only fits {', '.join(TEXTS)}"
        if self.vital and (self.kind not in NUMBERS or self.values):
            yield ("vital",), "only fits a number"


def fits(kind: str, words: int, value: float) -> bool:
    """Whether a register point of this kind can hold the raw `value`."""
    if kind not in INTEGERS:
        return kind in NUMBERS
    bits = 16 * words
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1) if kind[0] == "i" else 0 <= value < 1 << bits
