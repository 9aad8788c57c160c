"""The JSON schema that editors use says what the gateway takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ohmstead.config
from ohmstead import yamlfile
from ohmstead.config import load
from ohmstead.config.schema import json_schema
from tests.unit.homes import writer

README = Path(__file__).resolve().parents[2] / "README.md"
EXAMPLE = Path(ohmstead.config.__file__).with_name("example.yaml")


def complaints(value: object, schema: dict[str, Any], defs: dict[str, Any], at: str = "") -> Iterator[str]:
    """What `value` breaks of the words of JSON schema that ours uses."""
    if "$ref" in schema:
        yield from complaints(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs, at)
        return
    if "anyOf" in schema:
        if all(any(complaints(value, choice, defs, at)) for choice in schema["anyOf"]):
            yield f"{at}: {value} fits no choice"
        return
    if "oneOf" in schema:  # a device: with a profile, or one of the sources, which name themselves
        named = value.get("source") if isinstance(value, dict) else None
        chosen = [one for one in schema["oneOf"] if _source(one, defs) == named]
        yield from complaints(value, chosen[0], defs, at) if chosen else [f"{at}: {value} is none of these"]
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value} is not {schema['const']}"
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    allowed = schema.get("type", [])
    allowed = [allowed] if isinstance(allowed, str) else allowed
    if allowed and not any(isinstance(value, kinds[kind]) for kind in allowed):
        yield f"{at}: {value} is no {allowed}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value} does not match"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value} is none of {schema['enum']}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of range"
    if isinstance(value, list):
        for one in value:
            yield from complaints(one, schema.get("items", {}), defs, f"{at}[]")
        if len(value) < schema.get("minItems", 0):
            yield f"{at}: too few"
    if not isinstance(value, dict):
        return
    yield from (f"{at}: {key} is missing" for key in schema.get("required", []) if key not in value)
    for key, below in value.items():
        by_pattern = [inner for pattern, inner in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        inner = schema.get("properties", {}).get(key) or next(iter(by_pattern), schema.get("additionalProperties", True))
        if inner is False:
            yield f"{at}: {key} is unknown"
        elif inner is not True:
            yield from complaints(below, inner, defs, f"{at}.{key}")


def _source(schema: dict[str, Any], defs: dict[str, Any]) -> object:
    properties = defs[schema["$ref"].removeprefix("#/$defs/")]["properties"]
    return properties.get("source", {}).get("const")


def schema_complaints(text: str) -> list[str]:
    schema = json_schema()
    return list(complaints(yamlfile.parse(text, "example").value, schema, schema["$defs"]))


def examples() -> list[str]:
    """The reference in the package, and each configuration that the README shows."""
    shown = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [EXAMPLE.read_text(encoding="utf-8"), *(text for text in shown if "devices:" in text)]


def test_the_examples_fit_the_schema_and_the_gateway(tmp_path: Path) -> None:
    assert len(examples()) > 1, "the README shows no configuration"
    for text in examples():
        assert schema_complaints(text) == []
        path = writer(tmp_path)("")
        text = re.sub(r" key_file: \S+?(?=[\s}])", f" key: '{'00ff' * 16}'", text)
        path.write_text(re.sub(r"password_file: \S+?(?=[\s}])", "password: x", text), encoding="utf-8")
        assert load(path).devices


def test_the_schema_refuses_what_the_gateway_refuses() -> None:
    assert schema_complaints("devices: {mtec: {profile: x, via: y, contrat: json}}") == [".devices.mtec: contrat is unknown"]
    assert schema_complaints("devices: {mtec: {via: y}}") == [".devices.mtec: profile is missing"]
    assert schema_complaints("devices: {My Device: {profile: x, via: y}}") == [".devices: My Device is unknown"]
    assert schema_complaints("store: {flush: 1}") == [".store.flush: 1 is no ['string']"]
    assert schema_complaints("store: {flush: soon}") == [".store.flush: soon does not match"]
    assert schema_complaints("log: {format: xml}") == [".log.format: xml is none of ['console', 'json']"]
    assert schema_complaints("mqtt: {url: nas}") == [".mqtt.url: nas does not match"]
    assert schema_complaints("web: {port: 99999}") == [".web.port: 99999 is out of range"]


def test_the_schema_says_defaults_as_people_write_them() -> None:
    schema = json_schema()
    store, mqtt = schema["$defs"]["Store"]["properties"], schema["$defs"]["Mqtt"]["properties"]
    assert (store["flush"]["default"], store["keep_raw"]["default"]) == ("1 s", "7 d")
    assert "title" not in mqtt["url"]
    assert mqtt["url"]["description"]
    json.dumps(schema)
