"""A device that was found, and the configuration that is proposed for what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ohmstead.migrate.home import Home, Value


class Finding(NamedTuple):
    """A device: what to call it, what to write for it, and what is known of it."""

    name: str
    """What it would be called; a number is added where there are several."""
    host: str
    keys: Mapping[str, Value]
    """Its configuration."""
    said: str
    """Who it says it is, for people."""
    serial: str = ""
    """What tells it from all others, where it says so."""
    doubt: str = ""
    """What its owner has to look at."""


def distinct(findings: Sequence[Finding]) -> list[Finding]:
    """Each device once, by its serial number where it has one, in the order in which they were found."""
    found: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        of_place = tuple(f"{key}={value}" for key, value in finding.keys.items())
        found.setdefault((finding.name, finding.serial) if finding.serial else of_place, finding)
    return list(found.values())


def proposal(findings: Sequence[Finding]) -> str:
    """The section `devices` for what was found; who each one says it is stands beside it."""
    home = Home()
    for finding in findings:
        name = home.device(finding.name)
        said = "; ".join(part for part in (finding.said, finding.doubt) if part)
        for key, value in finding.keys.items():
            home.put(("devices", name, key), value, said)
            said = ""
    return home.text(
        [
            "Proposed by `ohmstead detect`. Look through it, give the devices the names that you call them by,",
            "and let `ohmstead check` read it.",
        ]
    )
