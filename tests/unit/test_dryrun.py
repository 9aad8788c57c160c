"""What a dry run may do: its configuration is harmless, it borrows what sources keep, and it says what was read."""

from __future__ import annotations

import io
import json
import sqlite3
import stat
from pathlib import Path

import pytest

from ohmstead import dryrun
from ohmstead.config import load
from ohmstead.readings import Quality, Snapshot
from ohmstead.roster import roster_of
from ohmstead.store.sqlite import SqliteStore
from tests.unit.homes import Write, writer

HOME = """
    mqtt: {url: mqtt://nas, client_id: mine}
    store: {path: home.db}
    log: {file: ohmstead.log}
    web: {token: "4711081508"}
    loxone: {udp_out: {host: 192.0.2.20, topics: [a/b]}}
    devices:
      mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}
      growatt: {profile: growatt-sph, via: "growatt-mqtt:energy/solar", rated: 5 kW}
      heating: {source: vicare, client_id: abc}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_nothing_of_the_home_is_written_and_nobody_commands(write: Write, tmp_path: Path) -> None:
    config = load(write(HOME))
    dry = dryrun.harmless(config, tmp_path / "dry")
    assert all(device.read_only for device in dry.devices.values())
    assert dry.store.path.parent == tmp_path / "dry"
    assert (dry.log.file, dry.loxone, dry.web.token) == (None, None, None)
    assert dry.client_id.startswith("mine-dry-run-")
    assert dry.client_id != dryrun.harmless(config, tmp_path).client_id
    assert dry.profile("mtec") is config.profile("mtec")


def test_a_token_is_lent_without_what_would_renew_it(write: Write, tmp_path: Path) -> None:
    config = load(write(HOME))
    kept = tmp_path / "vicare-heating.json"
    kept.write_text(json.dumps({"access_token": "a", "refresh_token": "r", "expires_at": 1.0}))
    (tmp_path / "dry").mkdir()
    dry = dryrun.harmless(config, tmp_path / "dry")
    lent = dry.devices["heating"].token_kept("heating", dry.store.path)  # type: ignore[union-attr]  # it is a VicareDevice
    assert lent.parent == tmp_path / "dry"
    assert json.loads(lent.read_text()) == {"access_token": "a", "refresh_token": "", "expires_at": 1.0}
    assert stat.S_IMODE(lent.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["refresh_token"] == "r"


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", "null"])
def test_a_token_that_is_none_does_not_keep_the_other_devices_from_being_shown(write: Write, tmp_path: Path, content: str) -> None:
    config = load(write(HOME))
    (tmp_path / "vicare-heating.json").write_text(content)
    (tmp_path / "dry").mkdir()
    dryrun.harmless(config, tmp_path / "dry")
    assert list((tmp_path / "dry").iterdir()) == []


def test_what_sources_keep_is_borrowed_also_from_a_store_in_use(tmp_path: Path) -> None:
    path = tmp_path / "home.db"
    assert dryrun.kept_by_sources(path) == []
    store = SqliteStore(path)
    store.write_meta("source/vicare/heating/requests", "17")
    store.write_meta("command-counter/cellar", "4")
    borrowed = [("source/vicare/heating/requests", "17")]
    assert dryrun.kept_by_sources(path) == borrowed, "while a gateway runs"
    store.close()
    before = sorted(tmp_path.iterdir())
    assert dryrun.kept_by_sources(path) == borrowed
    assert sorted(tmp_path.iterdir()) == before
    path.write_bytes(b"no database at all, but long enough to look like one" * 100)
    assert dryrun.kept_by_sources(path) == []
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(path).execute("SELECT * FROM meta")


def test_each_snapshot_is_a_line_with_its_first_values(write: Write) -> None:
    config = load(write("devices: {mtec: {profile: mtec-energybutler, via: tcp://a}}"))
    out = io.StringIO()
    show = dryrun.Show(roster_of(config), config, out)
    points = [point for point in config.profile("mtec").points.values() if not point.is_text][:15]
    assert points[0].unit
    show(Snapshot("mtec", "10s", 1_781_953_509.0, Quality.GOOD, {"equipment.raw": "30 07", **{point.id: 1.0 for point in points}}))
    show(Snapshot("mtec", "1h", 1_781_953_510.0, Quality.PARTIAL, {"serial_no": "MTEC1"}))
    show(Snapshot("mtec", "1h", 1_781_953_511.0, Quality.PARTIAL, {}))
    show(Snapshot("garage", "live", 1_781_953_512.0, Quality.GOOD, {"power": 5}))
    first, second, third, unknown = out.getvalue().splitlines()
    assert first.startswith(f"13:05:09 mtec 10s: {points[0].id} 1 {points[0].unit}, ")
    assert first.endswith(", and 3 more")
    assert "raw" not in first
    assert second == "13:05:10 mtec 1h (in part): serial_no MTEC1"
    assert third == "13:05:11 mtec 1h (in part): nothing"
    assert unknown == "13:05:12 garage live: power 5"
