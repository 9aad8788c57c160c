"""How fast the guard is: from a trip condition, and from the emergency stop, to the safe value on the wire.

A battery on a line of 9600 baud that thinks for 20 ms, and another device beside it whose long reads keep the line busy: more than half
of the time something is under way when it happens.
"""

from __future__ import annotations

import itertools
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from ohmstead.sim.listener import Listener
from ohmstead.sim.registers import RegisterImage, Writable
from ohmstead.sim.rtu import Line
from tests.bench.figures import Figure
from tests.bench.guard_rig import BAUD, SILENCE_S, Exchange, Recorded, load_now, running
from tests.bench.rig import workplace
from tests.conftest import wait_for
from tests.integration.node_harness import KEY, NODE, ROOT, SITE, Gateway, configuration, device, group, seal

TEMPERATURE, POWER, LONG = 100, 200, 300
COLD, HOT = 250, 501
OFF, DISCHARGE = bytes(4), (0x10000 - 2000).to_bytes(2, "big") + b"\0\1"
POLL_S = 0.5
BUSY_S = 0.4
REGISTERS = 60
LONGEST_S = (8 + 5 + 2 * REGISTERS) * 10 / BAUD + 2 * SILENCE_S + 0.020
"""The longest exchange on the line: none such may be under way when the poll is due."""
REACTION_MS = 100.0
STOP_MS = 150.0
CONTROL: dict[str, Any] = {
    "name": "charge",
    "blocks": [[16, POWER, 2]],
    "fields": [[0, 1, 1, -3000, 3000, 1, None], [1, 1, 0, 0, 2, 1, None]],
    "safe": OFF,
    "reversion": OFF,
    "lease": 1,
}
RULE: dict[str, Any] = {
    "name": "battery hot",
    "device": "battery",
    "group": "fast",
    "above": HOT - 1,
    "clear": 450,
    "stale_ms": 60_000,
    "trip": True,
    "controls": [["battery", "charge"]],
}


class Battery:
    """A node with a battery in its charge, discharging; what is told to it."""

    def __init__(self, station: Recorded, registers: RegisterImage, gateway: Gateway, listener: Listener) -> None:
        self.station = station
        self.registers = registers
        self.gateway = gateway
        self.listener = listener

    def command(self, control: str, words: bytes, name: str, lease_ms: int) -> dict[str, Any]:
        identity, body = self.gateway.body(control, words, name=name, lease_ms=lease_ms)
        self.gateway.publish("down/command", seal(KEY, f"{SITE}/{NODE}/command".encode(), body))
        return self.gateway.result(identity, 20)

    def discharge(self) -> None:
        """Out of the latch, if it is in one, and discharging, for ten minutes."""
        wait_for(lambda: self.command("reset", b"", "", 0)["stage"] == "done", 20, "the end of the latch")
        wait_for(lambda: self.command("charge", DISCHARGE, "battery", 600_000)["stage"] in ("done", "unchanged"), 20, "the discharge")

    def safe_write(self, since: float) -> Exchange:
        """The first write of the safe value that began after `since`."""
        wait_for(lambda: self.station.write_of(OFF, since), 20, "the safe value")
        found = self.station.write_of(OFF, since)
        assert found is not None
        return found

    def under_way(self, moment: float) -> float:
        """When the exchange ended that was on the line at this moment; the moment itself if there was none."""
        return next((seen.end for seen in self.station.exchanges if seen.begin <= moment < seen.end), moment)


@contextmanager
def battery() -> Iterator[Battery]:
    with ExitStack() as parts:
        parts.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(0.0005)
        folder, broker = parts.enter_context(workplace())
        registers = RegisterImage(
            {TEMPERATURE: COLD, TEMPERATURE + 1: 0, POWER: 0, POWER + 1: 0}, {POWER: Writable(), POWER + 1: Writable()}
        )
        registers_of_other = RegisterImage(dict.fromkeys(range(LONG, LONG + REGISTERS), 7))
        exchanges: list[Exchange] = []
        station = Recorded(registers, exchanges=exchanges)
        other = Recorded(registers_of_other, exchanges=exchanges)
        line = parts.enter_context(Line({5: station, 6: other}, baud=BAUD))
        gateway = parts.enter_context(Gateway(broker.host, broker.port))
        listener = parts.enter_context(Listener(broker.host, broker.port))
        polled = device("battery", 5, group("fast", round(1000 * POLL_S), (3, TEMPERATURE, 2)), controls=[CONTROL])
        meter = device("meter", 6, group("slow", round(1000 * BUSY_S), (3, LONG, REGISTERS), priority=1))
        content = configuration(
            line.path, [(broker.host, broker.port)], polled, meter, baud=BAUD, limits=[RULE], bus_report_ms=60_000
        )  # fmt: skip
        with running(folder, content):
            wait_for(lambda: gateway.of("battery") and gateway.of("meter"), 20, "the first readings")
            yield Battery(station, registers, gateway, listener)


def measure(quick: bool) -> list[Figure]:
    times = 10 if quick else 40
    chance = random.Random(1)
    with battery() as at:
        return [*trips(at, times, chance), stops(at, times, chance)]


def trips(at: Battery, times: int, chance: random.Random) -> list[Figure]:
    """The register that trips changes at a moment by chance."""
    from_change, from_answer = [], []
    for _ in range(times):
        at.discharge()
        time.sleep(chance.uniform(0.2, 0.2 + POLL_S))
        changed = time.monotonic()
        at.registers[TEMPERATURE] = HOT
        written = at.safe_write(changed).begin
        told = max(seen.end for seen in at.station.exchanges if changed <= seen.end <= written and is_watched(seen))
        from_change.append(1000 * (written - changed))
        from_answer.append(1000 * (written - told))
        at.registers[TEMPERATURE] = COLD
    polls = [seen.begin for seen in at.station.exchanges if is_watched(seen)]
    longest = max(1000 * (later - earlier) for earlier, later in itertools.pairwise(polls))
    return [
        Figure(
            "guard: trip condition to the safe write, worst",
            max(from_change),
            "ms",
            1000 * POLL_S + REACTION_MS,
            note=f"of {times}, median {statistics.median(from_change):.0f} ms; {1000 * POLL_S:.0f} ms between polls,"
            f" {REACTION_MS:.0f} ms; reads of {1000 * LONGEST_S:.0f} ms fill the line, and a poll came after {longest:.0f} ms at most;"
            f" {load_now()}",
        ),
        Figure(
            "guard: from the end of the answer that trips to the safe write, worst",
            max(from_answer),
            "ms",
            REACTION_MS,
            note=f"of {times}, median {statistics.median(from_answer):.0f} ms",
        ),
    ]


def is_watched(seen: Exchange) -> bool:
    return seen.pdu == b"\x03" + TEMPERATURE.to_bytes(2, "big") + b"\0\2"


def stops(at: Battery, times: int, chance: random.Random) -> Figure:
    """`1` on the stop topic at a moment by chance. The time begins when it is handed to the broker; a transaction counts as under way
    that is on the line when the broker hands it to another listener."""
    waits, without = [], []
    busy = 0
    for _ in range(times):
        at.discharge()
        time.sleep(chance.uniform(0.1, 0.1 + POLL_S))
        sent = time.monotonic()
        at.gateway.publish("stop", b"1")
        written = at.safe_write(sent).begin
        wait_for(partial(at.listener.last, f"{ROOT}/stop", sent), 20, "the stop at another listener")
        heard = at.listener.all(f"{ROOT}/stop", sent)[0].at
        at.gateway.publish("stop", b"0")
        free = at.under_way(heard)
        busy += free > heard
        waits.append(1000 * (written - sent))
        without.append(1000 * (written - free) if free > heard else waits[-1])
    return Figure(
        "guard: stop at the broker to the safe write, beyond the transaction under way, worst",
        max(without),
        "ms",
        STOP_MS,
        note=f"of {times}, median {statistics.median(without):.0f} ms; with that transaction at most {max(waits):.0f} ms,"
        f" {busy} times one was under way; {load_now()}",
    )
