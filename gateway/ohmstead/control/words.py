"""The arbiter's decisions in sentences for the owner of the house. The core speaks in codes, so that it stays small."""

from __future__ import annotations

from collections.abc import Callable

from ohmcore.records import Decision, Why

Shown = Callable[[str, int], str]
"""Control and value → as people say it ("3.0 kW")."""

_CLAMPS = {
    "limit": "the limit {by} allows no more",
    "grid": "the network operator limits the house",
    "failsafe": "the network operator's box has not been heard",
    "exclusive": "{by} comes first",
    "ramp": "it changes step by step",
    "interval": "it was written just now",
    "budget": "today's writes are spent",
    "external": "somebody else keeps writing it, and is let",
    "latched": "it is stopped ({by})",
    "stale": "{by} is not known any more",
    "failed": "the device does not do it",
}
_REJECTIONS = {
    "malformed": "this cannot be understood ({by})",
    "out of range": "this is out of range ({by})",
    "rate limit": "these are too many wishes at once",
    "latched": "everything is stopped ({by}); a reset is needed first",
    "stale": "{by} is too old to act upon",
    "unauthorised": "this is not for {author} to say",
    "read-only": "this device is only read, never written",
    "duplicate": "this is a copy of what was said before ({by})",
}
_NOTICES = {
    "mode": "now {by}",
    "latched": "stopped: {by}",
    "reset": "released by {author}",
    "not latched": "there is nothing to release",
    "trip cleared": "{by} is over; a reset may release what it stopped",
    "failsafe": "the network operator's box is silent: nothing is charged from the grid",
    "failsafe over": "the network operator's box is back",
    "grid": "the network operator's limit has changed",
    "lease": "wishes of {author} last another time from now on",
    "lease ended": "the time of {author} is over",
    "withdrawn": "{author} wants nothing any more",
    "superseded": "{by} wants something else than {author}",
    "dwell": "the plan has changed its mind; this waits a little",
    "dwell over": "what the plan wanted instead has its turn",
    "failed": "the device could not do it",
    "rejected": "the node refused it",
    "ignored": "the device took it and did not do it",
    "lost": "no answer came",
    "external": "somebody else has written to the device",
}


def clamp_in_words(clamp: str, by: str) -> str:
    """Why a value is not the one that was wanted; empty: it is."""
    return _CLAMPS[clamp].format(by=by) if clamp else ""


def in_words(decision: Decision, shown: Shown) -> str:
    """One sentence about a decision. KeyError: a code that nobody has words for."""
    control, value, author = decision.control, decision.value, decision.author
    named = {"by": decision.by, "author": author or "nobody"}
    if decision.kind == "rejection":
        return f"{control or 'Not done'}: {_REJECTIONS[decision.reason].format(**named)}."
    if decision.kind == "notice":
        said = _NOTICES[decision.reason].format(**named)
        if decision.reason == "external" and decision.by:
            said += " again; it is not written over any more"
        return f"{control}: {said}." if control else f"{said[0].upper()}{said[1:]}."
    size = "unchanged" if value is None else shown(control, value)
    because = clamp_in_words(decision.clamp, decision.by)
    if decision.kind == "revert":
        return f"{control}: back to {size}, because nobody wants anything{_also(because)}."
    if decision.kind == "safe":
        return f"{control}: {size} for safety, because {because}."
    wanted = "" if decision.unclamped in (None, value) else f" instead of {shown(control, decision.unclamped or 0)}"
    whose = f" for {author}" if author else ""
    stays = "stays at " if decision.kind == "hold" else ""
    words = f" ({decision.words})" if decision.words else ""
    return f"{control}: {stays}{size}{wanted}{whose}{words}{_also(because, ', because ')}."


def _also(because: str, link: str = "; ") -> str:
    return f"{link}{because}" if because else ""


def why_in_words(control: str, why: Why, shown: Shown) -> str:
    """A paragraph on how a control stands: what is out, whose wish it is, how long it lasts, what clamps it, what the plan would do."""
    parts = []
    out = "unknown" if why.value is None else shown(control, why.value)
    if why.author:
        left = max(1, round(why.left_ms / 60_000))
        words = f" ({why.words})" if why.words else ""
        parts.append(f"{control} is at {out}: {why.author} asked for {shown(control, why.wanted)}{words}, {left} min left.")
    else:
        parts.append(f"{control} is at {out}: nobody wants anything.")
    if why.clamp:
        because = clamp_in_words(why.clamp, why.by)
        parts.append(f"{because[0].upper()}{because[1:]}.")
    if why.plan is not None and why.rank > 1:
        parts.append(f"The plan would have it at {shown(control, why.plan)}.")
    if why.waiting is not None:
        parts.append(f"The plan wants {shown(control, why.waiting)} next.")
    if why.pending:
        parts.append("The device has not answered yet.")
    elif why.read_back is not None and why.read_back != why.value:
        parts.append(f"The device says {shown(control, why.read_back)}.")
    return " ".join(parts)
