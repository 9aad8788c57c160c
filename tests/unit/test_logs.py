"""The log's file and its levels: what is said where, how old files go, and that no disk trouble ends the console's log."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import pytest
import structlog
from click.testing import CliRunner

import ohmstead
from ohmstead.cli import main
from ohmstead.config import Config, load
from ohmstead.config.log import SERVICES
from ohmstead.observe import logs
from ohmstead.observe.logfile import LogFile
from tests.unit.homes import Write, mistakes, writer

PRAGUE = ZoneInfo("Europe/Prague")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where the console's log goes; everything is as before after the test."""
    loggers = [
        logging.getLogger(name)
        for name in (None, "uvicorn", "httpx", "httpcore", "urllib3", "PyViCare", "luxtronik", "pymodbus", "pymodbus.logging")
    ]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield io.StringIO()
    structlog.reset_defaults()
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def events(text: str) -> list[tuple[str, str]]:
    return [(line["service"], line["event"]) for line in map(json.loads, text.splitlines())]


def test_each_part_speaks_as_loud_as_it_is_to(out: io.StringIO) -> None:
    logs.configure("json", "info", PRAGUE, out=out, levels={"modbus": "debug", "mqtt": "warning"})
    for service in ("modbus", "mqtt", "store"):
        log = structlog.get_logger(service=service)
        for say in (log.debug, log.info, log.warning):
            say(say.__name__)
    heard = ["modbus debug", "modbus info", "modbus warning", "mqtt warning", "store info", "store warning"]
    assert [f"{service} {event}" for service, event in events(out.getvalue())] == heard


def test_pymodbus_speaks_where_modbus_is_to_tell_everything(out: io.StringIO) -> None:
    logs.configure("json", "info", PRAGUE, out=out)
    logging.getLogger("pymodbus.logging").debug("send: 0x1 0x3")
    logs.configure("json", "warning", PRAGUE, out=out, levels={"modbus": "debug"})
    logging.getLogger("pymodbus.logging").debug("recv: 0x1 0x3")
    assert events(out.getvalue()) == [("modbus", "recv: 0x1 0x3")]


def test_addresses_that_a_library_asks_are_not_told(out: io.StringIO) -> None:
    logs.configure("json", "info", PRAGUE, out=out)
    logging.getLogger("httpx").info("HTTP Request: GET https://cloud/?securityToken=4711")
    logging.getLogger("PyViCare.PyViCare").info("Device found: E3_Vitocal_16")
    assert out.getvalue() == ""


def test_the_file_has_what_the_console_has_and_no_secret(out: io.StringIO, tmp_path: Path) -> None:
    file = LogFile(tmp_path / "new folder" / "ohmstead.log", 10_000, 1)
    logs.configure("console", "info", PRAGUE, ["4711081508"], out=out, file=file)
    structlog.get_logger(service="app").info("connecting as 4711081508")
    logging.getLogger("asyncio").warning("\x1b[31mred\x1b[0m and žluťoučký")
    assert file.path.read_text(encoding="utf-8") == out.getvalue().replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert "4711081508" not in out.getvalue()
    assert "red and žluťoučký" in file.path.read_text(encoding="utf-8")


def test_a_file_that_is_full_makes_room_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.log"
    file = LogFile(path, 20, 2)
    for number in range(9):
        file.write(f"line {number}")  # 7 octets with its end: two in a file
    file.close()
    assert [one.read_text() for one in (path, path.with_suffix(".log.1"), path.with_suffix(".log.2"))] == [
        "line 8\n",
        "line 6\nline 7\n",
        "line 4\nline 5\n",
    ]
    assert len(list(tmp_path.iterdir())) == 3
    LogFile(path, 20, 2).write("later")
    assert path.read_text() == "line 8\nlater\n", "what a former run wrote stays"


def test_with_none_to_keep_the_file_begins_anew(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "ohmstead.log", 10, 0)
    for number in range(3):
        file.write(f"line {number}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["line 2\n"]


def test_a_line_that_is_larger_than_the_file_may_be_is_written_whole(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "ohmstead.log", 10, 1)
    file.write("a line of more than ten")
    file.write("next")
    assert (tmp_path / "ohmstead.log.1").read_text() == "a line of more than ten\n"


def test_a_file_that_cannot_be_written_is_told_once_and_written_again_when_it_can(out: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.log"
    path.mkdir()
    logs.configure("json", "info", PRAGUE, out=out, file=LogFile(path, 10_000, 1))
    log = structlog.get_logger()
    log.info("one")
    log.info("two")
    assert [event for _, event in events(out.getvalue())] == ["one", "the log file cannot be written", "two"]
    path.rmdir()
    log.info("three")
    assert [event for _, event in events(path.read_text())] == ["three"]


def test_the_log_section_takes_a_file_its_size_and_levels(write: Write, tmp_path: Path) -> None:
    log = load(write("log: {file: logs/ohmstead.log, size: 2 MB, keep: 3, levels: {modbus: debug}}")).log
    assert (log.file, log.size, log.keep, log.levels) == (tmp_path / "logs" / "ohmstead.log", 2_000_000, 3, {"modbus": "debug"})
    assert load(write("")).log.file is None


def test_mistakes_in_the_log_section_are_told_with_advice(write: Write) -> None:
    told = "\n".join(mistakes(write("log: {size: 5 kB, keep: -1, levels: {modbuss: debug, mqtt: loud}}")))
    for part in ("from 10 kB to 1000 MB", "keep: -1", "did you mean `modbus`?", "mqtt: loud"):
        assert part in told


def test_every_part_that_speaks_has_a_level() -> None:
    """A service that is named in the source and missing in the configuration's list could not be made quiet."""
    named = {
        keyword.value.value
        for path in Path(ohmstead.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "get_logger"
        for keyword in call.keywords
        if keyword.arg == "service" and isinstance(keyword.value, ast.Constant)
    }
    assert named <= set(SERVICES), "add it to ohmstead.config.log.SERVICES"


def test_a_run_writes_its_log_to_the_file_as_well(write: Write, tmp_path: Path, out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    from ohmstead import app

    def speaks(config: Config) -> int:
        structlog.get_logger(service="modbus").debug("asked as 4711081508")
        return 0

    monkeypatch.setattr(app, "run", speaks)
    text = """
        log: {file: ohmstead.log, format: json, levels: {modbus: debug}}
        devices: {house: {source: shelly, host: 192.0.2.12, password: "4711081508"}}
    """
    result = CliRunner().invoke(main, ["run", "-c", str(write(text))])
    assert (result.exit_code, events(result.stdout)) == (0, [("modbus", "asked as •••")])
    assert (tmp_path / "ohmstead.log").read_text(encoding="utf-8") == result.stdout


@pytest.mark.parametrize("with_file", [True, False])
def test_a_console_that_cannot_be_written_stops_nobody_and_is_told_in_the_file(tmp_path: Path, with_file: bool) -> None:
    file = LogFile(tmp_path / "ohmstead.log", 10_000, 1) if with_file else None
    with contextlib.suppress(OSError), open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        logs.configure("json", "info", PRAGUE, out=full, file=file)
        structlog.get_logger().info("one")
        structlog.get_logger().info("two")
    structlog.get_logger().info("three")
    if file is not None:
        said = [event for _, event in events(file.path.read_text())]
        assert [one for one in said if "console" not in one] == ["one", "two", "three"]
        assert "the console cannot be written" in said


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_the_console_does_not_have_are_no_failure(form: str, encoding: str) -> None:
    octets = io.BytesIO()
    out = io.TextIOWrapper(octets, encoding=encoding)
    logs.configure(form, "info", PRAGUE, ["4711081508"], out=out)
    structlog.get_logger().info("žluťoučký \ud800", password="4711081508")
    assert b"lu" in octets.getvalue()


def test_a_secret_is_hidden_in_whichever_way_it_is_spelled(out: io.StringIO) -> None:
    secret = 'p@ss w/ö"\\x'
    logs.configure("console", "info", PRAGUE, [secret], out=out)
    log = structlog.get_logger()
    octets = secret.encode()
    spelled = [secret, repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False), quote(secret), quote(secret, safe="")]
    spelled += [
        repr(secret.encode()),
        urlencode({"k": secret}),
        base64.b64encode(b"me:" + octets).decode(),
        base64.urlsafe_b64encode(b"user:" + octets).decode(),
    ]
    for one in spelled:
        log.info(one, detail={"nested": {"password": "of a library", "said": one}})
    text = out.getvalue()
    assert "of a library" not in text
    assert not [one for one in ("p@ss", "p%40ss", "QHNz", "cEBz", "w/", "w%2F") if one in text]


def test_half_a_line_of_before_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "ohmstead.log"
    path.write_text("a whole one\nhalf a l")
    LogFile(path, 10_000, 1).write("the next")
    LogFile(path, 10_000, 1).write("one more")
    assert path.read_text() == "a whole one\nhalf a l\nthe next\none more\n"


def test_libraries_may_speak_as_they_like(out: io.StringIO) -> None:
    logs.configure("json", "info", PRAGUE, out=out)
    logging.getLogger("asyncio").warning("%d and %s", "no number")
    logging.getLogger("asyncio").log(35, "between the levels")
    logging.getLogger("asyncio").log(99, "louder than all")
    said = [(line["level"], line["event"]) for line in map(json.loads, out.getvalue().splitlines())]
    assert said == [("warning", "%d and %s ('no number',)"), ("warning", "between the levels"), ("critical", "louder than all")]
