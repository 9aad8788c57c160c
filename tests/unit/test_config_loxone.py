"""The section `loxone` of ohmstead.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from ohmstead.config import load
from tests.unit.homes import Write, mistakes, writer
from tests.unit.test_config_schema import schema_complaints

DEVICES = "\ndevices: {mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}}\n"
WHOLE = """\
loxone:
  heartbeat: 15 s
  udp_in: {host: 127.0.0.1, port: 2001, senders: [192.0.2.20, "::1"]}
  udp_out: {host: miniserver, topics: [energy/solar, loxone/+/status/json, "teplomer/#"]}
devices:
  mtec: {profile: mtec-energybutler, via: tcp://192.0.2.10}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_without_the_section_no_miniserver_may_say_anything(write: Write) -> None:
    assert load(write(DEVICES)).loxone is None


def test_an_empty_section_is_enough(write: Write) -> None:
    section = load(write("loxone: {}" + DEVICES)).loxone
    assert section is not None
    assert (section.heartbeat, section.udp_in, section.udp_out) == (10.0, None, None)


def test_all_of_it(write: Write) -> None:
    section = load(write(WHOLE)).loxone
    assert section is not None
    assert section.udp_in is not None
    assert section.udp_out is not None
    assert (section.heartbeat, section.udp_in.host, section.udp_in.port) == (15.0, "127.0.0.1", 2001)
    assert section.udp_in.senders == ["192.0.2.20", "::1"]
    assert (section.udp_out.host, section.udp_out.port) == ("miniserver", 4000)
    assert section.udp_out.topics == ["energy/solar", "loxone/+/status/json", "teplomer/#"]
    assert schema_complaints(WHOLE) == []


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("heartbeat: 10", "loxone.heartbeat: 10 — say the unit, e.g. 60 s"),
        ("heartbeat: 100 ms", "loxone.heartbeat: 100 ms — at least 1 s"),
        ("udp_in: {port: 0}", "loxone.udp_in.port"),
        ("udp_in: {senders: [miniserver]}", "no IP address; write it like 192.0.2.20"),
        ("udp_out: {host: a}", "loxone.udp_out.topics — is missing"),
        ("udp_out: {topics: [a]}", "loxone.udp_out.host — is missing"),
        ("udp_out: {host: a, topics: []}", "loxone.udp_out.topics"),
        ("udp_out: {host: a, topics: ['a/#/b']}", "no topic; write it like energy/solar or loxone/+/status/json"),
        ("udp_out: {host: a, topics: ['a//b']}", "no topic"),
        ("topic: x", "loxone.topic"),
    ],
)
def test_mistakes_are_told_with_what_to_do(write: Write, section: str, told: str) -> None:
    assert told in "\n".join(mistakes(write(f"loxone: {{{section}}}{DEVICES}")))
