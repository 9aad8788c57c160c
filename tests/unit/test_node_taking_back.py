"""Taking a forced control back never forces more on the way, by the simulated Growatt's own rule; and what is in force comes first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ohmstead.config import load
from ohmstead.nodes.guards import controls_of
from ohmstead.sim.growatt import Growatt
from tests.unit.guard_rig import SOC, House, floor
from tests.unit.node_world import framed

HOME = """
mqtt: {url: "mqtt://localhost"}
nodes:
  cellar: {bus: {port: /dev/ttyUSB0, baud: 9600}, key: "%s"}
devices:
  growatt: {profile: growatt-sph, via: cellar, limits: {soc: 15..95 %%}}
"""
BLOCKS = {"discharge": [1070, 1080], "charge": [1090, 1100]}


class Forced:
    """A node with a Growatt's controls on its line. `powers`: what the battery gives after each write, in W, charging below zero."""

    def __init__(self, folder: Path) -> None:
        path = folder / "ohmstead.yaml"
        path.write_text(HOME % bytes(32).hex(), encoding="utf-8")
        config = load(path)
        self._layouts = {name: config.layout("growatt", name) for name in BLOCKS}
        limits = [floor(controls=[["growatt", "charge"], ["growatt", "discharge"]])]
        self.node = House(controls_of(config, "growatt"), limits, link_loss_ms=8000)

        def clock() -> float:
            return self.node.world.now / 1000

        self.inverter = Growatt(start=1_700_000_000, sun=lambda _: 0.0, demand=lambda _: 500.0, clock=clock, wall=clock)
        self.writes: list[int] = []
        self.powers: list[float] = []
        self.node.wire.peer = self.answer
        self.node.run(3000)
        self.forget()

    def answer(self, request: bytes) -> list[tuple[int, bytes]]:
        function, address, count = request[1], int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
        if address == SOC:
            return self.node.inverter(request)
        if function == 3:
            words = b"".join(word.to_bytes(2, "big") for word in self.inverter.read(3, address, count))
            return [(5, framed(request[0], bytes([3, len(words)]) + words))]
        self.inverter.write(16, address, [int.from_bytes(request[7 + 2 * i : 9 + 2 * i], "big") for i in range(count)])
        self.writes.append(address)
        self.powers.append(self.inverter.powers.battery)
        return [(5, framed(request[0], request[1:6]))]

    def forget(self) -> None:
        """What was written until now."""
        self.writes.clear()
        self.powers.clear()

    def send(self, control: str, percent: int) -> int:
        return self.node.send(self._layouts[control].octets(percent), control=control, lease=10_000)

    def force(self, control: str, percent: int) -> None:
        identity = self.send(control, percent)
        self.node.run(2000)
        assert self.node.result(identity) == ("done", "")

    def restart(self) -> None:
        self.node.boot()
        self.node.wire.peer = self.answer

    def low(self) -> None:
        self.node.inverter.registers[SOC] = 10

    def unplug(self) -> None:
        self.node.connected = False


@pytest.fixture
def forced(tmp_path: Path) -> Forced:
    return Forced(tmp_path)


@pytest.mark.parametrize("control", BLOCKS)
def test_what_is_commanded_is_written_in_order_with_the_switch_at_last(forced: Forced, control: str) -> None:
    forced.force(control, 40)
    assert forced.writes == BLOCKS[control]
    assert abs(forced.powers[0]) <= 500, "nothing is forced before the rate is there"
    assert abs(forced.powers[1]) == pytest.approx(2000)


WAYS: dict[str, Callable[[Forced, str], object]] = {
    "lease": lambda forced, control: None,
    "stop": lambda forced, control: forced.node.stop(1),
    "floor": lambda forced, control: forced.low(),
    "command": lambda forced, control: forced.send(control, 0),
    "link": lambda forced, control: forced.unplug(),
    "restart": lambda forced, control: forced.restart(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("control", BLOCKS)
def test_what_is_taken_back_is_switched_off_first_and_never_forces_more_on_the_way(forced: Forced, control: str, way: str) -> None:
    forced.force(control, 40)
    before = abs(forced.inverter.powers.battery)
    forced.forget()
    WAYS[way](forced, control)
    forced.node.run(12_000)
    first, second = BLOCKS[control]
    assert [address for address in forced.writes if address in (first, second)] == [second, first]
    powers = [before, *map(abs, forced.powers)]
    assert powers == sorted(powers, reverse=True)
    assert powers[-1] < before
    assert (forced.inverter[first], forced.inverter[second + 2]) == (100, 0)


def test_a_stop_amid_a_command_leaves_nothing_in_force(forced: Forced) -> None:
    forced.send("discharge", 40)
    forced.node.watch = lambda: forced.node.stop(1) if forced.writes == [1070] else None
    forced.node.run(2000)
    assert [address for address in forced.writes if address < 1090] == [1070, 1080, 1070]
    assert max(forced.powers) <= 500
    assert forced.inverter[1082] == 0


@pytest.mark.parametrize("control", BLOCKS)
def test_a_stop_serves_what_is_in_force_before_what_is_not(forced: Forced, control: str) -> None:
    forced.force(control, 40)
    forced.forget()
    forced.node.stop(1)
    forced.node.run(3000)
    [other] = set(BLOCKS) - {control}
    assert forced.writes == [*reversed(BLOCKS[control]), *reversed(BLOCKS[other])]


@pytest.mark.parametrize("control", BLOCKS)
def test_what_has_just_been_written_counts_as_in_force(forced: Forced, control: str) -> None:
    """Nobody has read it back when the stop comes; the last write is under way."""
    answering = forced.node.wire.peer

    def pressed(request: bytes) -> list[tuple[int, bytes]]:
        answers = answering(request)
        if forced.writes == BLOCKS[control]:
            forced.node.stop(1)
        return answers

    forced.node.wire.peer = pressed
    forced.send(control, 40)
    forced.node.run(3000)
    assert forced.writes[2:4] == BLOCKS[control][::-1]


def test_a_lease_that_has_just_ended_leaves_the_control_in_force_until_it_is_taken_back(forced: Forced) -> None:
    forced.force("discharge", 40)
    forced.forget()
    forced.node.watch = lambda: forced.node.stop(1) if forced.node.told("lapsed") else None
    forced.node.run(12_000)
    assert forced.writes == [1080, 1070, 1100, 1090]
