"""The gateway's web side: `/health`, `/ready`, `/metrics`, `/stats`, the live page and what it lives on.

The three probes are under `/api/health`, `/api/ready` and `/api/stats` as well, where they are also ours when the old places answer as a
former service did (`web.compatible`).

Everything but commands to batteries (`web.control`) is read-only. `/health` answers 200 while the gateway can do its work and 503 when
nothing can be stored; a broker or an inverter that is away is told in the answer and keeps it at 200, since no restart of the gateway would
bring it back.
`/ready` answers at once whatever the broker does: 503 with the reason until its first answer, or the first failure to get one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from ohmstead.observe.live import LiveDocument
from ohmstead.observe.overview import Overview
from ohmstead.web.control import Control, add_routes

if TYPE_CHECKING:
    from ohmstead.observe.hoymiles import Answer as FormerAnswer

log = structlog.get_logger(service="web")

PAGE = Path(__file__).with_name("page")
THROTTLE_S = 0.5
"""No client gets the document more often than this."""

HEARTBEAT_S = 5.0
"""A client gets it at least this often: ages grow even when nothing comes."""

MOST_STREAMS = 50
"""So many live streams at once; who comes then is told to come again."""

_MOST_CONNECTIONS = 256
_CLOSE_S = 1
_ASKED = ["GET", "HEAD"]
_FRESH = {"Cache-Control": "no-store"}
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Live:
    """The live document as text, composed once for all clients that ask at the same moment."""

    def __init__(self, overview: Overview, control: Control | None = None) -> None:
        self.closing = asyncio.Event()
        self.streams = 0
        self._overview = overview
        self._document = LiveDocument(overview, None if control is None else control.arbiter)
        self._text = ""
        self._composed = float("-inf")

    def text(self) -> str:
        now = self._overview.mono()
        if now - self._composed >= THROTTLE_S / 2:
            self._text = json.dumps(self._document.compose(), ensure_ascii=False)
            self._composed = now
        return self._text

    async def events(self) -> AsyncGenerator[str, None]:
        """Server-sent events, until the client or the gateway goes."""
        self.streams += 1
        try:
            yield "retry: 2000\n\n"
            while not self.closing.is_set():
                yield f"data: {self.text()}\n\n"
                await self._either(asyncio.sleep(THROTTLE_S))
                await self._either(self._overview.latest.changed(HEARTBEAT_S - THROTTLE_S))
        finally:
            self.streams -= 1

    async def _either(self, wait: Any) -> None:
        """Waits, but not beyond the closing."""
        waiting = asyncio.ensure_future(wait)
        closing = asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            closing.cancel()


class _PageFiles(StaticFiles):
    """What the page consists of, under the same rules as the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_SECURITY)
        return response


def make_app(overview: Overview, live: Live, control: Control | None = None) -> FastAPI:
    """The routes; `/api/docs` describes them."""
    app = FastAPI(title="ohmstead", version=overview.version, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    made: dict[str, Any] = {}

    @app.api_route("/api/health", methods=_ASKED)
    async def health() -> Response:
        said = overview.health()
        return JSONResponse(said, 200 if said["ok"] else 503, headers=_FRESH)

    @app.api_route("/api/ready", methods=_ASKED)
    async def ready() -> Response:
        reason = overview.not_ready()
        said = {"ready": False, "reason": reason} if reason else {"ready": True}
        return JSONResponse(said, 503 if reason else 200, headers=_FRESH)

    @app.get("/api/stats")
    async def stats() -> Response:
        return JSONResponse(overview.stats(), headers=_FRESH)

    _add_probes(app, overview, health, ready, stats)

    @app.get("/metrics")
    async def metrics() -> Response:
        from ohmstead.observe.metrics import Metrics  # only where somebody scrapes

        made.setdefault("metrics", None)
        if made["metrics"] is None:
            made["metrics"] = Metrics(overview)
        return Response(made["metrics"].text(), media_type="text/plain; version=0.0.4; charset=utf-8", headers=_FRESH)

    @app.get("/api/now")
    async def now() -> Response:
        return Response(live.text(), media_type="application/json", headers=_FRESH)

    @app.get("/api/plan")
    async def plan() -> Response:
        made = overview.plan()
        if made is None:
            return JSONResponse({"detail": "there is no plan: `prices` are not configured, or none was made yet"}, 404, headers=_FRESH)
        return Response(made.as_json(), media_type="application/json", headers=_FRESH)

    @app.get("/api/live")
    async def events() -> Response:
        if live.streams >= MOST_STREAMS:
            log.warning("too many live streams", streams=live.streams)
            return JSONResponse({"detail": f"{live.streams} live streams are open already"}, 503, headers={**_FRESH, "Retry-After": "10"})
        headers = {**_FRESH, "X-Accel-Buffering": "no"}
        return StreamingResponse(live.events(), media_type="text/event-stream", headers=headers)

    if control is not None:
        add_routes(app, control)

    if (PAGE / "index.html").is_file():
        app.mount("/page", _PageFiles(directory=PAGE))

        @app.api_route("/", methods=_ASKED, include_in_schema=False)
        async def page() -> Response:
            return FileResponse(PAGE / "index.html", headers={**_FRESH, **_SECURITY})

    return app


Answer = Callable[[], Awaitable[Response]]


def _add_probes(app: FastAPI, overview: Overview, health: Answer, ready: Answer, stats: Answer) -> None:
    """What probes ask: our own answers, or those of a former service whose probes are to go on."""
    if "hoymiles-mqtt" in overview.config.web.compatible:
        from ohmstead.observe.hoymiles import HoymilesMqtt

        fork = HoymilesMqtt(overview)
        health, ready, stats = (_as_response(say) for say in (fork.health, fork.ready, fork.stats))
    app.add_api_route("/health", health, methods=_ASKED)
    app.add_api_route("/ready", ready, methods=_ASKED)
    app.add_api_route("/stats", stats, methods=["GET"])


def _as_response(say: Callable[[], FormerAnswer]) -> Answer:
    async def answer() -> Response:
        status, body, media = say()
        return Response(body, status, media_type=media, headers=_FRESH)

    return answer


class WebServer:
    """uvicorn in the gateway's own loop. `start` listens (OSError where the address is taken), `run` until cancelled, then `close`."""

    def __init__(self, overview: Overview, host: str, port: int, control: Control | None = None) -> None:
        self._live = Live(overview, control)
        self._host = host
        self._port = port
        config = uvicorn.Config(
            make_app(overview, self._live, control),
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            ws="none",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_CLOSE_S,
        )
        self._server = _Server(config)
        self._sockets: list[socket.socket] = []

    def listen(self) -> None:
        """Takes the address. Raises OSError."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._sockets = [socket.create_server((self._host, self._port), family=family)]

    @property
    def port(self) -> int:
        return int(self._sockets[0].getsockname()[1]) if self._sockets else self._port

    async def run(self) -> None:
        """Serves until `close`."""
        log.info("page", address=f"http://{'localhost' if self._host in ('0.0.0.0', '127.0.0.1') else self._host}:{self.port}/")
        await self._server.serve(sockets=self._sockets)

    def close(self) -> None:
        """Ends the live streams at once and the server with them; `run` returns."""
        self._live.closing.set()
        self._server.end()


class _Server(uvicorn.Server):
    """uvicorn without a clock of its own (it would wake ten times a second) and without hands on our signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._end.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._end.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
