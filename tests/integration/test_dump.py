"""`ohmstead dump`: what the device says and what is known of it in one file, without secrets."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ohmstead import dump as dumping
from ohmstead.cli import main
from ohmstead.config import load
from ohmstead.errors import Unreachable
from ohmstead.profiles import library
from ohmstead.readings import Quality, Snapshot
from ohmstead.sources.polling import Member, PolledSource
from ohmstead.store.protocol import Batch, Frame, NodeEvent, StoredEvent
from ohmstead.store.sqlite import SqliteStore
from tests.conftest import free_port
from tests.hoymiles_rig import roof
from tests.processes import SERIAL, Inverter

SECRETS = ("the-broker's-secret", "ff" * 32, "4711081508")


@pytest.fixture
def inverter(goldens: Path) -> Iterator[Inverter]:
    with Inverter(goldens) as simulated:
        yield simulated


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    import logging

    import structlog

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def written(folder: Path, modbus: int) -> Path:
    file = folder / "ohmstead.yaml"
    file.write_text(
        f"""
mqtt: {{url: "mqtt://127.0.0.1:{free_port()}", user: somebody, password: "{SECRETS[0]}"}}
web: {{token: "{SECRETS[2]}"}}
log: {{file: ohmstead.log}}
nodes:
  cellar: {{bus: {{port: /dev/ttyUSB0}}, key: "{SECRETS[1]}"}}
devices:
  mtec: {{profile: mtec-energybutler, via: "tcp://127.0.0.1:{modbus}", line: {{timeout: 500 ms}}}}
  growatt: {{profile: growatt-sph, via: cellar, rated: 5 kW}}
"""
    )
    return file


def dumped(file: Path, device: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["dump", device, "-c", str(file), *options])


def document(file: Path, device: str, *options: str) -> dict[str, Any]:
    result = dumped(file, device, *options)
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def test_an_inverter_is_asked_once_and_its_registers_are_there_as_they_came(tmp_path: Path, inverter: Inverter) -> None:
    said = document(written(tmp_path, inverter.port), "mtec")
    ranges = [told for group in said["raw"].values() for told in group]
    (first,) = [told for told in ranges if told["address"] <= 10000 < told["address"] + told["count"]]
    words = first["registers"].split()
    assert len(words) == first["count"]
    assert words[10000 - first["address"]] == f"{ord(SERIAL[0]):02x}{ord(SERIAL[1]):02x}"
    assert SERIAL in first["values"].values()
    assert inverter.image.writes == []
    assert said["versions"]["ohmstead"]
    assert said["polled"]["profile"] == "mtec-energybutler"
    assert not (tmp_path / "ohmstead.db").exists()


def test_no_secret_is_in_it_wherever_it_was(tmp_path: Path, inverter: Inverter) -> None:
    file = written(tmp_path, inverter.port)
    (tmp_path / "ohmstead.log").write_text("".join(f"connected with {secret} as somebody\n" for secret in SECRETS))
    store = SqliteStore(tmp_path / "ohmstead.db")
    store.append_event(StoredEvent(1.8e9, "", "mtec", "alert", {"text": SECRETS[0], "token": "of somebody else"}))
    store.close()
    text = dumped(file, "mtec").stdout
    for secret in (*SECRETS, "somebody", "of somebody else"):
        assert secret not in text
    assert "connected with •••" in text
    assert json.loads(text)["stored"]["events"][0][3] == "alert"


def test_what_is_behind_a_node_is_not_asked_but_its_last_messages_are_there(tmp_path: Path) -> None:
    file = written(tmp_path, free_port())
    with_values = Frame("cellar", 7, 1, 1_800_000_000_000, 1_800_000_000_000, "growatt", {"soc": 55}, b"\x01\x02")
    event = with_values._replace(seq=2, values={}, body=b"\x03", event=NodeEvent("bus", {"ok": 3}))
    store = SqliteStore(tmp_path / "ohmstead.db", units={"growatt": {"soc": "%"}})
    store.commit(Batch([with_values, event], [Snapshot("mtec", "10s", 1.8e9, Quality.GOOD, {"pv": 1})]))
    store.close()
    said = document(file, "growatt")
    assert said["raw"] is None
    assert [row[:3] + row[4:] for row in said["stored"]["values"]] == [["growatt", "soc", "%", 55]]
    assert sorted(message[3] for message in said["stored"]["messages"]) == ["0102", "03"]
    assert said["stored"]["events"][0][3] == "bus"


def test_a_device_that_is_away_is_said_to_be_and_the_rest_is_there(tmp_path: Path) -> None:
    said = document(written(tmp_path, free_port()), "mtec")
    assert "no connection to 127.0.0.1" in said["raw"]["error"]
    assert said["stored"] == {"error": "there is no store yet"}
    assert said["configuration"]["devices"]["mtec"]["profile"] == "mtec-energybutler"


def test_beside_a_running_gateway_the_device_can_be_left_alone(tmp_path: Path, inverter: Inverter) -> None:
    said = document(written(tmp_path, inverter.port), "mtec", "--stored")
    assert said["raw"] is None


def test_a_file_is_for_its_owner_and_not_overwritten_without_being_asked(tmp_path: Path) -> None:
    file, output = written(tmp_path, free_port()), tmp_path / "mtec.json"
    assert dumped(file, "mtec", "--stored", "-o", str(output)).exit_code == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    before = output.read_bytes()
    refused = dumped(file, "mtec", "--stored", "-o", str(output))
    assert (refused.exit_code, output.read_bytes()) == (2, before)
    assert "--force" in refused.output
    assert dumped(file, "mtec", "--stored", "-o", str(output), "--force").exit_code == 0
    unknown = dumped(file, "nobody")
    assert unknown.exit_code == 2
    assert "it has mtec, growatt" in unknown.output


class Reads:
    """A reader that found something behind its device; with `error` one that finds nobody."""

    def __init__(self, members: list[Member], error: Exception | None = None) -> None:
        self.closed = False
        self._members = members
        self._error = error

    async def read(self) -> Sequence[Snapshot]:
        if self._error is not None:
            raise self._error
        self._members.append(Member("roof-1", "Inverter", library.load("mtec-energybutler"), 60.0, "114182a0b1c2"))
        return [Snapshot("roof-1", "live", 1.0, Quality.GOOD, {"power": 5})]

    async def close(self) -> None:
        self.closed = True


class Dumps(Reads):
    async def dump(self) -> object:
        return {"0x1000": "0c11"}


@pytest.mark.parametrize(("kind", "said"), [(Reads, {"snapshots": [("roof-1", {"power": 5})]}), (Dumps, {"answers": {"0x1000": "0c11"}})])
async def test_a_reader_says_what_came_or_else_what_it_was_taken_for(kind: type[Reads], said: dict[str, Any]) -> None:
    members: list[Member] = []
    reader = kind(members)
    found = await dumping._read(PolledSource("roof", reader, lambda _: None, period_s=60.0, timeout_s=5.0), [], members)
    if "snapshots" in found:
        found["snapshots"] = [(one["device"], one["values"]) for one in found["snapshots"]]
    behind = [] if kind is Dumps else [{"device": "roof-1", "name": "Inverter", "serial": "114182a0b1c2"}]
    assert found == {**said, "behind": behind}
    assert reader.closed


async def test_a_reader_that_finds_nobody_is_closed_too() -> None:
    reader = Reads([], Unreachable("nobody at 192.0.2.9"))
    with pytest.raises(Unreachable):
        await dumping._read(PolledSource("roof", reader, lambda _: None, period_s=60.0, timeout_s=5.0), [], [])
    assert reader.closed


async def test_a_dtu_says_its_records_as_they_came() -> None:
    async with roof() as (dtu, house):
        said = await house.reader.dump()
        assert isinstance(said, dict)
        assert list(said) == ["0x2000", *(f"{0x1000 + 40 * index:#06x}" for index in range(10))]
        assert said["0x2000"] == "10f8 a1b2 c3d4"
        assert {len(octets.split()) for address, octets in said.items() if address != "0x2000"} == {20}
        dtu.mood.refuse_at = {3: 4}
        said = await house.reader.dump()
        assert isinstance(said, dict)
        assert list(said)[-2:] == ["0x1050", "ended by"]


class Breaks(Reads):
    async def read(self) -> Sequence[Snapshot]:
        raise KeyError("what nobody foresaw: geheim12")


async def test_a_reader_that_fails_in_a_way_that_nobody_foresaw_is_told_and_the_rest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PolledSource("mtec", Breaks([]), lambda _: None, period_s=60.0, timeout_s=5.0)
    monkeypatch.setattr(dumping, "source_of", lambda *_: source)
    found = await dumping._raw(load(written(tmp_path, free_port())), "mtec", 0.0)
    assert "KeyError: 'what nobody foresaw" in found["error"]


def test_half_a_character_in_what_a_device_says_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def raw(*_args: object) -> object:
        return {"name": "a\ud83d"}

    monkeypatch.setattr(dumping, "_raw", raw)
    file, output = written(tmp_path, free_port()), tmp_path / "mtec.json"
    assert dumped(file, "mtec", "-o", str(output)).exit_code == 0
    assert json.loads(output.read_text(encoding="utf-8"))["raw"] == {"name": "a\ud83d"}
    assert document(file, "mtec")["raw"] == {"name": "a\ud83d"}
