"""The command line. Each command loads only what it needs.

Exit codes: 0 done, 1 something failed while running, 2 a mistake in the command line or the configuration.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

import ohmstead

if TYPE_CHECKING:
    from ohmstead.config.model import Config

_FILE = Path("ohmstead.yaml")
_LATER = ("simulate", "demo", "smoke")


class Commands(click.Group):
    """The commands here, and those of the simulation, which are loaded when they are asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *_LATER])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _LATER:
            return super().get_command(context, name)
        from ohmstead.sim import cli as simulation

        command: click.Command = getattr(simulation, name)
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="""\b
Examples:
  ohmstead check ohmstead.yaml          every mistake, with its line
  ohmstead run -c ohmstead.yaml         the gateway, until Ctrl-C
  ohmstead compile cellar -o config.ohm the configuration of the node `cellar`
  ohmstead demo                         all of it with simulated devices
""",
)
def main() -> None:
    """One appliance for a home's energy: reads inverters and meters, keeps and shows what they say, and decides who may command."""


def _configured(run: Callable[[Config], None], file: Path) -> None:
    """Runs `run` with the configuration; its mistakes go to stderr, exit code 2."""
    from ohmstead.config import load, summary
    from ohmstead.errors import ConfigurationError

    if not file.is_file():
        click.echo(f"{file}: there is no such file. Write one (the README has an example), or name yours with -c FILE.", err=True)
        sys.exit(2)
    try:
        config = load(file, os.environ)
        run(config)
    except ConfigurationError as error:
        click.echo(summary(error), err=True)
        sys.exit(2)


_CONFIGURATION = click.option(
    "-c",
    "--config",
    "file",
    default=_FILE,
    show_default=True,
    envvar="OHMSTEAD_CONFIG",
    type=click.Path(path_type=Path),
    help="The configuration of this home.",
)


@main.command(epilog="\b\nExample:\n  ohmstead run -c /etc/ohmstead/ohmstead.yaml")
@_CONFIGURATION
def run(file: Path) -> None:
    """The gateway, until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop takes it: as PID 1 there is no default for it

    def start(config: Config) -> None:
        from ohmstead import app
        from ohmstead.observe import logs

        logs.configure(config.log.format, config.log.level, config.zone, app.secrets(config))
        sys.exit(app.run(config))

    _configured(start, file)


@main.command(epilog="\b\nExample:\n  ohmstead check ohmstead.yaml")
@click.argument("file", default=_FILE, type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Reads a configuration, its environment and its profiles, and names every mistake with its line. Changes nothing."""

    def say(config: Config) -> None:
        counts = f"{_many(len(config.devices), 'device')}, {_many(len(config.nodes), 'node')}"
        click.echo(f"{file}: no mistakes ({counts}; broker {config.mqtt.host}:{config.mqtt.port}).")

    _configured(say, file)


@main.command(name="compile", epilog="\b\nExample:\n  ohmstead compile cellar -c ohmstead.yaml -o config.ohm")
@click.argument("node")
@_CONFIGURATION
@click.option("-o", "--output", default=Path("config.ohm"), show_default=True, type=click.Path(path_type=Path), help="The file to write.")
def compile_(node: str, file: Path, output: Path) -> None:
    """Writes the configuration file of the node NODE: polls planned, limits in raw values, the key with it. Keep it to yourself."""

    def write(config: Config) -> None:
        from ohmstead.nodes.compile import node_config

        if node not in config.nodes:
            click.echo(f"{file}: there is no node {node!r} under `nodes`; it has {', '.join(config.nodes) or 'none'}", err=True)
            sys.exit(2)
        compiled = node_config(config, node)
        _write_private(output, compiled)
        click.echo(f"{output}: {len(compiled)} bytes for node {node} ({', '.join(config.devices_of(node)) or 'no device'}).")

    _configured(write, file)


@main.command(epilog="\b\nExample:\n  ohmstead schema > ohmstead.schema.json")
def schema() -> None:
    """Prints the JSON schema of ohmstead.yaml, for completion and hints in editors."""
    import json

    from ohmstead.config.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@main.command()
def version() -> None:
    """Prints the version."""
    click.echo(f"ohmstead {ohmstead.__version__}")


def _write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    partial = path.with_name(path.name + ".tmp")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - created with its mode
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
