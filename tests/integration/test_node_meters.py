"""Meters on a node's line: three makes on one bus, read by MicroPython as `ohmstead compile` tells it, decoded as the gateway does."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.nodes.compile import node_config
from ohmstead.profiles import library
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Value
from ohmstead.sim.meter import Meter
from ohmstead.sim.registers import READ_INPUT
from ohmstead.sim.rtu import Line
from ohmstead.sim.station import Station
from tests.conftest import Broker, wait_for
from tests.integration.node_harness import Frame, Gateway, NodeProcess, own_path

METERS = {"house": "eastron-sdm630", "wallbox": "eastron-sdm120", "workshop": "carlo-gavazzi-em24"}
POWERS = {"house": -1500.5, "wallbox": 11000.0, "workshop": 4321.1}


@pytest.fixture
def meters() -> dict[str, Meter]:
    return {name: Meter(library.load(profile), {"power": POWERS[name], "energy_import": 1234.5}) for name, profile in METERS.items()}


def home(path: str, broker: Broker) -> str:
    devices = [
        f"{name}: {{profile: {profile}, via: cellar, unit: {unit}, every: {{live: 300 ms, energy: 1 s}}}}"
        for unit, (name, profile) in enumerate(METERS.items(), start=1)
    ]
    return textwrap.dedent(f"""
        site: home
        mqtt: {{url: 'mqtt://{broker.host}:{broker.port}'}}
        nodes: {{cellar: {{bus: {{port: {path}, baud: 115200}}}}}}
        devices:
    """) + "".join(f"  {device}\n" for device in devices)


def decoded(meter: Meter, frames: Iterable[Frame]) -> dict[str, Value]:
    """The values of frames, each run of registers as it came."""
    decoder = Decoder(meter.profile)
    values: dict[str, Value] = {}
    for frame in frames:
        for point in meter.profile.points.values():
            words = [frame.words.get(at) for at in range(point.address, point.last + 1)]
            if None not in words:
                octets = b"".join((word or 0).to_bytes(2, "big") for word in words)
                values |= decoder.decode(READ_INPUT, point.address, octets)
    return values


def test_three_meters_on_one_line_and_their_powers_without_a_gateway(
    broker: Broker, gateway: Gateway, node: NodeProcess, meters: dict[str, Meter], tmp_path: Path
) -> None:
    stations = {unit: Station(meter, turnaround=0.002) for unit, meter in enumerate(meters.values(), start=1)}
    with Line(stations, baud=115200, link=own_path()) as line:
        path = tmp_path / "ohmstead.yaml"
        path.write_text(home(line.path, broker), encoding="utf-8")
        node.configure(node_config(load(path), "cellar"))
        node.start()
        wait_for(lambda: all({"300ms", "1s"} <= {frame.group for frame in gateway.of(name)} for name in meters), 30, "frames of all")
        for name, meter in meters.items():
            values = decoded(meter, gateway.of(name))
            assert [values["power"], values["energy_import"]] == pytest.approx([POWERS[name], 1234.5])
            assert values.keys() == meter.profile.points.keys()
            assert {frame.quality for frame in gateway.of(name)} == {0}
        spoken = {f"{name}/power": f"{power:.1f}".encode() for name, power in POWERS.items()}
        wait_for(lambda: gateway.vitals == spoken, 30, f"the powers, spoken by the node itself ({gateway.vitals})")
        meters["house"]["power"] = math.nan
        meters["wallbox"]["power"] = 7000.0
        wait_for(lambda: gateway.vitals.get("wallbox/power") == b"7000.0", 30, "the new power")
        assert gateway.vitals["house/power"] == spoken["house/power"], "what is no number is not said"
