"""Home Assistant's classic discovery for the M-TEC contracts: one retained message per entity.

Contract `state` byte for byte as aiomtec2mqtt 1.1.0 sends it: order of messages, order of keys, Python's JSON style. Contract `json`
after its description; what that leaves open (name, unit, classes, options, availability) is what Home Assistant needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import ohmstead
from ohmstead.profiles.model import Contract, Control, Point, Profile
from ohmstead.profiles.point import TEXTS
from ohmstead.publish.announcement import Configuration
from ohmstead.publish.classes import classes
from ohmstead.publish.layout import layout
from ohmstead.publish.nameplate import Nameplate

_UNIQUE_PREFIX = "MTEC"
_SETTINGS_GROUP = "config"
_SETTINGS_AFTER = 50000
"""Upstream's register list has the settings behind the operation mode, whatever their addresses."""


def _is_entity(point: Point) -> bool:
    """Dates, serial number and firmware have no entity: they are in the device's description, or tell nothing."""
    return point.kind not in TEXTS and point.clock is None


def _register_order(point: Point) -> tuple[int, int]:
    return (_SETTINGS_AFTER, point.address) if point.group == _SETTINGS_GROUP else (point.address, 0)


def _in_upstreams_order(profile: Profile) -> list[Point]:
    points = [point for point in profile.points.values() if _is_entity(point)]
    calculated = [point for point in points if point.table is None]
    registers = [point for point in points if point.table is not None]
    return calculated + sorted(registers, key=_register_order)


def state_configurations(profile: Profile, contract: Contract, nameplate: Nameplate, prefix: str) -> Sequence[Configuration] | None:
    """All entities of contract `state`; None while the serial number is not known."""
    if nameplate.serial is None:
        return None
    described = {
        "identifiers": [nameplate.serial],
        "manufacturer": profile.manufacturer,
        "model": profile.model,
        "model_id": nameplate.model_raw or _model_code(profile, nameplate.model),
        "name": contract.device_name,
        "serial_number": nameplate.serial,
        "sw_version": nameplate.firmware_raw or _firmware_bytes(nameplate.firmware),
    }
    device: dict[str, object] = {key: value for key, value in described.items() if value is not None}
    controls = {control.point: control for control in profile.controls.values()}
    root = f"{contract.root}/{nameplate.serial}"
    found: list[Configuration] = []
    for point in _in_upstreams_order(profile):
        name = contract.name_of(point.id)
        topic = f"{root}/{point.group}/{name}"
        control = controls.get(point.id)
        if control is not None:
            found.append(_configuration(prefix, control.kind, name, _state_control(profile, control, point, topic, name, device)))
        platform = "binary_sensor" if control is not None and control.kind == "switch" else "sensor"
        found.append(_configuration(prefix, platform, name, _state_sensor(control, point, topic, name, device)))
    return found


def _model_code(profile: Profile, label: str | None) -> str | None:
    """`12K-40A-3P` → `30 07`: what is known from before this start is the label."""
    point = profile.points.get(profile.identity.model or "")
    return None if point is None else next((str(code) for code, name in point.values.items() if name == label), None)


def _firmware_bytes(version: str | None) -> str | None:
    """`V27.52.04.00-V20.01.10.03` → `27 52 04 00  20 01 10 03`, the same for the version."""
    return None if version is None else "  ".join(half.removeprefix("V").replace(".", " ") for half in version.split("-"))


def _configuration(prefix: str, platform: str, name: str, body: dict[str, object]) -> Configuration:
    return Configuration(f"{prefix}/{platform}/{_UNIQUE_PREFIX}_{name}/config", json.dumps(body))


def _payloads(control: Control) -> dict[str, object]:
    switch = control.switch or {"on": 1, "off": 0}
    return {"payload_on": str(switch["on"]), "payload_off": str(switch["off"])}


def _state_control(profile: Profile, control: Control, point: Point, topic: str, name: str, device: dict[str, object]) -> dict[str, object]:
    body: dict[str, object] = {"command_topic": f"{topic}/set", "device": device, "enabled_by_default": False}
    if control.kind == "number":
        body["mode"] = "box"
    body["name"] = point.name
    if control.kind == "select":
        body["options"] = list(profile.choices(control.id))
    body["state_topic"] = f"{topic}/state"
    body["unique_id"] = f"{_UNIQUE_PREFIX}_{name}"
    if control.kind == "number":
        body["unit_of_measurement"] = point.unit
    if control.kind == "switch":
        body.update(_payloads(control))
    return body


def _state_sensor(control: Control | None, point: Point, topic: str, name: str, device: dict[str, object]) -> dict[str, object]:
    body: dict[str, object] = {
        "device": device,
        "enabled_by_default": True,
        "name": point.name,
        "state_topic": f"{topic}/state",
        "unique_id": f"{_UNIQUE_PREFIX}_{name}",
    }
    if control is not None and control.kind == "switch":
        return {**body, **_payloads(control)}
    body["unit_of_measurement"] = point.unit
    if point.device_class is not None:
        body["device_class"] = point.device_class
    template = point.template or (None if point.round is None else f"{{{{ value | round({point.round}) }}}}")
    if template is not None:
        body["value_template"] = template
    if point.state_class is not None:
        body["state_class"] = point.state_class
    return body


def json_configurations(
    profile: Profile, contract: Contract, nameplate: Nameplate, prefix: str, availability: Sequence[str]
) -> Sequence[Configuration] | None:
    """A sensor for each value of contract `json`; None while the serial number is not known."""
    return None if nameplate.serial is None else list(_json_sensors(profile, contract, nameplate, nameplate.serial, prefix, availability))


def _json_sensors(
    profile: Profile, contract: Contract, nameplate: Nameplate, serial: str, prefix: str, availability: Sequence[str]
) -> Iterator[Configuration]:
    described = {
        "identifiers": [serial],
        "manufacturer": profile.manufacturer,
        "model": profile.model,
        "sw_version": nameplate.firmware,
        "name": contract.device_name,
        "serial_number": serial,
    }
    device: dict[str, object] = {key: value for key, value in described.items() if value is not None}
    for entry in (entry for entries in layout(profile, contract).values() for entry in entries):
        if not _is_entity(entry.point):
            continue
        unique = f"{serial}_{entry.name}"
        body: dict[str, object] = {
            "name": entry.point.name,
            "state_topic": f"{contract.root}/{serial}/{entry.group}",
            "value_template": f"{{{{ value_json.{entry.name} }}}}",
            "unique_id": unique,
            **classes(entry.point),
            "device": device,
            "origin": {"name": "ohmstead", "sw_version": ohmstead.__version__},
        }
        if availability:
            body["availability"] = [{"topic": topic} for topic in availability]
            body["availability_mode"] = "all"
        yield Configuration(f"{prefix}/sensor/{unique}/config", json.dumps(body))
