"""The command line. Each command loads only what it needs.

Exit codes: 0 done, 1 something failed while running, 2 a mistake in the command line or the configuration.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

import ohmstead
from ohmstead.cli.common import CONFIGURATION, LazyGroup, configured, many, must_have_a_device, must_know, write_private
from ohmstead.errors import in_words

if TYPE_CHECKING:
    from ohmstead.config.model import Config


class Commands(LazyGroup):
    """The commands here, and those that are loaded when they are asked for."""

    later: ClassVar[dict[str, str]] = {
        "audit": "ohmstead.cli.audit:audit",
        "demo": "ohmstead.sim.cli:demo",
        "detect": "ohmstead.cli.detect:detect",
        "dump": "ohmstead.cli.dump:dump",
        "export": "ohmstead.cli.export:export",
        "keys": "ohmstead.cli.keys:keys",
        "loxone": "ohmstead.cli.loxone:loxone",
        "migrate": "ohmstead.cli.migrate:migrate",
        "node": "ohmstead.cli.node:node",
        "replay": "ohmstead.cli.audit:replay",
        "simulate": "ohmstead.sim.cli:simulate",
        "smoke": "ohmstead.sim.cli:smoke",
        "status": "ohmstead.cli.status:status",
        "vicare": "ohmstead.cli.vicare:vicare",
        "why": "ohmstead.cli.audit:why",
    }


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="""\b
Examples:
  ohmstead check ohmstead.yaml          every mistake, with its line
  ohmstead run -c ohmstead.yaml         the gateway, until Ctrl-C
  ohmstead status                       how each device is
  ohmstead compile cellar -o config.ohm the configuration of the node `cellar`
  ohmstead demo                         all of it with simulated devices
""",
)
@click.version_option(ohmstead.__version__, message="ohmstead %(version)s", help="Print the version.")
def main() -> None:
    """One appliance for a home's energy: reads inverters and meters, keeps and shows what they say, and decides who may command."""


@main.command(
    epilog="""\b
Examples:
  ohmstead run -c /etc/ohmstead/ohmstead.yaml
  ohmstead run --dry-run                  what would be read, a line for each reading; the home does not notice
"""
)
@CONFIGURATION
@click.option("--dry-run", "dry", is_flag=True, help="Reads and shows; publishes and writes nothing, and keeps nothing.")
def run(file: Path, dry: bool) -> None:
    """The gateway, until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop takes it: as PID 1 there is no default for it

    def start(config: Config) -> None:
        must_have_a_device(config, file)
        from ohmstead.config.redacted import secrets
        from ohmstead.observe import logs
        from ohmstead.observe.logfile import LogFile

        said, hidden = config.log, secrets(config)
        if dry:
            from ohmstead import dryrun

            logs.configure(said.format, said.level, config.zone, hidden, sys.stderr, levels=said.levels)
            sys.exit(dryrun.run(config))
        from ohmstead import app

        kept = None if said.file is None else LogFile(said.file, said.size, said.keep)
        logs.configure(said.format, said.level, config.zone, hidden, levels=said.levels, file=kept)
        sys.exit(app.run(config))

    configured(start, file)


@main.command(epilog="\b\nExample:\n  ohmstead check ohmstead.yaml")
@click.argument("named", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@CONFIGURATION
def check(named: Path | None, file: Path) -> None:
    """Reads a configuration, its environment and its profiles, and names every mistake with its line. Changes nothing."""
    file = named or file

    def say(config: Config) -> None:
        must_have_a_device(config, file)
        counts = f"{many(len(config.devices), 'device')}, {many(len(config.nodes), 'node')}"
        click.echo(f"{file}: no mistakes ({counts}; broker {config.mqtt.host}:{config.mqtt.port}).")
        from ohmstead.batteries import uncommanded

        for device, why in uncommanded(config).items():
            click.echo(f"{file}: devices.{device}: {why}.")

    configured(say, file)


@main.command(name="compile", epilog="\b\nExample:\n  ohmstead compile cellar -c ohmstead.yaml -o config.ohm")
@click.argument("node")
@CONFIGURATION
@click.option(
    "-o",
    "--output",
    default=Path("config.ohm"),
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.",
)
def compile_(node: str, file: Path, output: Path) -> None:
    """Writes the configuration file of the node NODE: polls planned, limits in raw values, the key with it. Keep it to yourself."""

    def write(config: Config) -> None:
        from ohmstead.nodes.compile import node_config

        must_know(config, node, file)
        compiled = node_config(config, node)
        try:
            write_private(output, compiled)
        except OSError as error:
            click.echo(f"{output}: cannot be written: {in_words(error)}; name another file with -o", err=True)
            sys.exit(1)
        click.echo(f"{output}: {len(compiled)} bytes for node {node} ({', '.join(config.devices_of(node)) or 'no device'}).")

    configured(write, file)


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
