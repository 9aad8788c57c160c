"""The node's configuration file, its last-good copy, and the plain numbers it publishes."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack  # type: ignore[import-untyped] # it comes without types
import pytest

from tests.unit.node_modules import FakeHal, configuration, outbox, proof, schedule, spool, vitals

CONTENT: dict[str, Any] = {
    "protocol": 1,
    "site": "home",
    "node": "cellar",
    "mqtt": {},
    "buses": [],
    "spool": {"frames": 200, "bytes": 16384},
    "bus_report_ms": 60000,
}


def file(**changes: Any) -> bytes:
    body: bytes = msgpack.packb(CONTENT | changes)
    return b"OHM1" + hashlib.sha256(body).digest() + body


def test_the_current_file_is_used() -> None:
    hal = FakeHal()
    hal.files = {"config.ohm": file(), "config.good": file(site="old")}
    content, fingerprint, source, complaint = configuration.load(hal)
    assert (content["site"], source, complaint) == ("home", "config.ohm", "")
    assert fingerprint == file()[4:12]


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        b"",
        file()[:-1],
        file()[:50] + b"\x00" + file()[51:],
        file(protocol=2),
        file(buses=None),
        b"OHM1" + bytes(32) + b"x" * 9000,
    ],
)
def test_a_damaged_one_gives_way_to_the_last_good_one(damaged: bytes | None) -> None:
    hal = FakeHal()
    hal.files = {"config.good": file(site="old")} | ({} if damaged is None else {"config.ohm": damaged})
    content, _, source, complaint = configuration.load(hal)
    assert (content["site"], source) == ("old", "config.good")
    assert complaint.startswith("config.ohm ")
    hal.files.pop("config.good")
    with pytest.raises(configuration.ConfigurationError, match=r"config\.ohm .*; config\.good is not there"):
        configuration.load(hal)


def test_what_works_becomes_the_last_good_one_once() -> None:
    hal = FakeHal()
    hal.files["config.ohm"] = file()
    _, fingerprint, _, _ = configuration.load(hal)
    assert proof.keep_as_good(hal, fingerprint)
    assert hal.files["config.good"] == file()
    assert not proof.keep_as_good(hal, fingerprint)
    hal.files["config.ohm"] = file(site="newer")
    assert not proof.keep_as_good(hal, fingerprint), "another file than the one that runs is not known to be good"


class Life:
    """A node's life on this configuration file, out of the slot `a`."""

    def __init__(self, hal: FakeHal, source: str, slot: str = "") -> None:
        self.outbox = outbox.Outbox(hal, spool.Spool(40, 4096, 15))
        self.slot, self.source, self.fingerprint = slot, source, file()[4:12]


@pytest.mark.parametrize(("connected", "restarts", "outcome"), [(True, 0, None), (True, 1, "config.ohm"), (False, 0, "config.ohm")])
def test_a_configuration_on_trial_is_kept_with_a_connection_and_without_a_fault(
    connected: bool, restarts: int, outcome: str | None
) -> None:
    hal = FakeHal()
    hal.files = {"config.next": file(), "config.ohm": file(site="old")}
    life = Life(hal, "config.next")
    watch = proof.Proof(hal, life, life.outbox.uptime_ms())
    hal.now += 59_000
    assert watch.step(connected, restarts) is None
    assert "config.next" in hal.files
    hal.now += 1000
    assert watch.step(connected, restarts) == outcome
    assert (hal.files["config.ohm"] == file()) == (outcome is None)


def test_a_newer_configuration_that_came_meanwhile_is_not_kept_in_the_place_of_the_one_that_runs() -> None:
    hal = FakeHal()
    hal.files = {"config.next": file(), "config.ohm": file(site="old")}
    life = Life(hal, "config.next")
    watch = proof.Proof(hal, life, life.outbox.uptime_ms())
    hal.now += 60_000
    hal.files["config.next"] = file(site="newer")
    assert watch.step(True, 0) is None
    assert hal.files == {"config.next": file(site="newer"), "config.ohm": file(site="old")}
    assert life.source == "config.next"


def test_what_could_not_be_written_is_not_taken_for_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    hal = FakeHal()
    hal.files = {"config.ohm": file(), "boot": b"a safe 1 0"}
    life = Life(hal, "config.ohm", "a")
    watch = proof.Proof(hal, life, life.outbox.uptime_ms())
    hal.now += 60_000
    write, short = hal.write, {"config.good", "boot"}

    def refuse(name: str, content: bytes) -> None:
        if name in short:
            short.remove(name)
            raise MemoryError
        write(name, content)

    monkeypatch.setattr(hal, "write", refuse)
    for _ in range(2):
        with pytest.raises(MemoryError):
            watch.step(True, 0)
        assert not watch.done()
    watch.step(True, 0)
    assert watch.done()
    assert (hal.files["config.good"], hal.files["boot"]) == (file(), b"a safe 0 1")


@pytest.mark.parametrize("boot", [b"b a 3 0", b"a safe 0 0"])
def test_an_image_is_confirmed_only_where_the_file_is_about_it(boot: bytes) -> None:
    """The root starts the previous image also when the flash does not take that it does; an update makes the other one the next."""
    hal = FakeHal()
    hal.files = {"config.ohm": file(), "config.good": file(), "boot": boot}
    life = Life(hal, "config.ohm", "a")
    watch = proof.Proof(hal, life, life.outbox.uptime_ms())
    hal.now += 60_000
    assert watch.step(True, 0) is None
    assert watch.done()
    about = boot.startswith(b"a")
    assert hal.files["boot"] == (b"a safe 0 1" if about else boot)
    assert (life.outbox.spool.events.count > 0) is about, "nor is it told"


@pytest.mark.parametrize(
    ("raw", "divisor", "decimals", "text"),
    [
        (7350, 100, 1, "73.5"),
        (7355, 100, 1, "73.6"),
        (5, 100, 2, "0.05"),
        (-5, 100, 1, "-0.1"),
        (-4, 100, 1, "0.0"),
        (-2506, 1, 0, "-2506"),
        (2**31 + 1, 1, 0, "2147483649"),
        (3.14159, 1, 2, "3.14"),
    ],
)
def test_a_vital_is_a_plain_number(raw: float, divisor: int, decimals: int, text: str) -> None:
    assert vitals.plain(raw, divisor, decimals) == text


def test_a_vital_is_published_when_its_text_changes_and_after_a_reconnection() -> None:
    group = schedule.Group("10s", 10_000, 0, [(3, 100, 1), (3, 200, 2)], 0)
    device = schedule.Device("mtec", 1, 500, 1, 20, [group])
    known = vitals.Vitals()
    known.add(
        "mtec",
        {"point": "power", "group": "10s", "read": 1, "offset": 0, "kind": "i32", "words": 2, "order": "big", "divisor": 1, "decimals": 0},
    )

    def published() -> list[str]:
        return [vital.text for vital in iter(known.take, None)]

    group.image[2:6] = (-1500).to_bytes(4, "big", signed=True)
    known.update(device, group)
    assert published() == [], "its read has not succeeded"
    group.good[1] = 1
    known.update(device, group)
    known.update(device, group)
    assert published() == ["-1500"]
    known.refresh()
    assert published() == ["-1500"]


@pytest.mark.parametrize("nothing", [b"\x7f\xc0\x00\x00", b"\xff\x80\x00\x00", b"\x7f\x80\x00\x00"])
def test_a_vital_that_is_no_number_is_not_published(nothing: bytes) -> None:
    group = schedule.Group("5s", 5_000, 0, [(4, 0x34, 2)], 0)
    device = schedule.Device("meter", 1, 500, 1, 20, [group])
    known = vitals.Vitals()
    known.add(
        "meter",
        {"point": "power", "group": "5s", "read": 0, "offset": 0, "kind": "f32", "words": 2, "order": "big", "divisor": 1, "decimals": 1},
    )
    group.good[0] = 1
    group.image[0:4] = nothing
    known.update(device, group)
    assert known.take() is None
    group.image[0:4] = b"\xc4\xbb\x80\x00"
    known.update(device, group)
    assert [vital.text for vital in iter(known.take, None)] == ["-1500.0"]
