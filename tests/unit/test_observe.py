"""Logs that keep secrets, and what is said of devices that answer, are silent or away."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import structlog

from ohmstead.observe import logs
from ohmstead.observe.latest import Latest, LatestValue
from ohmstead.observe.live import flow
from ohmstead.profiles import library
from ohmstead.readings import Quality, Snapshot

PRAGUE = ZoneInfo("Europe/Prague")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where the log goes; everything is as before after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_json_line_has_the_home_s_time_a_level_and_a_service(out: io.StringIO) -> None:
    logs.configure("json", "info", PRAGUE, out=out)
    structlog.get_logger(service="ingest").info("taken", frames=3)
    structlog.get_logger().info("without a service")
    structlog.get_logger().debug("not wanted")
    first, second = lines(out)
    assert (first["event"], first["frames"], first["level"], first["service"]) == ("taken", 3, "info", "ingest")
    assert datetime.fromisoformat(first["timestamp"]).utcoffset() == datetime.now(PRAGUE).utcoffset()
    assert second["service"] == "app"


def test_for_people_the_same_is_on_one_line(out: io.StringIO) -> None:
    logs.configure("console", "info", PRAGUE, out=out)
    structlog.get_logger(service="mqtt").warning("connection lost", broker="nas:1883")
    (line,) = out.getvalue().splitlines()
    assert "connection lost" in line
    assert "broker=nas:1883" in line
    assert "service=mqtt" in line
    assert "\x1b" not in line, "no colours into a file"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_gets_into_a_line_wherever_it_turns_up(out: io.StringIO, form: str) -> None:
    logs.configure(form, "debug", PRAGUE, ["4711081508", bytes(range(32)), None, "x"], out=out)
    log = structlog.get_logger()
    log.info("connecting as 4711081508", password="anything", wifi_password=12, url="mqtt://me:4711081508@nas")
    log.info("exotic", detail={"a": ["4711081508"]}, blob=bytes(range(32)), hexed=bytes(range(32)).hex(), error=ValueError("4711081508"))
    try:
        raise ValueError("4711081508 was wrong")
    except ValueError:
        log.exception("failed")
    logging.getLogger("uvicorn.error").warning("said %s", "4711081508")
    text = out.getvalue()
    assert "4711081508" not in text
    assert "anything" not in text
    assert bytes(range(32)).hex() not in text
    assert "x" in text, "one letter is no secret"


def test_other_libraries_speak_in_our_form_and_pymodbus_does_not_speak(out: io.StringIO) -> None:
    logs.configure("json", "info", PRAGUE, out=out)
    logging.getLogger("asyncio").error("something never awaited")
    logging.getLogger("pymodbus.logging").critical("No response received after 0 retries")
    (line,) = lines(out)
    assert (line["service"], line["level"]) == ("app", "error")


def snapshot(time: float, group: str = "10s", **values: float | str) -> Snapshot:
    return Snapshot("mtec", group, time, Quality.GOOD, values)


def test_the_newest_value_of_each_point_is_kept_with_its_own_time() -> None:
    now = 110.0
    latest = Latest(["mtec"], lambda: now)
    assert latest.age("mtec") is None
    latest.take(snapshot(10.0, a=1, b=2))
    now = 111.0
    latest.take(snapshot(11.0, a=3, b=4))
    now = 112.0
    latest.take(snapshot(12.0, "1h", c="x"))
    latest.take(snapshot(5.0, a=99, b=99)._replace(age=7.0))  # from a spool
    latest.take(snapshot(12.0)._replace(device="nobody"))
    assert latest.values("mtec") == {"a": LatestValue(3, 11.0), "b": LatestValue(4, 11.0), "c": LatestValue("x", 12.0)}
    now = 115.0
    assert latest.age("mtec") == 3.0
    assert latest.snapshots == {"mtec": 4}


def test_a_clock_that_was_set_back_keeps_no_newer_value_away() -> None:
    now = 100.0
    latest = Latest(["mtec"], lambda: now)
    latest.take(snapshot(2e9, a=1))
    now = 101.0
    latest.take(snapshot(1e9, a=2))
    assert latest.values("mtec") == {"a": LatestValue(2, 1e9)}
    now = 161.0
    assert latest.age("mtec") == 60.0, "a device that has gone silent is told by it"


async def test_whoever_waits_for_news_gets_it_at_once_or_the_time_out() -> None:
    latest = Latest(["mtec"])
    waiting = asyncio.create_task(latest.changed(30.0))
    await asyncio.sleep(0)
    latest.take(snapshot(1.0, a=1))
    await asyncio.wait_for(waiting, 1.0)
    await asyncio.wait_for(latest.changed(0.01), 1.0)


def test_the_flow_is_what_the_profile_says_and_what_is_unknown_stays_unknown() -> None:
    parts = library.load("mtec-energybutler").flow
    assert parts is not None
    read = {"pv": 3000, "battery": -1000, "grid_power": 500, "consumption": 1500.0, "battery_soc": 61.0}
    values = {point: LatestValue(value, 0.0) for point, value in read.items()}
    assert flow(parts.formulas(), values) == {"pv": 3000, "battery": -1000, "grid": -500, "house": 1500.0, "soc": 61.0}
    del values["battery"]
    absent = flow(parts.formulas(), values)
    assert absent is not None
    assert (absent["battery"], absent["pv"]) == (None, 3000)
    assert flow(None, values) is None
