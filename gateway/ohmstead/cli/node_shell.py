"""`ohmstead node shell`: MicroPython's prompt on a board."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured, must_know
from ohmstead.cli.node import NODE, PORT, told

if TYPE_CHECKING:
    from ohmstead.config.model import Config


@click.command(epilog="\b\nExample:\n  ohmstead node shell cellar --port /dev/ttyUSB0")
@NODE
@CONFIGURATION
@PORT
def shell(node: str, file: Path, port: str | None) -> None:
    """MicroPython's prompt on the board of NODE, over its serial port. Ctrl-] (or Ctrl-X) leaves.

    The node runs on until Ctrl-C stops it; Ctrl-D at the prompt, or the board's reset button, starts it again. Stopped, it neither
    reads nor keeps limits, and its watchdog starts it again within half a minute.
    """

    def run(config: Config) -> None:
        from ohmstead.nodes.port import MissingToolError, choose

        must_know(config, node, file)
        with told():
            if importlib.util.find_spec("mpremote") is None:
                raise MissingToolError("mpremote")
            chosen = choose(port)
            click.echo(f"{node} at {chosen}: Ctrl-C stops the node, Ctrl-D starts it again, Ctrl-] leaves.", err=True)
            command = [sys.executable, "-m", "mpremote", "connect", chosen, "resume", "repl"]
            sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own Python and mpremote

    configured(run, file)
