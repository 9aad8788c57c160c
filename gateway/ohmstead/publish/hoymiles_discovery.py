"""Home Assistant's discovery for a Hoymiles DTU, its inverters and their ports, byte for byte as hoymiles-mqtt 0.11.0 sends it: topics,
order of keys, Python's JSON style. What an owner wants otherwise (names, factors, fewer entities, an expiry) changes what it says alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ohmstead.profiles.model import Profile
from ohmstead.publish.announcement import Configuration


class Entity(NamedTuple):
    """One value of the contract. One that `expires` is unknown to Home Assistant after a time without news; energies never do."""

    name: str
    device_class: str | None = None
    state_class: str | None = None
    platform: str = "sensor"
    expires: bool = True


PLANT = (
    Entity("pv_power", "power", "measurement"),
    Entity("today_production", "energy", "total_increasing", expires=False),
    Entity("total_production", "energy", "total_increasing", expires=False),
    Entity("alarm_flag", "problem", None, "binary_sensor"),
)
INVERTER = (
    Entity("grid_voltage", "voltage", "measurement"),
    Entity("grid_frequency", "frequency", "measurement"),
    Entity("temperature", "temperature", "measurement"),
    Entity("operating_status"),
    Entity("alarm_code"),
    Entity("alarm_count"),
    Entity("link_status"),
)
PORT = (
    Entity("pv_voltage", "voltage", "measurement"),
    Entity("pv_current", "current", "measurement"),
    Entity("pv_power", "power", "measurement"),
    Entity("today_production", "energy", "total_increasing", expires=False),
    Entity("total_production", "energy", "total_increasing", expires=False),
)

_BIGGER_UNITS: Mapping[str, Mapping[float, str]] = {
    "W": {1e3: "mW", 1e-3: "kW", 1e-6: "MW"},
    "Wh": {1e-3: "kWh", 1e-6: "MWh"},
    "V": {1e3: "mV"},
    "A": {1e3: "mA"},
    "Hz": {1e-3: "kHz"},
}
_UNITS: Mapping[str, frozenset[str]] = {
    "power": frozenset({"mW", "W", "kW", "MW"}),
    "energy": frozenset({"Wh", "kWh", "MWh"}),
    "voltage": frozenset({"mV", "V"}),
    "current": frozenset({"mA", "A"}),
    "frequency": frozenset({"Hz", "kHz"}),
    "temperature": frozenset({"°C"}),
}
"""What Home Assistant takes with a device class (its sensor documentation, 2025.4)."""

_MOST_PORTS = 8
"""More than any inverter has."""
_DIGITS = 9
"""Decimals after a multiplication; what is behind them is the noise of binary fractions."""


class Wanted(NamedTuple):
    """What the owner wants of the contract. `inverter` and `port` are the entities to have of each (None: all); `factors` and
    `entity_names` are by entity, `names` by serial number, or "serial/port" for a port. `exclude` are serial numbers of inverters that
    must not be announced. State topics begin with `topics`, or as the model's contract says.
    """

    expire_after_s: int = 0
    inverter: frozenset[str] | None = None
    port: frozenset[str] | None = None
    factors: Mapping[str, float] = {}
    names: Mapping[str, str] = {}
    exclude: frozenset[str] = frozenset()
    entity_names: Mapping[str, str] = {}
    topics: str | None = None

    def of_inverter(self) -> tuple[Entity, ...]:
        return tuple(entity for entity in INVERTER if self.inverter is None or entity.name in self.inverter)

    def of_port(self) -> tuple[Entity, ...]:
        return tuple(entity for entity in PORT if self.port is None or entity.name in self.port)

    def multiplied(self, entity: str, value: float | str) -> float | str:
        factor = self.factors.get(entity)
        return value if factor is None or isinstance(value, str) else round(float(value * factor), _DIGITS)


def fitting_unit(unit: str, factor: float) -> str:
    """The unit of a value after its multiplication: W times 0.001 is kW. A factor that makes no other unit corrects the value, and the
    unit stays."""
    return next((other for step, other in _BIGGER_UNITS.get(unit, {}).items() if abs(factor / step - 1) < 1e-9), unit)


class HoymilesDiscovery:
    """Composes the configurations. `plant` and `inverter` are the models that say the units, `root` that of the state topics."""

    def __init__(self, prefix: str, root: str, plant: Profile, inverter: Profile, wanted: Wanted) -> None:
        self._prefix = prefix
        self._root = root
        self._plant = plant
        self._inverter = inverter
        self._wanted = wanted

    def state_topic(self, serial: str, port: int | None = None) -> str:
        return f"{self._root}/{serial}/state" if port is None else f"{self._root}/{serial}/{port}/state"

    def configurations(self, dtu: str, inverters: Mapping[str, set[int]]) -> list[Configuration]:
        """The DTU with this serial number first, then each inverter with its ports."""
        found = list(self._entities("DTU", dtu, PLANT, self._plant))
        for serial, ports in inverters.items():
            found += self._entities("inv", serial, self._wanted.of_inverter(), self._inverter)
            for port in sorted(ports):
                found += self._entities("inv", serial, self._wanted.of_port(), self._inverter, port)
        return found

    def withdrawn(self) -> list[Configuration]:
        """Takes back what may have been announced of excluded inverters, by whoever came before."""
        parts = [f"inv_{entity.name}" for entity in INVERTER]
        parts += [f"port_{port}_{entity.name}" for port in range(1, _MOST_PORTS + 1) for entity in PORT]
        return [
            Configuration(f"{self._prefix}/sensor/{serial}/{part}/config", "") for serial in sorted(self._wanted.exclude) for part in parts
        ]

    def _entities(
        self, kind: str, serial: str, entities: tuple[Entity, ...], model: Profile, port: int | None = None
    ) -> Iterator[Configuration]:
        topic = self.state_topic(serial, port)
        names = self._wanted.names
        device = {
            "name": names.get(serial, f"{kind}_{serial}"),
            "identifiers": [f"hoymiles_mqtt_{serial}"],
            "manufacturer": "Hoymiles",
        }
        part = kind if port is None else f"port_{port}"
        called = names.get(f"{serial}/{port}")
        for entity in entities:
            name = self._name(entity.name, port, called)
            body: dict[str, object] = {
                "device": device,
                "name": name,
                "unique_id": f"hoymiles_mqtt_{part}_{serial}_{entity.name}",
                "state_topic": topic,
                "value_template": f"{{{{ iif(value_json.{entity.name} is defined, value_json.{entity.name}, '') }}}}",
                "availability_topic": topic,
                "availability_template": f"{{{{ iif(value_json.{entity.name} is defined, 'online', 'offline') }}}}",
                **self._classes(entity, model.points[entity.name if port is None else f"port_1_{entity.name}"].unit),
            }
            if entity.expires and self._wanted.expire_after_s:
                body["expire_after"] = str(self._wanted.expire_after_s)
            yield Configuration(f"{self._prefix}/{entity.platform}/{serial}/{part}_{entity.name}/config", json.dumps(body))

    def _name(self, entity: str, port: int | None, called: str | None) -> str:
        """Upstream's (`port_1_pv_power`), unless the owner has names for the port or for the entity."""
        name = self._wanted.entity_names.get(entity)
        if port is None:
            return name or entity
        return f"{called or f'Port {port}'} {name or entity}" if called or name else f"port_{port}_{entity}"

    def _classes(self, entity: Entity, unit: str) -> dict[str, str]:
        unit = fitting_unit(unit, self._wanted.factors.get(entity.name, 1.0))
        known = _UNITS.get(entity.device_class or "")
        said: dict[str, str] = {}
        if entity.device_class is not None and (known is None or unit in known):
            said["device_class"] = entity.device_class
        if unit:
            said["unit_of_measurement"] = unit
        if entity.state_class is not None:
            said["state_class"] = entity.state_class
        return said
