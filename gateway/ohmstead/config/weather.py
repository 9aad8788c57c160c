"""Where the home is, for the weather's forecast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ohmstead.config.device import SourceConfig


class WeatherDevice(SourceConfig):
    """The forecast of Open-Meteo for the home's place."""

    source: Literal["open-meteo"]
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]

    @property
    def profile(self) -> str:
        return "open-meteo"

    @property
    def address(self) -> str:
        return "open-meteo.com"
