"""The contract against hoymiles-mqtt 0.11.0 itself, on plants that nobody recorded.

Its own decoding and messages run in its own environment (`build/hoymiles-venv`, made by `just bench hoymiles`), without DTU or broker;
skipped where it is not installed. Every inverter is awake: of those that sleep the recordings tell, and where we deviate.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from ohmstead.publish.hoymiles_discovery import Wanted
from ohmstead.sim.hoymiles import Dtu
from ohmstead.sim.hoymiles_plant import record
from tests.conftest import REPOSITORY
from tests.hoymiles_rig import House

PYTHON = REPOSITORY / "build" / "hoymiles-venv" / "bin" / "python"
DRIVER = Path(__file__).with_name("hoymiles_driver.py")
SEED = 20260621
PLANTS = 40
DTU = "10f8a1b2c3d4"


def plant(chance: random.Random) -> list[bytes]:
    """Records of some inverters with anything in them that may be there."""
    records = []
    for _ in range(chance.randint(1, 6)):
        serial = chance.choice(("10", "11")) + f"{chance.randrange(16**10):010x}"
        grid = {"grid_voltage": chance.randint(1800, 2800), "grid_frequency": chance.randint(4500, 6500)}
        state = {"temperature": chance.randint(-500, 1200), "status": chance.randint(1, 9), "link": chance.randint(0, 1)}
        for port in range(1, chance.randint(1, 6) + 1):
            panel = {"voltage": chance.randint(0, 1500), "current": chance.randint(0, 900), "power": chance.randint(0, 9999)}
            energy = {"today": chance.randint(1, 0xFFFF), "total": chance.randint(1, 0xFFFFFFFF)}
            alarm = {"alarm_code": chance.choice((0, 0, 0, 209)), "alarm_count": chance.randint(0, 5)}
            records.append(record(serial, port, **grid, **state, **panel, **energy, **alarm))
    return records


def image(records: list[bytes]) -> dict[int, int]:
    words = {0x2000 + at: int(DTU[4 * at : 4 * at + 4], 16) for at in range(3)}
    for place, octets in enumerate(records):
        words |= {0x1000 + 40 * place + at: int.from_bytes(octets[2 * at : 2 * at + 2], "big") for at in range(20)}
    return words


async def test_messages_are_those_of_hoymiles_mqtt_whatever_is_on_the_roof() -> None:
    if not PYTHON.exists():
        pytest.skip("hoymiles-mqtt is not installed (just bench hoymiles does that)")
    chance = random.Random(SEED)
    plants = [plant(chance) for _ in range(PLANTS)]
    jobs = [{"dtu": DTU, "records": [one.hex() for one in records], "expire_after": 90} for records in plants]
    told = subprocess.run(  # noqa: ASYNC221 - nothing else runs yet
        [PYTHON, DRIVER], input="".join(json.dumps(job) + "\n" for job in jobs), capture_output=True, text=True, check=True, timeout=120
    )
    async with Dtu(image={}) as dtu:
        for records, line in zip(plants, told.stdout.splitlines(), strict=True):
            dtu.image = image(records)
            sent = await House(dtu, wanted=Wanted(expire_after_s=90)).published()
            theirs = [(topic, payload) for topic, payload in json.loads(line)["messages"]]
            ours = [(one.topic, one.payload) for one in sent]
            assert sorted(ours) == sorted(set(theirs))
