"""`ohmstead audit`, `replay` and `why` on the store of a house that has lived a little."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ohmcore import events
from ohmstead.cli import main
from ohmstead.control import audit
from ohmstead.control.replay import replay
from ohmstead.store.sqlite import SqliteStore
from tests.unit.battery_house import House

STORE = "store: {path: ohm.db}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    async def life() -> None:
        async with House(tmp_path) as house:
            house.read()
            await house.wish("loxone", "charge", 60, 600)
            await house.wish("loxone", "charge", 200)
            await house.tell(events.mode("home_assistant", "manual"))

    asyncio.run(life())
    path = tmp_path / "ohmstead.yaml"
    path.write_text(path.read_text() + STORE)
    return path


def ohmstead(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_audit_is_told_in_sentences_and_as_json(file: Path) -> None:
    told = ohmstead("audit", "-c", file)
    assert told.exit_code == 0
    assert "loxone wishes charge = 60 for 10 min" in told.output
    assert "Charge → 60 % (3 kW), for Loxone" in told.output
    assert "not taken from Loxone for Charge: it is outside of what this home allows" in told.output
    assert "reading" not in told.output
    assert "reading" in ohmstead("audit", "-c", file, "--all").output
    lines = [json.loads(line) for line in ohmstead("audit", "-c", file, "--json", "-n", "2").output.splitlines()]
    assert [line["event"][0] for line in lines] == ["wish", "mode"]
    assert ohmstead("audit", "-c", file, "--device", "fridge").exit_code == 2
    assert "Nothing" in ohmstead("audit", "-c", file, "--day", "2020-01-01").output
    assert "loxone wishes" in ohmstead("audit", "-c", file, "--day", "2026-01-10").output


def test_a_replay_says_that_it_is_the_same_or_where_it_is_not(file: Path) -> None:
    said = ohmstead("replay", "-c", file, "--day", "2026-01-10")
    assert said.exit_code == 0, said.output
    assert re.search(r"growatt: \d+ events, \d+ decisions: the same\.", said.output)
    store = SqliteStore(file.parent / "ohm.db")
    with store._transaction() as connection:
        connection.execute("DROP TRIGGER decided_no_update")
        connection.execute("UPDATE decided SET decisions = replace(decisions, '\"charge\",60', '\"charge\",61')")
    store.close()
    said = ohmstead("replay", "-c", file, "--day", "2026-01-10")
    assert said.exit_code == 1
    assert "then not: number" in said.output
    assert "told: loxone wishes charge = 60 for 10 min" in said.output
    assert re.search(
        r"decided by this very version, ohmstead \S+ \(core [0-9a-f]{12}\): the record was changed since, or it is a fault", said.output
    )


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (
            "ohmstead 0.0.1 (core 0123456789ab)",
            r"decided by ohmstead 0\.0\.1 \(core 0123456789ab\), another version than this, ohmstead \S+ \(",
        ),
        ("", "Which version decided it is not on record"),
    ],
)
def test_a_replay_of_what_another_version_decided_says_so(file: Path, program: str, says: str) -> None:
    """What is decided otherwise here is a record that was changed: as if the core had been another one then."""
    store = SqliteStore(file.parent / "ohm.db")
    with store._transaction() as connection:
        connection.execute("DROP TRIGGER decided_no_update")
        connection.execute("UPDATE decided SET decisions = replace(decisions, '\"charge\",60', '\"charge\",61')")
        connection.execute("UPDATE checkpoints SET program = ?", (program,))
    store.close()
    said = ohmstead("replay", "-c", file, "--day", "2026-01-10")
    assert said.exit_code == 1
    assert re.search(says, said.output)
    assert "without any fault" in said.output


async def test_after_an_update_the_audit_says_who_decides_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with House(tmp_path) as house:
        house.read()
        await house.wish("loxone", "charge", 60, 600)
    monkeypatch.setattr(audit, "program", lambda: "the next one")
    async with House(tmp_path) as house:
        house.read()
        await house.wish("loxone", "charge", 50, 600)
    store = SqliteStore(tmp_path / "ohm.db")
    programs = [checkpoint.program for checkpoint in store.trail.checkpoints("growatt", -1)]
    assert programs[0].startswith("ohmstead ")
    assert programs[-1] == "the next one"
    with store._transaction() as connection:
        connection.execute("DROP TRIGGER decided_no_update")
        connection.execute("UPDATE decided SET decisions = replace(decisions, '\"charge\",50', '\"charge\",51')")
    difference = replay(store.trail, "growatt").difference
    store.close()
    assert difference is not None
    assert difference.program == "the next one"


def test_why_is_a_paragraph(file: Path) -> None:
    said = ohmstead("why", "growatt.charge", "-c", file)
    assert said.exit_code == 0, said.output
    assert "Charge is 60 % (3 kW); the device has confirmed it. Loxone wants 60 % (3 kW) until" in said.output
    assert "Export limit is 100 %" in ohmstead("why", "growatt", "-c", file).output
    assert ohmstead("why", "growatt.heat", "-c", file).exit_code == 2
    assert ohmstead("why", "fridge.door", "-c", file).exit_code == 2


def test_without_a_store_they_say_so(tmp_path: Path, file: Path) -> None:
    (tmp_path / "ohm.db").unlink()
    for command in (("audit",), ("replay",), ("why", "growatt")):
        said = ohmstead(*command, "-c", file)
        assert said.exit_code == 1
        assert "there is no store yet" in said.output


def test_a_home_without_a_battery_has_nothing_to_replay(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text("devices: {mains: {profile: eastron-sdm630, via: tcp://192.0.2.10}}\n")
    said = ohmstead("replay", "-c", path)
    assert (said.exit_code, said.output) == (0, f"{path}: there is no battery that is commanded, so that nothing was decided.\n")
