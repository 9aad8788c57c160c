"""One question over HTTP and its answer, bounded in time and size, off the event loop."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import NamedTuple, Protocol

from ohmstead.prices import NotYet, PriceError
from ohmstead.tasks import in_daemon_thread

TIMEOUT_S = 20.0
"""The longest silence; an answer may take twice as long altogether."""

MOST_BYTES = 4 << 20
_CHUNK = 1 << 16
_NOTHING_THERE = (204, 404)


class Question(NamedTuple):
    """What is asked of whom. `source` is what people call it; a POST has a `body`. The address may hold a token and is never told."""

    source: str
    url: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Ask(Protocol):
    """Gets the answer to a question. Raises PriceError when there is none that can be used, NotYet when the service has nothing there."""

    async def __call__(self, question: Question, /) -> bytes: ...


class Http:
    """Asks over HTTP or HTTPS, each time in a thread of its own that holds up nobody's end."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def __call__(self, question: Question, /) -> bytes:
        answer: list[bytes] = []
        await in_daemon_thread(lambda: answer.append(_fetched(question, self._timeout_s)), f"ask-{question.source}")
        return answer[0]


def _fetched(question: Question, timeout_s: float) -> bytes:
    source = question.source
    if not question.url.startswith(("http://", "https://")):
        raise PriceError(f"{source}: its address must begin with https:// or http://")
    headers = {"User-Agent": "ohmstead", **dict(question.headers)}
    try:
        request = urllib.request.Request(question.url, question.body, headers)  # noqa: S310 - http and https only, see above
        with _opener(request.host).open(request, timeout=timeout_s) as response:
            return _body(response, source, time.monotonic() + 2 * timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _NOTHING_THERE:
            raise NotYet(f"{source}: has nothing there (HTTP {error.code})") from error
        raise PriceError(f"{source}: refused (HTTP {error.code})") from error
    except urllib.error.URLError as error:
        raise PriceError(f"{source}: cannot be reached: {_reason(error.reason)}") from error
    except http.client.IncompleteRead as error:
        raise PriceError(f"{source}: broke off in the middle of its answer") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PriceError(f"{source}: {_reason(error)}") from error


def _opener(host: str) -> urllib.request.OpenerDirector:
    """By the proxy of the environment, if there is one; what is on this machine no proxy knows."""
    if host.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]") or host in ("127.0.0.1", "localhost"):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _body(response: http.client.HTTPResponse, source: str, deadline: float) -> bytes:
    if response.status == 204:
        raise NotYet(f"{source}: has nothing there (HTTP 204)")
    parts: list[bytes] = []
    length = 0
    while part := response.read1(_CHUNK):
        parts.append(part)
        length += len(part)
        if length > MOST_BYTES:
            raise PriceError(f"{source}: an answer of more than {MOST_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise PriceError(f"{source}: still answering when its time was over")
    if response.length:  # read1 does not say that the rest never came
        raise PriceError(f"{source}: broke off in the middle of its answer")
    return b"".join(parts)


def _reason(error: object) -> str:
    """The system's word for it, without an address in it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"its certificate or encryption is not right ({error.reason or 'TLS'})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__ if isinstance(error, Exception) else "no connection"
