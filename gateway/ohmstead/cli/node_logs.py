"""`ohmstead node logs`: what happens at a node, as it happens."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ohmstead.cli.common import CONFIGURATION, configured, must_know
from ohmstead.cli.node import NODE, told

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.messages import Message
    from ohmstead.nodes.direct import Direct

_BAUD = 115_200


@click.command(
    epilog="""\b
Examples:
  ohmstead node logs cellar                       its events, over the broker
  ohmstead node logs cellar --port /dev/ttyUSB0   what it prints on its serial console
"""
)
@NODE
@CONFIGURATION
@click.option("--port", metavar="PORT", help="Show the serial console of the board at this port instead; the node runs on.")
@click.option("--for", "seconds", metavar="SECONDS", type=click.FloatRange(0.1), help="End after that long [default: Ctrl-C ends it].")
def logs(node: str, file: Path, port: str | None, seconds: float | None) -> None:
    """Shows what NODE reports: writes and their results, trips, bus counters, restarts. Ctrl-C ends it."""

    def show(config: Config) -> None:
        must_know(config, node, file)
        with told():
            if port is not None:
                _console(port, seconds)
            else:
                _events(config, node, seconds)

    configured(show, file)


def _events(config: Config, node: str, seconds: float | None) -> None:
    from ohmstead.nodes.direct import Direct

    with Direct(config, f"{node}/up/online", f"{node}/up/hello", f"{node}/up/event") as direct:
        click.echo(f"Listening to {node}. Ctrl-C ends it.", err=True)
        for _, kind, message in direct.messages(seconds):
            at = "(kept)  " if message.retain else f"{datetime.now(config.zone):%H:%M:%S}"
            if line := _line(direct, node, kind, message):
                click.echo(f"{at}  {line}")


def _line(direct: Direct, node: str, kind: str, message: Message) -> str:
    """What to show of a message; nothing for an event that was shown before."""
    from ohmstead.nodes.direct import hello_of
    from ohmstead.nodes.inbox import RefusedError

    if kind == "up/online":
        return message.payload.decode(errors="replace")[:40]
    if kind == "up/hello":
        hello = hello_of(message)
        return f"hello: {hello.firmware}, slot {hello.slot}, started by {hello.reset_cause}" if hello else "a hello that makes no sense"
    try:
        event = direct.event(node, message)
    except RefusedError as wrong:
        return f"an event that makes no sense: {wrong.reason}"
    return "" if event is None else f"{event.uptime_ms / 1000:>10.1f} s  {event.device or 'node':<12}  {event.kind}: {_said(event.detail)}"


def _said(detail: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in detail.items()) or "–"


def _console(port: str, seconds: float | None) -> None:
    """Bytes as they come. The port's control lines stay as they are when it is opened: changed one by one they restart many boards."""
    import time

    from ohmstead.nodes.port import MissingToolError, PortError, choose

    try:
        import serial  # type: ignore[import-untyped] # it comes without types
    except ImportError:
        raise MissingToolError("pyserial") from None
    chosen = choose(port)
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with serial.serial_for_url(chosen, baudrate=_BAUD, timeout=0.2) as line:
            click.echo(f"The console at {chosen}. Ctrl-C ends it.", err=True)
            while deadline is None or time.monotonic() < deadline:
                sys.stdout.write(line.read(line.in_waiting or 1).decode(errors="replace"))
                sys.stdout.flush()
    except OSError as error:
        raise PortError(f"{chosen}: {error}. Is its cable in, and no other program using it?") from None
