"""The section `control`: what holds for whoever commands a battery, and the network operator's limit."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from ohmstead.config.values import Duration, Section
from ohmstead.units import UnitError, quantity

_LONGEST_S = 7 * 86_400.0


def _limit(written: object) -> float | None:
    """A power in W, or `none`: no limit. Raises UnitError."""
    if written == "none":
        return None
    watts = quantity(written, "W")
    if watts < 0:
        raise UnitError("a limit is 0 W or more, or `none`")
    return watts


def _lease(written: float) -> float:
    if not 1.0 <= written <= _LONGEST_S:
        raise ValueError("from 1 s to 7 d")
    return written


LimitW = Annotated[float | None, PlainValidator(_limit), WithJsonSchema({"type": "string", "examples": ["4.2 kW", "none"]})]


class Grid(Section):
    """The network operator's limit, on `ohm/<site>/grid/limit` (kW, `none`, or one of `words`) and `…/heartbeat`."""

    heartbeat: Duration = Field(
        0.0, description="How long the operator's box may be silent before failsafe, e.g. 2 min; unless given, no box is expected."
    )
    failsafe: LimitW = Field(0.0, description="What the house may take in failsafe, e.g. 4.2 kW: told to whoever shows it.")
    words: dict[str, LimitW] = Field(
        default_factory=dict, description="What else the operator's box says, e.g. {reduced: 4.2 kW, free: none}."
    )


class ControlSection(Section):
    """Who may command for how long, how often the plan may change its mind, and how long it is kept who did what."""

    longest: Duration = Field(86_400.0, description="The longest that a wish may last.")
    dwell: Duration = Field(300.0, description="The least time between two different steps of the plan.")
    burst: Annotated[int, Field(ge=1, le=10_000)] = Field(60, description="Wishes that an author may send at once.")
    refill: Duration = Field(2.0, description="After how long one more is allowed.")
    keep: Duration = Field(90 * 86_400.0, description="How long it is kept what was commanded, decided and done.")
    grid: Grid = Field(default_factory=Grid)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        _lease(self.longest)
        if self.refill <= 0:
            raise ValueError("refill: must be more than 0")
        if self.keep < 86_400:
            raise ValueError("keep: at least one day")
        return self
