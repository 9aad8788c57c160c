"""Where the home is, for the weather's forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from ohmstead.config.device import SourceConfig
from ohmstead.config.values import Secret, Section
from ohmstead.units import quantity

LEAST_PERIOD_S = 300.0
"""What it is like now changes each quarter of an hour, and the service is free for those who ask with measure."""

MOST_ROOFS = 4
"""Each is a question more, every half hour."""


def _peak(written: object) -> float:
    watts = quantity(written, "W")
    if watts <= 0:
        raise ValueError("must be more than 0")
    return watts


def _web_address(written: object) -> str:
    text = str(written)
    if not text.startswith(("http://", "https://")) or not text.partition("://")[2].partition("/")[0]:
        raise ValueError("not an address; write it like https://weather.example/v1/forecast")
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("no user and no password in an address, which the log shows")
    return text


class RoofSection(Section):
    """How the modules lie, and how many there are."""

    tilt: Annotated[float, Field(ge=0, le=90)] = Field(description="Degrees from flat (0) to upright (90).")
    azimuth: Annotated[float, Field(ge=-180, le=180)] = Field(0.0, description="Where they face: 0 is south, -90 east, 90 west.")
    peak: Annotated[float, PlainValidator(_peak), WithJsonSchema({"type": "string", "examples": ["9.8 kW"]})] | None = Field(
        None, description="Their power under standard conditions, e.g. 9.8 kW; with it the plan knows how much sun to expect."
    )


def _roofs(written: object) -> object:
    """One roof, or a list of them; of several each needs its share."""
    roofs = [written] if isinstance(written, dict) else written
    if isinstance(roofs, list) and len(roofs) > 1 and any(isinstance(roof, dict) and "peak" not in roof for roof in roofs):
        raise ValueError("of several roofs each needs its `peak`, e.g. peak: 5 kW")
    return roofs


class WeatherDevice(SourceConfig):
    """The forecast of Open-Meteo for the home's place."""

    source: Literal["open-meteo"]
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    roof: Annotated[
        tuple[RoofSection, ...],
        BeforeValidator(_roofs, json_schema_input_type=RoofSection | list[RoofSection]),
        Field(max_length=MOST_ROOFS),
    ] = Field((), description="How the modules lie, e.g. {tilt: 35, azimuth: -20, peak: 9.8 kW}; a list where they lie in several ways.")
    url: Annotated[str, PlainValidator(_web_address), WithJsonSchema({"type": "string", "pattern": "^https?://"})] | None = Field(
        None, description="Another server that speaks as Open-Meteo's does, e.g. one's own."
    )
    token: Secret | None = Field(None, repr=False, description="The key of a paid account.")
    token_file: Path | None = Field(None, description="A file that holds the key.")

    @model_validator(mode="after")
    def _asks_not_too_often(self) -> Self:
        every = min(self.every.values(), default=LEAST_PERIOD_S)
        if self.url is None and every < LEAST_PERIOD_S:
            raise ValueError(f"`every: {every:g} s` is more often than the forecast changes; at least {LEAST_PERIOD_S / 60:g} min")
        return self

    @property
    def peak_w(self) -> float | None:
        """Of all modules under standard conditions, in W; None where that is not said."""
        known = [roof.peak for roof in self.roof if roof.peak is not None]
        return sum(known) if known else None

    @property
    def profile(self) -> str:
        return "open-meteo"

    @property
    def address(self) -> str:
        return self.url.split("/")[2] if self.url else "open-meteo.com"

    @property
    def identity(self) -> tuple[str, ...] | None:
        """A home is at one place: there is one forecast on the broker and in the plan."""
        return (self.profile,)
