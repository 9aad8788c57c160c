"""The small worlds: each has a few of the mechanisms at work together, with everything that can happen to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ohmcore import events
from ohmcore.records import CHARGE, DEFAULT, DISCHARGE, MANUAL, PLAN, Author, Control, Event, Limit, Setup, Source, State
from ohmcore.standing import Device
from tests.model.search import UNIT_MS, UNLIMITED, Move, World

LOXONE = Author("loxone", MANUAL, may_reset=True)
PHONE = Author("phone", MANUAL)
PRICES = Author("prices", PLAN)
SELF_USE = Author("self-use", DEFAULT)

SOC = Source("soc", UNIT_MS)
FLOOR_AND_CEILING = Limit("soc", "soc", 2, 8, 2, DISCHARGE, CHARGE)
LOW, MID, HIGH = 1, 3, 9
"""Beyond the floor; above it, but within its hysteresis; beyond the ceiling."""


def always(event: Event) -> Callable[[State], Event]:
    return lambda state: event


def wish(author: str, control: str, value: int, units: int, *, copy: bool = False, retained: bool = False) -> Move:
    def event(state: State) -> Event:
        device = Device(state)
        last = device.last[device.setup.find("author", author)] or 0
        return events.wish(author, control, value, last + (0 if copy else 1), units * UNIT_MS, 0, retained)

    kind = "copied " if copy else "retained " if retained else ""
    return Move(f"{author}'s {kind}wish {control}={value} for {units}", event)


def plain(name: str, event: Event, ms: int = 0) -> Move:
    return Move(name, always(event), ms)


def results(controls: Iterable[str], outcomes: Iterable[str]) -> list[Move]:
    """What may become of the command under way, and the answer to another one."""

    def result(control: str, outcome: str, other: int) -> Callable[[State], Event | None]:
        def event(state: State) -> Event | None:
            device = Device(state)
            desk = device.desks[device.setup.find("control", control)]
            if not desk.pending and not other:
                return None
            value = (desk.control.safe if desk.out else desk.control.most) if outcome == "ignored" else None
            return events.result(control, desk.pending + other, "done" if outcome == "ignored" else outcome, value)

        return event

    moves = [Move(f"{control} {outcome}", result(control, outcome, 0)) for control in controls for outcome in outcomes]
    moves += [Move(f"{control}: another command's result", result(control, "done", 1)) for control in controls]
    return moves + [Move(f"{control}: the one before was never sent", unsent(control)) for control in controls if "unsent" in outcomes]


def unsent(control: str) -> Callable[[State], Event | None]:
    def event(state: State) -> Event | None:
        device = Device(state)
        desk = device.desks[device.setup.find("control", control)]
        return events.result(control, desk.pending - 1, "unsent") if desk.pending else None

    return event


def time_passes(*units: int) -> list[Move]:
    return [plain(f"{number} later" if number else "a look", events.tick(), number * UNIT_MS) for number in units]


def soc(*values: int | None) -> list[Move]:
    return [plain(f"SOC {value}", events.telemetry([("soc", value)])) for value in values]


STOP = [plain("stop", events.stop(1)), plain("stop released", events.stop(0))]
RESETS = [plain("reset", events.reset("loxone")), plain("reset by the phone", events.reset("phone"))]
TRIPS = [plain("trip", events.trip("hot")), plain("trip cleared", events.trip_cleared("hot"))]


def restart(name: str, ms: int, known: bool = True) -> Move:
    """The clock goes on by one unit, whatever has passed."""
    return Move(name, lambda state: events.restart(Device(state).now + ms, known), UNIT_MS)


RESTARTS = [restart("restart after 2", 2 * UNIT_MS), restart("restart after nobody knows", 0, False)]
FAR = 10**12
"""An identity that no wish gets to."""

NONSENSE = [
    plain("wish of a stranger", events.wish("stranger", "charge", 0, 1)),
    plain("wish for nothing there", events.wish("loxone", "boiler", 0, FAR)),
    plain("wish NaN", events.wish("loxone", "charge", float("nan"), FAR)),  # type: ignore[arg-type] # what a careless adapter may hand on
    plain("wish too much", events.wish("loxone", "charge", 10**9, FAR)),
    plain("wish for ever", events.wish("loxone", "charge", 0, FAR, 10**12)),
    plain("nonsense", ("wish",)),
    plain("telemetry of nothing", events.telemetry([("moon", 1)])),
    plain("half a stop", ("stop", 0.5)),
]


def desk(large: bool) -> World:
    """Two controls that exclude each other, three authors, floor and ceiling, stale telemetry, stop and reset."""
    most = 2 if large else 1
    controls = [Control("charge", 0, most, up=CHARGE), Control("discharge", 0, most, up=DISCHARGE)]
    setup = Setup("desk", controls, [FLOOR_AND_CEILING], [SOC], [LOXONE, PHONE, PRICES], dwell_ms=0, burst=UNLIMITED)
    moves = [
        *(
            wish(author, control, value, units)
            for author, units in (("loxone", 2), ("prices", 2 if large else 1))
            for control in ("charge", "discharge")
            for value in range(1, most + 1)
        ),
        wish("phone", "charge", 0, 1),
        plain("loxone withdraws", events.withdraw("loxone")),
        plain("prices withdraw charge", events.withdraw("prices", "charge")),
        *soc(LOW, MID, HIGH),
        *STOP,
        *RESETS[: 2 if large else 1],
        *time_passes(1),
    ]
    return World("two controls", setup, moves)


def authors(large: bool) -> World:
    """One control: every rank, dwell, copies, modes, leases."""
    setup = Setup(
        "authors",
        [Control("charge", 0, 2, reversion=1 if large else 0, up=CHARGE)],
        authors=[LOXONE, PHONE, PRICES, SELF_USE],
        dwell_ms=2 * UNIT_MS,
        lease_ms=2 * UNIT_MS,
        most_lease_ms=4 * UNIT_MS,
        burst=UNLIMITED,
    )
    moves = [
        wish("loxone", "charge", 2, 2),
        wish("loxone", "charge", 2, 2, copy=True),
        wish("loxone", "charge", 2, 2, retained=True),
        wish("phone", "charge", 1, 1),
        wish("prices", "charge", 1, 3 if large else 2),
        wish("prices", "charge", 2, 2),
        plain("prices withdraw", events.withdraw("prices")),
        plain("auto", events.mode("loxone", "auto")),
        plain("manual", events.mode("loxone", "manual", UNIT_MS)),
        plain("manual, says the plan", events.mode("prices", "manual")),
        *time_passes(0, 1, 3),
    ]
    moves += [wish("self-use", "charge", 1, 1), *RESTARTS]
    if large:
        moves += [plain("lease", events.lease("loxone", 3 * UNIT_MS)), *STOP[:1], *RESETS]
    return World("one control, many authors", setup, moves)


def latch(large: bool) -> World:
    """One control: stops, trips, resets, restarts, rates, stale telemetry, nonsense."""
    setup = Setup(
        "latch",
        [Control("charge", 0, 2, reversion=1 if large else 0, up=CHARGE)],
        [Limit("soc", "soc", None, 8, 0, 0, CHARGE)],
        [Source("soc", (2 if large else 1) * UNIT_MS)],
        [LOXONE, PHONE, PRICES],
        dwell_ms=2 * UNIT_MS,
        lease_ms=2 * UNIT_MS,
        most_lease_ms=4 * UNIT_MS,
        burst=2,
        refill_ms=UNIT_MS,
    )
    moves = [
        wish("loxone", "charge", 2, 2),
        wish("loxone", "charge", 2, 2, copy=True),
        wish("prices", "charge", 1, 2),
        *([wish("prices", "charge", 2, 2), wish("phone", "charge", 0, 1)] if large else []),
        *soc(*((MID, HIGH) if large else (MID,))),
        *STOP,
        *TRIPS,
        *RESETS,
        *RESTARTS,
        *NONSENSE,
        *time_passes(1, 3),
    ]
    return World("latch and restarts", setup, moves)


def wires(large: bool) -> World:
    """One control on a device that fails, refuses, ignores, keeps silent, and has a rival; interval and budget."""
    controls = [
        Control("charge", 0, 2, up=CHARGE, interval_ms=UNIT_MS, budget=2, ramp=1 if large else 0),
    ]
    setup = Setup(
        "wires",
        controls,
        [Limit("soc", "soc", None, 8, 0, 0, CHARGE)] if large else (),
        [Source("soc", 10 * UNIT_MS)] if large else (),
        [LOXONE],
        result_ms=UNIT_MS,
        retry_ms=UNIT_MS,
        longest_retry_ms=2 * UNIT_MS,
        tries=2,
        fights=1,
        day_ms=(4 if large else 2) * UNIT_MS,
        burst=UNLIMITED,
    )

    def seen(value: int) -> list[Move]:
        return [
            plain(f"read back {value}", events.readback("charge", value)),
            plain(f"a rival's {value}", events.external("charge", value)),
        ]

    moves = [
        wish("loxone", "charge", 1, 2),
        wish("loxone", "charge", 2, 2),
        plain("withdraw", events.withdraw("loxone")),
        *(soc(MID, HIGH) if large else []),
        *results(["charge"], ["done", "unchanged", "failed", "rejected", "unsent", "ignored"]),
        *(seen(0) + seen(2) if large else [seen(1)[0], *seen(0)]),
        *RESTARTS[:1],
        *time_passes(1),
    ]
    return World("an unkind wire", setup, moves, obedient=False)


def switch(large: bool) -> World:
    """Two controls that exclude each other on a device that takes its time: one is begun only when the other is known to be off."""
    controls = [
        Control("charge", 0, 1, up=CHARGE),
        Control("discharge", 0, 1, up=DISCHARGE),
        Control("feed", -1, 1, up=CHARGE, down=DISCHARGE),
    ]
    setup = Setup(
        "switch",
        controls if large else [controls[0], controls[2]],
        authors=[LOXONE, PRICES],
        result_ms=UNIT_MS,
        retry_ms=UNIT_MS,
        longest_retry_ms=UNIT_MS,
        tries=1,
        burst=UNLIMITED,
        dwell_ms=0,
    )
    names = [control.name for control in setup.controls]
    moves = [
        wish("loxone", "charge", 1, 2),
        wish("prices", "feed", 1, 1),
        wish("loxone", "feed", -1, 2),
        plain("withdraw", events.withdraw("loxone", "feed")),
        *results(names, ["done", "failed"]),
        *time_passes(1),
    ]
    if large:
        moves.append(wish("prices", "discharge", 1, 1))
    return World("a slow switch", setup, moves, obedient=False)


def grid(large: bool) -> World:
    """The network operator: limits, heartbeats, failsafe; and the house's own connection, from which charging gets what is left."""
    units = 3 if large else 2
    controls = [Control("charge", 2, 3, up=CHARGE, milliwatts=1000_000), Control("export", 0, 1, reversion=1, safe=1)]
    sources = [Source("import", UNIT_MS), Source("own", UNIT_MS)]
    setup = Setup(
        "grid",
        controls,
        [Limit("connection", "import", high=3000, high_blocks=CHARGE, own="own", hysteresis=1000)],
        sources,
        [LOXONE, PRICES],
        heartbeat_ms=units * UNIT_MS,
        failsafe_w=0,
        burst=UNLIMITED,
        dwell_ms=0,
    )

    def house(flowing: int, own: int) -> Move:
        return plain(f"import {flowing} W, own {own} W", events.telemetry([("import", flowing), ("own", own)]))

    moves = [
        plain("import 0 W alone", events.telemetry([("import", 0)])),
        wish("loxone", "charge", 3, units),
        wish("prices", "charge", 2, units - 1),
        *([wish("loxone", "export", 0, 1)] if large else []),
        plain("heartbeat", events.heartbeat()),
        plain("limit", events.grid(1000)),
        plain("no limit", events.grid(None)),
        plain("nonsense", ("grid", "much")),
        house(0, 0),
        house(2000, 0),
        *([house(4000, 2000), house(3999, 3000)] if large else [house(4000, 2000)]),
        *RESTARTS[:1],
        *STOP[:1],
        *time_passes(1),
    ]
    return World("grid and connection", setup, moves)


def read_only(large: bool) -> World:
    """Nothing at all is written."""
    controls = [Control("charge", 0, 2, up=CHARGE)]
    setup = Setup("read-only", controls, [FLOOR_AND_CEILING], [SOC], [LOXONE, PRICES], read_only=True)
    moves = [
        wish("loxone", "charge", 1, 2),
        wish("prices", "charge", 0, 2),
        plain("withdraw", events.withdraw("loxone")),
        plain("manual", events.mode("loxone", "manual", UNIT_MS)),
        plain("read back", events.readback("charge", 2)),
        plain("a rival", events.external("charge", 2)),
        *soc(LOW, MID, HIGH),
        *STOP,
        *TRIPS,
        *RESETS,
        *RESTARTS,
        *time_passes(1),
    ]
    return World("read only", setup, moves)


WORLDS: dict[str, Callable[[bool], World]] = {maker.__name__: maker for maker in (desk, authors, latch, wires, switch, grid, read_only)}
