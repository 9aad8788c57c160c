"""What may be written: a control of a device at this home, and what a text that somebody sends to it means."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from ohmcore import kinds
from ohmstead.errors import Reason, Rejected
from ohmstead.profiles.layout import Layout, layout
from ohmstead.profiles.model import Profile, RawLimits
from ohmstead.units import Bounds

MAX_TEXT = 64
"""Characters of a request that are looked at; no label is longer."""


_NUMBER = re.compile(r"[ \t\r\n]*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))[ \t\r\n]*")


def number_in(text: str) -> Decimal | None:
    """The number that `text` says, None if none: ASCII digits, a sign and a decimal point, blanks around them (`12`, `-0.5`, `+.5`)."""
    match = _NUMBER.fullmatch(text)
    return None if match is None else Decimal(match[1])


def _number_of_upstream(text: str) -> Decimal | None:
    """The same as aiomtec2mqtt reads it: an integer, or with a point whatever Python takes for a float (`1_0`, `1.5e1`, `١٢`); `1e1` and
    `1,5` are nothing there either."""
    try:
        return Decimal(repr(float(text))) if "." in text else Decimal(int(text))
    except ValueError:
        return None


@dataclass(frozen=True)
class Target:
    """A control with its limits of this home. Limits and choices are raw register values, `scale` is the point's."""

    device: str
    control: str
    point: str
    kind: str
    function: int
    address: int
    words: int
    register_kind: str
    word_order: str
    scale: float
    divisor: int
    unit: str
    period_s: float
    limits: RawLimits
    budget: int
    interval_s: float
    read_only: bool = False
    choices: Mapping[str, int] = dataclasses.field(default_factory=dict)
    layout: Layout | None = None
    """How it is written where that is more than its own register."""
    lease_required: bool = False
    lease_s: float = 3600.0
    """For how long a command holds that must end and whose author does not say."""
    returns_to: int | None = None
    """The raw value that it has when nobody wants anything; None: it stays as it was set."""
    field: str | None = None
    """What the device's reader calls it, where it is written by name; then there are no registers."""

    @property
    def requests(self) -> Sequence[tuple[int, int, int]]:
        """What is written, one after the other: function 6 or 16, first register, number of registers."""
        return [(self.function, self.address, self.words)] if self.layout is None else list(self.layout.blocks)

    def raw_of(self, text: str, *, contract: bool = False) -> int:
        """The raw value that `text` means: a label in its exact case, else a number in the control's unit.

        The number is scaled in decimal arithmetic and truncated (16.1 → 161, 55.55 → 555). In a text from a `contract`
        numbers are what upstream takes for one, and `on` and `off` are no words. Raises Rejected: read-only, malformed, or out of range.
        """
        if self.read_only:
            raise Rejected(Reason.READ_ONLY, f"{self.device} is configured to be read only")
        if len(text) > MAX_TEXT:
            raise Rejected(Reason.MALFORMED, f"a text of {len(text)} characters")
        labels = self.choices if not contract or self.kind != "switch" else {}
        if text in labels:
            return self._allowed(Decimal(labels[text]), text)
        number = _number_of_upstream(text) if contract else number_in(text)
        if number is None:
            wanted = f"neither one of {', '.join(labels)} nor a number" if labels else "no number"
            raise Rejected(Reason.MALFORMED, f"{text!r} is {wanted} such as 12 or 12.5")
        factor = Decimal(self.divisor) if self.divisor != 1 else 1 / Decimal(str(self.scale))
        return self._allowed(number * factor, text.strip())

    def registers(self, raw: int) -> list[int]:
        """The registers that hold a raw value, as they are written: those of all its `requests` in a row."""
        if self.layout is not None:
            return self.layout.registers(raw)
        octets = kinds.encode(self.register_kind, raw, self.words, self.word_order)
        return [int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)]

    def in_words(self, raw: int) -> str:
        """A raw value as people say it: its label, or the number with its unit."""
        for label, choice in self.choices.items():
            if choice == raw:
                return label
        return f"{self.number(raw)} {self.unit}".rstrip()

    def number(self, raw: int) -> str:
        """A raw value in the control's unit, without the unit."""
        return f"{raw / self.divisor if self.divisor != 1 else raw * self.scale:g}"

    def _allowed(self, wanted: Decimal, text: str) -> int:
        """The truncated raw value, if this home allows it. What lies beyond an end does not become legal by truncation."""
        limits = self.limits
        if limits.allowed is not None:
            if not min(limits.allowed) <= wanted <= max(limits.allowed) or int(wanted) not in limits.allowed:
                named = ", ".join(f"{label} ({raw})" for label, raw in self.choices.items())
                raise Rejected(Reason.OUT_OF_RANGE, f"{text} is none of {named or ', '.join(map(str, limits.allowed))}")
            return int(wanted)
        if not limits.minimum <= wanted <= limits.maximum:
            span = f"{self.number(limits.minimum)}..{self.number(limits.maximum)} {self.unit}".rstrip()
            raise Rejected(Reason.OUT_OF_RANGE, f"{text} {self.unit}".rstrip() + f" is not within {span}")
        raw = int(wanted.to_integral_value(rounding=ROUND_DOWN))
        if (raw - limits.minimum) % limits.step:
            raise Rejected(Reason.OUT_OF_RANGE, f"{text} is not a step of {self.number(limits.step)} {self.unit}".rstrip())
        return raw


def targets(
    device: str,
    profile: Profile,
    limits: Mapping[str, RawLimits],
    *,
    periods: Mapping[str, float],
    read_only: bool = False,
    ends: Mapping[str, Bounds] | None = None,
    lease_s: float = 3600.0,
) -> dict[str, Target]:
    """The controls of a device by name. `limits` and `ends` (the ranges of the profile's limits) are those of this home, `periods`
    says how often each group is read (s), `lease_s` for how long a command holds that must end."""
    result: dict[str, Target] = {}
    for name, control in profile.controls.items():
        point = profile.points[control.point]
        written = layout(profile, name, ends)
        home = written.reversion
        result[name] = Target(
            device=device,
            control=name,
            point=point.id,
            kind=control.kind,
            function=control.function,
            address=point.address if point.table else 0,
            words=point.words,
            register_kind=str(point.kind),
            word_order=point.order,
            scale=point.scale,
            divisor=point.divisor,
            unit=point.unit,
            period_s=periods.get(point.group, profile.groups[point.group]),
            limits=limits[name],
            budget=control.budget,
            interval_s=control.interval,
            read_only=read_only,
            choices=profile.choices(name),
            layout=written if control.block else None,
            lease_required=control.lease == "required",
            lease_s=lease_s,
            returns_to=written.safe if home is None and control.lease == "required" else home,
            field=point.field,
        )
    return result
