"""How a battery stands, from its state in the arbiter: as data for whoever shows it, and in words with the readings that matter. Pure.

`now` is the arbiter's own clock, in ms.
"""

from __future__ import annotations

from ohmcore.decide import explain, mode_of
from ohmcore.records import RANKS, State
from ohmcore.standing import Device
from ohmstead.control import words
from ohmstead.control.setup import Battery
from ohmstead.control.views import ControlStatus, Refused, Status


def status_of(battery: Battery, state: State, now: int, rejected: Refused | None = None, trouble: str = "") -> Status:
    """`trouble`: why nothing can be commanded, empty where all is well."""
    open_ = Device(state)
    needed = [open_.seen[at] for at in {limit.at for limit in battery.setup.limits}]
    ages = [max(now - seen[1], 0) / 1000 for seen in needed if seen is not None]
    return Status(
        mode=mode_of(state),
        latched=open_.cause,
        controls={name: _control(battery, state, now, name) for name in battery.view.controls},
        soc=_soc(battery, open_, now),
        telemetry_age_s=max(ages) if ages and len(ages) == len(needed) else None,
        lease_s=open_.lease_ms / 1000,
        manual_left_s=0.0 if open_.manual is None else max(open_.manual - now, 0) / 1000,
        grid_w=open_.grid,
        failsafe=open_.failsafe,
        stop=open_.level,
        rejected=rejected,
        trouble=trouble,
    )


def why(battery: Battery, state: State, now: int, control: str, *, until: str = "") -> str:
    """One paragraph about a control; `until`: when its wish ends, as a time. KeyError: there is none of this name."""
    found = explain(state, control, now)
    said = hindrance(battery, state, now, found.clamp, found.by)
    return words.why(battery.view.controls[control], found, mode_of(state), said, until=until)


def hindrance(battery: Battery, state: State, now: int, clamp: str, by: str) -> str:
    """What stands in the way of what is wanted, with the reading behind it; empty where nothing does."""
    if clamp == "limit" and by in battery.bounds:
        return f"the limit “{by}” does not allow more now: {reading_at(battery, state, now, by)}"
    if clamp == "stale":
        title, age = battery.titles.get(by, by), _age(battery, state, now, by)
        return f"there is no fresh reading of “{title}”, without which nothing is forced ({age})"
    return words.clamped(clamp, by, battery.view.controls)


def refusal(battery: Battery, state: State, now: int, reason: str, by: str) -> str:
    """Why something was not taken."""
    if reason == "stale" and by != "age":
        return hindrance(battery, state, now, "stale", by)
    return words.rejected(reason, by)


def refused_below(battery: Battery, state: State, now: int, detail: str) -> str:
    """The same detail of a node or of the gateway's guard, with the readings of the limit that it names."""
    named = next((name for name in battery.bounds if name in detail), None)
    return detail if named is None else f"{detail}: {reading_at(battery, state, now, named)}"


def reading_at(battery: Battery, state: State, now: int, limit: str) -> str:
    """What was read where a limit is, how long ago, and where it ends: `Battery SOC is 12 %, read 4 s ago, and the floor is 15 %`."""
    bound = battery.bounds[limit]
    seen = Device(state).seen[battery.setup.find("source", bound.source)]
    if seen is None or seen[0] is None:
        return f"{bound.title} is not known, and the {bound.end} is {bound.at:g} {bound.unit}"
    value, age = round(seen[0] * bound.scale, 6), max(now - seen[1], 0) / 1000
    text = f"{bound.title} is {value:g} {bound.unit}, read {age:.0f} s ago, and the {bound.end} is {bound.at:g} {bound.unit}"
    if bound.shared:
        return f"{text}, of which the battery gets what is left"
    return text if bound.back == bound.at else f"{text}; it goes on from {round(bound.back, 6):g} {bound.unit}"


def _age(battery: Battery, state: State, now: int, source: str) -> str:
    at = battery.setup.find("source", source)
    seen = Device(state).seen[at] if at >= 0 else None
    if seen is None:
        return "there was none since the start"
    if seen[0] is None:
        return "the device does not know"
    return f"the last one is {max(now - seen[1], 0) / 1000:.0f} s old"


def _control(battery: Battery, state: State, now: int, name: str) -> ControlStatus:
    found = explain(state, name, now)
    return ControlStatus(
        author=found.author,
        rank=RANKS[found.rank] if found.author else "",
        left_s=found.left_ms / 1000,
        wanted=found.wanted,
        commanded=found.value,
        acknowledged=None if found.pending or found.read_back != found.value else found.value,
        read_back=found.read_back,
        pending=found.pending,
        clamp=found.clamp,
        by=found.by,
        reason=why(battery, state, now, name),
    )


def _soc(battery: Battery, open_: Device, now: int) -> float | None:
    """In %, None where it is unknown or old."""
    at = battery.setup.find("source", battery.soc)
    seen = open_.seen[at] if at >= 0 else None
    if seen is None or seen[0] is None or now - seen[1] > battery.setup.sources[at].stale_ms:
        return None
    return round(seen[0] * battery.soc_scale, 1)
