"""The section `log`: how loud each part of the gateway is, and the file that its log goes to beside the console."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from ohmstead.config.values import Section
from ohmstead.units import quantity
from ohmstead.yamlfile import did_you_mean

Level = Literal["debug", "info", "warning", "error"]

SERVICES = (
    "app", "control", "growatt-mqtt", "hoymiles", "ingest", "loxone", "luxtronik", "modbus", "mqtt", "plan", "prices", "publish", "shelly",
    "sim", "source", "store", "sunspec", "vicare", "weather", "web",
)  # fmt: skip
"""The parts of the gateway that speak in its log, each under its `service`."""

_LEAST, _MOST = 10_000, 1_000_000_000


def _service(written: str) -> str:
    if written not in SERVICES:
        known = did_you_mean(written, SERVICES) or f"; they are {', '.join(SERVICES)}"
        raise ValueError(f"no part of the gateway speaks under that name{known}")
    return written


def _size(written: object) -> int:
    size = quantity(int(written) if isinstance(written, str) and written.isdecimal() else written, "B")
    if not _LEAST <= size <= _MOST or size != int(size):
        raise ValueError("from 10 kB to 1000 MB, e.g. 10 MB")
    return int(size)


class Log(Section):
    """Where the log goes, and what is said in it."""

    format: Literal["console", "json"] = "console"
    level: Level = "info"
    levels: dict[Annotated[str, AfterValidator(_service)], Level] = Field(
        default_factory=dict, description="Parts of the gateway that say more or less than `level`, e.g. {modbus: debug, mqtt: warning}."
    )
    file: Path | None = Field(None, description="A file that the log goes to as well; relative to the folder of this file.")
    size: Annotated[int, PlainValidator(_size), WithJsonSchema({"type": ["string", "integer"], "examples": ["10 MB"]})] = Field(
        10_000_000, description="How large the file may grow; then it becomes <file>.1, that becomes <file>.2, and a new one begins."
    )
    keep: Annotated[int, Field(ge=0, le=100)] = Field(5, description="How many of the former files stay.")
