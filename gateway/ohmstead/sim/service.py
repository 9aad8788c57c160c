"""What answers HTTP for those that are simulated: in a thread of its own, stopped and started again on the same port."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class HttpService(ABC):
    """An HTTP server; each request goes to `_serve`. Port 0 takes a free one. Use it as a context, or `start` and `stop` it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self._kind_again = threading.Event()
        """Whoever makes a client wait waits for this; an end sets it."""
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> Self:
        """Serves; on the same port as before after a `stop`. Raises OSError where the port is not to be had."""
        self._kind_again.clear()
        self._server = server = ThreadingHTTPServer((self.host, self.port), self._handler())
        server.daemon_threads = True
        self.port = int(server.server_address[1])
        name = type(self).__name__
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name=name, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Nobody answers any more."""
        self._kind_again.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @abstractmethod
    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answers a request, `GET` or `POST`, with `answered`."""

    def _date(self) -> float | None:
        """The UTC second that answers carry as their date; None: that of the clock."""
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service._serve(self, b"")

            def do_POST(self) -> None:
                service._serve(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(service._date() if timestamp is None else timestamp, usegmt=True)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                """Nobody reads it."""

        return Handler


def answered(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    cut: int | None = None,
    drip: Callable[[], bool] | None = None,
) -> None:
    """Sends an answer and ends the connection. `cut`: only so many octets of the body; `drip`: an octet at a time, with this pause after
    each, until it says True. Whoever has gone meanwhile is nobody's error."""
    try:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if drip is None:
            request.wfile.write(body[:cut])
        else:
            for octet in body:
                request.wfile.write(bytes((octet,)))
                if drip():
                    break
    except OSError:
        pass  # who asked has gone meanwhile
    request.close_connection = True
