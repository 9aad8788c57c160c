"""Logs: one line an event, as JSON or for people, with the home's time and the service that speaks; never a secret.

Lines of libraries (uvicorn, asyncio, …) come out in the same form. pymodbus is kept quiet: what it would say about each
request is said once by the source that uses it. With `levels: {modbus: debug}` it tells all of it, octet by octet.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import structlog

from ohmstead.config.redacted import HIDDEN, is_secret
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
        logger_factory=structlog.PrintLoggerFactory(stream) if file is None else _Everywhere(stream, file),
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
    """Makes loggers that write to the console and to the file. Trouble with the file is told once on the console."""

    def __init__(self, stream: TextIO, file: LogFile) -> None:
        self._stream = stream
        self._file = file
        self._order = threading.Lock()
        self._told = ""

    def __call__(self, *_names: object) -> _Everywhere:
        return self

    def msg(self, line: str) -> None:
        with self._order:
            self._stream.write(line + "\n")
            self._stream.flush()
            self._file.write(line)
            trouble, told = self._file.trouble, self._told
            self._told = trouble
        if trouble and trouble != told:
            structlog.get_logger().error("the log file cannot be written", file=str(self._file.path), reason=trouble)

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
    texts = sorted({text for secret in secrets for text in _spellings(secret)}, key=len, reverse=True)

    def hide(_logger: Any, _method: str, line: Line) -> Line:
        for key, value in line.items():
            if is_secret(key):
                line[key] = HIDDEN
            elif texts:
                text = (
                    value if isinstance(value, str) else repr(value) if isinstance(value, dict | list | tuple | bytes | Exception) else ""
                )
                if any(secret in text for secret in texts):
                    for secret in texts:
                        text = text.replace(secret, HIDDEN)
                    line[key] = text
        return line

    return hide


def _spellings(secret: str | bytes | None) -> list[str]:
    """How a secret may turn up in a text. One of less than four characters would hide half the log."""
    if isinstance(secret, bytes):
        return [secret.hex(), repr(secret)[2:-1]]
    return [secret] if secret is not None and len(secret) >= 4 else []


class _Bridge(logging.Handler):
    """Hands the lines of the standard library's loggers over."""

    def emit(self, record: logging.LogRecord) -> None:
        service = _SERVICES.get(record.name.partition(".")[0], record.name)
        log = structlog.get_logger(service=service)
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        log.log(max(record.levelno, logging.DEBUG), record.getMessage(), **({"exc_info": error} if error else {}))
