"""Logs: one line an event, as JSON or for people, with the home's time and the service that speaks; never a secret.

Lines of libraries (uvicorn, asyncio, …) come out in the same form. pymodbus is kept quiet: what it would say about each
request is said once by the source that uses it. With `levels: {modbus: debug}` it tells all of it, octet by octet.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import structlog

from ohmstead.config.redacted import HIDDEN, is_secret, spellings
from ohmstead.observe.logfile import LogFile

_SERVICES = {
    "uvicorn": "web", "fastapi": "web", "asyncio": "app", "paho": "mqtt", "pymodbus": "modbus", "httpx": "source", "httpcore": "source",
    "urllib3": "source", "PyViCare": "vicare", "luxtronik": "luxtronik",
}  # fmt: skip
_QUIET = ("uvicorn", "httpx", "httpcore", "urllib3", "PyViCare", "luxtronik")
"""Libraries that tell of every request; addresses of clouds may carry keys."""

Line = MutableMapping[str, Any]


def configure(
    form: str,
    level: str,
    zone: ZoneInfo,
    secrets: Iterable[str | bytes | None] = (),
    out: TextIO | None = None,
    *,
    levels: Mapping[str, str] = MappingProxyType({}),
    file: LogFile | None = None,
) -> None:
    """`form` is "json" or "console", `level` one of debug, info, warning, error. `secrets` are never written, wherever they turn up.

    `levels` are those of single services where they differ. `file` gets each line as well, without colours.
    """
    stream = out or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a name in letters that the console does not have is no failure
    renderer: Callable[..., Any]
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    lowest = min(map(_number, (level, *levels.values())))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _with_service,
            *([_loud_enough(level, levels)] if levels else []),
            _stamped(zone),
            structlog.processors.format_exc_info,
            _without(secrets),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=_Everywhere(stream, file),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(lowest, logging.INFO))
    for library in _QUIET:
        logging.getLogger(library).setLevel(max(lowest, logging.WARNING))
    requests = logging.DEBUG if levels.get("modbus") == "debug" else logging.CRITICAL + 1
    logging.getLogger("pymodbus").setLevel(requests)
    logging.getLogger("pymodbus.logging").setLevel(requests)


class _Everywhere:
    """Makes loggers that write to the console and to the file, if there is one. Trouble with one of them is told once on the other, and
    never to who has something to say: what works goes on when a disk is full, or nobody reads the console any more."""

    def __init__(self, stream: TextIO, file: LogFile | None) -> None:
        self._stream = stream
        self._file = file
        self._order = threading.Lock()
        self._file_told = self._console_told = False

    def __call__(self, *_names: object) -> _Everywhere:
        return self

    def msg(self, line: str) -> None:
        file = self._file
        with self._order:
            mute = self._said(line)
            tell_console, self._console_told = bool(mute) and not self._console_told, bool(mute)
            if file is None:
                return
            file.write(line)
            tell_file, self._file_told = bool(file.trouble) and not self._file_told, bool(file.trouble)
            trouble = file.trouble
        if tell_file:
            structlog.get_logger().error("the log file cannot be written", file=str(file.path), reason=trouble)
        if tell_console:
            structlog.get_logger().error("the console cannot be written", reason=mute)

    def _said(self, line: str) -> str:
        """Says it on the console; why not, empty where it worked."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:  # full, hung up, closed, or letters that it does not have
            return getattr(error, "strerror", None) or str(error)
        return ""

    debug = info = warning = error = critical = fatal = msg


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _stamped(zone: ZoneInfo) -> Callable[[Any, str, Line], Line]:
    def stamp(_logger: Any, _method: str, line: Line) -> Line:
        line["timestamp"] = datetime.now(zone).isoformat(timespec="milliseconds")
        return line

    return stamp


def _with_service(_logger: Any, _method: str, line: Line) -> Line:
    line.setdefault("service", "app")
    return line


def _loud_enough(level: str, levels: Mapping[str, str]) -> Callable[[Any, str, Line], Line]:
    """Drops what its service is not to say."""
    usual, numbers = _number(level), {service: _number(said) for service, said in levels.items()}

    def judge(_logger: Any, _method: str, line: Line) -> Line:
        if _number(line["level"]) < numbers.get(line["service"], usual):
            raise structlog.DropEvent
        return line

    return judge


def _without(secrets: Iterable[str | bytes | None]) -> Callable[[Any, str, Line], Line]:
    """Hides values whose key says that they are secret, and known secrets in any text."""
    texts = sorted({text for secret in secrets if secret is not None for text in spellings(secret)}, key=len, reverse=True)

    def without(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {key: HIDDEN if isinstance(key, str) and is_secret(key) else without(one) for key, one in value.items()}
        if isinstance(value, list):
            return [without(one) for one in value]
        text = value if isinstance(value, str) else repr(value) if texts else ""
        if not any(secret in text for secret in texts):
            return value
        for secret in texts:
            text = text.replace(secret, HIDDEN)
        return text

    def hide(_logger: Any, _method: str, line: Line) -> Line:
        for key, value in line.items():
            line[key] = HIDDEN if is_secret(key) else without(value)
        return line

    return hide


class _Bridge(logging.Handler):
    """Hands the lines of the standard library's loggers over."""

    def emit(self, record: logging.LogRecord) -> None:
        service = _SERVICES.get(record.name.partition(".")[0], record.name)
        log = structlog.get_logger(service=service)
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        try:
            said = record.getMessage()
        except (TypeError, ValueError, LookupError):  # a library's slip of the pen, which must not become its failure
            said = f"{record.msg} {record.args}"
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)  # what lies between is as loud as what is below
        log.log(level, said, **({"exc_info": error} if error else {}))
