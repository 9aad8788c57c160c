"""The arbiter as a home puts it together: what a network operator's box says, and what was said before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ohmcore.records import State
from ohmcore.standing import Device
from ohmstead.batteries import Batteries, targets_of
from ohmstead.clock import Clock
from ohmstead.store.sqlite import SqliteStore
from tests.publishing import Recorder
from tests.unit.battery_house import HOME, START, Hand, configuration


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
