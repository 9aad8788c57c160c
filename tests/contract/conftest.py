"""What the tests of the contracts share: the profile, the recorded registers, and the messages that were recorded with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ohmstead.profiles.model import Profile
from tests.publishing import Sent, mtec, read_image


@pytest.fixture(scope="session")
def profile() -> Profile:
    return mtec()


@pytest.fixture
def image(goldens: Path) -> dict[int, int]:
    """Address → register, as the inverter of the recording had them."""
    return read_image(goldens / "mtec" / "image_A.json")


@pytest.fixture
def golden(goldens: Path) -> list[Sent]:
    """All that aiomtec2mqtt 1.1.0 published for `image`, in order."""
    messages = [json.loads(line) for line in (goldens / "mtec" / "golden_A.jsonl").read_text().splitlines()]
    return [Sent(message["topic"], message["payload"], message["retain"], message["qos"]) for message in messages]
