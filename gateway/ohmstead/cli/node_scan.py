"""`ohmstead node scan`: which units answer on a bus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured, must_know
from ohmstead.cli.node import NODE, told

if TYPE_CHECKING:
    from ohmstead.config.model import Config

FIRST_UNIT, LAST_UNIT = 1, 247
"""The units of a Modbus line (Modbus over serial line V1.02, 2.2)."""

_UNIT = click.IntRange(FIRST_UNIT, LAST_UNIT)


@click.command(
    epilog="""\b
Examples:
  ohmstead node scan cellar                  all units of its first bus
  ohmstead node scan cellar --from 1 --to 20
  ohmstead node scan cellar --bus 1          of its second bus
"""
)
@NODE
@CONFIGURATION
@click.option("--bus", default=0, show_default=True, type=click.IntRange(0, 15), help="Which bus, counted from 0 in the order of the file.")
@click.option("--from", "first", default=FIRST_UNIT, show_default=True, type=_UNIT, help="The first unit to ask.")
@click.option("--to", "last", default=LAST_UNIT, show_default=True, type=_UNIT, help="The last unit to ask.")
def scan(node: str, file: Path, bus: int, first: int, last: int) -> None:
    """Asks every unit on a bus of NODE for one register and says who answered. Nothing is written; polling goes on meanwhile."""
    if last < first:
        raise click.UsageError(f"--to {last} is before --from {first}")

    def run(config: Config) -> None:
        from ohmstead.nodes import survey
        from ohmstead.nodes.direct import Direct

        must_know(config, node, file)
        polled = {config.unit(device): device for device in config.devices_of(node)}
        count = 0
        most = survey.longest(first, last)
        click.echo(f"{node}: asking units {first} to {last}, at most {most:g} s. Ctrl-C ends the waiting.", err=True)
        with told(), Direct(config, f"{node}/up/online", f"{node}/up/event") as direct:
            for part in survey.scan(direct, config, node, first, last, bus):
                for unit in part.units:
                    count += 1
                    click.echo(f"  unit {unit}{f'  {polled[unit]}' if unit in polled else ''}")
                if part.done:
                    click.echo(f"{part.bus}: {count} of {last - first + 1} units answered.")

    configured(run, file)
