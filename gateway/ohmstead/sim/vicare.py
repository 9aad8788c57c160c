"""Viessmann's cloud on the loopback interface, kind or unkind: logging in, tokens, and the features of an account.

Tokens are as strict as the real ones: a code is good once and for its verifier, a refresh token is void as soon as it was used, an access
token ends. `kindness` may be changed at any time; `Kindness` says what there is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from .service import HttpService, answered
from .vicare_home import Equipment, home

USER, PASSWORD, CLIENT_ID = "owner@example.org", "quiet-heat", "simulated-client"
_LATEST_S = 60.0
_DRIP_S = 0.05
_DAY_S = 86_400.0
_PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"


class Kindness:
    """What a cloud can do to those who ask. The first four stand in the place of every answer of the interface and of the tokens."""

    KIND = ""
    DOWN = "down"
    """HTTP 500 in JSON."""
    HTML = "html"
    """HTTP 502 as a web page."""
    LIMIT = "limit"
    """HTTP 429 with the time of its end."""
    HTML_LIMIT = "html-limit"
    """HTTP 429 as a web page."""
    LATE = "late"
    """Silence until it is kind again."""
    DRIP = "drip"
    """An octet at a time."""
    HALF = "half"
    """Breaks off after `cut` bytes of the answer (half of it unless given)."""
    GATEWAY_OFFLINE = "gateway-offline"
    DEVICE_OFFLINE = "device-offline"
    PAGE = "page"
    """HTTP 200, and a web page."""
    NOT_PAID = "not-paid"
    STALE = "stale"
    """Answers, but has heard nothing of the devices since `stale_since`."""
    NO_TOKEN = "no-token"  # noqa: S105 - a word
    """Every access token is refused, new ones too."""
    ALL = (KIND, DOWN, HTML, LIMIT, HTML_LIMIT, LATE, DRIP, HALF, GATEWAY_OFFLINE, DEVICE_OFFLINE, PAGE, NOT_PAID, STALE, NO_TOKEN)


class _Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class ViessmannCloud(HttpService):
    """`start` listens on `port` (0: one of its own), after a `stop` on the same one. `asked` has method and path of each request, `logins`
    counts passwords that came.

    `wall` gives its clock; `skew` seconds are added to what it says of the time. `day_limit` and `short_limit` are the requests that it
    takes in 24 hours and in ten minutes. `only` names a gateway that alone is unkind; None: all of it.
    """

    def __init__(
        self,
        equipment: Sequence[Equipment] | None = None,
        *,
        port: int = 0,
        wall: Callable[[], float] = time.time,
        day_limit: int = 1450,
        short_limit: int = 120,
        token_s: float = 3600.0,
    ) -> None:
        super().__init__(port=port)
        self.equipment = list(equipment if equipment is not None else home())
        self.kindness = Kindness.KIND
        self.only: str | None = None
        self.cut: int | None = None
        self.skew = 0.0
        self.stale_since = 0.0
        self.limit_s = 600.0
        self.token_s = token_s
        self.asked: list[str] = []
        self.logins = 0
        self.rotate = True
        self._wall = wall
        self._limits = ((_DAY_S, day_limit, "ViCare day limit"), (600.0, short_limit, "ViCare ten minutes limit"))
        self._counted: deque[float] = deque()
        self._codes: dict[str, Mapping[str, str]] = {}
        self._access: dict[str, float] = {}
        self._refresh: set[str] = set()
        self._issued = 0
        self._lock = threading.Lock()

    def be(self, kindness: str) -> None:
        """Unkind in this way from now on, or kind again."""
        if kindness not in (Kindness.LATE, Kindness.DRIP):
            self._kind_again.set()
        else:
            self._kind_again.clear()
        self.kindness = kindness

    def expire(self) -> None:
        """Every access token ends now, whatever it was told."""
        with self._lock:
            self._access.clear()

    def revoke(self) -> None:
        """Every token ends, also those that get new ones."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def api_calls(self) -> list[str]:
        """What was asked of the interface itself."""
        return [asked for asked in self.asked if "/iot/" in asked]

    def _now(self) -> float:
        return self._wall() + self.skew

    def _date(self) -> float:
        return self._now()

    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        url = urlsplit(request.path)
        self.asked.append(f"{request.command} {url.path}")
        unkind = self.kindness if self.only is None or self.only in url.path else Kindness.KIND
        if unkind == Kindness.LATE:
            self._kind_again.wait(_LATEST_S)
            unkind = Kindness.KIND
        answer = self._everywhere(unkind)
        if answer is None:
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if url.path == "/idp/v3/authorize":
                answer = self._authorise(query, request.headers.get("Authorization", ""))
            elif url.path == "/idp/v3/token" and request.command == "POST":
                answer = self._token({key: values[0] for key, values in parse_qs(body.decode()).items()})
            elif url.path.startswith("/iot/v2/"):
                answer = self._interface(url.path.removeprefix("/iot/v2"), query, request.headers.get("Authorization", ""), unkind)
            else:
                answer = _json(404, {"statusCode": 404, "errorType": "NOT_FOUND", "message": "no such thing"})
        self._send(request, answer, unkind)

    def _send(self, request: BaseHTTPRequestHandler, answer: _Answer, unkind: str) -> None:
        headers = {"Content-Type": "application/json", **answer.headers}
        half = len(answer.body) // 2 if self.cut is None else self.cut
        cut = half if unkind == Kindness.HALF else None
        drip = (lambda: self._kind_again.wait(_DRIP_S)) if unkind == Kindness.DRIP else None
        answered(request, answer.status, headers, answer.body, cut, drip)

    def _everywhere(self, unkind: str) -> _Answer | None:
        web_page = {"Content-Type": "text/html"}
        if unkind == Kindness.DOWN:
            return _error(500, "INTERNAL_ERROR", "Internal server error")
        if unkind == Kindness.HTML:
            return _Answer(502, _PAGE, web_page)
        if unkind == Kindness.PAGE:
            return _Answer(200, _PAGE, web_page)
        if unkind == Kindness.LIMIT:
            return self._too_many("ViCare day limit", 1450, self._now() + self.limit_s)
        if unkind == Kindness.HTML_LIMIT:
            return _Answer(429, _PAGE, {**web_page, "Retry-After": str(int(self.limit_s))})
        return None

    def _too_many(self, name: str, most: int, until: float) -> _Answer:
        payload = {"name": name, "requestCountLimit": most, "limitReset": int(until * 1000)}
        return _error(429, "RATE_LIMIT_EXCEEDED", "API calls rate limit has been exceeded.", payload)

    # Tokens

    def _authorise(self, asked: Mapping[str, str], authorisation: str) -> _Answer:
        """Who comes with user and password has to have the right ones; who comes with a browser says yes."""
        if asked.get("client_id") != CLIENT_ID or "redirect_uri" not in asked or asked.get("code_challenge_method") != "S256":
            return _json(400, {"error": "invalid_request", "error_description": "client, redirect_uri or code_challenge"})
        if authorisation:
            self.logins += 1
            if authorisation != "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode():
                return _json(401, {"error": "unauthorized", "error_description": "user or password"})
        with self._lock:
            code = self._draw("code")
            self._codes[code] = asked
        back = urlencode({"code": code, "state": asked.get("state", "")})
        return _Answer(302, b"", {"Location": f"{asked['redirect_uri']}?{back}"})

    def _token(self, form: Mapping[str, str]) -> _Answer:
        with self._lock:
            if form.get("client_id") != CLIENT_ID:
                return _json(401, {"error": "invalid_client"})
            if form.get("grant_type") == "refresh_token":
                known = form.get("refresh_token", "") in self._refresh
                if known and self.rotate:
                    self._refresh.discard(form["refresh_token"])
            else:
                begun = self._codes.pop(form.get("code", ""), {})
                challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
                known = bool(begun) and (begun["redirect_uri"], begun["code_challenge"]) == (form.get("redirect_uri"), challenge)
            if not known:
                return _json(400, {"error": "invalid_grant", "error_description": "not known, or used already"})
            access, refresh = self._draw("access"), self._draw("refresh")
            self._access[access] = self._wall() + self.token_s
            self._refresh.add(refresh)
        said = {"access_token": access, "token_type": "Bearer", "expires_in": self.token_s}
        return _json(200, {**said, "refresh_token": refresh} if self.rotate or form.get("grant_type") != "refresh_token" else said)

    def _draw(self, what: str) -> str:
        self._issued += 1
        return f"{what}-{self._issued}"

    # The interface

    def _interface(self, path: str, query: Mapping[str, str], authorisation: str, unkind: str) -> _Answer:
        now = self._now()
        access = authorisation.removeprefix("Bearer ")
        with self._lock:
            if unkind == Kindness.NO_TOKEN or self._access.get(access, 0.0) <= self._wall():
                return _json(401, {"error": "EXPIRED TOKEN"})
            limited = self._counts_one(now)
        if limited is not None:
            return limited
        if path == "/equipment/installations":
            return _json(200, {"data": self._installations()})
        if unkind in (Kindness.GATEWAY_OFFLINE, Kindness.DEVICE_OFFLINE):
            reason = unkind.replace("-", "_").upper()
            return _error(400, "DEVICE_COMMUNICATION_ERROR", "", {"httpStatusCode": "NotFound", "code": "404", "reason": reason})
        if unkind == Kindness.NOT_PAID:
            return _error(403, "PACKAGE_NOT_PAID_FOR", "Package not paid for", {"monetization": "advanced"})
        at = self.stale_since if unkind == Kindness.STALE else now
        found = re.fullmatch(r"/features/installations/(\d+)/gateways/([^/]+)(?:/devices/([^/]+))?/features/?([^/]*)", path)
        if found is None:
            return _error(404, "NOT_FOUND", "no such path")
        features = self._features(int(found[1]), found[2], found[3], at)
        if features is not None and found[3] is None and query.get("includeDevicesFeatures") != "true":
            features = [one for one in features if one["deviceId"] is None]
        if features is None:
            return _error(404, "DEVICE_NOT_FOUND", "no such installation, gateway or device")
        if found[4]:
            one = next((feature for feature in features if feature["feature"] == found[4]), None)
            return _error(404, "FEATURE_NOT_FOUND", found[4]) if one is None else _json(200, {"data": one})
        return _json(200, {"data": features})

    def _counts_one(self, now: float) -> _Answer | None:
        """Counts a request; the refusal where there were too many."""
        while self._counted and self._counted[0] <= now - _DAY_S:
            self._counted.popleft()
        for window, most, name in self._limits:
            within = [moment for moment in self._counted if moment > now - window]
            if len(within) >= most:
                return self._too_many(name, most, within[0] + window)
        self._counted.append(now)
        return None

    def _installations(self) -> list[dict[str, Any]]:
        installations: dict[int, dict[str, list[dict[str, Any]]]] = {}
        for one in self.equipment:
            device = {"id": one.device, "modelId": one.model, "status": "Online", "deviceType": one.kind, "roles": list(one.roles)}
            installations.setdefault(one.installation, {}).setdefault(one.gateway, []).append(device)
        return [
            {"id": id_, "description": "Home", "gateways": [{"serial": serial, "devices": devices} for serial, devices in gateways.items()]}
            for id_, gateways in installations.items()
        ]

    def _features(self, installation: int, gateway: str, device: str | None, at: float) -> list[dict[str, Any]] | None:
        known = [
            one for one in self.equipment if (one.installation, one.gateway) == (installation, gateway) and device in (None, one.device)
        ]
        if not known:
            return None
        told: list[dict[str, Any]] = []
        for one in known:
            base = f"{self.url}/iot/v2/features/installations/{installation}/gateways/{gateway}"
            for feature in one.features(at):
                own = feature["feature"].startswith("gateway.")
                where = base if own else f"{base}/devices/{one.device}"
                uri = f"{where}/features/{feature['feature']}"
                told.append({**feature, "gatewayId": gateway, "deviceId": None if own else one.device, "uri": uri})
        return told


def _json(status: int, said: object) -> _Answer:
    return _Answer(status, json.dumps(said).encode())


def _error(status: int, kind: str, message: str, payload: Mapping[str, object] | None = None) -> _Answer:
    said: dict[str, object] = {"viErrorId": "req-simulated", "statusCode": status, "errorType": kind, "message": message}
    return _json(status, {**said, "extendedPayload": dict(payload)} if payload is not None else said)
