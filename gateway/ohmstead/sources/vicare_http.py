"""One request and its answer over HTTP, bounded in time and size. It blocks; what goes wrong is told without anything of the account."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from ohmstead.errors import NoAnswer, Unreachable, WrongAnswer
from ohmstead.sources.vicare_answers import Answer, Auth

MOST_BYTES = 16 << 20
_CHUNK = 1 << 16
_HEADERS = {
    "GET": {"User-Agent": "ohmstead"},
    "POST": {"User-Agent": "ohmstead", "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
}
"""As the library sends them."""

_HERE = ("127.0.0.1", "localhost", "::1")


class Http:
    """Keeps the connection between requests. `timeout_s` to connect, and of a silence; an answer may take twice as long altogether."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._session = requests.Session()

    def request(self, method: Literal["GET", "POST"], url: str, auth: Auth | None, form: Mapping[str, str] | None = None) -> Answer:
        """Whatever the other end answers; it is not followed elsewhere. Raises Unreachable, NoAnswer or WrongAnswer."""
        address = urlsplit(url)
        self._session.trust_env = address.hostname not in _HERE  # what is on this machine no proxy knows
        shown = _shown(auth)
        try:
            with self._session.request(
                method, url, data=form, auth=shown, timeout=self._timeout_s, allow_redirects=False, stream=True, headers=_HEADERS[method]
            ) as response:
                body = _body(response, address.netloc, time.monotonic() + 2 * self._timeout_s)
                return Answer(response.status_code, response.headers, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(error, address.netloc) from error
        except UnicodeError as error:
            raise Unreachable(f"{address.netloc}: no name that can be asked for") from error

    def close(self) -> None:
        self._session.close()


class _Bearer(AuthBase):
    """Given as such, or what a netrc says of the host would take its place; without a token there is nothing to show."""

    def __init__(self, access: str = "") -> None:
        self._access = access

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._access:
            request.headers["Authorization"] = f"Bearer {self._access}"
        return request


def _shown(auth: Auth | None) -> AuthBase:
    if auth is None:
        return _Bearer()
    return HTTPBasicAuth(auth.user.encode(), auth.secret.encode()) if auth.user else _Bearer(auth.secret)


def _body(response: requests.Response, host: str, deadline: float) -> bytes:
    parts: list[bytes] = []
    length = 0
    while part := response.raw.read1(_CHUNK, decode_content=True):
        parts.append(part)
        length += len(part)
        if length > MOST_BYTES:
            raise WrongAnswer(f"{host}: an answer of more than {MOST_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise NoAnswer(f"{host}: still answering when its time was over")
    return b"".join(parts)


def _failure(error: Exception, host: str) -> Unreachable | NoAnswer | WrongAnswer:
    """What a failure of the connection is, in words without an address of the account in it."""
    causes = list(_causes(error))
    names = {type(cause).__name__ for cause in causes}
    if names & {"SSLError", "SSLCertVerificationError", "SSLEOFError"}:
        return Unreachable(f"{host}: its certificate or encryption is not right")
    if names & {"ReadTimeout", "ReadTimeoutError"}:
        return NoAnswer(f"{host}: no answer in time")
    if names & {"ConnectTimeout", "ConnectTimeoutError"}:
        return Unreachable(f"{host}: cannot be reached in time")
    if names & {"NameResolutionError", "gaierror"}:
        return Unreachable(f"{host}: no such name")
    if names & {"ConnectionRefusedError", "NewConnectionError"}:
        return Unreachable(f"{host}: cannot be reached")
    if names & {"IncompleteRead", "RemoteDisconnected", "ConnectionResetError", "ProtocolError", "BrokenPipeError"}:
        return NoAnswer(f"{host}: broke off in the middle of its answer")
    if names & {"DecodeError", "ContentDecodingError", "InvalidHeader"}:
        return WrongAnswer(f"{host}: an answer that cannot be unpacked")
    return Unreachable(f"{host}: {type(error).__name__}")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(found) < 20:
        one = pending.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            pending += [
                one.__cause__,
                one.__context__,
                getattr(one, "reason", None),
                *(arg for arg in one.args if isinstance(arg, BaseException)),
            ]
    return found
