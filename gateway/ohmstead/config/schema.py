"""A JSON schema of `ohmstead.yaml`, from the model, for completion and hints in editors."""

from __future__ import annotations

from typing import Any

from ohmstead.config.model import Config
from ohmstead.config.values import DURATION_SCHEMA

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12). It takes what `load` takes in form; what needs the profiles only `load` can judge."""
    schema: dict[str, Any] = _for_editors(Config.model_json_schema(mode="validation"))
    return schema | {
        "$schema": DRAFT,
        "title": "ohmstead.yaml",
        "description": "A home for ohmstead: where the broker is, which nodes and devices there are.",
    }


def _for_editors(schema: Any, named: bool = False) -> Any:
    """The schema with defaults as people write them, and without the titles that pydantic makes of each key.

    `named`: the keys of `schema` are names of properties, not words of the schema language.
    """
    if isinstance(schema, list):
        return [_for_editors(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _for_editors(value, key in ("properties", "$defs")) for key, value in schema.items() if named or key != "title"}
    if not named and isinstance(kept.get("default"), float) and kept.get("pattern") == DURATION_SCHEMA["pattern"]:
        kept["default"] = _duration(kept["default"])
    if not named and "patternProperties" in kept:
        kept["additionalProperties"] = False
    if not named and "default" in kept and kept["default"] is None:
        del kept["default"]
    return kept


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds * 1000:g} ms"
