"""Our table of SunSpec models against the models as they are published: each value is where they say, with their type and scale factor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ohmstead.profiles.sunspec import definitions
from ohmstead.sim.sunspec import LENGTHS

RECORDED = [1, 101, 103, 123, 124, 201, 203, 704, 713, 802]
TYPES = {
    "uint16": "u16", "int16": "i16", "uint32": "u32", "int32": "i32", "uint64": "u64", "acc32": "acc32", "enum16": "enum16",
    "bitfield16": "bits16", "bitfield32": "bits32", "float32": "f32", "string": "str",
}  # fmt: skip
UNITS = {"C": "°C", "WH": "Wh", "Pct": "%", "%WHRtg": "%", "%": "%", "Secs": "s"}
SIZES = {"uint32": 2, "int32": 2, "acc32": 2, "bitfield32": 2, "float32": 2, "uint64": 4}


@pytest.fixture(params=RECORDED)
def published(request: pytest.FixtureRequest, goldens: Path) -> tuple[int, dict[str, Any]]:
    return request.param, json.loads((goldens / "sunspec" / f"model_{request.param}.json").read_text())


def placed(group: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    at = 0
    for point in group["points"]:
        yield at, point
        at += point.get("size") or SIZES.get(point["type"], 1)


def test_every_row_is_where_the_model_has_it(published: tuple[int, dict[str, Any]]) -> None:
    number, model = published
    points = {point["name"]: (at, point) for at, point in placed(model["group"])}
    said = definitions()[number]
    for key, (at, kind, factor, unit, *_) in said["rows"].items():
        there, point = points[key] if key in points else points[key.replace("PPVph", "PhVph")]  # 203 calls them otherwise than 201
        text = TYPES[point["type"]] + (str(point["size"]) if point["type"] == "string" else "")
        assert (at, kind, factor) == (there, text, (point.get("sf") or "").strip()), key
        known = (point.get("units") or "").strip()
        assert unit == UNITS.get(known.split(" ")[0], known), key
    for name, at in said.get("factors", {}).items():
        assert points[name][0] == at, name
        assert points[name][1]["type"] == "sunssf"


def test_every_label_is_that_of_the_model_s_number(published: tuple[int, dict[str, Any]]) -> None:
    number, model = published
    points = {point["name"]: point for _, point in placed(model["group"])}
    said = definitions()[number]
    for table in ("values", "bits"):
        for key, labels in said.get(table, {}).items():
            symbols = {symbol["value"]: symbol["name"] for symbol in points[key]["symbols"]}
            assert labels.keys() <= symbols.keys(), key
            named = [code for code, name in symbols.items() if "RESERVED" not in name.upper() and "OEM" not in name]
            assert set(named) == labels.keys(), key


def test_the_simulated_device_has_models_of_their_length(published: tuple[int, dict[str, Any]]) -> None:
    number, model = published
    group = model["group"]
    fixed = sum(point.get("size") or SIZES.get(point["type"], 1) for point in group["points"])
    groups = sum(point.get("size") or 1 for inner in group.get("groups", ()) for point in inner["points"])
    assert LENGTHS[number] == fixed + groups - 2
