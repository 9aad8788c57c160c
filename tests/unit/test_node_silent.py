"""A latched node whose inverter does not answer goes on reading the line's other device, and the inverter gets its safe values later."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from tests.chaos import virtual
from tests.unit.guard_rig import EVALUATE_MS, Box, Inverter, World, charge, guard
from tests.unit.node_world import Ended, bus, holding, line, vitals

CONTROLS = 6
PATIENCE_MS = 40_000  # once, for what is tried when the stop comes


class Line:
    """A meter (unit 2) beside an inverter (unit 1) of many controls."""

    def __init__(self) -> None:
        world = self.world = World(0)
        virtual.adopt(world, line, bus)
        self.box = Box(world)
        inverter, meter = Inverter(), holding()
        inverter.world = world
        inverter.registers |= {1000 + i: 0 for i in range(2 * CONTROLS)}
        self.inverter = inverter
        world.wires["line"] = virtual.Wire(world, lambda request: inverter(request) if request[0] == 1 else meter(request))
        self.guard = guard.Guard(world, self.box, {})
        self.guard.connected = lambda: True
        polled = {"name": "1s", "period_ms": 1000, "priority": 0, "reads": [[3, 100, 2]]}
        device = {"timeout_ms": 1000, "retries": 2, "turnaround_ms": 5, "groups": [polled], "vitals": [], "controls": []}
        controls = [charge(name=f"charge{i}", blocks=[[16, 1000 + 2 * i, 2]]) for i in range(CONTROLS)]
        devices = [device | {"name": "inverter", "unit": 1, "controls": controls}, device | {"name": "meter", "unit": 2}]
        spec = {"name": "rs485-1", "port": "line", "baud": 9600, "devices": devices}
        self.bus = bus.Bus(world, spec, self.box, vitals.Vitals(), self.guard)
        self.guard.bind(self.bus.devices)
        self.guard.start()
        self._until = self._evaluated = 0

    def beat(self) -> None:
        if self.world.now - self._evaluated >= EVALUATE_MS:
            self._evaluated = self.world.now
            self.guard.evaluate()
        if self.world.now >= self._until:
            raise Ended

    def run(self, ms: int) -> None:
        self._until = self.world.now + ms
        with contextlib.suppress(Ended):
            self.world.run(self.bus.run(self))

    def longest(self, since: int) -> int:
        """Between two snapshots of the meter, in ms."""
        read = [snapshot[0] for snapshot in self.box.snapshots if snapshot[1] == "meter" and snapshot[0] > since]
        return max(later - earlier for earlier, later in itertools.pairwise([since, *read, self.world.now]))


@pytest.mark.parametrize("silent_first", [True, False])
def test_the_other_device_is_read_and_the_inverter_is_made_safe_when_it_answers(silent_first: bool) -> None:
    both = Line()
    both.inverter.silent = silent_first
    both.run(60_000)
    both.guard.level(1)
    both.run(2000)
    both.inverter.silent = True
    both.run(PATIENCE_MS)
    since = both.world.now
    both.run(300_000)
    assert both.longest(since) < 2500
    both.inverter.registers |= {1000 + 2 * i: 900 for i in range(CONTROLS)}
    both.inverter.silent = False
    both.run(45_000)
    assert [both.inverter.registers[1000 + 2 * i] for i in range(CONTROLS)] == [0] * CONTROLS
