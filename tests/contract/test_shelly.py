"""The recorded status of a Shelly Pro 3EM (firmware 1.1.0), as the device says it and as it is read here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.polling import Member
from ohmstead.sources.shelly import ShellyReader
from ohmstead.sources.shelly_rpc import Notified

NOON = 1_790_000_000.0


class Recorded:
    """A device that says what was recorded."""

    address = "192.0.2.12"

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said

    def start(self, notified: Notified) -> None:
        """It says nothing by itself."""

    async def call(self, method: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = {"Shelly.GetDeviceInfo": self._said["shelly"], "Shelly.GetStatus": self._said["status"]}[method]
        return found

    async def close(self) -> None:
        """Nothing is open."""


class Nothing:
    """A memory that keeps nothing."""

    def read(self, key: str) -> str | None:
        return None

    def write(self, key: str, value: str) -> None:
        """Forgets it."""


@pytest.fixture
def said(goldens: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((goldens / "shelly" / "aioshelly_gen2_pro3em_fixture.json").read_text())
    return found


async def read(said: Mapping[str, Any]) -> tuple[Snapshot, Member]:
    members: list[Member] = []
    reader = ShellyReader("house", Recorded(said), members.append, lambda _: None, Nothing(), wall=lambda: NOON)
    (snapshot,) = await reader.read()
    return snapshot, members[-1]


async def test_every_number_of_a_pro_3em_is_a_point_with_its_value(said: Mapping[str, Any]) -> None:
    snapshot, member = await read(said)
    by_field = {point.field: point for point in member.profile.points.values()}
    status = said["status"]
    for component in ("em:0", "emdata:0"):
        for key, value in status[component].items():
            if key in ("id", "user_calibrated_phase", "n_current"):
                continue
            field = f"{component}.{key}"
            names = [name for name in (field, f"{field}.sum") if name in by_field]
            assert names, f"{field} is no point"
            for name in names:
                point = by_field[name]
                assert snapshot.values[point.id] == pytest.approx(value * point.scale), name
    assert snapshot.values["temperature"] == status["temperature:0"]["tC"]
    assert "current_neutral" not in snapshot.values
    assert snapshot.quality is Quality.GOOD


async def test_what_it_is_and_what_people_call_it(said: Mapping[str, Any]) -> None:
    snapshot, member = await read(said)
    assert (member.name, member.serial, member.profile.id, member.profile.model) == ("Test Name", "AABBCCDDEEFF", "shelly-em", "Pro3EM")
    assert (snapshot.values["energy_import"], snapshot.values["energy_export"]) == pytest.approx((2589.77339, 1.02661))
    assert snapshot.values["firmware_version"] == "1.1.0"
    assert set(snapshot.values) == set(member.profile.points) - {"current_neutral"}
