"""`ohmstead node …`: one module for each command, loaded when it is asked for."""

from __future__ import annotations

from typing import ClassVar

import click

from ohmstead.cli.common import LazyGroup


class NodeCommands(LazyGroup):
    later: ClassVar[dict[str, str]] = {}


@click.group(cls=NodeCommands)
def node() -> None:
    """The nodes of this home: puts the software onto a board, looks after it, listens to it."""
