"""`ohmstead node list`: what the nodes say about themselves."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ohmstead.cli.common import CONFIGURATION, configured
from ohmstead.cli.node import told

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.nodes.direct import NodeEvent
    from ohmstead.nodes.fleet import Hello

_UNKNOWN = "–"
_COLUMNS = ("node", "state", "firmware", "slot", "configuration", "started by", "bus errors", "latched")
_ERRORS = ("no_answer", "partial", "crc", "wrong")


@dataclass
class Heard:
    """What one node said while we listened; what it did not say is None."""

    online: bool | None = None
    hello: Hello | None = None
    errors: dict[str, int] = field(default_factory=dict)
    latched: str | None = None

    def take(self, event: NodeEvent) -> None:
        """Counters of a device's bus report; a latch and its end."""
        detail = event.detail
        if event.kind == "bus" and event.device:
            self.errors[event.device] = sum(detail[name] for name in _ERRORS if isinstance(detail.get(name), int))
        elif event.kind == "latch":
            self.latched = str(detail.get("cause", "yes"))
        elif event.kind == "reset":
            self.latched = ""
        elif event.kind == "link" and isinstance(detail.get("latched"), str):
            self.latched = detail["latched"]


@click.command(
    name="list",
    epilog="""\b
Examples:
  ohmstead node list
  ohmstead node list --listen 70     long enough for the counters of every bus, which come once a minute
""",
)
@CONFIGURATION
@click.option(
    "--listen",
    metavar="SECONDS",
    default=3.0,
    show_default=True,
    type=click.FloatRange(0.2, 3600),
    help="How long to listen; what a node says now and then stays unknown until it says it.",
)
def listing(file: Path, listen: float) -> None:
    """Every node of the configuration: whether it is there, what it runs, and why it last started."""

    def show(config: Config) -> None:
        from ohmstead.nodes.compile import config_hash, node_config

        if not config.nodes:
            click.echo(f"{file}: it has no nodes.")
            return
        with told():
            heard = _listen(config, listen)
        rows = [_COLUMNS, *(_row(name, heard[name], config_hash(node_config(config, name))) for name in config.nodes)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
        for row in rows:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    configured(show, file)


def _listen(config: Config, seconds: float) -> dict[str, Heard]:
    from ohmstead.nodes.direct import Direct, hello_of
    from ohmstead.nodes.inbox import RefusedError

    heard = {name: Heard() for name in config.nodes}
    with Direct(config, "+/up/online", "+/up/hello", "+/up/event") as direct:
        for name, kind, message in direct.messages(seconds):
            node = heard.get(name)
            if node is None:
                continue
            if kind == "up/online":
                node.online = message.payload == b"online"
            elif kind == "up/hello":
                node.hello = hello_of(message) or node.hello
            else:
                with suppress(RefusedError):  # garbage on the topic says nothing about the node
                    event = direct.event(name, message)
                    if event is not None:
                        node.take(event)
    return heard


def _row(name: str, heard: Heard, wanted: bytes) -> tuple[str, ...]:
    hello = heard.hello
    state = {True: "online", False: "offline", None: "never heard"}[heard.online]
    errors: Any = ", ".join(f"{device} {count}" for device, count in sorted(heard.errors.items())) or _UNKNOWN
    latched = {None: _UNKNOWN, "": "no"}.get(heard.latched, heard.latched)
    if hello is None:
        return (name, state, *([_UNKNOWN] * 4), errors, latched or _UNKNOWN)
    same = "as in the file" if hello.config_hash == wanted else "differs from the file"
    return (name, state, hello.firmware, hello.slot or _UNKNOWN, same, hello.reset_cause, errors, latched or _UNKNOWN)
