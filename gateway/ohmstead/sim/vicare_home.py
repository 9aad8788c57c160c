"""A home as Viessmann's cloud tells of it: a heat pump with two circuits, a thermostat, and the gateway itself. All made up.

The features have the shapes of the interface (`/iot/v2/features`); the weather and the heat pump follow the hour of the day.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

Json = dict[str, Any]

INSTALLATION = 2_012_616
GATEWAY = "7571381000000001"
HEAT_PUMP, THERMOSTAT, BOX = "0", "zigbee-00158d0001abcdef", "gateway"

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ELECTRICITY, _HEAT = 0.9, 3.6
"""kWh in an hour of running."""


class Equipment(NamedTuple):
    """A device of the account. `features` gives what it says at a UTC second; `roles` and `kind` are the interface's words."""

    gateway: str
    device: str
    model: str
    kind: str
    features: Callable[[float], Sequence[Json]]
    roles: Sequence[str] = ()
    installation: int = INSTALLATION


def home(zone_offset_s: float = 3600.0) -> list[Equipment]:
    """The devices of the made-up account."""
    return [
        Equipment(GATEWAY, HEAT_PUMP, "E3_Vitocal_16", "heating", lambda now: heat_pump(now, zone_offset_s), ("type:heatpump", "type:E3")),
        Equipment(GATEWAY, THERMOSTAT, "E3_RoomSensor", "zigbee", thermostat, ("type:climateSensor",)),
        Equipment(GATEWAY, BOX, "E3_TCU300_x07", "tcu", box, ("type:gateway;TCU300",)),
    ]


def recorded(answer: Mapping[str, Any], model: str = "Vitocal", newest: bool = True) -> Equipment:
    """A heat pump that says what a recorded answer says, for ever; with `newest` its times are moved so that the last one is now."""
    features = [dict(feature) for feature in answer["data"]]
    last = max(_seconds(feature["timestamp"]) for feature in features)

    def told(now: float) -> list[Json]:
        if not newest:
            return features
        return [{**feature, "timestamp": stamp(_seconds(feature["timestamp"]) + now - last)} for feature in features]

    return Equipment(GATEWAY, HEAT_PUMP, model, "heating", told, ())


def outside(now: float, zone_offset_s: float = 3600.0) -> float:
    """°C: coldest at four in the morning."""
    hour = (now + zone_offset_s) % 86_400 / 3600
    return round(6.0 - 5.0 * math.cos((hour - 4) / 24 * 2 * math.pi), 1)


def heat_pump(now: float, zone_offset_s: float = 3600.0) -> list[Json]:
    day_s = (now + zone_offset_s) % 86_400
    heating = (day_s % 3600) < 2400
    hot_water = 12.0 <= day_s / 3600 < 13.0
    out = outside(now, zone_offset_s)
    ran_h = day_s / 3600 * 0.66
    days = (now - 1_700_000_000) / 86_400
    measured = stamp(now - now % 60)
    started = stamp(now - day_s % 3600)
    daily = stamp(now - day_s)
    return [
        _feature("heating.sensors.temperature.outside", measured, status="connected", value=(out, "celsius")),
        _feature("heating.sensors.temperature.return", measured, status="connected", value=(27.4 + (2 if heating else 0), "celsius")),
        _feature("heating.primaryCircuit.sensors.temperature.supply", measured, status="connected", value=(round(out + 1.5, 1), "celsius")),
        _feature(
            "heating.secondaryCircuit.sensors.temperature.supply",
            measured,
            status="connected",
            value=(31.0 + (4 if heating else 0), "celsius"),
        ),
        _feature(
            "heating.dhw.sensors.temperature.dhwCylinder", measured, status="connected", value=(51.5 if hot_water else 47.5, "celsius")
        ),
        _feature("heating.dhw.sensors.temperature.outlet", daily, status="notConnected"),
        _feature("heating.sensors.volumetricFlow.allengra", measured, status="connected", value=(1015 if heating else 0, "liter/hour")),
        _feature("heating.compressors", daily, enabled=["0"]),
        _feature("heating.compressors.0", started, active=heating, phase="heating" if heating else "ready"),
        _feature("heating.compressors.0.sensors.power", started, status="connected", value=(45 if heating else 0, "percent")),
        _feature("heating.compressors.0.statistics", started, hours=(round(9.0 * days + ran_h, 1), "hour"), starts=(int(24 * days), "")),
        _feature("heating.compressors.0.power", daily, value=(12, "kilowatt")),
        _feature("heating.power.consumption.current", started, status="connected", value=(0.9 if heating else 0.03, "kilowatt")),
        _summary("heating.power.consumption.summary.heating", started, _ELECTRICITY, ran_h, days),
        _summary("heating.power.consumption.summary.dhw", started, 0.3, ran_h, days),
        _summary("heating.heat.production.summary.heating", started, _HEAT, ran_h, days),
        _summary("heating.heat.production.summary.dhw", started, 0.8, ran_h, days),
        _feature("heating.spf.total", daily, value=(3.9, "")),
        _feature("heating.circuits", daily, enabled=["0", "1"]),
        *_circuit(0, "Radiators", daily, measured, 35.0 + (3 if heating else 0)),
        *_circuit(1, "Floor", daily, measured, 30.0 + (2 if heating else 0)),
        _feature("heating.dhw", daily, active=True, status="on"),
        _feature("heating.dhw.temperature.main", daily, {"setTargetTemperature": _range("temperature", 10, 60, 1)}, value=(50, "celsius")),
        _feature("heating.dhw.oneTimeCharge", daily, active=False),
        _feature("heating.dhw.pumps.circulation", started, status="off"),
        _feature("heating.dhw.schedule", daily, _schedule_command(), active=True, entries=_week("05:30", "22:00", "normal")),
        _feature("heating.cooling", daily),
        _feature("tcu.wifi", measured, strength=(-58, "")),
        _feature("device.messages.errors.raw", daily, entries=[]),
        _feature("device.serial", daily, value="7637415000000001"),
    ]


def thermostat(now: float) -> list[Json]:
    measured = stamp(now - now % 900)
    warmth = round(21.0 + math.sin(now / 7200), 1)
    return [
        _feature("device.sensors.temperature", measured, status="connected", value=(warmth, "celsius")),
        _feature("device.sensors.humidity", measured, status="connected", value=(46, "percent")),
        _feature("device.power.battery", stamp(now - now % 86_400), level=(83, "percent")),
        _feature("device.name", stamp(now - now % 86_400), name="Living room"),
        _feature("device.serial", stamp(now - now % 86_400), value="00158d0001abcdef"),
    ]


def box(now: float) -> list[Json]:
    """Features that begin with `gateway.` are the gateway's own and belong to none of its devices."""
    return [
        _feature("gateway.wifi", stamp(now - now % 300), strength=(-54, "")),
        _feature("gateway.firmware", stamp(now - now % 86_400), version="5.3.0", updateStatus="idle"),
    ]


def stamp(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def _circuit(number: int, name: str, daily: str, measured: str, supply: float) -> list[Json]:
    base = f"heating.circuits.{number}"
    programs = f"{base}.operating.programs"
    set_temperature = {"setTemperature": _range("targetTemperature", 3, 37, 1)}
    curve = {"setCurve": {"params": {**_limits("slope", 0.2, 3.5, 0.1), **_limits("shift", -13, 40, 1)}}}
    modes = {"setMode": {"params": {"mode": {"type": "string", "constraints": {"enum": ["standby", "heating"]}}}}}
    return [
        _feature(base, daily, active=True, name=name, type="heatingCircuit"),
        _feature(f"{base}.name", daily, name=name),
        _feature(f"{base}.sensors.temperature.supply", measured, status="connected", value=(supply, "celsius")),
        _feature(f"{base}.circulation.pump", daily, status="on"),
        _feature(f"{base}.heating.curve", daily, curve, slope=(0.6, ""), shift=(number, "")),
        _feature(f"{base}.heating.schedule", daily, _schedule_command(), active=True, entries=_week("06:00", "22:00", "normal")),
        _feature(f"{base}.operating.modes.active", daily, modes, value="heating"),
        _feature(f"{programs}.active", daily, value="normal"),
        _feature(f"{programs}.normal", daily, set_temperature, active=True, temperature=(21, "celsius")),
        _feature(f"{programs}.reduced", daily, set_temperature, active=False, temperature=(18, "celsius")),
        _feature(f"{base}.temperature.levels", daily, min=(20, "celsius"), max=(45, "celsius")),
    ]


def _summary(name: str, at: str, hourly: float, ran_h: float, days: float) -> Json:
    today = round(hourly * ran_h, 1)
    told = {
        "currentDay": today,
        "lastSevenDays": round(hourly * 15.8 * 6 + today, 1),
        "currentMonth": round(hourly * 15.8 * (days % 30) + today, 1),
        "lastMonth": round(hourly * 15.8 * 30, 1),
        "currentYear": round(hourly * 15.8 * (days % 365) + today, 1),
        "lastYear": round(hourly * 15.8 * 365, 1),
    }
    return _feature(name, at, **{key: (value, "kilowattHour") for key, value in told.items()})


def _feature(feature: str, at: str, commands: Json | None = None, /, **properties: Any) -> Json:
    """A feature without properties is one that is not enabled."""
    return {
        "apiVersion": 1,
        "commands": commands or {},
        "feature": feature,
        "isEnabled": bool(properties),
        "isReady": True,
        "properties": {key: _property(value) for key, value in properties.items()},
        "timestamp": at,
    }


def _property(value: Any) -> Json:
    if isinstance(value, tuple):
        return {"type": "number", "value": value[0], "unit": value[1]}
    kinds = {bool: "boolean", str: "string", list: "array", dict: "Schedule"}
    return {"type": kinds[type(value)], "value": value}


def _range(param: str, low: float, high: float, step: float) -> Json:
    return {"params": _limits(param, low, high, step)}


def _limits(param: str, low: float, high: float, step: float) -> Json:
    return {param: {"type": "number", "required": True, "constraints": {"min": low, "max": high, "stepping": step}}}


def _week(start: str, end: str, mode: str) -> Json:
    return {day: [{"start": start, "end": end, "mode": mode, "position": 0}] for day in _DAYS}


def _schedule_command() -> Json:
    constraints = {"modes": ["normal", "comfort"], "defaultMode": "reduced", "maxEntries": 4, "resolution": 10}
    return {"setSchedule": {"params": {"newSchedule": {"type": "Schedule", "required": True, "constraints": constraints}}}}
