"""The node's configuration file: what is in it, that it is always the same, and that damage is noticed."""

from __future__ import annotations

import hashlib
import importlib
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from ohmcore.frames import pack_event
from ohmcore.pack import Packer
from ohmstead.config import Config, load
from ohmstead.errors import ConfigurationError
from ohmstead.nodes.compile import FRAME_BYTES, MAX_BYTES, NodeConfigError, config_hash, node_config, read_node_config
from tests.conftest import REPOSITORY
from tests.unit import node_modules

HOME = """
    site: chalet
    mqtt: {url: mqtts://nas, user: ohmstead, password: 0123}
    nodes:
      cellar:
        bus: {pins: {tx: 17, rx: 16, de: 4}}
        key: "%s"
        wifi: {ssid: At home, password: secret}
        mqtt: {url: "mqtt://192.0.2.2:1884", user: cellar, password: 007}
      attic: {bus: {port: /dev/ttyUSB0, parity: even, stop: 2, baud: 19200}}
    devices:
      mtec: {profile: mtec-energybutler, via: cellar, limits: {grid_inject_limit: 10..50 %%}, every: {now-base: 5 s}}
      watched: {profile: mtec-energybutler, via: attic, unit: 7, read_only: true, line: {gap: 1 ms, timeout: 2 s, retries: 3}}
      direct: {profile: mtec-energybutler, via: tcp://192.0.2.10}
""" % ("00ff" * 16)


@pytest.fixture
def home(tmp_path: Path) -> Config:
    path = tmp_path / "ohmstead.yaml"
    path.write_text(textwrap.dedent(HOME), encoding="utf-8")
    return load(path)


def device(config: Config, node: str) -> dict[str, Any]:
    found: dict[str, Any] = read_node_config(node_config(config, node))["buses"][0]["devices"][0]
    return found


def test_the_file_is_a_mark_a_checksum_and_a_map(home: Config) -> None:
    file = node_config(home, "cellar")
    assert file[:4] == b"OHM1"
    assert file[4:36] == hashlib.sha256(file[36:]).digest()
    assert msgpack.unpackb(file[36:]) == read_node_config(file)
    assert config_hash(file) == file[4:12]
    assert len(file) < 2048


def test_the_same_home_gives_the_same_bytes(home: Config, tmp_path: Path) -> None:
    assert node_config(home, "cellar") == node_config(load(tmp_path / "ohmstead.yaml"), "cellar")
    assert node_config(home, "cellar") != node_config(home, "attic")


def test_the_node_learns_its_name_its_key_and_its_broker(home: Config) -> None:
    content = read_node_config(node_config(home, "cellar"))
    assert (content["protocol"], content["site"], content["node"]) == (1, "chalet", "cellar")
    assert content["key"] == bytes.fromhex("00ff" * 16)
    assert content["mqtt"] == {"servers": [["192.0.2.2", 1884]], "user": "cellar", "password": "007", "keepalive": 30, "tls": False}
    assert content["wifi"] == {"ssid": "At home", "password": "secret"}


def test_what_a_node_does_not_have_of_its_own_is_the_gateway_s(home: Config) -> None:
    content = read_node_config(node_config(home, "attic"))
    assert content["mqtt"] == {"servers": [["nas", 8883]], "user": "ohmstead", "password": "0123", "keepalive": 30, "tls": True}
    assert content["key"] is None
    assert content["wifi"] is None


def test_the_bus_has_the_speed_and_format_of_its_devices(home: Config) -> None:
    cellar, attic = (read_node_config(node_config(home, node))["buses"] for node in ("cellar", "attic"))
    assert [{key: value for key, value in bus.items() if key != "devices"} for bus in (*cellar, *attic)] == [
        {"name": "rs485-1", "port": 1, "pins": {"tx": 17, "rx": 16, "de": 4}, "baud": 9600, "parity": "N", "stop": 1},
        {"name": "rs485-1", "port": "/dev/ttyUSB0", "pins": None, "baud": 19200, "parity": "E", "stop": 2},
    ]


def test_only_the_devices_of_the_node_are_in_its_file(home: Config) -> None:
    assert [one["name"] for one in read_node_config(node_config(home, "cellar"))["buses"][0]["devices"]] == ["mtec"]


def test_polls_are_planned_with_periods_in_ms(home: Config) -> None:
    groups = device(home, "cellar")["groups"]
    assert [(group["name"], group["period_ms"], group["priority"]) for group in groups] == [
        ("5s", 5000, 0),
        ("10s", 10000, 1),
        ("30s", 30000, 2),
        ("5min", 300_000, 3),
        ("1h", 3_600_000, 4),
    ]
    assert all(len(read) == 3 and read[0] == 3 and 1 <= read[2] <= 100 for group in groups for read in group["reads"])


def test_times_of_the_line_are_in_ms_and_no_pause_is_shorter_than_the_silence(home: Config) -> None:
    times = ("unit", "timeout_ms", "retries", "turnaround_ms")
    assert [device(home, "cellar")[key] for key in times] == [252, 1000, 1, 4]
    assert [device(home, "attic")[key] for key in times] == [7, 2000, 3, 3], "3.5 characters of 12 bits at 19200 baud are 2.2 ms"


def test_controls_have_raw_limits_narrowed_by_the_owner(home: Config) -> None:
    controls = {control["name"]: control for control in device(home, "cellar")["controls"]}
    assert len(controls) == 9
    assert controls["grid_inject_limit"] == {
        "name": "grid_inject_limit",
        "blocks": [[6, 25103, 1]],
        "fields": [[0, 1, 0, 100, 500, 1, None]],
        "budget": 50,
        "reversion": b"\x01\xf4",
    }
    assert controls["charge_limit"]["fields"] == [[0, 1, 0, 0, 1000, 1, None]]
    assert (controls["charge_limit"]["safe"], "reversion" in controls["charge_limit"]) == (b"\0\0", False)
    assert controls["mode"]["fields"][0][-1] == [257, 258, 259, 512]
    assert controls["grid_inject_switch"]["fields"][0][-1] == [0, 1]
    assert not any(control.get("lease") for control in controls.values()), "settings may stay"


@pytest.mark.parametrize(("flash", "seconds"), [(262_144, 9), (0, 80)])
def test_the_spool_has_room_until_the_flash_takes_over_or_for_a_minute_and_a_half(home: Config, flash: int, seconds: int) -> None:
    node = home.nodes["cellar"].model_copy(update={"flash_spool": flash})
    home = home.model_copy(update={"nodes": {**home.nodes, "cellar": node}})
    spool = read_node_config(node_config(home, "cellar"))["spool"]
    groups = device(home, "cellar")["groups"]
    frames = sum(1000 * seconds // group["period_ms"] + 1 for group in groups)
    registers = sum((1000 * seconds // group["period_ms"] + 1) * sum(read[2] for read in group["reads"]) for group in groups)
    assert frames <= spool["frames"] - 16 <= 200
    assert 2 * registers <= spool["bytes"] * 3 // 4 <= 16384, "the node keeps a quarter for events"


def test_a_read_only_device_has_no_controls(home: Config) -> None:
    assert device(home, "attic")["controls"] == []


def test_a_vital_is_found_where_its_group_reads_it(home: Config) -> None:
    mtec = device(home, "cellar")
    vitals = {vital["point"]: vital for vital in mtec["vitals"]}
    assert set(vitals) == {point.id for point in home.profile("mtec").points.values() if point.vital}
    for id_, vital in vitals.items():
        point = home.profile("mtec").points[id_]
        reads = next(group["reads"] for group in mtec["groups"] if group["name"] == vital["group"])
        function, address, count = reads[vital["read"]]
        assert (function, address + vital["offset"]) == (point.function, point.address)
        assert vital["offset"] + vital["words"] <= count
    soc = vitals["battery_soc"]
    assert (soc["kind"], soc["words"], soc["order"], soc["divisor"], soc["decimals"]) == ("u16", 1, "big", 100, 1)


@pytest.mark.parametrize("position", [0, 4, 20, 36, 400, -1])
def test_a_damaged_file_is_refused(home: Config, position: int) -> None:
    file = bytearray(node_config(home, "cellar"))
    file[position] ^= 1
    with pytest.raises(NodeConfigError):
        read_node_config(bytes(file))


@pytest.mark.parametrize("length", [0, 3, 35, 36, 500])
def test_half_a_file_is_refused(home: Config, length: int) -> None:
    with pytest.raises(NodeConfigError):
        read_node_config(node_config(home, "cellar")[:length])


@pytest.mark.parametrize("body", [msgpack.packb([1]), msgpack.packb({"protocol": 2}), b"\xc1"])
def test_a_file_of_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(NodeConfigError):
        read_node_config(b"OHM1" + hashlib.sha256(body).digest() + body)


def test_more_than_a_node_can_hold_is_refused(tmp_path: Path) -> None:
    devices = "\n".join(f"  d{unit}: {{profile: mtec-energybutler, via: cellar, unit: {unit}}}" for unit in range(1, 10))
    path = tmp_path / "ohmstead.yaml"
    path.write_text(f"nodes: {{cellar: {{bus: {{port: /dev/a}}, key: {'00ff' * 16}}}}}\ndevices:\n{devices}\n", encoding="utf-8")
    config = load(path)
    with pytest.raises(ConfigurationError, match=rf"nodes.cellar — its configuration is larger than a node takes \({MAX_BYTES} bytes"):
        node_config(config, "cellar")


MANY = tuple("m" * 30 + str(number) for number in range(4))


@pytest.mark.parametrize(
    ("names", "fits"),
    [(("m1", "m2"), True), (("energybutler_house", "energybutler_garage"), True), (MANY, False)],
)
def test_a_node_gets_no_more_controls_than_it_can_keep_the_state_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], fits: bool
) -> None:
    """What the node's own `keep.save` packs, in the buffer that it packs it in, when everything is under lease and has been written."""
    devices = "\n".join(f"  {name}: {{profile: mtec-energybutler, via: cellar, unit: {unit}}}" for unit, name in enumerate(names, 1))
    path = tmp_path / "ohmstead.yaml"
    path.write_text(f"nodes: {{cellar: {{bus: {{port: /dev/a}}, key: {'00ff' * 16}}}}}\ndevices:\n{devices}\n", encoding="utf-8")
    config = load(path)
    if not fits:
        with pytest.raises(ConfigurationError, match=r"nodes.cellar — the state of its controls, .* shorter names"):
            node_config(config, "cellar")
        monkeypatch.setattr("ohmstead.nodes.compile._state_bytes", lambda *_: 0)
    assert kept(read_node_config(node_config(config, "cellar"))) is fits


def kept(content: dict[str, Any]) -> bool:
    keep, writes = importlib.import_module("ohmnode.keep"), importlib.import_module("ohmnode.writes")
    controls = []
    for device in content["buses"][0]["devices"]:
        for said in device["controls"]:
            control = writes.Control(SimpleNamespace(name=device["name"]), said)
            control.kept = 1
            control.spend(1)
            controls.append(control)
    hal = node_modules.FakeHal()
    box = node_modules.outbox.Outbox(hal, node_modules.spool.Spool(40, 4096), content["frame"])
    return bool(keep.save(hal, box, max((rule["name"] for rule in content["limits"]), key=len), controls))


def test_a_node_without_devices_has_a_bus_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.yaml"
    path.write_text("nodes: {cellar: {bus: {port: /dev/a, baud: 4800}}}\n", encoding="utf-8")
    bus = read_node_config(node_config(load(path), "cellar"))["buses"][0]
    assert (bus["baud"], bus["parity"], bus["stop"], bus["devices"]) == (4800, "N", 1, [])


def test_an_unknown_node_has_no_file(home: Config) -> None:
    with pytest.raises(KeyError):
        node_config(home, "nowhere")


def test_the_longest_event_fits_the_smallest_buffers() -> None:
    """A node's report: every reason there is to refuse something, every number as large as it gets."""
    folder = REPOSITORY / "firmware/ohmnode"
    reasons = {
        reason for name in ("mailbox", "session") for reason in re.findall(r'\.refuse\("([^"]+)"\)', (folder / f"{name}.py").read_text())
    }
    report = re.search(r"link = \{(.*?)\n        \}", (folder / "node.py").read_text(), re.DOTALL)
    assert report is not None
    names = re.findall(r'^            "(\w+)":', report[1], re.MULTILINE)
    assert len(reasons) > 8
    assert len(names) > 15
    most = 2**32 - 1
    detail: dict[str, Any] = dict.fromkeys(names, most)
    detail |= {"refused": dict.fromkeys(reasons, most), "flash": [most] * 5, "reset_cause": "x" * 40, "latched": "x" * 60}
    packer = Packer(bytearray(FRAME_BYTES))
    pack_event(packer, most >> 1, most, 2**40, "", "link", detail)
    assert packer.length <= FRAME_BYTES
