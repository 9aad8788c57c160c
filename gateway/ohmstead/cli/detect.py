"""`ohmstead detect`: what is in the network, and what to write for it."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import many

if TYPE_CHECKING:
    from ohmstead.detect.finding import Finding

_PORT = click.IntRange(1, 65535)


@click.command(
    epilog="""\b
Examples:
  ohmstead detect                                this machine's own network, after a question
  ohmstead detect 192.0.2.0/24 --yes > found.yaml
  ohmstead detect 192.0.2.10 dtu.lan             two hosts
  ohmstead detect 192.0.2.10 --unit 1 --unit 2   all that is behind a bridge from TCP to RS485
"""
)
@click.argument("where", nargs=-1, metavar="[NETWORK|HOST]...")
@click.option("--yes", is_flag=True, help="Ask the network without asking you.")
@click.option(
    "--unit", "units", multiple=True, type=click.IntRange(0, 255), help="A Modbus unit instead of the usual ones; may be given again."
)
@click.option("--modbus", multiple=True, default=(502,), show_default=True, type=_PORT, help="Port of Modbus TCP; may be given again.")
@click.option("--luxtronik", default=8889, show_default=True, type=_PORT, help="Port of Luxtronik controllers.")
@click.option("--http", default=80, show_default=True, type=_PORT, help="Port of Shellys.")
@click.option("--patience", default=1.0, show_default=True, type=click.FloatRange(0.1, 30), help="Seconds that an answer is waited for.")
@click.option("--listen/--no-listen", default=True, help="Listen to Shellys that call by themselves (mDNS), wherever they are.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A new file for the proposal, instead of the terminal."
)
def detect(
    where: tuple[str, ...],
    yes: bool,
    units: tuple[int, ...],
    modbus: tuple[int, ...],
    luxtronik: int,
    http: int,
    patience: float,
    listen: bool,
    output: Path | None,
) -> None:
    """Looks for inverters and meters on Modbus TCP, Hoymiles DTUs, Shellys and Luxtronik heat pumps, and proposes what to write for them.

    Nothing is written to any device, and only a few registers of each are read. Without NETWORK or HOST it is this machine's own network.
    """
    from ohmstead.detect.addresses import nameless, own_network, spread
    from ohmstead.detect.finding import proposal
    from ohmstead.detect.survey import AT_ONCE, LISTENING_S, Ports, Survey

    if not where:
        network = own_network()
        if network is None:
            raise click.UsageError(
                "this machine is in no home network that could be searched; say which, e.g. ohmstead detect 192.0.2.0/24"
            )
        where = (network,)
    try:
        hosts = spread(where)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if output is not None and output.exists():
        click.echo(f"{output}: there already, and nothing was asked. Name another file.", err=True)
        sys.exit(1)
    ports = Ports(modbus, luxtronik, http)
    addresses = f"{len(hosts)} address{'' if len(hosts) == 1 else 'es'}"
    told = f"{addresses} ({', '.join(where)}), ports {', '.join(map(str, ports.all))}"
    click.echo(f"Asks {told}; at most {AT_ONCE} at once, a few reads of whoever answers. Nothing is written.", err=True)
    if not yes and not click.confirm("Go on?", default=False, err=True):
        click.echo("nothing was asked", err=True)
        sys.exit(1)

    if unknown := nameless(hosts):
        click.echo(f"{', '.join(unknown)}: there is no such name; give the address, e.g. 192.0.2.10. Nothing was asked.", err=True)
        sys.exit(1)

    async def search() -> tuple[list[Finding], list[str]]:
        with click.progressbar(length=len(hosts) * len(ports.all), label="asking", file=sys.stderr) as bar:
            survey = Survey(
                hosts, ports, units=units, patience_s=patience, listening_s=LISTENING_S if listen else 0.0, tick=lambda: bar.update(1)
            )
            return await survey.run(), survey.trouble

    for library in ("pymodbus", "pymodbus.logging", "httpx"):  # a request without an answer is what a search is made of
        logging.getLogger(library).setLevel(logging.CRITICAL)
    findings, trouble = asyncio.run(search())
    for line in trouble:
        click.echo(line, err=True)
    if not findings:
        click.echo(
            "Nothing that is known here answered. Is it switched on, in this network, and Modbus TCP enabled in its settings?", err=True
        )
        sys.exit(1)
    click.echo(f"{many(len(findings), 'device')} found.", err=True)
    text = proposal(findings)
    if output is None:
        click.echo(text, nl=False)
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            click.echo(f"{output}: cannot be written: {(error.strerror or '').lower()}", err=True)
            sys.exit(1)
        click.echo(f"{output}: written", err=True)
