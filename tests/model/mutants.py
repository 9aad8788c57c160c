"""The arbiter with a mistake in it: each of these must break an invariant in one of the small worlds.

A mutant is the source with one passage replaced; the passage must be there exactly once, so that a mutant cannot get lost unnoticed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import ohmcore
from tests.model.search import Decide

_ORDER = ("clamps", "wishes", "actuation", "decide")
_FOLDER = Path(ohmcore.__file__).parent


class Mutant(NamedTuple):
    """`world`: where it is caught."""

    name: str
    module: str
    passage: str
    instead: str
    world: str


MUTANTS = (
    Mutant(
        "a latch leaves the control as it is",
        "actuation",
        'return control.safe, "latched", device.cause',
        'return control.reversion if desk.out is None else desk.out, "latched", device.cause',
        "desk",
    ),
    Mutant("a trip does not latch", "decide", "    _latch(device, name, said)\n", "", "latch"),
    Mutant("stale telemetry forces on", "actuation", 'unknown = stale(device, effect) if effect else ""', 'unknown = ""', "desk"),
    Mutant(
        "the second source may be stale",
        "clamps",
        "if limit.own and device.stale(limit.own_at):",
        "if limit.own and device.stale(limit.at):",
        "grid",
    ),
    Mutant("the floor is no floor", "clamps", "if value < limit.low:", "if value < limit.low - 1:", "desk"),
    Mutant("the floor lets go too early", "clamps", "elif value >= limit.low + limit.hysteresis:", "elif value >= limit.low:", "desk"),
    Mutant(
        "the ceiling holds for plans only",
        "clamps",
        "(active >> 2 * i & 2 and limit.high_blocks & effect)",
        "(active >> 2 * i & 2 and limit.high_blocks & effect and desk.wishes[2] is None)",
        "desk",
    ),
    Mutant("what flows is forgotten", "clamps", "watts = limit.high - flowing + own", "watts = limit.high + own", "grid"),
    Mutant(
        "leases do not end",
        "wishes",
        "if wish is not None and wish.until <= now:",
        "if wish is not None and wish.until < now - 999:",
        "desk",
    ),
    Mutant(
        "the end of a lease leaves its value out",
        "actuation",
        "goal = control.reversion if ruler is None else ruler.value",
        "goal = (desk.out or control.reversion) if ruler is None else ruler.value",
        "desk",
    ),
    Mutant(
        "a grid limit is for plans only",
        "clamps",
        "if effect & CHARGE and (device.failsafe or device.grid is not None):",
        "if effect & CHARGE and (device.failsafe or device.grid is not None) and desk.wishes[2] is None:",
        "grid",
    ),
    Mutant(
        "failsafe ends with the heartbeat alone",
        "decide",
        "    device.beat = device.now\n",
        "    device.beat = device.stated = device.now\n",
        "grid",
    ),
    Mutant(
        "an old statement ends failsafe", "decide", "        device.beat = device.stated = None\n", "        device.beat = None\n", "grid"
    ),
    Mutant(
        "a lost heartbeat goes unnoticed",
        "decide",
        "(device.beat is None or now - device.beat > heartbeat_ms)",
        "(device.beat is None)",
        "grid",
    ),
    Mutant("a reset does not ask for the trip", "decide", "    if device.trips:\n        return", "    if False:\n        return", "latch"),
    Mutant(
        "the stop released is a reset",
        "decide",
        '        _latch(device, "stop", said)\n',
        '        _latch(device, "stop", said)\n    else:\n        device.cause = ""\n',
        "desk",
    ),
    Mutant("anybody may reset", "decide", "if at < 0 or not device.setup.authors[at].may_reset:", "if at < 0:", "latch"),
    Mutant(
        "commands during a latch are kept for later",
        "wishes",
        '    if device.cause:\n        return "latched", device.cause\n    if age_ms',
        "    if age_ms",
        "desk",
    ),
    Mutant("a copy is taken", "wishes", "if last is not None and identity <= last:", "if last is not None and identity < last:", "authors"),
    Mutant("a retained wish is taken", "wishes", "    if retained:\n", "    if False:\n", "authors"),
    Mutant(
        "no dwell time",
        "wishes",
        "elif desk.adopted is not None and device.now - desk.adopted < device.setup.dwell_ms:",
        "elif False:",
        "authors",
    ),
    Mutant(
        "the dwell time begins anew with each renewal of another value",
        "wishes",
        "            desk.waiting = wish\n",
        "            desk.waiting = wish\n            desk.adopted = device.now\n",
        "authors",
    ),
    Mutant(
        "the dwell time is over at once",
        "wishes",
        "elif desk.adopted is None or now - desk.adopted >= device.setup.dwell_ms:",
        "else:",
        "authors",
    ),
    Mutant(
        "the plan comes first",
        "wishes",
        "    if manual is not None:\n        return manual\n",
        "    if manual is not None and plan is None:\n        return manual\n",
        "authors",
    ),
    Mutant("no budget", "actuation", "return budget > 0 and desk.used(device.now, device.setup.day_ms) >= budget", "return False", "wires"),
    Mutant(
        "what is there is written again",
        "actuation",
        "return desk.pending != 0 or desk.out is None or desk.read != value",
        "return True",
        "wires",
    ),
    Mutant(
        "read-only but for safety",
        "actuation",
        "    if device.setup.read_only:\n",
        "    if device.setup.read_only and not device.cause:\n",
        "read_only",
    ),
    Mutant(
        "a command without a record",
        "actuation",
        "            (first if safer else then).append(decision)",
        "            (first if safer else then).append(decision) if not ruler or ruler.rank != 1 else None",
        "desk",
    ),
    Mutant("the clamp is not named", "clamps", 'return value, "limit" if by else "", by', 'return value, "", ""', "grid"),
    Mutant(
        "a restart begins leases anew", "decide", "device.restart(max(was_ms, device.now), now)", "device.restart(device.now, now)", "latch"
    ),
    Mutant("a restart after nobody knows keeps leases", "decide", "    if not known or was_ms < device.now:\n", "    if False:\n", "latch"),
    Mutant(
        "off is not sent after a restart if memory says it is off",
        "decide",
        "    device.restart(max(was_ms, device.now), now)\n",
        "    outs = [desk.out for desk in device.desks]\n    device.restart(was_ms, now)\n"
        "    for desk, out in zip(device.desks, outs):\n        desk.out = desk.read = out\n",
        "latch",
    ),
    Mutant(
        "what is decided depends on what was decided before",
        "decide",
        "    desk = device.desks[at]\n    if desk.pending:\n",
        "    desk = device.desks[at]\n    _PARTS['seen'] = 1 - _PARTS.get('seen', 0)\n"
        "    desk.fights = _PARTS['seen']\n    if desk.pending:\n",
        "wires",
    ),
    Mutant(
        "ticks are counted",
        "decide",
        'def _tick(_device: "Device", _event: "Event", _said: "list[Decision]") -> "Refusal | None":\n',
        'def _tick(_device: "Device", _event: "Event", _said: "list[Decision]") -> "Refusal | None":\n    _device.lease_ms += 1\n',
        "authors",
    ),
    Mutant("a rejected command costs a write", "decide", '        if outcome != "failed":\n', '        if outcome == "unsent":\n', "wires"),
    Mutant("what was never sent costs a write", "decide", "        desk.refund(0)\n", "        pass\n", "wires"),
    Mutant("what is left is less than the least that is allowed", "clamps", "    if not control.has(value):\n", "    if False:\n", "grid"),
    Mutant("a value beyond its range is taken", "wishes", "if not control.has(value):", "if value < control.least:", "latch"),
    Mutant(
        "a rejected wish is counted",
        "wishes",
        '        return "unauthorised", "author"\n    if at < 0:',
        '        device.lease_ms += 1\n        return "unauthorised", "author"\n    if at < 0:',
        "latch",
    ),
    Mutant(
        "charging and discharging at once",
        "actuation",
        "if ruler is not None and opposite(strong) & effect and device.desks[holder] is not desk:",
        "if False:",
        "switch",
    ),
    Mutant(
        "the other control is not waited for",
        "actuation",
        "if effects and other is not desk and not other.harmless(effects):",
        "if False:",
        "switch",
    ),
)


def mutated(mutant: Mutant) -> Decide:
    """`decide` with the mistake in it; nothing else in this process gets to know it. ValueError: its passage is not there once."""
    kept = {f"ohmcore.{name}": sys.modules.get(f"ohmcore.{name}") for name in _ORDER}
    try:
        for name in _ORDER:
            source = (_FOLDER / f"{name}.py").read_text()
            if name == mutant.module:
                if source.count(mutant.passage) != 1:
                    raise ValueError(f"{mutant.name}: its passage is there {source.count(mutant.passage)} times")
                source = source.replace(mutant.passage, mutant.instead)
            module = ModuleType(f"ohmcore.{name}")
            sys.modules[module.__name__] = module
            exec(compile(source, f"{name} ({mutant.name})", "exec"), vars(module))  # noqa: S102 - it is our own source
        decide: Decide = vars(sys.modules["ohmcore.decide"])["decide"]
        return decide
    finally:
        for name, module_before in kept.items():
            if module_before is None:
                sys.modules.pop(name, None)
                importlib.invalidate_caches()
            else:
                sys.modules[name] = module_before
