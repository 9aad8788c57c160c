"""`ohmstead export`: days and weeks as CSV."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from ohmstead.cli import main
from ohmstead.readings import Quality, Snapshot, Value
from ohmstead.store.protocol import Batch, StoreError
from ohmstead.store.samples import Row, SqliteSamples
from ohmstead.store.sqlite import SqliteStore

ZONE = ZoneInfo("Europe/Prague")
HOME = """\
store: {path: ohm.db}
devices:
  pump: {source: luxtronik, host: 192.0.2.13}
"""
UNITS = {"flow_temperature": "°C", "heating_energy": "kWh"}


def at(hour: int, minute: int, second: int = 0, day: int = 14) -> float:
    return datetime(2026, 1, day, hour, minute, second, tzinfo=ZONE).timestamp()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "ohmstead.yaml").write_text(HOME)
    return tmp_path


@pytest.fixture
def store(home: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(home / "ohm.db", units={"pump": UNITS})
    yield opened
    opened.close()


def keep(store: SqliteStore, time: float, device: str = "pump", **values: Value) -> None:
    store.commit(Batch(snapshots=[Snapshot(device, "live", time, Quality.GOOD, values)]))


def ohmstead(home: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", "-c", str(home / "ohmstead.yaml"), *[str(word) for word in words]])


def rows(home: Path, *words: str | Path) -> list[list[str]]:
    told = ohmstead(home, "--device", "pump", *words)
    assert told.exit_code == 0, told.output
    return list(csv.reader(io.StringIO(told.stdout)))


def test_a_day_has_its_moments_and_units(home: Path, store: SqliteStore) -> None:
    keep(store, at(23, 59, 59, day=13), flow_temperature=1.0)
    keep(store, at(0, 0), heating_energy=12345.6, flow_temperature=30.1, operation="heating")
    keep(store, at(23, 59, 59), flow_temperature=30.2, operation="hot water", heating_energy=12345.7)
    keep(store, at(0, 0, day=15), flow_temperature=2.0)
    assert rows(home, "--day", "2026-01-14") == [
        ["time", "flow_temperature [°C]", "operation", "heating_energy [kWh]"],
        ["2026-01-14T00:00:00.000+01:00", "30.1", "heating", "12345.6"],
        ["2026-01-14T23:59:59.000+01:00", "30.2", "hot water", "12345.7"],
    ]


def test_what_did_not_change_stands_and_what_is_too_old_does_not(home: Path, store: SqliteStore) -> None:
    """Only changes are kept; an hour without a word is an hour of which nothing is known."""
    keep(store, at(23, 50, day=13), flow_temperature=30.0, operation="heating")
    keep(store, at(0, 4), flow_temperature=30.1)
    keep(store, at(1, 0), flow_temperature=30.2)
    assert [row[1:] for row in rows(home, "--day", "2026-01-14")[1:]] == [["30.1", "heating"], ["30.2", ""]]


def test_what_is_kept_once_a_day_stands_for_a_day(home: Path, store: SqliteStore) -> None:
    keep(store, at(0, 1, day=14), flow_temperature=30.0, calculation_260=7)
    keep(store, at(23, 0, day=14), flow_temperature=31.0)
    assert rows(home, "--day", "2026-01-14")[0] == ["time", "flow_temperature [°C]"]
    assert [row[1:] for row in rows(home, "--day", "2026-01-14", "--all")] == [
        ["flow_temperature [°C]", "calculation_260"],
        ["30", "7"],
        ["31", "7"],
    ]


def test_a_week_goes_from_monday_to_sunday(home: Path, store: SqliteStore) -> None:
    for day in (11, 12, 18, 19):  # 2026-01-12 is a Monday
        keep(store, at(12, 0, day=day), flow_temperature=float(day))
    assert [row[1] for row in rows(home, "--week", "2026-01-14")[1:]] == ["12", "18"]


def test_fewer_lines_and_fewer_columns(home: Path, store: SqliteStore) -> None:
    for second in range(0, 900, 30):
        keep(store, at(10, 0) + second, flow_temperature=float(second), heating_energy=1.0)
    table = rows(home, "--day", "2026-01-14", "--every", "5 min", "--point", "flow_temperature")
    assert table == [
        ["time", "flow_temperature [°C]"],
        ["2026-01-14T10:00:00.000+01:00", "0"],
        ["2026-01-14T10:05:00.000+01:00", "300"],
        ["2026-01-14T10:10:00.000+01:00", "600"],
    ]


def test_the_days_of_a_clock_change_are_whole(home: Path, store: SqliteStore) -> None:
    first = datetime(2026, 10, 25, tzinfo=ZONE).timestamp()
    for hour in range(26):
        keep(store, first + hour * 3600, flow_temperature=float(hour))
    table = rows(home, "--day", "2026-10-25")
    assert len(table) == 1 + 25
    assert (table[3][0], table[4][0]) == ("2026-10-25T02:00:00.000+02:00", "2026-10-25T02:00:00.000+01:00")


def test_a_file_is_written_and_a_folder_gets_one_named_by_its_day(home: Path, store: SqliteStore) -> None:
    keep(store, at(12, 0), flow_temperature=30.0)
    for words, name in (
        (("--day", "2026-01-14", "-o", home / "x.csv"), "x.csv"),
        (("--day", "2026-01-14", "-o", home), "2026-01-14_daily.csv"),
    ):
        assert "1 line, 1 point of pump" in ohmstead(home, "--device", "pump", *words).output
        assert (home / name).read_text() == "time,flow_temperature [°C]\n2026-01-14T12:00:00.000+01:00,30\n"
    ohmstead(home, "--device", "pump", "--week", "2026-01-14", "-o", home)
    assert (home / "2026-01-12_weekly.csv").is_file()
    assert list(home.glob("*.tmp")) == []


def test_a_device_that_is_no_more_in_the_configuration(home: Path, store: SqliteStore) -> None:
    keep(store, at(12, 0), "roof-1141", dc_voltage=34.5)
    told = ohmstead(home, "--device", "roof-1141", "--day", "2026-01-14")
    assert told.stdout.splitlines() == ["time,dc_voltage", "2026-01-14T12:00:00.000+01:00,34.5"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--device", "fridge"), 1, "there is pump"),
        (("--device", "pump", "--point", "cheese"), 1, "no point 'cheese'; it has flow_temperature"),
        (("--device", "pump", "--day", "14.1.2026"), 2, "is no day"),
        (("--device", "pump", "--day", "today", "--week", "today"), 2, "not both"),
        (("--device", "pump", "--every", "often"), 2, "60 s"),
        (("--device", "pump", "-o", "no/such/folder.csv"), 1, "No such file"),
    ],
)
def test_mistakes_are_told(home: Path, store: SqliteStore, words: tuple[str, ...], code: int, said: str) -> None:
    keep(store, at(12, 0), flow_temperature=30.0)
    told = ohmstead(home, *words)
    assert (told.exit_code, said in told.output) == (code, True), told.output


def test_before_the_first_start_there_is_nothing(home: Path) -> None:
    assert "there is no store yet" in ohmstead(home, "--device", "pump").output


def test_a_text_is_no_formula_and_stays_in_its_cell(home: Path, store: SqliteStore) -> None:
    texts = ["=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1", 'a, "b"', "plain", "-5.5 or so"]
    for second, text in enumerate(texts):
        keep(store, at(12, 0, second), operation=text, flow_temperature=-1.5)
    told = rows(home, "--day", "2026-01-14")[1:]
    assert [row[2] for row in told] == [f"'{text}" if text[0] in "=@+-" else text for text in texts]
    assert {row[1] for row in told} == {"-1.5"}  # a number is one


def test_nothing_is_left_of_an_export_that_fails(home: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, at(12, 0), flow_temperature=30.0)
    keep(store, at(15, 0), flow_temperature=30.0)
    whole = SqliteSamples.rows

    def breaking(self: SqliteSamples, device: str, start: float, end: float) -> Iterator[Row]:
        yield next(whole(self, device, start, end))
        raise StoreError("the disk is broken")

    monkeypatch.setattr(SqliteSamples, "rows", breaking)
    told = ohmstead(home, "--device", "pump", "--day", "2026-01-14", "-o", home / "x.csv")
    assert (told.exit_code, "the disk is broken" in told.output) == (1, True)
    assert {path.name for path in home.iterdir() if not path.name.startswith("ohm")} == set()


def test_what_was_found_behind_a_device_stands_no_longer_than_its_polls_say(home: Path, store: SqliteStore) -> None:
    """An inverter that fails is silent while the others speak: what it said last is not what it gives."""
    (home / "ohmstead.yaml").write_text(HOME + "  roof: {profile: hoymiles-dtu, via: tcp://192.0.2.14, every: 10 min}\n")
    keep(store, at(12, 0), "roof-1141", dc_voltage=34.5, dc_power=100.0)
    keep(store, at(12, 24), "roof-1141", dc_power=110.0)
    keep(store, at(12, 26), "roof-1141", dc_power=120.0)
    told = ohmstead(home, "--device", "roof-1141", "--day", "2026-01-14").stdout.splitlines()[1:]
    assert [line.split(",")[1:] for line in told] == [["100", "34.5"], ["110", "34.5"], ["120", ""]]


def test_a_store_that_is_being_written_is_read_beside(home: Path, store: SqliteStore) -> None:
    keep(store, at(12, 0), flow_temperature=30.0)
    with store._transaction() as connection:
        connection.execute("INSERT INTO meta (key, value) VALUES ('a', 'b')")
        assert len(rows(home, "--day", "2026-01-14")) == 2


def test_a_terminal_of_another_time_gets_the_same_as_a_file(home: Path, store: SqliteStore) -> None:
    """Units and texts are not only ASCII."""
    keep(store, at(12, 0), flow_temperature=30.0)
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "ohmstead", "export", "-c", str(home / "ohmstead.yaml"), "--device", "pump", "--day", "2026-01-14"]
    told = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    assert told.stdout.decode() == "time,flow_temperature [°C]\n2026-01-14T12:00:00.000+01:00,30\n"
