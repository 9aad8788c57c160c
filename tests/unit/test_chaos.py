"""Slices of the campaigns that need no processes, and their judges; `just chaos` does all of it thousands of times."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from msgpack import packb  # type: ignore[import-untyped] # it comes without types

from tests.chaos import __main__ as chaos
from tests.chaos import commands, fuzz, lines
from tests.chaos.kills import Ledger
from tests.chaos.relay import Packets
from tests.chaos.rows import Plan, RigError, Row, table
from tests.unit import node_world


def forgeries(count: int, seed: int) -> tuple[dict[str, int], list[str], int]:
    assert node_world  # it puts the firmware on the path, and the virtual waiter in its place
    from tests.chaos import forgeries

    fort = forgeries.campaign(count, seed)
    return fort.tried, fort.wrong, fort.done


def test_commands_that_must_not_be_obeyed_are_not_and_honest_ones_are() -> None:
    tried, wrong, done = forgeries(3000, 1)
    assert set(tried) == set(commands.KINDS)
    assert wrong == []
    assert done > 50


def test_the_same_on_micropython(micropython: list[str]) -> None:
    found = fuzz.in_a_process((*micropython, "-X", "heapsize=4m"), 1500, 2, "forgeries.py")
    assert found["obeyed"] > 20
    assert [kind for kind in found if kind.startswith("found ")] == []


def test_an_obeyed_forgery_is_found() -> None:
    from tests.chaos import forgeries

    fort = forgeries.Fort(1)
    fort.commands._context = b"home/attic/command"
    fort.run(500)
    assert [finding for finding in fort.wrong if "for another node: it was accepted" in finding]


@pytest.mark.parametrize(
    ("story", "least"),
    [(lambda: lines.checksum_errors(1, 20), 20), (lambda: lines.strangers(2, 5), 200), (lambda: lines.wraps(3), 2)],
    ids=["checksum errors", "strangers", "wraps"],
)
def test_lines_that_are_broken_for_long_and_ticks_that_wrap(story: Callable[[], tuple[int, list[str]]], least: int) -> None:
    tried, findings = story()
    assert findings == []
    assert tried >= least


# The judges


def store(folder: Path, samples: list[int], frames: dict[int, int], dropped: tuple[int, int] | None = None, contiguous: int = 4) -> Ledger:
    """A store of one boot (4711): frames by number with the reading in them; 2 is an event."""
    file = folder / "ohm.db"
    connection = sqlite3.connect(file)
    connection.executescript(
        "CREATE TABLE boots (id, boot, contiguous); CREATE TABLE frames (boot_id, seq, body); CREATE TABLE dropped (boot_id, first, last);"
        "CREATE TABLE series (id, point); CREATE TABLE samples (series_id, value); CREATE TABLE events (id);"
        "INSERT INTO series VALUES (1, 'number'); INSERT INTO events VALUES (1);"
    )
    connection.execute("INSERT INTO boots VALUES (1, 4711, ?)", (contiguous,))
    for seq, number in frames.items():
        body = packb([1, 4711, seq, 0, "first", "live", 0, [[3 << 16, number.to_bytes(4, "big")]]])
        connection.execute("INSERT INTO frames VALUES (1, ?, ?)", (seq, body))
    connection.execute("INSERT INTO frames VALUES (1, 2, ?)", (packb([1, 4711, 2, 0, "", "link", {}]),))
    if dropped:
        connection.execute("INSERT INTO dropped VALUES (1, ?, ?)", dropped)
    connection.executemany("INSERT INTO samples VALUES (1, ?)", [(value,) for value in samples])
    connection.commit()
    connection.close()
    return Ledger(file)


def test_what_was_promised_and_is_not_there_is_lost(tmp_path: Path) -> None:
    for name in ("whole", "dropped", "gone", "beyond", "no sample"):
        (tmp_path / name).mkdir()
    whole = store(tmp_path / "whole", [7, 8, 9], {1: 7, 3: 8, 4: 9})
    assert whole.lost({4711: 4}) == whole.twice() == []
    assert store(tmp_path / "dropped", [7, 9], {1: 7, 4: 9}, dropped=(3, 3)).lost({4711: 4}) == []
    assert "1 of 4 acknowledged frames are lost, such as 3" in store(tmp_path / "gone", [7, 9], {1: 7, 4: 9}).lost({})[0]
    assert "1 of 5 acknowledged frames are lost, such as 5" in whole.lost({4711: 5})[0]
    assert "the store does not know it" in whole.lost({4712: 1})[0]
    assert "in no sample, such as 8" in store(tmp_path / "no sample", [7, 9], {1: 7, 3: 8, 4: 9}).lost({})[0]


def test_what_is_there_twice_is_found(tmp_path: Path) -> None:
    for name in ("frames", "samples"):
        (tmp_path / name).mkdir()
    assert "in several frames" in store(tmp_path / "frames", [7, 8], {1: 7, 3: 8, 4: 8}).twice()[0]
    assert store(tmp_path / "samples", [7, 8, 8, 9], {1: 7, 3: 8, 4: 9}).twice() == ["reading 8 is stored 2 times"]


def test_messages_are_found_in_whatever_pieces_they_come() -> None:
    def packet(head: int, body: bytes) -> bytes:
        size = len(body)
        return bytes([head, *([size] if size < 128 else [size & 127 | 128, size >> 7])]) + body

    wire = packet(0x20, b"\0\0") + packet(0x30, b"\0\x03a/b" + bytes(200)) + packet(0x32, b"\0\x01c\0\x07x") + packet(0xD0, b"")
    for size in (1, 2, 7, len(wire)):
        packets = Packets()
        found = [message for at in range(0, len(wire), size) for message in packets.take(wire[at : at + size])]
        assert found == [(b"a/b", bytes(200)), (b"c", b"x")]


# The table and the exit code


def test_a_table_says_what_was_found_and_how_many_more() -> None:
    text = table([Row("a", 12_345, [f"finding {number}" for number in range(8)], "0 of them"), Row("b", 1, note="by the way")])
    assert "12,345" in text
    assert text.count("    finding") == 5
    assert "and 3 more" in text
    assert text.splitlines()[-1].endswith("by the way")


@pytest.mark.parametrize(
    ("row", "quick", "code"),
    [
        (Row("x", 100, [], "", 100), False, 0),
        (Row("x", 99, [], "", 100), False, 1),
        (Row("x", 99, [], "", 100), True, 0),
        (Row("x", 500, ["broken"], "", 100), True, 1),
    ],
)
def test_the_exit_code_tells_of_findings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], row: Row, quick: bool, code: int
) -> None:
    plans: list[Plan] = []

    def campaign(plan: Plan) -> list[Row]:
        plans.append(plan)
        return [row]

    monkeypatch.setattr(chaos, "CAMPAIGNS", {"power": campaign})
    assert chaos.main(["--seed", "7", *(["--quick"] if quick else [])]) == code
    assert "seed 7" in capsys.readouterr().out
    assert (plans[0].seed, plans[0].quick, plans[0].heap) == (7, quick, "128k")


def test_a_campaign_that_cannot_be_done_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def campaign(_: Plan) -> list[Row]:
        raise RigError("no mosquitto here")

    monkeypatch.setattr(chaos, "CAMPAIGNS", {"kills": campaign})
    assert chaos.main([]) == 1
    assert "not done: no mosquitto here" in capsys.readouterr().out
