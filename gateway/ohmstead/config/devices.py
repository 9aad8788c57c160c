"""Whatever may stand under `devices`: something with a `profile` that speaks Modbus, or one of the sources."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from ohmstead.config.device import DeviceConfig
from ohmstead.config.luxtronik import LuxtronikDevice
from ohmstead.config.shelly import ShellyDevice
from ohmstead.config.vicare import VicareDevice
from ohmstead.config.weather import WeatherDevice

SOURCES = ("luxtronik", "open-meteo", "shelly", "vicare")
_MODBUS = "speaks Modbus"


def _kind(written: Any) -> str:
    named = written.get("source") if isinstance(written, dict) else getattr(written, "source", None)
    return named if named in SOURCES else _MODBUS


Device = Annotated[
    Annotated[DeviceConfig, Tag(_MODBUS)]
    | Annotated[LuxtronikDevice, Tag("luxtronik")]
    | Annotated[WeatherDevice, Tag("open-meteo")]
    | Annotated[ShellyDevice, Tag("shelly")]
    | Annotated[VicareDevice, Tag("vicare")],
    Discriminator(_kind),
]
