"""UDP in and out, against the recorded cases of the LoxoneSmartHome service."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ohmstead.publish.loxone_udp import NoDatagramError, datagram
from ohmstead.sources.loxone_udp import MalformedError, parse

PRAGUE = ZoneInfo("Europe/Prague")


@pytest.fixture(scope="module")
def loxone(goldens: Path) -> Path:
    return goldens / "loxone"


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        reading = parse(text.encode(), PRAGUE)
    except MalformedError:
        return None
    return {
        "measurement": reading.kind,
        "fields": {reading.name: reading.value},
        "tags": {"room": reading.room, "tag1": reading.tag1, "tag2": reading.tag2},
        "utc": datetime.fromtimestamp(reading.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def test_every_recorded_datagram_is_read_as_upstream_reads_it(loxone: Path) -> None:
    cases = json.loads((loxone / "udp_samples.json").read_text())["cases"]
    of_upstream = {case["in"]: case["out"] for case in cases if case["from"] == "upstream test"}

    assert len(of_upstream) >= 5
    assert {text: _parsed(text) for text in of_upstream} == of_upstream


def test_an_hour_that_is_there_twice_or_never_is_standard_time(loxone: Path) -> None:
    cases = json.loads((loxone / "udp_samples.json").read_text())["cases"]
    doubtful = {case["in"]: case["out"]["note"] for case in cases if case["from"] == "derived" and "local time" in case["out"]["note"]}

    assert len(doubtful) == 2
    for text, note in doubtful.items():
        parsed = _parsed(text)
        assert parsed is not None
        assert f" = {parsed['utc'][11:16]}Z" in note


def test_deviation_a_value_that_is_no_number_is_refused_where_upstream_writes_it(loxone: Path) -> None:
    cases = json.loads((loxone / "udp_samples.json").read_text())["cases"]
    wanted = [case["in"] for case in cases if case["out"] and "should be rejected" in case["out"].get("note", "")]

    assert wanted
    assert [_parsed(text) for text in wanted] == [None] * len(wanted)


def test_every_recorded_message_goes_out_as_upstream_sends_it(loxone: Path) -> None:
    cases = json.loads((loxone / "mqtt_bridge_samples.json").read_text())["cases"]

    def sent(case: dict[str, Any]) -> str | None:
        payload = case["payload_raw"] if "payload_raw" in case else json.dumps(case["payload"])
        try:
            return datagram(case["topic"], payload.encode()).decode()
        except NoDatagramError:
            return None

    assert len(cases) >= 5
    assert [sent(case) for case in cases] == [case["udp"] for case in cases]
