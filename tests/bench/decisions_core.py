"""How many decisions the arbiter makes in a second, on one core, with nothing written down; beside only opening and closing its state."""

from __future__ import annotations

import json
import time

from ohmcore import events
from ohmcore.decide import begin, decide
from ohmcore.records import CHARGE, DISCHARGE, EXPORT, MANUAL, PLAN, Author, Control, Event, Limit, Setup, Source, State
from ohmcore.standing import Device
from tests.bench.figures import Figure

BUDGET = 20_000.0
"""Events a second: four times what each of them may take with its record made durable."""


def battery() -> Setup:
    """An inverter with three controls, the limits of a house, two authors."""
    return Setup(
        "bench",
        [
            Control("charge", 0, 5000, 100, up=CHARGE, milliwatts=1000),
            Control("discharge", 0, 5000, 100, up=DISCHARGE | EXPORT, milliwatts=1000),
            Control("export_limit", 0, 100, reversion=100, safe=100, budget=50),
        ],
        [
            Limit("soc", "soc", 15, 95, 2, DISCHARGE | EXPORT, CHARGE),
            Limit("grid_import", "import", high=11000, hysteresis=200, high_blocks=CHARGE, own="charging"),
        ],
        [Source("soc", 30000), Source("import", 30000), Source("charging", 30000)],
        [Author("loxone", MANUAL, True), Author("plan", PLAN)],
        heartbeat_ms=0,
    )


def day(number: int) -> tuple[int, int, float]:
    """Events, decisions, seconds: every fourth a measurement, a wish for another power, the inverter's answer, a look at the clock."""
    state: State = begin(battery(), 0)
    decisions = 0
    began = time.perf_counter()
    for i in range(number):
        event: Event
        match i % 4:
            case 0:
                event = events.telemetry((("soc", 50 + i % 3), ("import", 1000), ("charging", 0)))
            case 1:
                event = events.wish("loxone", "charge", (i // 4 % 40 + 1) * 100, i + 1)
            case 2:
                event = events.result("charge", state[2], "done")
            case _:
                event = events.tick()
        state, said = decide(state, event, i * 3000)
        decisions += len(said)
    return number, decisions, time.perf_counter() - began


def measure(quick: bool) -> list[Figure]:
    """Events and decisions a second; what opening and closing the state alone would allow."""
    number = 20_000 if quick else 200_000
    told, decisions, seconds = day(number)
    state = begin(battery(), 0)
    began = time.perf_counter()
    for _ in range(number):
        state = Device(state).state()
    bare = number / (time.perf_counter() - began)
    size = len(json.dumps(events.wish("loxone", "charge", 3000, 1)))
    return [
        Figure("arbiter: events", told / seconds, "/s", BUDGET, "at least", f"{size} bytes of record each"),
        Figure("  decisions made of them", decisions / seconds, "/s"),
        Figure("  opening and closing the state alone", bare, "/s", note="the bound"),
    ]
