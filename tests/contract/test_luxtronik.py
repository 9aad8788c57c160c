"""Every value of a recorded controller (software V1.80) is what the luxtronik library decodes; where it is not, here stands why."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from luxtronik import Luxtronik
from luxtronik.calculations import Calculations
from luxtronik.datatypes import SelectionBase
from luxtronik.parameters import Parameters

from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.profiles.luxtronik import entries, entry, extended
from ohmstead.profiles.model import Profile
from ohmstead.readings import Value
from ohmstead.sim.luxtronik import LuxtronikPump, Vectors, read_dump
from ohmstead.sources.luxtronik import OPTIONAL, LuxtronikReader
from ohmstead.sources.luxtronik_wire import Endpoint

ZONE = ZoneInfo("Europe/Prague")
BLOCKS = {"C": "calculations", "P": "parameters", "V": "visibilities"}
HUNDREDTHS = {"P852", "P854"}
"""Deviation: heat in 0.01 kWh, which the library (0.3.14) leaves as raw integers."""


@pytest.fixture(scope="module")
def dump(goldens: Path) -> Vectors:
    return read_dump(goldens / "luxtronik" / "dump_v1.80.json")


@pytest.fixture(scope="module")
def decoded(goldens: Path) -> dict[str, dict[str, Any]]:
    """Field (C10) → what the library says of it: name, type, value."""
    recorded = json.loads((goldens / "luxtronik" / "decoded_v1.80_luxtronik_0.3.14.json").read_text())
    return {f"{letter}{number}": said for letter, block in BLOCKS.items() for number, said in recorded[block].items()}


async def read(vectors: Vectors, profile: Profile) -> dict[str, Value]:
    async with LuxtronikPump(vectors) as pump:
        reader = LuxtronikReader("pump", Endpoint("127.0.0.1", pump.port, 20.0), Decoder(profile, ZONE), ZONE, lambda: 1.7e9)
        return {point: value for snapshot in await reader.read() for point, value in snapshot.values.items()}


def same(value: Value, said: dict[str, Any]) -> bool:
    """Moments are kept with their zone, truth values as on and off where they are shown."""
    if said["type"] == "Timestamp":
        return datetime.fromisoformat(str(value)).timestamp() == datetime.fromisoformat(said["value"] + "+00:00").timestamp()
    if isinstance(said["value"], bool):
        return value in ("off", 0) if not said["value"] else value in ("on", 1)
    return bool(value == said["value"])


def is_left_out(field: str, said: dict[str, Any]) -> bool:
    """Deviation: what stands for nothing is absent. Of a sensor that is not there the library says -50 °C, 5 °C, 75 °C or 0."""
    if field in OPTIONAL and said["value"] == 0:
        return True
    return said["value"] is None or (said["type"] == "Celsius" and said["value"] == -50.0)


@pytest.mark.parametrize("everything", [False, True], ids=["usual points", "every number a point"])
async def test_every_value_is_what_the_library_decodes(dump: Vectors, decoded: dict[str, dict[str, Any]], everything: bool) -> None:
    profile = library.load("luxtronik")
    if everything:
        profile = extended(profile, entries().values())
    fields = {point.field: point for point in profile.points.values()}
    values = await read(dump, profile)
    wrong, told = {}, 0
    for field, said in decoded.items():
        id_ = fields[field].id if field in fields else entry(field[0], int(field[1:])).id
        value = values.pop(id_, None)
        if is_left_out(field, said):
            assert value is None, field
            continue
        assert value is not None, field
        told += 1
        if not same(value * 100 if field in HUNDREDTHS and id_.endswith("_fine") else value, said):
            wrong[field] = (value, said["value"])
    assert wrong == {}
    assert values == {}  # and nothing else
    assert told > 1590


async def test_placeholders_of_the_recorded_controller_are_absent(dump: Vectors) -> None:
    """An air-to-water pump: no sensors in a brine circuit."""
    values = await read(dump, library.load("luxtronik"))
    assert dump.calculations[19] == dump.calculations[20] == -500
    assert "source_in_temperature" not in values
    assert "source_out_temperature" not in values
    assert values["hot_water_temperature"] == 64.2


async def test_the_library_reads_the_simulated_controller(dump: Vectors, decoded: dict[str, dict[str, Any]]) -> None:
    async with LuxtronikPump(dump) as pump:
        pump_of_library = await asyncio.to_thread(Luxtronik, "127.0.0.1", pump.port)
        assert [
            field
            for field, said in decoded.items()
            if said["type"] != "Timestamp" and getattr(pump_of_library, BLOCKS[field[0]]).get(int(field[1:])).value != said["value"]
        ] == []


async def test_the_library_writes_to_the_simulated_controller(dump: Vectors) -> None:
    async with LuxtronikPump(dump) as pump:

        def write() -> None:
            controller = Luxtronik("127.0.0.1", pump.port)
            controller.parameters.set("ID_Einst_BWS_akt", 47.5)
            controller.write()

        held = dump.parameters[2]
        try:
            await asyncio.to_thread(write)
            assert pump.written == [(2, 475)]
        finally:
            dump.parameters[2] = held


def test_names_and_labels_are_the_library_s() -> None:
    tables = {"C": Calculations.calculations, "P": Parameters.parameters}
    for point in library.load("luxtronik").points.values():
        assert point.field is not None
        of_library = tables[point.field[0]].get(int(point.field[1:]))
        if of_library is None or of_library.name.startswith("Unknown_"):
            assert point.field == "C268"
            continue
        assert point.source == of_library.name
        if isinstance(of_library, SelectionBase):
            assert point.values == of_library.codes, point.id
        elif type(of_library).__name__ == "Bool":
            assert point.values == {0: "off", 1: "on"}


def test_only_what_the_library_holds_safe_can_be_controlled() -> None:
    profile = library.load("luxtronik")
    for control in profile.controls.values():
        field = profile.points[control.point].field
        assert field is not None
        assert entries()[field].writable, control.id
