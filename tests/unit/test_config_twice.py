"""One device under two names in ohmstead.yaml: its energy would be counted twice, and somebody asked twice as often as he allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from tests.unit.homes import mistakes, writer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("source: luxtronik, host: 192.0.2.13", "source: luxtronik, host: 192.0.2.13, port: 8889"),
        ("source: shelly, host: 192.0.2.13", "source: shelly, host: 192.0.2.13, every: 5 s"),
        ("source: shelly, mqtt: shellypro3em-a0b1c2", "source: shelly, mqtt: shellypro3em-a0b1c2"),
        (
            "source: vicare, client_id: a1, user: a@example.com, password: x",
            "source: vicare, client_id: a1, user: a@example.com, password: x",
        ),
        ("source: open-meteo, latitude: 49.2, longitude: 16.6", "source: open-meteo, latitude: 50, longitude: 14"),
    ],
)
def test_the_same_again_is_refused(tmp_path: Path, one: str, other: str) -> None:
    (told,) = mistakes(writer(tmp_path)(f"devices:\n  one: {{{one}}}\n  other: {{{other}}}\n"))
    assert told.startswith("ohmstead.yaml:3: devices.other — one is this already")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("source: luxtronik, host: 192.0.2.13", "source: luxtronik, host: 192.0.2.13, port: 8890"),
        ("source: luxtronik, host: 192.0.2.13", "source: shelly, host: 192.0.2.13"),
        ("source: vicare, client_id: a1", "source: vicare, client_id: a1"),  # their tokens may be of two accounts
    ],
)
def test_others_are_not(tmp_path: Path, one: str, other: str) -> None:
    assert len(load(writer(tmp_path)(f"devices:\n  one: {{{one}}}\n  other: {{{other}}}\n")).devices) == 2
