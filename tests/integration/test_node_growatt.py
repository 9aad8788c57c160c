"""From ohmstead.yaml to the bus: the node holds what the gateway compiled for a Growatt, on an inverter that behaves like one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ohmstead.config import Config, load
from ohmstead.nodes.compile import node_config
from ohmstead.sim.faults import Faults
from ohmstead.sim.growatt import MIN, SPH, UNIT, Family, Growatt, PacedStation
from ohmstead.sim.rtu import Line
from tests.conftest import Broker, wait_for
from tests.integration.node_harness import KEY, SITE, Gateway, NodeProcess, own_path, seal

BAUD = 38400
HOME = """
    mqtt: {{url: "mqtt://{host}:{port}"}}
    nodes:
      cellar: {{bus: {{port: {line}, baud: {baud}}}, key: "{key}"}}
    devices:
      growatt:
        profile: {profile}
        via: cellar
        every: {{live: 1 s, energy: 1 h, settings: 1 h, static: 1 h}}
        limits: {{soc: 15..95 %}}
"""


class House:
    """A node, an inverter on its line, and the gateway's side of the wire."""

    def __init__(self, config: Config, inverter: Growatt, faults: Faults, gateway: Gateway) -> None:
        self.config = config
        self.inverter = inverter
        self.faults = faults
        self.gateway = gateway

    def command(self, control: str, raw: int, lease_ms: int) -> dict[str, Any]:
        """The result of a command with all the words of its blocks."""
        words = self.config.layout("growatt", control).octets(raw)
        identity, body = self.gateway.body(control, words, name="growatt", lease_ms=lease_ms)
        self.gateway.publish("down/command", seal(KEY, f"{SITE}/cellar/command".encode(), body))
        return self.gateway.result(identity, 20)

    def told(self) -> list[tuple[str, str, str]]:
        """Control, stage and reason of what the node told by itself."""
        details = [event.detail for event in self.gateway.heard("control", "growatt")]
        return [(detail["control"], detail["stage"], detail["reason"]) for detail in details]

    def until(self, true: Callable[[], bool], what: str) -> None:
        wait_for(true, 20, what)


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path, broker: Broker, gateway: Gateway, node: NodeProcess) -> Iterator[House]:
    """With an SPH, or with the family that a test asks for."""
    family: Family = getattr(request, "param", SPH)
    profile, faults = "growatt-min" if family is MIN else "growatt-sph", Faults()
    inverter = Growatt(family=family, soc=50, sun=lambda _: 0.0, demand=lambda _: 500.0)
    station = PacedStation(inverter, faults, turnaround=0.01)
    with Line({UNIT: station}, baud=BAUD, link=own_path()) as line:
        text = textwrap.dedent(HOME).format(host=broker.host, port=broker.port, line=line.path, baud=BAUD, key=KEY.hex(), profile=profile)
        path = tmp_path / "ohmstead.yaml"
        path.write_text(text, encoding="utf-8")
        config = load(path)
        node.configure(node_config(config, "cellar"))
        node.start()
        made = House(config, inverter, faults, gateway)
        made.until(lambda: bool(gateway.of("growatt", "1s")), "the first reading")
        yield made
        assert station.unheard == 0, "nobody may ask sooner than the inverter can hear"
        node.kill()


def test_a_block_is_written_whole_and_the_lease_s_end_takes_all_of_it_back(house: House) -> None:
    said = house.command("discharge", 40, lease_ms=4000)
    assert (said["stage"], said["value"]) == ("done", 40)
    assert (house.inverter[1070], house.inverter[1071], house.inverter[1082]) == (40, 15, 1)
    assert house.inverter.powers.battery == pytest.approx(2000)
    house.until(lambda: house.inverter[1082] == 0, "the lease's end")
    house.until(lambda: ("discharge", "lapsed", "lease") in house.told(), "the event of it")
    house.until(lambda: house.inverter[1070] == 100, "the rate as it was")
    assert {write.function for write in house.inverter.writes} == {16}
    order = [write.address for write in house.inverter.writes if write.address in (1070, 1080)]
    assert order[-4:] == [1070, 1080, 1080, 1070], "its switch is the last to go on and the first to go off"


def test_below_the_floor_a_discharge_is_ended_and_refused_while_charging_is_not(house: House) -> None:
    assert house.command("discharge", 40, lease_ms=600_000)["stage"] == "done"
    house.inverter.stored = 0.14 * house.inverter.hardware.capacity * 3600
    house.until(lambda: house.inverter[1082] == 0, "the floor")
    assert house.command("discharge", 40, lease_ms=600_000) | {"id": 0} == {
        **{"id": 0, "control": "discharge"},
        **{"stage": "rejected", "reason": "soc floor"},
    }
    assert house.command("charge", 60, lease_ms=600_000)["stage"] == "done"
    assert (house.inverter[1090], house.inverter[1091], house.inverter[1092], house.inverter[1102]) == (60, 95, 1, 1)


def test_what_must_end_is_not_taken_without_an_end_and_a_setting_is(house: House) -> None:
    assert house.command("charge", 60, lease_ms=0)["reason"] == "lease needed"
    assert house.command("export_limit", 500, lease_ms=0)["stage"] == "done"
    assert house.inverter[123] == 500


def test_the_emergency_stop_takes_every_forced_control_back(house: House) -> None:
    assert house.command("charge", 60, lease_ms=600_000)["stage"] == "done"
    house.gateway.publish("stop", b"1", retain=True)
    house.until(lambda: house.inverter[1102] == 0 and house.inverter[1092] == 0, "the safe values")
    assert house.command("charge", 60, lease_ms=600_000)["reason"] == "latched"


@pytest.mark.parametrize("house", [MIN], indirect=True, ids=["min"])
def test_a_min_keeps_its_tagged_slots_apart_and_a_slot_that_it_ignores_is_no_success(house: House) -> None:
    said = house.command("charge", 60, lease_ms=600_000)
    assert (said["stage"], said["value"]) == ("done", 60)
    assert [house.inverter[at] for at in (3047, 3048, 3049, 3038, 3039)] == [60, 95, 1, 0xA000, 5947]
    assert house.inverter.powers.battery == pytest.approx(-3000)
    assert house.command("charge", 0, lease_ms=60_000)["stage"] == "done"
    assert [house.inverter[at] for at in (3047, 3049, 3038, 3039)] == [100, 0, 0, 0]
    assert house.command("discharge", 40, lease_ms=4000)["stage"] == "done"
    assert [house.inverter[at] for at in (3036, 3037, 3040, 3041)] == [40, 15, 0xC000, 5947]
    house.until(lambda: house.inverter[3040] == 0 and house.inverter[3036] == 100, "the lease's end")
    house.faults.on("ignored-write@3038..3039")
    assert house.command("charge", 60, lease_ms=600_000)["stage"] == "failed"
    assert house.inverter.priority == 0
