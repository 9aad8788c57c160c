"""`ohmstead node config`: a new configuration over the air."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured, must_know, write_private
from ohmstead.cli.node import NODE, told

if TYPE_CHECKING:
    from ohmstead.config.model import Config

_SENT = ".ohmstead"


@click.command(
    name="config",
    epilog="""\b
Examples:
  ohmstead node config cellar             shows what changes, asks, sends, waits until it works
  ohmstead node config cellar --dry-run   only shows
""",
)
@NODE
@CONFIGURATION
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what changes, send nothing.")
@click.option("--wait", "patience", metavar="SECONDS", default=150.0, show_default=True, type=click.FloatRange(1), help="For its proof.")
def configure(node: str, file: Path, yes: bool, dry_run: bool, patience: float) -> None:
    """Sends NODE what the configuration says now: polls, limits, broker, Wi-Fi, key. It goes on without a restart.

    A configuration with which the node does not find the broker within a minute is taken back by the node itself.
    """

    def run(config: Config) -> None:
        from ohmstead.nodes.compile import config_hash, node_config
        from ohmstead.nodes.direct import Direct
        from ohmstead.nodes.renewal import PATTERNS, Sent, await_configuration, difference, must_be_online
        from ohmstead.nodes.transfer import Transfer

        must_know(config, node, file)
        compiled = node_config(config, node)
        sent = Sent(file.parent / _SENT)
        with told(), Direct(config, *(f"{node}/{pattern}" for pattern in PATTERNS)) as direct:
            hello = must_be_online(direct, node)
            if hello.config_hash == config_hash(compiled):
                click.echo(f"{node} runs this configuration already.")
                return
            old = sent.with_hash(node, hello.config_hash)
            if old is None:
                click.echo(f"{node} runs a configuration ({hello.config_hash.hex()}) that was not sent from here. The new one:")
            else:
                click.echo(f"What changes at {node}:")
            for line in difference(old, compiled):
                click.echo(f"  {line}")
            if dry_run:
                return
            if not yes:
                click.confirm(f"Send it ({len(compiled)} bytes)?", abort=True)
            with click.progressbar(length=len(compiled), label="Sending") as bar:
                Transfer(direct, config, node, "config", compiled, lambda has: bar.update(has - bar.pos)).send()
            click.echo(f"{node} has it and tries it.")
            await_configuration(direct, node, compiled, click.echo, patience)
            sent.path(node).parent.mkdir(mode=0o700, exist_ok=True)
            write_private(sent.path(node), compiled)

    configured(run, file)
