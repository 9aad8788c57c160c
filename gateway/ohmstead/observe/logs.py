"""Logs: one line an event, as JSON or for people, with the home's time and the service that speaks; never a secret.

Lines of libraries (uvicorn, asyncio, …) come out in the same form. pymodbus is kept quiet: what it would say about each
request is said once by the source that uses it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, MutableMapping
from datetime import datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import structlog

_SERVICES = {"uvicorn": "web", "fastapi": "web", "asyncio": "app", "paho": "mqtt", "pymodbus": "modbus"}
_SECRET_KEYS = ("password", "passwd", "secret", "token", "key", "authorization")
_HIDDEN = "•••"

Line = MutableMapping[str, Any]


def configure(form: str, level: str, zone: ZoneInfo, secrets: Iterable[str | bytes | None] = (), out: TextIO | None = None) -> None:
    """`form` is "json" or "console", `level` one of debug, info, warning, error. `secrets` are never written, wherever they turn up."""
    stream = out or sys.stdout
    renderer: Callable[..., Any]
    if form == "json":
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _stamped(zone),
            _with_service,
            structlog.processors.format_exc_info,
            _without(secrets),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(_number(level), logging.INFO))
    logging.getLogger("uvicorn").setLevel(max(_number(level), logging.WARNING))
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL + 1)


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


def _without(secrets: Iterable[str | bytes | None]) -> Callable[[Any, str, Line], Line]:
    """Hides values whose key says that they are secret, and known secrets in any text."""
    texts = sorted({text for secret in secrets for text in _spellings(secret)}, key=len, reverse=True)

    def hide(_logger: Any, _method: str, line: Line) -> Line:
        for key, value in line.items():
            if key.lower() in _SECRET_KEYS or key.lower().endswith(("_password", "_secret", "_token", "_key")):
                line[key] = _HIDDEN
            elif texts:
                text = (
                    value if isinstance(value, str) else repr(value) if isinstance(value, dict | list | tuple | bytes | Exception) else ""
                )
                if any(secret in text for secret in texts):
                    for secret in texts:
                        text = text.replace(secret, _HIDDEN)
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
