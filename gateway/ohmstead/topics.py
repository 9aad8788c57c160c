"""MQTT topic filters as values: which topics they match, where two overlap, and the one filter that stands for both."""

from __future__ import annotations

from collections.abc import Iterable


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter (`+` one level, a final `#` the rest, also none) matches a topic; `$SYS`-like topics never by a wildcard."""
    if topic.startswith("$") and pattern[:1] in {"+", "#"}:
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or level not in {"+", levels[position]}:
            return False
    return len(wanted) == len(levels)


def overlap(one: str, other: str) -> bool:
    """Whether some topic is matched by both filters."""
    left, right = one.split("/"), other.split("/")
    for a, b in zip(left, right, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer, shorter = (left, right) if len(left) > len(right) else (right, left)
    return longer[len(shorter) :] in ([], ["#"])  # "a/#" matches its parent "a" as well


def join(one: str, other: str) -> str:
    """The narrowest filter that matches all that either of two filters matches."""
    left, right = one.split("/"), other.split("/")
    joined: list[str] = []
    for a, b in zip(left, right, strict=False):
        if "#" in (a, b):
            return "/".join([*joined, "#"])
        joined.append(a if a == b else "+")
    if len(left) != len(right):
        joined.append("#")
    return "/".join(joined)


def disjoint(patterns: Iterable[str]) -> list[str]:
    """The fewest joins after which no two filters overlap.

    A broker may deliver a message once for each subscription of a client that matches it (MQTT 3.1.1, 3.3.5); with filters
    that do not overlap there is one copy.
    """
    separate: list[str] = []
    for pattern in patterns:
        candidate = pattern
        while True:
            rival = next((kept for kept in separate if overlap(kept, candidate)), None)
            if rival is None:
                break
            separate.remove(rival)
            candidate = join(rival, candidate)
        separate.append(candidate)
    return separate
