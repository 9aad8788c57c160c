"""Viessmann's cloud as PyViCare asks it (`get` of an OAuth manager), with a token handling, a budget and time-outs of our own.

Nothing of the library's own managers is used: they keep the token as a pickle and send the password at each renewal, and hide what the
cloud says behind what it said before. All of it blocks and belongs into a thread of its own.
"""

from __future__ import annotations

import hashlib
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import structlog

from ohmstead.errors import NoAnswer, Refused, Unauthorised, WrongAnswer
from ohmstead.sources.vicare_answers import CLOUD, LOG_IN, Answer, Auth, Expired, Revoked, parsed, sent_at, token_answer
from ohmstead.sources.vicare_login import PASSWORD_REDIRECT, Endpoints, Flow, for_refresh
from ohmstead.sources.vicare_token import Token, TokenFile, granted

if TYPE_CHECKING:
    from ohmstead.sources.polling import Memory
    from ohmstead.sources.vicare_budget import Budget
    from ohmstead.sources.vicare_http import Http

log = structlog.get_logger(service="vicare")

TIMEOUT_S = 20.0
"""To connect, and the longest silence; an answer may take twice as long altogether."""

_EARLY_S = 60.0
"""A token is renewed so long before its end."""

_LAST_S = 3.0
"""So long the end waits for a token that is on its way: the cloud may have ended the one before."""

_WHY_REVOKED = "because somebody has ended it, or because the gateway was killed in the moment when it got the next one"

_ROUNDS = 50_000


class Account(NamedTuple):
    """Who asks. `user` and `password` are empty where a person has logged in by the browser."""

    client_id: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Account()"


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
        self._filed: Token | None = None
        self._unfiled = False
        self._revoked = ""
        self._http: Http | None = None
        self._stopped = threading.Event()
        self._renewing = threading.Lock()

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
        self._token = self._filed = token

    def resume(self) -> None:
        """Requests go out again after `stop`."""
        self._stopped.clear()

    def stop(self) -> None:
        """From another thread: no further request goes out; the one that is under way ends by its time-out."""
        self._stopped.set()

    def settle(self) -> None:
        """From another thread, after `stop`: waits for a token that is on its way until it is on the disk, but not for long."""
        if self._renewing.acquire(timeout=_LAST_S):
            self._renewing.release()
        else:
            log.warning("ended before the new token came; should the cloud no longer take the one before, somebody has to log in")

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _asked(self, url: str, access: str) -> dict[str, Any]:
        answer = self._request("GET", self._endpoints.api + url, Auth(access))
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
        if self._token is None or self._unfiled or (self._revoked and self._token.refresh == self._revoked):
            self._look()
        if self._unfiled:
            self._file()
        if self._token is None:
            return self._by_password(f"there is no token at {self._tokens.path}").access
        if self._token.expires - _EARLY_S <= self._wall():
            return self._renewed(self._token.access)
        return self._token.access

    def _renewed(self, access: str) -> str:
        """An access token other than `access`."""
        self._look()
        before = self._token
        if before is not None and before.access != access and before.expires - _EARLY_S > self._wall():
            return before.access
        if before is None or not before.refresh or before.refresh == self._revoked:
            return self._by_password("the token has expired").access
        try:
            with self._renewing:
                said = self._token_endpoint(for_refresh(self._account.client_id, before.refresh))
                return self._keep(granted(said, self._wall(), before)).access
        except Revoked as error:
            self._revoked = before.refresh
            return self._by_password(f"the token is no longer taken ({error}), {_WHY_REVOKED}").access

    def _by_password(self, why: str) -> Token:
        """Logs in by user and password: once. What was refused is not sent again until it is another one."""
        account = self._account
        if not account.user or not account.password:
            raise Unauthorised(f"{CLOUD}: {why}; {LOG_IN}", 401)
        refused = self._memory.read(self._refused_key) or ""
        if refused and refused == _fingerprint(account, refused.partition(" ")[0]):
            raise Unauthorised(f"{CLOUD} has refused user and password, they are not sent again; correct them, or {LOG_IN}", 401)
        try:
            said = self._granted_for_password(account)
        except WrongAnswer as error:  # a page for people, say: whoever insists sends the password again and again
            raise Unauthorised(f"{CLOUD} answers user and password with something else ({error}); {LOG_IN}") from error
        except Refused as error:
            if not 400 <= error.status < 500 or isinstance(error, Unauthorised):
                raise
            raise Unauthorised(f"{error}; check `client_id`, or {LOG_IN}", error.status) from error
        token = self._keep(granted(said, self._wall()))
        log.info("logged in by password")
        if refused:
            self._memory.write(self._refused_key, "")
        return token

    def _granted_for_password(self, account: Account) -> dict[str, Any]:
        """Sends user and password; what the token endpoint says then."""
        flow = Flow.begin(account.client_id, PASSWORD_REDIRECT)
        answer = self._request("POST", flow.address(self._endpoints), Auth(account.password, account.user))
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
            raise WrongAnswer("neither a yes nor a no")
        try:
            return self._token_endpoint(flow.for_code(flow.code(location)))
        except Revoked as error:
            raise Unauthorised(f"{CLOUD} does not take its own code ({error}); check `client_id`, or {LOG_IN}", 400) from None

    def _keep(self, token: Token) -> Token:
        """On the disk before it is used: the one before may be void already."""
        self._token = token
        self._revoked = ""
        self._file()
        return token

    def _file(self) -> None:
        """Writes the token; one that could not be written is written as soon as it can be, and used meanwhile."""
        if self._token is None:
            return
        try:
            self._tokens.write(self._token)
        except OSError as error:
            if not self._unfiled:
                log.error(
                    "the token cannot be written; after a restart somebody has to log in", path=str(self._tokens.path), reason=str(error)
                )
            self._unfiled = True
        else:
            if self._unfiled:
                log.info("the token is written", path=str(self._tokens.path))
            self._unfiled = False
            self._filed = self._token

    def _look(self) -> None:
        """Takes the token that somebody else has put into the file: who has logged in. What stands there from before is older than ours.

        Raises Unauthorised, with advice, where there is no token but one that cannot be read.
        """
        try:
            kept = self._tokens.read()
        except Unauthorised:
            if self._token is None:
                raise
            return  # the next one that we get takes its place
        if kept is not None and kept != self._filed:
            self._token = self._filed = kept
            self._unfiled = False

    def _token_endpoint(self, asked: Mapping[str, str]) -> dict[str, Any]:
        answer = self._request("POST", self._endpoints.token, None, asked)
        try:
            return token_answer(*answer, self._wall())
        except Exception as error:
            self._heed(error)
            raise

    def _request(self, method: Literal["GET", "POST"], url: str, auth: Auth | None, form: Mapping[str, str] | None = None) -> Answer:
        """One request, counted before it goes out. Raises Unreachable, NoAnswer, WrongAnswer or RateLimited."""
        if self._stopped.is_set():
            raise NoAnswer(f"{CLOUD}: given up")
        if self._http is None:
            load_requests()
            from ohmstead.sources.vicare_http import Http

            self._http = Http(self._timeout_s)
        self.budget.spend()
        self.requests += 1
        answer = self._http.request(method, url, auth, form)
        wall = self._wall()
        self.skew = sent_at(answer.headers, wall) - wall
        return answer


def load_requests() -> None:
    """Loads the library that asks: in the thread that waits for it, not while the buses do. Silently: it misses SOCKS, we do not."""
    warnings.filterwarnings("ignore", message="SOCKS support in urllib3")
    import_module("requests")


def _fingerprint(account: Account, salt: str = "") -> str:
    """By which a refused password is known again; it tells nothing of it."""
    salt = salt or f"{time.time_ns():x}"
    secret = f"{account.client_id}\0{account.user}\0{account.password}".encode()
    return f"{salt} {hashlib.pbkdf2_hmac('sha256', secret, salt.encode(), _ROUNDS).hex()}"
