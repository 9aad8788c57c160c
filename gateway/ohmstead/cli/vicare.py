"""`ohmstead vicare`: letting the gateway into a Viessmann account."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from ohmstead.cli.common import CONFIGURATION, configured

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.config.vicare import VicareDevice
    from ohmstead.sources.vicare_login import Flow

_WAIT_S = 300.0
_DONE = "Done. The gateway may read this account; this window can be closed."
_FAILED = "That did not work. The terminal in which `ohmstead vicare login` runs says why."

_BEFORE = """\
1. At https://app.developer.viessmann-climatesolutions.com the account needs a client with the redirect URI
     {redirect}
   Its client ID belongs into {file}: devices: {{{device}: {{source: vicare, client_id: …}}}}. It has {client_id}.
2. Open this address in a browser and log in there as the owner of the heating:

{address}
"""
_WAITS = """
3. The browser comes back to this computer, and that is all. Waiting for it (Ctrl-C ends it).
   If the browser runs on another computer, start again with --paste."""
_PASTES = """
3. At the end the browser shows a page that cannot be opened. That is as it should be: copy its whole address from the address bar."""


@click.group()
def vicare() -> None:
    """Viessmann accounts: letting the gateway in."""


@vicare.command(
    epilog="""\b
Examples:
  ohmstead vicare login
      the browser is on this computer
  ohmstead vicare login heating --paste
      it is on another one: the address at which it ends is copied here
"""
)
@click.argument("device", required=False)
@CONFIGURATION
@click.option("--redirect", metavar="URI", help="The redirect URI of the account's client; http://localhost:4200/ unless given.")
@click.option("--paste", is_flag=True, help="Ask for the address at which the browser ends, instead of waiting for it.")
@click.option("--wait", "wait_s", default=_WAIT_S, show_default=True, type=click.FloatRange(1), help="Seconds to wait for the browser.")
def login(device: str | None, file: Path, redirect: str | None, paste: bool, wait_s: float) -> None:
    """Gets the first token for DEVICE, which is not needed where there is only one, and keeps it where the gateway looks for it.

    The password is typed into Viessmann's own page and nowhere else. A running gateway finds the token by itself.
    """

    def do(config: Config) -> None:
        from ohmstead.errors import OhmsteadError
        from ohmstead.sources.vicare_login import BROWSER_REDIRECT, Flow

        name, chosen = _chosen(config, device, file)
        flow = Flow.begin(chosen.client_id, redirect or BROWSER_REDIRECT)
        try:
            _log_in(config, name, chosen, flow, paste, wait_s, file)
        except OhmsteadError as error:
            click.echo(f"Not logged in: {error}", err=True)
            sys.exit(1)
        except OSError as error:
            click.echo(f"Not logged in: {error.filename or ''} {error.strerror or error}", err=True)
            sys.exit(1)

    configured(do, file)


def _chosen(config: Config, device: str | None, file: Path) -> tuple[str, VicareDevice]:
    """The device to log in for. Ends the command with advice where there is none or more than one."""
    from ohmstead.config.vicare import VicareDevice

    accounts = {name: one for name, one in config.devices.items() if isinstance(one, VicareDevice)}
    if device is None and len(accounts) == 1:
        return next(iter(accounts.items()))
    if device in accounts:
        return device, accounts[device]
    if not accounts:
        text = "there is no Viessmann account. Add one:\n\ndevices:\n  heating: {source: vicare, client_id: <of the developer portal>}"
    elif device is None:
        text = f"which one? There are {', '.join(accounts)}"
    else:
        text = f"{device!r} is no Viessmann account; there is {', '.join(accounts)}"
    click.echo(f"{file}: {text}", err=True)
    sys.exit(2)


def _log_in(config: Config, device: str, chosen: VicareDevice, flow: Flow, paste: bool, wait_s: float, file: Path) -> None:
    from ohmstead.sources.vicare_budget import Allowance, Budget
    from ohmstead.sources.vicare_cloud import Account, Cloud
    from ohmstead.sources.vicare_login import Endpoints
    from ohmstead.sources.vicare_token import TokenFile

    endpoints, path = Endpoints.of(chosen.cloud), chosen.token_kept(device, config.store.path)
    forgetful = _Forgetful()
    budget = Budget(Allowance(), forgetful, "requests", time.time)
    cloud = Cloud(Account(flow.client_id), TokenFile(path), budget, forgetful, "login", endpoints=endpoints)

    def finish(sent_to: str) -> None:
        cloud.log_in(flow, flow.code(sent_to))

    address = flow.address(endpoints)
    click.echo(_BEFORE.format(redirect=flow.redirect, file=file, device=device, client_id=flow.client_id, address=address))
    try:
        if paste:
            click.echo(_PASTES)
            finish(click.prompt("Address", prompt_suffix=": "))
        else:
            _by_browser(flow, finish, wait_s)
    finally:
        cloud.close()
    click.echo(f"Logged in. The token is in {path}, which only this user can read. The gateway finds it with its next poll")
    click.echo("(restart it to have it do so at once), and renews it by itself from then on.")


def _by_browser(flow: Flow, finish: Callable[[str], None], wait_s: float) -> None:
    """Waits at the redirect URI for the browser. Raises OhmsteadError where it brings no code."""
    from ohmstead.errors import NoAnswer, WrongAnswer

    try:
        where = urlsplit(flow.redirect)
        host, port = where.hostname, 80 if where.port is None else where.port
    except ValueError as error:
        raise WrongAnswer(f"--redirect {flow.redirect} is no address; write it like http://localhost:4200/") from error
    if where.scheme != "http" or host not in ("localhost", "127.0.0.1") or not port:
        raise WrongAnswer(f"nobody comes back to this computer by {flow.redirect}; use --paste, or --redirect http://localhost:4200/")
    visit = _Visit(finish)
    try:
        server = HTTPServer((host, port), visit.handler())
    except OSError as error:
        raise WrongAnswer(f"{flow.redirect}: cannot be listened on here ({error.strerror}); use --paste") from error
    click.echo(_WAITS)
    server.timeout = 0.2
    deadline = time.monotonic() + wait_s
    try:
        while not visit.over.is_set():
            server.handle_request()
            if time.monotonic() > deadline:
                raise NoAnswer(f"no browser came back within {wait_s:g} s; try again, or use --paste")
    finally:
        server.server_close()
    if visit.failure is not None:
        raise visit.failure


class _Visit:
    """The browser's way back. What it brings is tried at once, so that the page can say how it went."""

    def __init__(self, finish: Callable[[str], None]) -> None:
        self.over = threading.Event()
        self.failure: Exception | None = None
        self._finish = finish

    def handler(self) -> type[BaseHTTPRequestHandler]:
        visit = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                visit._take(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                """The address holds the code."""

        return Handler

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        if not {"code", "error"} & {part.partition("=")[0] for part in request.path.partition("?")[2].split("&")}:
            request.send_error(404)  # the icon of the page, say
            return
        try:
            self._finish(request.path)
        except Exception as error:  # noqa: BLE001 - told by whoever waits
            self.failure = error
        self.over.set()  # also where the browser does not stay for the page
        body = (_DONE if self.failure is None else _FAILED).encode()
        with contextlib.suppress(ConnectionError):  # who has gone already needs no page; the terminal says how it went
            request.send_response(200 if self.failure is None else 400)
            request.send_header("Content-Type", "text/plain; charset=utf-8")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)


class _Forgetful:
    """Two requests that nobody has to remember."""

    def read(self, _key: str) -> str | None:
        return None

    def write(self, _key: str, _value: str) -> None:
        """Nothing is kept."""
