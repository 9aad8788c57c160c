"""`ohmstead node …`: one module for each command, loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import click

from ohmstead.cli.common import LazyGroup

PORT = click.option("--port", metavar="PORT", help="The serial port of the board; found by itself where only one is plugged in.")
NODE = click.argument("node", metavar="NODE")


class NodeCommands(LazyGroup):
    later: ClassVar[dict[str, str]] = {
        "config": "ohmstead.cli.node_config:configure",
        "flash": "ohmstead.cli.node_flash:flash",
        "list": "ohmstead.cli.node_list:listing",
        "logs": "ohmstead.cli.node_logs:logs",
        "scan": "ohmstead.cli.node_scan:scan",
        "shell": "ohmstead.cli.node_shell:shell",
        "update": "ohmstead.cli.node_update:update",
    }


@click.group(
    cls=NodeCommands,
    epilog="""\b
Examples:
  ohmstead node flash cellar      makes the board on USB the node `cellar`
  ohmstead node update cellar     new software over the air
  ohmstead node config cellar     what ohmstead.yaml says now, over the air
  ohmstead node list              what the nodes say about themselves
  ohmstead node logs cellar       what happens there, as it happens
  ohmstead node scan cellar       which units answer on its bus
""",
)
def node() -> None:
    """The nodes of this home: puts the software onto a board, looks after it, listens to it."""


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong inside is told on stderr, exit code 1; Ctrl-C ends with 130."""
    from ohmstead.errors import ConfigurationError, OhmsteadError

    try:
        yield
    except ConfigurationError:
        raise
    except OhmsteadError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
