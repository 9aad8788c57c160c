"""The arbiter as a home puts it together: what a network operator's box says, and who hears of a stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ohmcore import events
from ohmcore.records import State
from ohmcore.standing import Device
from ohmstead.batteries import Batteries, targets_of
from ohmstead.clock import Clock
from ohmstead.control.desk import Desk
from ohmstead.control.dispatch import Actuator, Outcome
from ohmstead.control.entrance import Entrance
from ohmstead.control.guarded import GuardedActuator, watches
from ohmstead.errors import Reason
from ohmstead.publish.loxone_answers import LoxoneAnswers
from ohmstead.publish.loxone_commands import LoxoneCommands
from ohmstead.readings import Quality, Snapshot
from ohmstead.store.protocol import StoreError
from ohmstead.store.sqlite import SqliteStore
from ohmstead.store.trail import Trail
from tests.publishing import Recorder
from tests.unit.battery_house import HOME, LIVE, START, Hand, House, configuration
from tests.unit.test_guarded import Inverter as Plain
from tests.unit.test_guarded import Put


class Inverter(Plain):
    """As that one; remembers what was written since it was asked last."""

    def __init__(self) -> None:
        super().__init__()
        self._wrote: list[tuple[int, int]] = []

    async def put(self, wanted: Mapping[int, int], *, ends: bool = False) -> Put:
        before = dict(self.registers)
        put = await super().put(wanted, ends=ends)
        self._wrote += [(at, word) for at, word in wanted.items() if before[at] != word]
        return put

    def wrote(self, address: int, word: int) -> bool:
        wrote, self._wrote = self._wrote, []
        return (address, word) in wrote


def connected(recorder: Recorder) -> Recorder:
    recorder.connect()
    return recorder


class NoRoom:
    """A trail that takes nothing once `full`."""

    def __init__(self, trail: Trail) -> None:
        self.full = False
        self._trail = trail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trail, name)

    def commit(self, *parts: Any) -> int:
        if self.full:
            raise StoreError("the disk is full")
        return self._trail.commit(*parts)


async def until(condition: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20
    while not condition():
        assert loop.time() < deadline
        await asyncio.sleep(0.01)


def test_a_failsafe_is_not_ended_by_what_a_broker_kept(tmp_path: Path) -> None:
    config = configuration(tmp_path, HOME + "control: {grid: {heartbeat: 2 min, failsafe: 4.2 kW}}\n")
    broker, now = Recorder(), [START]

    async def story() -> None:
        store = SqliteStore(tmp_path / "ohm.db")
        clock = Clock(lambda: 1_768_000_000.0, lambda: now[0])
        known = {"growatt": targets_of(config, "growatt")}
        home = Batteries(config, known, {"growatt": Hand()}, store.trail, broker, lambda device: True, lambda wall, watts: [], clock)
        running = asyncio.create_task(home.run())
        await home.start()

        def state() -> State:
            return home.arbiter.state("growatt")

        def say(topic: str, text: bytes, *, retain: bool = False) -> None:
            broker.arrive(f"ohm/test/grid/{topic}", text, retain=retain)

        say("limit", b"3", retain=True)
        say("heartbeat", b"1")
        assert Device(state()).failsafe, "that is a statement of yesterday"
        say("limit", b"4.2")
        assert not Device(state()).failsafe
        say("limit", b"2", retain=True)
        assert Device(state()).grid == 2000, "a copy limits nevertheless"
        say("limit", b"none")
        now[0] += 121
        home.tick(now[0])
        await until(lambda: home.arbiter.status("growatt").failsafe)
        say("heartbeat", b"1")
        say("limit", b"2", retain=True)
        assert Device(state()).failsafe
        say("limit", b"none")
        assert not Device(state()).failsafe
        await home.close()
        await asyncio.wait_for(running, 20)
        store.close()

    asyncio.run(story())


def test_a_stop_is_obeyed_below_even_while_the_audit_cannot_be_kept(tmp_path: Path) -> None:
    more = 'nodes: {cellar: {bus: {pins: {tx: 17, rx: 16, de: 4}}}}\nmqtt: {url: "mqtt://nas"}\n'
    node = HOME.replace("via: growatt-mqtt:energy/solar", "via: cellar") + more
    config, broker = configuration(tmp_path, node), Recorder()

    async def story() -> None:
        store = SqliteStore(tmp_path / "ohm.db")
        trail, known = NoRoom(store.trail), {"growatt": targets_of(config, "growatt")}
        home = Batteries(
            config, known, {"growatt": Hand()}, cast(Trail, trail), broker, lambda device: True, lambda wall, watts: [], Clock()
        )
        running = asyncio.create_task(home.run())
        await home.start()
        await until(lambda: not home.arbiter.audit.waiting)
        trail.full = True
        home.arbiter.feed("growatt", events.stop(1))
        await until(lambda: home.arbiter.audit.trouble != "")
        assert [sent[:3] for sent in broker.take()] == [("ohm/test/node/cellar/stop", "1", True)]
        trail.full = False

        def stopped() -> bool:
            home.tick(time.monotonic())
            return home.arbiter.mode("growatt") == "stopped"

        await until(stopped)
        assert [sent[:2] for sent in broker.take()] == [("ohm/test/node/cellar/stop", "1")], "and once more when it is on record"
        await home.close()
        await asyncio.wait_for(running, 20)
        store.close()

    asyncio.run(story())


def test_a_rival_is_fought_by_guard_and_arbiter_together_three_times_and_no_more(tmp_path: Path) -> None:
    config, now = configuration(tmp_path, HOME), [START]
    clock = Clock(lambda: 1_768_000_000.0 + now[0] - START, lambda: now[0])
    known = {"growatt": targets_of(config, "growatt")}
    inverter, owners = Inverter(), dict[str, Batteries]()

    def ended(device: str, control: str, reason: str, time: float) -> None:
        owners["home"].guard_ended(device, control, reason, time)

    guard = GuardedActuator(
        "growatt",
        known["growatt"],
        watches(config.profile("growatt"), config.limit_ends("growatt"), config.periods("growatt")),
        inverter,
        ended,
        mono=clock.mono,
        wall=clock.wall,
    )

    async def story() -> None:
        store = SqliteStore(tmp_path / "ohm.db")
        home = Batteries(
            config, known, {"growatt": guard}, store.trail, connected(Recorder()), lambda device: True, lambda wall, watts: [], clock
        )
        owners["home"] = home
        running = asyncio.create_task(home.run())
        await home.start()

        async def passes(seconds: int) -> None:
            for _ in range(seconds):
                now[0] += 1
                snapshot = Snapshot("growatt", "live", clock.wall(), Quality.GOOD, LIVE)
                guard.take(snapshot)
                home.take(snapshot)
                home.tick(now[0])
                await guard.step()
                await asyncio.sleep(0.002)

        await passes(5)
        home.arbiter.feed("growatt", events.wish("loxone", "charge", 60, 1, 86_000_000))
        await until(lambda: inverter.registers[1102] == 1)
        rewritten = 0
        for _ in range(10):
            await passes(2)
            inverter.wrote(1102, 1)
            inverter.registers[1102] = 0
            await passes(65)
            rewritten += inverter.wrote(1102, 1)
        assert rewritten == 3
        await passes(200)
        assert inverter.registers[1102] == 0
        assert home.arbiter.status("growatt").controls["charge"].clamp == "external"
        await home.close()
        await asyncio.wait_for(running, 20)
        store.close()

    asyncio.run(story())


def test_a_stop_at_a_node_ends_when_it_stands_for_none_of_its_batteries(tmp_path: Path) -> None:
    other = "  other: {profile: growatt-sph, via: cellar, unit: 2}\n"
    more = 'nodes: {cellar: {bus: {pins: {tx: 17, rx: 16, de: 4}}}}\nmqtt: {url: "mqtt://nas"}\n'
    config = configuration(tmp_path, HOME.replace("via: growatt-mqtt:energy/solar", "via: cellar") + other + more)
    broker = Recorder()

    async def story() -> None:
        store = SqliteStore(tmp_path / "ohm.db")
        known = {device: targets_of(config, device) for device in config.devices}
        hands: dict[str, Actuator] = {device: Hand() for device in known}
        home = Batteries(config, known, hands, store.trail, broker, lambda device: True, lambda wall, watts: [], Clock())
        running = asyncio.create_task(home.run())
        await home.start()
        for device, level in (("growatt", 1), ("other", 1), ("growatt", 0)):
            await home.arbiter.submit(device, events.stop(level))
        assert [sent.payload for sent in broker.take()] == ["1", "1"]
        await home.arbiter.submit("other", events.stop(0))
        assert [sent.payload for sent in broker.take()] == ["0"]
        await home.close()
        await asyncio.wait_for(running, 20)
        store.close()

    asyncio.run(story())


class Node:
    """A node that is latched while the stop stands at 1 and until it is reset."""

    def __init__(self) -> None:
        self.level = 0
        self.resets = 0

    async def system(self, command: str, words: bytes, entry: int | str) -> Outcome:
        self.resets += 1
        if self.level:
            return Outcome("rejected", "the emergency stop still stands at 1", None, Reason.LATCHED)
        return Outcome("done")


def test_a_miniserver_s_reset_releases_the_node_as_well(tmp_path: Path) -> None:
    async def story() -> None:
        async with House(tmp_path) as house:
            node, broker, judge = Node(), Recorder(), house.arbiter
            desk = Desk({}, {}, house.store, lambda answer: None, nodes={"cellar": node})
            entrance = Entrance(desk, judge, lambda answer: None, node_of=lambda device: "cellar", wall=lambda: house.wall)
            answers = LoxoneAnswers(broker)
            loxone = LoxoneCommands(broker, judge, answers, reset=entrance.reset_device)
            loxone.start()
            house.read()

            def say(topic: str, text: bytes) -> None:
                broker.arrive(f"loxone/growatt/{topic}", text)

            node.level = 1
            say("stop", b"1")
            await until(lambda: judge.mode("growatt") == "stopped")
            judge.node_latch("growatt", "stop")
            say("reset", b"1")
            await until(lambda: answers.rejected["growatt"] == 1)
            assert answers.last["growatt"].detail == "the emergency stop still stands at 1"
            node.level = 0
            say("stop", b"0")
            await until(lambda: judge.status("growatt").stop == 0)
            say("reset", b"1")
            await until(lambda: judge.mode("growatt") == "auto")
            assert node.resets == 2
            await loxone.close()

    asyncio.run(story())
