"""Which request comes next, as a story in milliseconds."""

from __future__ import annotations

import itertools
from typing import Any

from tests.unit.node_modules import FakeHal, schedule

Group, Device, Schedule = schedule.Group, schedule.Device, schedule.Schedule


class Bus:
    """Takes every request the schedule picks; each lasts `cost` ms, those to dead devices `timeout`."""

    def __init__(self, *devices: Any) -> None:
        self.hal = FakeHal()
        self.hal.now = 0
        self.schedule = Schedule(self.hal, list(devices))
        self.dead: set[str] = set()
        self.asked: list[tuple[int, str, str]] = []
        self.done: list[tuple[int, str, str]] = []

    def run(self, until: int, cost: int = 100) -> None:
        while self.hal.now < until:
            chosen = self.schedule.pick(self.hal.now)
            if chosen is None:
                self.hal.now += max(1, min(self.schedule.wait_ms(self.hal.now), until - self.hal.now))
                continue
            device, group = chosen
            self.asked.append((self.hal.now, device.name, group.name))
            if device.name in self.dead:
                self.hal.now += device.timeout_ms
                if self.schedule.missed(device, group, self.hal.now):
                    for begun in device.groups:
                        begun.abandon()
            else:
                self.hal.now += cost
                self.schedule.read(device, group, self.hal.now)
            if self.schedule.complete(group):
                self.done.append((self.hal.now, device.name, group.name))
                self.schedule.close(group)

    def finished(self, name: str, group: str) -> list[int]:
        return [at for at, device, its in self.done if (device, its) == (name, group)]


def group(name: str, period: int, reads: int, priority: int = 0) -> Any:
    return Group(name, period, priority, [(3, 100 * i, 4) for i in range(reads)], 0)


def device(name: str, *groups: Any, timeout: int = 500) -> Any:
    return Device(name, 1, timeout, 1, 20, list(groups))


def test_short_periods_go_before_long_ones() -> None:
    bus = Bus(device("a", group("1h", 3_600_000, 2, 2), group("10s", 10_000, 2, 0), group("5min", 300_000, 2, 1)))
    bus.run(1000)
    assert [its for _, _, its in bus.asked] == ["10s"] * 2 + ["5min"] * 2 + ["1h"] * 2


def test_a_period_does_not_drift() -> None:
    bus = Bus(device("a", group("2s", 2000, 3)))
    bus.run(60_000, cost=137)
    assert {at % 2000 for at in bus.finished("a", "2s")} == {3 * 137}


def test_missed_slots_are_skipped_and_not_caught_up_with() -> None:
    fast = group("1s", 1000, 1)
    bus = Bus(device("a", fast))
    bus.run(5000)
    bus.hal.now = 9300
    bus.run(12_000)
    after = [at for at in bus.finished("a", "1s") if at > 9000]
    assert after == [9400, 10_100, 11_100]
    assert fast.skipped == 4


def test_an_overloaded_bus_starves_nobody() -> None:
    bus = Bus(device("a", group("1s", 1000, 12, 0), group("1min", 60_000, 3, 1)))
    bus.run(600_000)
    slow = [0, *bus.finished("a", "1min")]
    assert max(later - earlier for earlier, later in itertools.pairwise(slow)) < 2 * 60_000 + 2000
    assert len(bus.finished("a", "1s")) > 450


def test_two_devices_take_turns_request_by_request() -> None:
    bus = Bus(device("a", group("1s", 1000, 3)), device("b", group("1s", 1000, 3)))
    bus.run(600)
    assert [name for _, name, _ in bus.asked] == ["a", "b", "a", "b", "a", "b"]


def test_a_dead_device_does_not_disturb_the_others_cadence() -> None:
    bus = Bus(device("live", group("1s", 1000, 2)), device("dead", group("1s", 1000, 2), timeout=400))
    bus.dead.add("dead")
    bus.run(120_000)
    finished = bus.finished("live", "1s")
    late = [at % 1000 - 200 for at in finished if at > 5000]
    assert len(finished) == 120
    assert max(late) == 0, "the probes fit between the reads"
    probes = [at for at, name, _ in bus.asked if name == "dead"]
    assert len(probes) < 15
    assert probes[-1] - probes[-2] > 25_000, "the pauses grow to half a minute"


def test_a_probe_gets_in_even_when_there_is_no_gap() -> None:
    bus = Bus(device("busy", group("1s", 1000, 20)), device("dead", group("10s", 10_000, 1), timeout=400))
    bus.dead.add("dead")
    bus.run(60_000)
    assert len([1 for at, name, _ in bus.asked if name == "dead" and at > 10_000]) >= 2


def test_the_first_answer_brings_a_device_back_to_full_polling() -> None:
    bus = Bus(device("a", group("1s", 1000, 2), group("1h", 3_600_000, 1)))
    bus.dead.add("a")
    bus.run(40_000)
    assert bus.done == []
    bus.dead.clear()
    bus.run(75_000)
    back = bus.done[0][0]
    assert [its for _, _, its in bus.done[:2]] == ["1s", "1h"]
    assert [at for at in bus.finished("a", "1s") if at <= back + 3100] == [back, back + 1000, back + 2000, back + 3000]


def test_a_held_device_is_left_alone_for_its_time() -> None:
    waits = device("a", group("1s", 1000, 1))
    bus = Bus(waits)
    waits.hold(700)
    bus.run(1500)
    assert [at for at, _, _ in bus.asked] == [700, 1000]


def test_no_long_read_is_begun_that_would_keep_a_watched_group_from_its_moment() -> None:
    watched, slow = group("500ms", 500, 1, schedule.WATCHED), Group("400ms", 400, 1, [(3, 0, 60)], 0)
    bus = Bus(device("battery", watched), device("meter", slow))
    bus.schedule = Schedule(bus.hal, bus.schedule.devices, 1042)
    bus.run(20_000, cost=166)
    asked = [at for at, name, _ in bus.asked if name == "battery"]
    assert max(later - earlier for earlier, later in itertools.pairwise(asked)) <= 500 + 1
    assert len(bus.finished("meter", "400ms")) >= 40, "the other one is asked in every gap that is long enough"


def test_what_is_late_itself_does_not_wait_for_a_watched_group() -> None:
    watched, slow = group("200ms", 200, 1, schedule.WATCHED), Group("1s", 1000, 1, [(3, 0, 125)], 0)
    bus = Bus(device("battery", watched), device("meter", slow))
    bus.schedule = Schedule(bus.hal, bus.schedule.devices, 1042)
    bus.run(60_000, cost=50)
    assert len(bus.finished("meter", "1s")) >= 30


def test_a_watched_group_goes_before_one_that_is_due_with_it() -> None:
    watched, short = group("500ms", 500, 1, schedule.WATCHED), group("100ms", 100, 1)
    bus = Bus(device("meter", short), device("battery", watched))
    bus.run(1)
    assert bus.asked[0][1] == "battery"
