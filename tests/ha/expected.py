"""What Home Assistant must show for a register image, worked out without the code that announces it.

For contract `state` from the recorded messages; for the others from the profile, whose values the contract tests hold against the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ohmstead.profiles.model import Point, Profile
from ohmstead.readings import Value

SERIAL = "MTEC12K3P4012345"
NOT_IN_JSON = {"fault_flag_1", "fault_flag_2", "bms_status", "bms_error_code", "bms_protection_code", "bms_alarm_code", "api_date"}
ALERT = "home_mtec_battery_soc_alert"
NO_ENTITY = {"inverter_date", "api_date", "serial_no", "equipment_info", "firmware_version"}


class Entity(NamedTuple):
    """`state` as Home Assistant shows it; numbers to `decimals`."""

    domain: str
    unique_id: str
    state: Value
    decimals: int
    unit: str | None
    device_class: str | None


def native(profile: Profile, values: Mapping[str, Value]) -> list[Entity]:
    return [*(_native(profile, point, values) for point in profile.points.values() if point.id != "api_date"), _alert()]


def _alert() -> Entity:
    """The house wants to know when the state of charge is below 50 %."""
    return Entity("binary_sensor", ALERT, "off", 0, None, "problem")


def with_json(profile: Profile, values: Mapping[str, Value]) -> list[Entity]:
    """The contract's sensors, and natively the controls and what else the contract lacks."""
    contract = profile.contracts["json"]
    found = [
        Entity("sensor", f"{SERIAL}_{contract.name_of(point.id)}", values[point.id], 3, point.unit or None, _class(point))
        for point in profile.points.values()
        if point.id not in NOT_IN_JSON | NO_ENTITY
    ]
    lacking = {control.point for control in profile.controls.values()} | NOT_IN_JSON - {"api_date"}
    return [*found, *(_native(profile, profile.points[point], values) for point in lacking), _alert()]


def of_golden(golden: Path) -> Iterator[Entity]:
    """What upstream's discovery and states make of it."""
    messages = [json.loads(line) for line in golden.read_text().splitlines()]
    states = {message["topic"]: message["payload"] for message in messages if message["topic"].startswith("MTEC/")}
    for message in messages:
        if not message["topic"].endswith("/config") or not message["topic"].startswith("homeassistant/"):
            continue
        body, domain = json.loads(message["payload"]), message["topic"].split("/")[1]
        state = states[body["state_topic"]]
        decimals = int(body.get("value_template", "round(3)").partition("round(")[2].partition(")")[0] or 3)
        if domain in ("switch", "binary_sensor"):
            state = "on" if state == body["payload_on"] else "off"
        number = domain == "number" or "state_class" in body
        value = float(state) if number else state
        yield Entity(domain, body["unique_id"], value, decimals, body.get("unit_of_measurement") or None, body.get("device_class"))


def _native(profile: Profile, point: Point, values: Mapping[str, Value]) -> Entity:
    control = next((control for control in profile.controls.values() if control.point == point.id), None)
    value, unit = values[point.id], point.unit or None
    if control is None:
        decimals = 6 if point.round is None else point.round
        return Entity("sensor", f"home_mtec_{point.id}", value, decimals, unit, _class(point))
    if control.kind == "switch":
        value = "on" if value == 1 else "off"
    return Entity(control.kind, f"home_mtec_{control.id}", value, 1, unit, None)


def _class(point: Point) -> str | None:
    if point.values and point.kind != "byte":
        return "enum"
    return None if point.bits or point.device_class == "power_factor" else point.device_class
