"""The batteries over HTTP: how they stand and why (`GET /api/control`, `/api/why`, `/api/audit`), and commands (`POST /api/control`).

Whoever commands shows the token of `web.token` (`Authorization: Bearer …`); without one in the configuration nobody commands over HTTP.
A body is JSON and says so, which no page of another origin can do unasked.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from ohmstead.control.arbiter import Arbiter
from ohmstead.control.arbitration import API
from ohmstead.control.document import document
from ohmstead.control.entrance import LEASE, MODE, RESET, STOP, Entrance
from ohmstead.errors import OhmsteadError
from ohmstead.store.trail import Trail

_FRESH = {"Cache-Control": "no-store"}
_MOST_BYTES = 4096
_MOST_RECORDS = 10_000
_STATUS = {"rejected": 409, "failed": 503}


@dataclass(frozen=True)
class Control:
    """What the routes need: the arbiter, the entrance for commands, the audit, and the token (None: nobody may command)."""

    arbiter: Arbiter
    entrance: Entrance
    trail: Trail
    token: str | None


def add_routes(app: FastAPI, control: Control) -> None:
    """Adds the routes to the gateway's own."""
    arbiter = control.arbiter

    @app.get("/api/control")
    async def standing() -> Response:
        return _json({device: document(view, arbiter.status(device)) for device, view in arbiter.devices.items()})

    @app.get("/api/why")
    async def why(control: str) -> Response:
        device, _, name = control.partition(".")
        view = arbiter.devices.get(device)
        named = view.by_word(name) if view is not None else None
        if named is None:
            return _json({"detail": f"there is no control {control[:80]!r}; say it as growatt.charge"}, 404)
        return _json({"control": f"{device}.{named.name}", "why": arbiter.why(device, named.name)})

    @app.get("/api/audit")
    async def audit(number: int = 100, device: str = "", before: int | None = None, since: float = 0.0, silent: bool = False) -> Response:
        if not 1 <= number <= _MOST_RECORDS or not 0 <= since < 1e11:
            return _json({"detail": f"`number` is from 1 to {_MOST_RECORDS}, `since` in UTC seconds"}, 422)
        try:
            found = await asyncio.to_thread(
                lambda: control.trail.last(number, device=device, silent=silent, before=before, since=round(since * 1000))
            )
        except OhmsteadError as error:
            return _json({"detail": str(error)}, 503)
        return _json(
            [
                {
                    "id": stored.id,
                    "time": stored.record.time / 1000,
                    "device": stored.record.device,
                    "event": json.loads(stored.record.event),
                    "decisions": json.loads(stored.record.decisions),
                }
                for stored in found
            ]
        )

    @app.post("/api/control")
    async def command(request: Request) -> Response:
        """`{"device", "control", "value", "seconds"?}`; `control` may also be mode, lease, stop or reset. 200: taken, 409: not."""
        refusal = _may_not(request, control.token)
        if refusal is not None:
            return refusal
        asked = await _object(request)
        if asked is None:
            return _json({"detail": f"no JSON object of at most {_MOST_BYTES} bytes"}, 422)
        device, name, value, seconds = (asked.get(key) for key in ("device", "control", "value", "seconds"))
        view = arbiter.devices.get(device) if isinstance(device, str) else None
        if view is None or not isinstance(name, str) or (name not in (MODE, LEASE, STOP, RESET) and view.by_word(name) is None):
            known = {device: [*view.controls, MODE, LEASE, STOP, RESET] for device, view in arbiter.devices.items()}
            return _json({"detail": "there is no such device and control", "known": known}, 404)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            return _json({"detail": "`value` is a text or a number"}, 422)
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float)):
            return _json({"detail": "`seconds` is a number"}, 422)
        named = view.by_word(name)
        outcome = await control.entrance.ask(
            view.name, name if named is None else named.name, "" if value is None else str(value), API, wanted_s=seconds
        )
        said = {"outcome": outcome.kind, "reason": str(outcome.reason), "detail": outcome.detail}
        return _json(said, _STATUS.get(outcome.kind, 200))


def _may_not(request: Request, token: str | None) -> Response | None:
    if token is None:
        return _json({"detail": "commands need a token: set web.token in ohmstead.yaml"}, 403)
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), token.encode()):
        return JSONResponse({"detail": "show the token: Authorization: Bearer …"}, 401, headers={**_FRESH, "WWW-Authenticate": "Bearer"})
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        return _json({"detail": "the body is JSON: Content-Type: application/json"}, 415)
    return None


async def _object(request: Request) -> dict[str, Any] | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            return None
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None


def _json(content: object, status: int = 200) -> JSONResponse:
    return JSONResponse(content, status, headers=_FRESH)
