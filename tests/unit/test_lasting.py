"""What sources keep over restarts while the store is full or broken."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from ohmstead.clock import Clock
from ohmstead.config import load
from ohmstead.errors import SourceError
from ohmstead.messages import Messenger
from ohmstead.nodeless import Surroundings, source_of
from ohmstead.profiles.decode import Decoder
from ohmstead.sources.lasting import LastingMemory, Remembered
from ohmstead.sources.polling import PolledSource
from tests.publishing import Recorder
from tests.unit.homes import writer
from tests.unit.vicare_account import Kept


def test_what_cannot_be_written_is_known_until_the_end_and_told_once() -> None:
    disk = Kept()
    memory = LastingMemory(disk, "house")
    memory.write("a", "1")
    disk.full = True
    with structlog.testing.capture_logs() as logs:
        for number in ("2", "3"):
            memory.write("a", number)
            memory.write("b", number)
        assert (memory.read("a"), memory.read("b"), disk.values) == ("3", "3", {"a": "1"})
        disk.full = False
        memory.write("a", "4")
        memory.write("b", "4")
    assert [line["log_level"] for line in logs] == ["warning", "info"]
    assert disk.values == {"a": "4", "b": "4"}
    disk.values["a"] = "of somebody else"
    assert memory.read("a") == "of somebody else"


def test_what_cannot_be_read_is_not_nothing() -> None:
    disk = Kept()
    disk.broken = True
    with pytest.raises(SourceError, match="what is kept of house cannot be read: disk I/O error"):
        LastingMemory(disk, "house").read("a")


def test_what_cannot_be_read_at_the_start_is_told_once_and_taken_up_later() -> None:
    disk = Kept()
    disk.values["model"] = "3EM"
    disk.broken = True
    remembered = Remembered(LastingMemory(disk, "house"), "model", "house")
    with structlog.testing.capture_logs() as logs:
        assert [remembered.recall(), remembered.recall(), remembered.known] == [None, None, False]
        disk.broken = False
        assert [remembered.recall(), remembered.recall(), remembered.known] == ["3EM", None, True]
    assert [(line["log_level"], line["device"]) for line in logs] == [("error", "house"), ("info", "house")]
    assert "disk I/O error" in logs[0]["reason"]
    assert logs[0]["advice"]


def test_each_source_that_keeps_something_has_one(tmp_path: Path) -> None:
    config = load(
        writer(tmp_path)("""
        mqtt: {url: mqtt://127.0.0.1:1}
        devices:
          heating: {source: vicare, client_id: abc}
          house: {source: shelly, host: 192.0.2.7}
          roof: {profile: sunspec, via: tcp://192.0.2.8}
    """)
    )
    messenger: Messenger = Recorder()
    around = Surroundings(config, messenger, lambda _: None, lambda _: None, Kept(), Clock())
    for device in config.devices:
        source = source_of(device, Decoder(config.profile(device), config.zone), around)
        assert isinstance(source, PolledSource)
        assert isinstance(getattr(source.reader, "_memory", None), LastingMemory), device
