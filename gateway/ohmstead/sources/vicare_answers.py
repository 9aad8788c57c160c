"""What the answers of Viessmann's cloud mean. Pure: status, headers and octets in, an object or a typed error out.

The cloud says what is wrong in the body (`statusCode`, `errorType`, `error`) rather than in the status; its entrance answers with web
pages of its own. Every text here is for the owner and holds nothing of the account.
"""

from __future__ import annotations

import email.utils
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ohmstead.errors import NoAnswer, RateLimited, Refused, Unauthorised, WrongAnswer

CLOUD = "Viessmann's cloud"
LOG_IN = "run `ohmstead vicare login`"
_BAN_S = 600.0
"""After a 429 that does not say when it ends: the shorter of the two windows."""

_LONGEST_BAN_S = 86_400.0
"""The longer one: what ends later than that is not believed."""

_GONE = ("DEVICE_OFFLINE", "GATEWAY_OFFLINE")
_REVOKED = ("invalid_grant", "invalid_client", "unauthorized_client", "access_denied")


class Auth(NamedTuple):
    """What a request shows: a token, or with a `user` a password."""

    secret: str
    user: str = ""

    def __repr__(self) -> str:
        return "Auth()"


class Answer(NamedTuple):
    """What came back, whatever it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Expired(Exception):  # noqa: N818 - says what happened; never leaves the source
    """The access token is no longer taken; another one may be."""


class Revoked(Exception):  # noqa: N818 - says what happened; never leaves the source
    """The refresh token is not taken (any more)."""


def parsed(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> dict[str, Any]:
    """The object that was asked for. `wall` is our own UTC second, for an answer without a date.

    Raises Expired, RateLimited, Unauthorised, Refused, NoAnswer (what is behind the cloud is offline) or WrongAnswer.
    """
    said = _object(body)
    status = _status(status, said)
    if status == 429:
        after = _ban(said, headers, sent_at(headers, wall))
        raise RateLimited(f"{CLOUD} takes no more requests for {math.ceil(after / 60)} min (HTTP 429)", after)
    if said.get("error") == "EXPIRED TOKEN" or status == 401:
        raise Expired
    kind, reason = _text(said, "errorType"), _text(said.get("extendedPayload"), "reason")
    if reason in _GONE:
        what = "the gateway" if reason == "GATEWAY_OFFLINE" else "the device"
        raise NoAnswer(f"{CLOUD} has lost {what}: {reason}")
    if kind == "PACKAGE_NOT_PAID_FOR" or status == 403:
        raise Unauthorised(f"{CLOUD}: this account may not read it ({kind or 'HTTP 403'})", 403)
    payload_code = _text(said.get("extendedPayload"), "code")
    if status >= 400 or kind or payload_code in ("500", "502", "503"):
        raise Refused(f"{CLOUD}: {_sentence(status, said)}", status if status >= 400 else 500)
    if not 200 <= status < 300:
        raise WrongAnswer(f"{CLOUD}: sends us elsewhere (HTTP {status})")
    if not said:
        raise WrongAnswer(f"{CLOUD}: {_what_it_is(body)} instead of JSON")
    return said


def token_answer(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> dict[str, Any]:
    """What the token endpoint grants. Raises Revoked, RateLimited, Unauthorised, Refused or WrongAnswer."""
    said = _object(body)
    if 400 <= status < 500 and status != 429 and said.get("error") in _REVOKED:
        raise Revoked(str(said["error"]))
    try:
        return parsed(status, headers, body, wall)
    except Expired:
        raise Unauthorised(f"{CLOUD}: does not take the client id of this account; {LOG_IN}", 401) from None


def sent_at(headers: Mapping[str, str], wall: float) -> float:
    """The UTC second at which the cloud answered, by its own clock; `wall` where it does not say."""
    return _http_date(headers.get("Date", "")) or wall


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in an answer; empty where there is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _status(status: int, said: Mapping[str, Any]) -> int:
    """The body's word for it outweighs the entrance's."""
    told = said.get("statusCode")
    return told if isinstance(told, int) and not isinstance(told, bool) and 400 <= told < 600 else status


def _ban(said: Mapping[str, Any], headers: Mapping[str, str], now: float) -> float:
    """Seconds until a 429 is over, by the cloud's clock; at most a day."""
    payload = said.get("extendedPayload")
    reset = payload.get("limitReset") if isinstance(payload, dict) else None
    if isinstance(reset, int | float) and not isinstance(reset, bool) and reset > 1000 * now:  # also of an int that no float can hold
        return (min(reset, 1000 * (now + _LONGEST_BAN_S)) - 1000 * now) / 1000
    after = headers.get("Retry-After", "")
    if after.strip().isdecimal() and len(after) < 10:
        return min(max(float(after), 1.0), _LONGEST_BAN_S)
    moment = _http_date(after)
    return min(moment - now, _LONGEST_BAN_S) if moment is not None and moment > now else _BAN_S


def _http_date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _sentence(status: int, said: Mapping[str, Any]) -> str:
    words = _text(said, "errorType") or _text(said, "error") or "an error page"
    message = _text(said, "message") or _text(said, "error_description")
    number = f" (HTTP {status})" if status >= 400 else ""
    return f"{words}{': ' + message if message and message != words else ''}{number}"[:200]


def _what_it_is(body: bytes) -> str:
    start = body[:200].lstrip().lower()
    return "a web page" if start.startswith((b"<!doctype", b"<html")) else "half an answer or none" if body else "an empty answer"


def _text(holder: object, key: str) -> str:
    found = holder.get(key) if isinstance(holder, dict) else None
    return found if isinstance(found, str) else ""
