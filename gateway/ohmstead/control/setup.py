"""What the arbiter's core has to know of a battery, from its profile and the home's configuration; and a setup as JSON, for the audit.

The core counts in raw values of each control and of each limit's point. A limit on the power at the grid (W) leaves a charge what is left
of it, where the battery's own power and what 100 % means are known; without them it stops the charge, like every other limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ohmcore.records import CHARGE, DISCHARGE, EXPORT, MANUAL, Author, Control, Limit, Setup, Source
from ohmcore.records import PLAN as PLAN_RANK
from ohmstead.control import arbitration
from ohmstead.control.target import Target
from ohmstead.control.views import ControlView, DeviceView
from ohmstead.profiles.formula import Formula
from ohmstead.profiles.limit import Limit as Template
from ohmstead.profiles.limit import Threshold, thresholds
from ohmstead.profiles.model import Profile
from ohmstead.profiles.point import Point
from ohmstead.readings import Value
from ohmstead.units import Bounds

_EFFECTS = {"charge": CHARGE, "discharge": DISCHARGE, "export": EXPORT}
_CHARGING, _DISCHARGING = "charging", "discharging"

AUTHORS = (
    Author(arbitration.PLAN, PLAN_RANK),
    *(Author(name, MANUAL, True) for name in arbitration.MANUAL_AUTHORS),
)


@dataclass(frozen=True)
class Rules:
    """What this home lets be settled about all its batteries; seconds and W.

    `heartbeat_s` 0: there is no network operator's box. `result_s`: how long a result is waited for. `fights`: how often a rival's value
    is written over.
    """

    lease_s: float = 3600.0
    longest_s: float = 86_400.0
    dwell_s: float = 300.0
    heartbeat_s: float = 0.0
    failsafe_w: int = 0
    result_s: float = 40.0
    fights: int = 3
    burst: int = 60
    refill_s: float = 2.0


class Feed(NamedTuple):
    """A source of the core, and what it is made of: `measure` gives its value from a snapshot's, None where that does not say."""

    source: str
    needs: frozenset[str]
    measure: Callable[[Mapping[str, Value]], int | None]


class Bound(NamedTuple):
    """An end of a limit as its owner knows it: of what (`title`), at which value, and at which it lets go again, in `unit`. A raw value of
    its source is `scale` units. `end` is `floor` or `ceiling`; `shared`: something is left of it for the battery."""

    source: str
    title: str
    unit: str
    scale: float
    end: str
    at: float
    back: float
    shared: bool


@dataclass(frozen=True)
class Battery:
    """A battery inverter: what the core, the publishers and the actuators need of it. `shown`: control → the point that says what it
    is doing, and its scale. `soc`: the point of the state of charge, empty where there is none, and its scale. `bounds`: of the limits, by
    name. `titles`: what people call the sources."""

    setup: Setup
    view: DeviceView
    targets: Mapping[str, Target]
    feeds: Sequence[Feed]
    shown: Mapping[str, tuple[str, float]]
    soc: str = ""
    soc_scale: float = 1.0
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)


def governed(profile: Profile) -> list[str]:
    """The controls that the arbiter commands: numbers that make a battery charge, discharge or let it export. None where nothing of that
    has to end by itself: settings that stay as they are set are no matter of wishes."""
    named = [name for name, control in profile.controls.items() if control.effect in _EFFECTS and control.range is not None]
    forced = [name for name in named if profile.controls[name].effect != "export" and profile.controls[name].lease == "required"]
    return [name for name in named if profile.controls[name].reversion != "keep"] if forced else []


def battery(
    title: str,
    profile: Profile,
    targets: Mapping[str, Target],
    ends: Mapping[str, Bounds],
    periods: Mapping[str, float],
    rated_w: float | None,
    rules: Rules,
    *,
    read_only: bool = False,
) -> Battery | None:
    """A device as the arbiter sees it; None where it has nothing to command. Raises ValueError where the profile makes no sense.

    `targets` are its controls at this home, `ends` the ranges of its limits, `periods` how often each group is read (s), `rated_w` what
    100 % of a control means.
    """
    names = governed(profile)
    if not names:
        return None
    device = targets[names[0]].device
    controls, views = [], {}
    for name in names:
        watts = _watts(profile, name, rated_w)
        control = _control(profile, targets[name], watts)
        controls.append(control)
        point = profile.points[profile.controls[name].point]
        views[name] = ControlView(
            name=name,
            title=profile.controls[name].name or point.name,
            word=profile.controls[name].effect,
            unit=point.unit,
            scale=point.scale,
            least=control.least,
            most=control.most,
            step=control.step,
            home=control.reversion,
            safe=control.safe,
            watts=watts,
        )
    found = _limits(profile, names, ends, periods, all(control.milliwatts for control in controls if control.up))
    limits, sources, feeds, bounds = found
    titles = {limit.own: "The battery's own power" for limit in limits if limit.own}
    titles |= {limit.source: bounds[limit.name].title for limit in limits}
    setup = Setup(
        device,
        controls,
        limits,
        sources,
        AUTHORS,
        heartbeat_ms=round(rules.heartbeat_s * 1000),
        failsafe_w=rules.failsafe_w,
        lease_ms=round(min(rules.lease_s, rules.longest_s) * 1000),
        most_lease_ms=round(rules.longest_s * 1000),
        dwell_ms=round(rules.dwell_s * 1000),
        burst=rules.burst,
        refill_ms=round(rules.refill_s * 1000),
        result_ms=round(rules.result_s * 1000),
        fights=rules.fights,
        read_only=read_only,
    )
    shown = {name: (profile.controls[name].shown, profile.points[profile.controls[name].point].scale) for name in names}
    soc = profile.points.get(profile.flow.soc or "") if profile.flow is not None else None
    return Battery(
        setup,
        DeviceView(device, title, views, read_only),
        {name: targets[name] for name in names},
        feeds,
        shown,
        soc.id if soc is not None else "",
        soc.scale if soc is not None else 1.0,
        bounds,
        titles,
    )


def _watts(profile: Profile, name: str, rated_w: float | None) -> float | None:
    control, point = profile.controls[name], profile.points[profile.controls[name].point]
    if point.unit == "W":
        return point.scale
    return rated_w * point.scale / 100 if control.rated and rated_w else None


def _control(profile: Profile, target: Target, watts: float | None) -> Control:
    effect = _EFFECTS[profile.controls[target.control].effect]
    home = target.returns_to if target.returns_to is not None else 0
    safe = home if target.layout is None or target.layout.safe is None else target.layout.safe
    limits = target.limits
    return Control(
        target.control,
        limits.minimum,
        limits.maximum,
        limits.step,
        home,
        safe,
        up=0 if effect == EXPORT else effect,
        interval_ms=round(target.interval_s * 1000),
        budget=target.budget,
        milliwatts=round((watts or 0.0) * 1000),
    )


def _limits(
    profile: Profile, names: Sequence[str], ends: Mapping[str, Bounds], periods: Mapping[str, float], powers_known: bool
) -> tuple[list[Limit], list[Source], list[Feed], dict[str, Bound]]:
    found: list[Limit] = []
    bounds: dict[str, Bound] = {}
    sources: dict[str, Source] = {}
    feeds: dict[str, Feed] = {}

    def watch(feed: Feed, stale_s: float) -> str:
        known = sources.get(feed.source)
        stale_ms = round(stale_s * 1000)
        sources[feed.source] = Source(feed.source, stale_ms if known is None else min(stale_ms, known.stale_ms))
        feeds[feed.source] = feed
        return feed.source

    for limit in profile.limits.values():
        for point in (profile.points[name] for name in limit.point):
            stale_s = limit.stale_s(periods.get(point.group, profile.groups[point.group]))
            for threshold in thresholds(limit, point, ends[limit.id]):
                blocks = _blocked(profile, names, threshold.stops)
                if not blocks:
                    continue
                name = f"{limit.id.replace('_', ' ')} {threshold.end}" + (f" {point.id}" if len(limit.point) > 1 else "")
                own = _own(profile, limit, blocks) if powers_known and point.unit == "W" and not threshold.below else None
                if own is not None:
                    source = watch(_watts_of(point.id), stale_s)
                    bounds[name] = _bound(source, limit, point, ends[limit.id], threshold, 1.0, shared=True)
                    high, margin = math.floor(threshold.at * point.scale), round((threshold.at - threshold.clear) * point.scale)
                    found.append(Limit(name, source, high=high, hysteresis=margin, high_blocks=blocks, own=watch(own, stale_s)))
                    continue
                source = watch(_raw_of(point.id, point.scale), stale_s)
                bounds[name] = _bound(source, limit, point, ends[limit.id], threshold, point.scale)
                margin = abs(threshold.at - threshold.clear)
                if threshold.below:
                    found.append(Limit(name, source, low=threshold.at, hysteresis=margin, low_blocks=blocks))
                else:
                    found.append(Limit(name, source, high=threshold.at, hysteresis=margin, high_blocks=blocks))
    return found, list(sources.values()), list(feeds.values()), bounds


def _bound(source: str, limit: Template, point: Point, ends: Bounds, threshold: Threshold, scale: float, *, shared: bool = False) -> Bound:
    size = (ends.low if threshold.end == "floor" else ends.high) or 0.0
    sign = -1.0 if limit.reversed else 1.0
    return Bound(source, point.name, point.unit, scale * sign, threshold.end, size, sign * threshold.clear * point.scale, shared)


def _blocked(profile: Profile, names: Sequence[str], stops: Sequence[str]) -> int:
    blocks = 0
    for name in profile.stopped(stops):
        effect = _EFFECTS[profile.controls[name].effect] if name in names else 0
        blocks |= 0 if effect == EXPORT else effect
    return blocks


def _own(profile: Profile, limit: Template, blocks: int) -> Feed | None:
    """The battery's own part in a power at the grid; None where the limit is no such thing, or nobody measures the battery."""
    text = profile.flow.battery if profile.flow is not None else None
    if text is None or limit.reversed or limit.act != "interlock" or blocks not in (CHARGE, DISCHARGE):
        return None
    formula, sign, source = Formula(text), -1 if blocks == CHARGE else 1, _CHARGING if blocks == CHARGE else _DISCHARGING

    def measure(values: Mapping[str, Value]) -> int | None:
        power = formula.evaluate(values)
        return None if power is None else round(max(0.0, sign * power))

    return Feed(source, frozenset(formula.names), measure)


def _watts_of(point: str) -> Feed:
    return Feed(f"{point} W", frozenset((point,)), lambda values: _number(values.get(point), 1.0))


def _raw_of(point: str, scale: float) -> Feed:
    return Feed(point, frozenset((point,)), lambda values: _number(values.get(point), scale))


def _number(value: Value | None, scale: float) -> int | None:
    return round(value / scale) if isinstance(value, int | float) and abs(value) < 1e12 else None


_CONTROL = ("name", "least", "most", "step", "reversion", "safe", "up", "down", "ramp", "interval_ms", "budget", "milliwatts")
_LIMIT = ("name", "source", "low", "high", "hysteresis", "low_blocks", "high_blocks", "own")
_SOURCE = ("name", "stale_ms")
_AUTHOR = ("name", "rank", "may_reset")
_SETUP = (
    "heartbeat_ms", "failsafe_w", "lease_ms", "most_lease_ms", "dwell_ms", "burst", "refill_ms", "result_ms", "retry_ms",
    "longest_retry_ms", "tries", "fights", "day_ms", "read_only",
)  # fmt: skip


def written(setup: Setup) -> dict[str, Any]:
    """A setup as plain data, to be read again by `setup_of`."""
    return {
        "device": setup.device,
        "controls": [{key: getattr(one, key) for key in _CONTROL} for one in setup.controls],
        "limits": [{key: getattr(one, key) for key in _LIMIT} for one in setup.limits],
        "sources": [{key: getattr(one, key) for key in _SOURCE} for one in setup.sources],
        "authors": [{key: getattr(one, key) for key in _AUTHOR} for one in setup.authors],
        **{key: getattr(setup, key) for key in _SETUP},
    }


def setup_of(plain: Mapping[str, Any]) -> Setup:
    """The setup that was `written`. Raises ValueError where it is none, or one of another version."""
    try:
        parts = dict(plain)
        return Setup(
            parts.pop("device"),
            [Control(**one) for one in parts.pop("controls")],
            [Limit(**one) for one in parts.pop("limits")],
            [Source(**one) for one in parts.pop("sources")],
            [Author(**one) for one in parts.pop("authors")],
            **parts,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no setup of the arbiter: {error!r}") from error
