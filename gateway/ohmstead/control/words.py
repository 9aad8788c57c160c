"""What the arbiter decided, in the owner's words: sentences by code. Pure, the same for page, log, command line and topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ohmcore.records import Decision, Why
from ohmstead.control.views import ControlView

_AUTHORS = {
    "plan": "the plan by price",
    "loxone": "Loxone",
    "dashboard": "the dashboard",
    "home_assistant": "Home Assistant",
    "api": "a program (API)",
    "mqtt": "a message (MQTT)",
}
_ACTIONS = {"charge": "charging", "discharge": "discharging", "export": "export"}
_REJECTIONS = {
    "malformed": "it cannot be understood",
    "out of range": "it is outside of what this home allows",
    "rate limit": "there were too many wishes in a short time",
    "latched": "the device is stopped until it is reset",
    "stale": "it was under way for longer than it should last",
    "unauthorised": "this author may not do that",
    "read-only": "this device is configured to be read only",
    "duplicate": "it is a copy of an earlier one, or one that a broker had kept",
}


def author_of(name: str) -> str:
    return _AUTHORS.get(name, name or "nobody")


def size(view: ControlView | None, raw: int | None) -> str:
    """A raw value as people say it: `60 % (3 kW)`."""
    if raw is None:
        return "unknown"
    if view is None:
        return str(raw)
    text = f"{view.in_unit(raw):g} {view.unit}".rstrip()
    kw = view.kw(raw)
    return text if kw is None or view.unit == "W" else f"{text} ({kw:g} kW)"


def lasting(ms: int) -> str:
    """A time that is left."""
    seconds = max(ms, 0) // 1000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h {seconds % 3600 // 60} min"


def clamped(clamp: str, by: str, views: Mapping[str, ControlView]) -> str:
    """What keeps a control from what is wanted; empty where nothing does."""
    match clamp:
        case "limit":
            return f"the limit “{by}” does not allow more now"
        case "grid":
            return "the network operator limits the house: nothing is charged by force meanwhile"
        case "failsafe":
            return "the network operator's box is silent: nothing is charged by force until it is heard again"
        case "exclusive":
            other = _ACTIONS.get(views[by].word, by) if by in views else by
            return f"{other} comes first, and both at once is not possible"
        case "ramp":
            return "it is raised step by step"
        case "interval":
            return "it was written a moment ago, and the device wants a pause between two writes"
        case "budget":
            return "the writes of a day are used up, to spare the device's memory"
        case "external":
            return "another program writes to the device as well, and is not fought any more"
        case "latched":
            return f"the device is stopped ({by or 'emergency stop'}) until somebody resets it"
        case "stale":
            return f"there is no fresh reading of {by}, without which nothing is forced"
        case "failed":
            return "the device did not take it several times in a row"
    return clamp


def rejected(reason: str, by: str) -> str:
    """Why something was not taken, as a sentence."""
    if reason == "stale" and by != "age":
        return clamped("stale", by, {})
    if reason == "latched":
        return clamped("latched", by, {})
    text = _REJECTIONS.get(reason, reason)
    return f"{text} ({by})" if by and by != reason else text


def why(view: ControlView, why: Why, mode: str, hindrance: str, *, until: str = "") -> str:
    """One paragraph: what a control does, who wants that, until when, and what stands in the way (`hindrance`, empty: nothing). `until`:
    when that ends, as a time."""
    said = [_happening(view, why)]
    if why.author:
        end = f" until {until}" if until else ""
        wish = f"{author_of(why.author)} wants {size(view, why.wanted)}{end} (another {lasting(why.left_ms)})"
        said.append(wish[0].upper() + wish[1:] + (f": {why.words}" if why.words else "") + ".")
    elif mode != "stopped":
        said.append(f"Nobody wants anything of it, so it is left at {size(view, view.home)}.")
    if hindrance:
        said.append(hindrance[0].upper() + hindrance[1:] + ".")
    if why.plan is not None and why.author != "plan":
        rest = "pauses" if why.author or mode == "manual" else "waits"
        said.append(f"The plan by price, which wants {size(view, why.plan)}, {rest} meanwhile.")
    if why.waiting is not None:
        said.append(
            f"The plan has changed its mind to {size(view, why.waiting)}, and that follows when the present step has lasted long enough."
        )
    if mode == "stopped" and why.clamp != "latched":
        said.append("The device is stopped until somebody resets it.")
    return " ".join(said)


def _happening(view: ControlView, why: Why) -> str:
    name = view.title
    if why.value is None:
        return f"{name}: nothing was commanded since the start of the gateway."
    if why.pending:
        return f"{name}: the device is being told {size(view, why.value)} and has not confirmed it yet."
    if why.read_back is None:
        return f"{name}: {size(view, why.value)} was commanded, what the device has is not known."
    if why.read_back != why.value:
        return f"{name}: {size(view, why.value)} was commanded, but the device has {size(view, why.read_back)}."
    off = "off" if view.word != "export" and why.value == view.safe else size(view, why.value)
    return f"{name} is {off}; the device has confirmed it."


def decision(said: Decision, views: Mapping[str, ControlView]) -> str:
    """A decision as a line of the audit."""
    view = views.get(said.control)
    name = view.title if view is not None else said.control
    value = size(view, said.value)
    who = author_of(said.author)
    match said.kind:
        case "command":
            text = f"{name} → {value}, for {who}"
            return f"{text} (wanted {size(view, said.unclamped)}: {clamped(said.clamp, said.by, views)})" if said.clamp else text
        case "revert":
            return f"{name} → {value}: nobody wants anything of it"
        case "safe":
            return f"{name} → {value}, its safe value: {clamped(said.clamp or said.reason, said.by, views)}"
        case "hold":
            text = f"{name} stays at {value}" + (f", for {who}" if said.author else "")
            return f"{text}: {clamped(said.clamp, said.by, views)}" if said.clamp else text
        case "rejection":
            return f"not taken from {who}{f' for {name}' if name else ''}: {rejected(said.reason, said.by)}"
    return _notice(said, name, value, who)


def _notice(said: Decision, name: str, value: str, who: str) -> str:
    texts = {
        "mode": f"mode {said.by}",
        "latched": f"stopped by {said.by}",
        "reset": f"reset by {who} (it was stopped by {said.by})",
        "not latched": f"{who} asked for a reset; nothing was stopped",
        "trip cleared": f"the reason {said.by} is gone",
        "failsafe": "the network operator's box is silent: failsafe",
        "failsafe over": "the network operator's box is heard again",
        "grid": "the network operator limits nothing" if said.value is None else f"the network operator limits the house to {said.value} W",
        "lease": f"wishes last {lasting(said.value or 0)} from now on, by {who}",
        "lease ended": f"the time of {who}'s wish{f' for {name}' if name else ''} is over",
        "withdrawn": f"{who} wants {name} no more",
        "superseded": f"{author_of(said.by)} wishes for {name} instead of {who}",
        "dwell": f"the plan's next step for {name} ({value}) waits",
        "dwell over": f"the plan's next step for {name} ({value}) follows",
        "failed": f"{name}: the device did not take it",
        "rejected": f"{name}: refused on the way to the device",
        "unsent": f"{name}: never sent, the device was away",
        "ignored": f"{name}: written, but the device has {value}",
        "lost": f"{name}: no result came",
        "external": f"{name}: another program wrote {value}" + (", and is not fought any more" if said.by == "yielded" else ""),
    }
    return texts.get(said.reason, said.reason)


def event(told: Sequence[Any]) -> str:
    """What the arbiter was told, for the audit; unknown kinds as they are."""
    kind, parts = (str(told[0]), list(told[1:])) if told else ("", [])
    try:
        match kind:
            case "wish":
                return f"{parts[0]} wishes {parts[1]} = {parts[2]}" + (f" for {lasting(parts[4])}" if parts[4] else "")
            case "withdraw":
                return f"{parts[0]} withdraws {parts[1] or 'everything'}"
            case "mode":
                return f"{parts[0]}: mode {parts[1]}"
            case "lease":
                return f"{parts[0]}: wishes last {lasting(parts[1])}"
            case "grid":
                return "no grid limit" if parts[0] is None else f"grid limit {parts[0]} W"
            case "stop":
                return f"emergency stop at {parts[0]}"
            case "reset":
                return f"{parts[0]} resets"
            case "result":
                return f"result of {parts[0]}: {parts[2]}" + ("" if parts[3] is None else f", {parts[3]} read back")
            case "readback" | "external":
                return f"{parts[0]} reads back as {parts[1]}" + (" (somebody else wrote)" if kind == "external" else "")
            case "telemetry":
                return "reading " + ", ".join(f"{name} {value}" for name, value in parts[0])
            case "tick":
                return "time passed"
            case "restart":
                return "the gateway started"
    except (IndexError, TypeError, ValueError):
        return f"{kind} {parts}"
    return " ".join([kind, *map(str, parts)])
