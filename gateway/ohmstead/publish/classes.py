"""What a point is to Home Assistant: unit, classes, precision. Only combinations that its MQTT component takes without a warning.

Units per class: Home Assistant's sensor documentation (2025.4), as far as our profiles use them.
"""

from __future__ import annotations

from ohmstead.profiles.model import Point

_UNITS: dict[str, frozenset[str]] = {
    "apparent_power": frozenset({"VA"}),
    "atmospheric_pressure": frozenset({"hPa", "mbar"}),
    "battery": frozenset({"%"}),
    "current": frozenset({"A", "mA"}),
    "duration": frozenset({"d", "h", "min", "s", "ms"}),
    "energy": frozenset({"Wh", "kWh", "MWh"}),
    "frequency": frozenset({"Hz", "kHz"}),
    "humidity": frozenset({"%"}),
    "irradiance": frozenset({"W/m²"}),
    "power": frozenset({"W", "kW"}),
    "power_factor": frozenset({"", "%"}),
    "precipitation": frozenset({"mm", "cm"}),
    "precipitation_intensity": frozenset({"mm/h"}),
    "pressure": frozenset({"bar", "mbar", "hPa"}),
    "reactive_power": frozenset({"var"}),
    "signal_strength": frozenset({"dBm"}),
    "temperature": frozenset({"°C"}),
    "voltage": frozenset({"V", "mV"}),
    "volume_flow_rate": frozenset({"L/min", "m³/h"}),
    "wind_speed": frozenset({"km/h", "m/s"}),
}
_GROWING = {"total", "total_increasing"}


def classes(point: Point) -> dict[str, object]:
    """The keys of a sensor's configuration that say what its value is."""
    if point.values and point.kind not in ("str", "byte"):
        return {"device_class": "enum", "options": options(point)}
    if point.is_text:
        return {"device_class": "timestamp"} if point.device_class == "timestamp" else {}
    found: dict[str, object] = {"unit_of_measurement": point.unit} if point.unit else {}
    device_class = point.device_class
    # A share in percent (autarky, state of health) is a power factor to the M-TEC contract, not to Home Assistant's users.
    if device_class == "power_factor" and point.unit == "%":
        device_class = None
    if device_class is not None and point.unit in _UNITS.get(device_class, ()):
        found["device_class"] = device_class
    state_class = point.state_class
    if found.get("device_class") == "energy" and state_class not in _GROWING:
        state_class = "total_increasing" if state_class else None
    if state_class is not None:
        found["state_class"] = state_class
    if point.round is not None:
        found["suggested_display_precision"] = point.round
    return found


def options(point: Point) -> list[str]:
    """All texts an enumerated point can have."""
    return list(dict.fromkeys([*point.values.values(), point.otherwise]))
