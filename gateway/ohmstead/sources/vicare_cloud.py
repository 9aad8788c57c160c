"""Viessmann's cloud as PyViCare asks it (`get` of an OAuth manager), with a token handling, a budget and time-outs of our own.

Nothing of the library's own managers is used: they keep the token as a pickle and send the password at each renewal, and hide what the
cloud says behind what it said before. All of it blocks and belongs into a thread of its own.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests
import structlog
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from ohmstead.errors import NoAnswer, Refused, Unauthorised, Unreachable, WrongAnswer
from ohmstead.sources.vicare_answers import CLOUD, LOG_IN, Expired, Revoked, parsed, sent_at, token_answer
from ohmstead.sources.vicare_login import PASSWORD_REDIRECT, Endpoints, Flow, for_refresh
from ohmstead.sources.vicare_token import Token, TokenFile, granted

if TYPE_CHECKING:
    from ohmstead.sources.polling import Memory
    from ohmstead.sources.vicare_budget import Budget

log = structlog.get_logger(service="vicare")

TIMEOUT_S = 20.0
"""To connect, and the longest silence; an answer may take twice as long altogether."""

MOST_BYTES = 16 << 20
_CHUNK = 1 << 16
_EARLY_S = 60.0
"""A token is renewed so long before its end."""

_ROUNDS = 50_000


class Account(NamedTuple):
    """Who asks. `user` and `password` are empty where a person has logged in by the browser."""

    client_id: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Account()"


class _Bearer(AuthBase):
    """Given as such, or what a netrc says of the host would take its place."""

    def __init__(self, access: str) -> None:
        self._access = access

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._access}"
        return request


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Cloud:
    """What PyViCare needs of an OAuth manager, for reading. `key` begins the names under which `memory` keeps something.

    `skew` is how many seconds the cloud's clock is ahead of ours, as of its last answer. One thread at a time.
    """

    def __init__(
        self,
        account: Account,
        tokens: TokenFile,
        budget: Budget,
        memory: Memory,
        key: str,
        *,
        endpoints: Endpoints | None = None,
        timeout_s: float = TIMEOUT_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.skew = 0.0
        self.requests = 0
        self.budget = budget
        self._account = account
        self._tokens = tokens
        self._memory = memory
        self._refused_key = f"{key}/password-refused"
        self._endpoints = endpoints or Endpoints()
        self._timeout_s = timeout_s
        self._wall = wall
        self._token: Token | None = None
        self._revoked = ""
        self._session: requests.Session | None = None
        self._stopped = threading.Event()

    def get(self, url: str) -> dict[str, Any]:
        """What the interface says at `url`, which begins with a slash. A token that ran out is renewed once.

        Raises SourceError, or RateLimited with the time until there is room again.
        """
        access = self._access()
        try:
            return self._asked(url, access)
        except Expired:
            access = self._renewed(access)
        try:
            return self._asked(url, access)
        except Expired:
            raise Unauthorised(f"{CLOUD} does not take the token it has just given; {LOG_IN}", 401) from None

    def post(self, url: str, _data: object) -> dict[str, Any]:
        """Nothing is written. Raises Refused."""
        raise Refused(f"{CLOUD} is only read here, not written to ({url})")

    def log_in(self, flow: Flow, code: str) -> None:
        """Gets the token for a code and keeps it. Raises SourceError, or OSError where it cannot be written."""
        try:
            said = self._token_endpoint(flow.for_code(code))
        except Revoked as error:
            raise Unauthorised(f"{CLOUD} does not take the code ({error}); a code is good for some seconds and once", 400) from None
        token = granted(said, self._wall())
        self._tokens.write(token)
        self._token = token

    def resume(self) -> None:
        """Requests go out again after `stop`."""
        self._stopped.clear()

    def stop(self) -> None:
        """From another thread: no further request goes out; the one that is under way ends by its time-out."""
        self._stopped.set()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _asked(self, url: str, access: str) -> dict[str, Any]:
        answer = self._request("GET", self._endpoints.api + url, _Bearer(access))
        try:
            return parsed(*answer, self._wall())
        except Exception as error:
            self._heed(error)
            raise

    def _heed(self, error: Exception) -> None:
        """A refusal for the number of requests holds for all of them, and over a restart."""
        after = getattr(error, "after", None)
        if isinstance(after, float):
            self.budget.ban(after)

    def _access(self) -> str:
        """An access token that should be good. Logs in or renews where need be."""
        if self._token is None or (self._revoked and self._token.refresh == self._revoked):
            self._token = self._tokens.read()
        if self._token is None:
            return self._by_password(f"there is no token at {self._tokens.path}").access
        if self._token.expires - _EARLY_S <= self._wall():
            return self._renewed(self._token.access)
        return self._token.access

    def _renewed(self, access: str) -> str:
        """An access token other than `access`."""
        kept = self._tokens.read()
        if kept is not None and kept.access != access and kept.expires - _EARLY_S > self._wall():
            self._token = kept  # somebody has logged in meanwhile
            return kept.access
        before = kept or self._token
        if before is None or not before.refresh or before.refresh == self._revoked:
            return self._by_password("the token has expired").access
        try:
            said = self._token_endpoint(for_refresh(self._account.client_id, before.refresh))
        except Revoked as error:
            self._revoked = before.refresh
            return self._by_password(f"the token is no longer taken ({error})").access
        return self._keep(granted(said, self._wall(), before)).access

    def _by_password(self, why: str) -> Token:
        """Logs in by user and password: once. What was refused is not sent again until it is another one."""
        account = self._account
        if not account.user or not account.password:
            raise Unauthorised(f"{CLOUD}: {why}; {LOG_IN}", 401)
        refused = self._memory.read(self._refused_key) or ""
        if refused and refused == _fingerprint(account, refused.partition(" ")[0]):
            raise Unauthorised(f"{CLOUD} has refused user and password, they are not sent again; correct them, or {LOG_IN}", 401)
        flow = Flow.begin(account.client_id, PASSWORD_REDIRECT)
        answer = self._request("POST", flow.address(self._endpoints), HTTPBasicAuth(account.user.encode(), account.password.encode()))
        location = answer.headers.get("Location", "") if answer.status in (302, 303) else ""
        if not location:
            try:
                parsed(*answer, self._wall())
            except (Expired, Unauthorised):
                self._memory.write(self._refused_key, _fingerprint(account))
                raise Unauthorised(f"{CLOUD} does not take user and password of this account", 401) from None
            except Exception as error:
                self._heed(error)
                raise
            raise WrongAnswer(f"{CLOUD}: neither takes nor refuses user and password")
        try:
            said = self._token_endpoint(flow.for_code(flow.code(location)))
        except Revoked as error:
            raise Unauthorised(f"{CLOUD} does not take its own code ({error}); check `client_id`, or {LOG_IN}", 400) from None
        self._memory.write(self._refused_key, "")
        log.info("logged in by password")
        return self._keep(granted(said, self._wall()))

    def _keep(self, token: Token) -> Token:
        """On the disk before it is used: the one before may be void already."""
        self._token = token
        self._revoked = ""
        try:
            self._tokens.write(token)
        except OSError as error:
            log.error(
                "the token could not be written; after a restart somebody has to log in", path=str(self._tokens.path), reason=str(error)
            )
        return token

    def _token_endpoint(self, asked: Mapping[str, str]) -> dict[str, Any]:
        answer = self._request("POST", self._endpoints.token, None, asked)
        try:
            return token_answer(*answer, self._wall())
        except Exception as error:
            self._heed(error)
            raise

    def _request(self, method: str, url: str, auth: AuthBase | None, form: Mapping[str, str] | None = None) -> _Answer:
        """One request, counted before it goes out. Raises Unreachable, NoAnswer, WrongAnswer or RateLimited."""
        if self._stopped.is_set():
            raise NoAnswer(f"{CLOUD}: given up")
        self.budget.spend()
        self.requests += 1
        host = urlsplit(url).netloc
        if self._session is None:
            self._session = requests.Session()
            self._session.trust_env = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
        try:
            with self._session.request(
                method, url, data=form, auth=auth, timeout=self._timeout_s, allow_redirects=False, stream=True, headers=_HEADERS
            ) as response:
                body = _body(response, host, time.monotonic() + 2 * self._timeout_s)
                answer = _Answer(response.status_code, response.headers, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(error, host) from error
        except UnicodeError as error:
            raise Unreachable(f"{host}: no name that can be asked for") from error
        wall = self._wall()
        self.skew = sent_at(answer.headers, wall) - wall
        return answer


_HEADERS = {"User-Agent": "ohmstead", "Accept": "application/json"}


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


def _fingerprint(account: Account, salt: str = "") -> str:
    """By which a refused password is known again; it tells nothing of it."""
    salt = salt or f"{time.time_ns():x}"
    secret = f"{account.client_id}\0{account.user}\0{account.password}".encode()
    return f"{salt} {hashlib.pbkdf2_hmac('sha256', secret, salt.encode(), _ROUNDS).hex()}"
