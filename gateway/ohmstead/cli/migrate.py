"""`ohmstead migrate`: an `ohmstead.yaml` out of what the former services were configured with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import FILE, many, write_private

if TYPE_CHECKING:
    from ohmstead.migrate.upstreams import Moved

NAMES = ("aiomtec2mqtt", "hoymiles-mqtt", "luxtronik-logger", "loxonesmarthome")
_HEADINGS = {"carried": "carried over", "not needed": "not needed any more", "not carried": "NOT carried over"}


@click.command(
    epilog="""\b
Examples:
  ohmstead migrate ~/.config/aiomtec2mqtt/config.yaml
  ohmstead migrate mtec/config.yaml hoymiles.env loxone/.env -o ohmstead.yaml
  ohmstead migrate docker-compose.yml             the services in it that are known
"""
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--from", "source", type=click.Choice(NAMES), help="Whose configuration it is; seen from its keys unless given.")
@click.option("-o", "--output", default=FILE, show_default=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--force", is_flag=True, help="Overwrite the file, and the files of secrets beside it, if they are there.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing. Secrets are not shown.")
def migrate(files: tuple[Path, ...], source: str | None, output: Path, force: bool, dry_run: bool) -> None:
    """Moves in from FILE...: configurations of aiomtec2mqtt or MTECmqtt, hoymiles-mqtt and its fork, luxtronik-logger, LoxoneSmartHome.

    Writes one ohmstead.yaml with the same topics and the same entities, says from which line each of its keys came, and what became of
    every key of the former files. Passwords go into files of their own. Nothing is overwritten unless you say --force.
    """
    from ohmstead.config import summary
    from ohmstead.errors import ConfigurationError
    from ohmstead.migrate.upstreams import move

    try:
        moved = move(files, source)
    except ConfigurationError as error:
        click.echo(summary(error), err=True)
        sys.exit(2)
    if dry_run:
        click.echo(moved.text, nl=False)
        _account(moved, err=True)
        return
    if not force and (there := [path for path in (output, *(output.parent / name for name in moved.secrets)) if path.exists()]):
        names = ", ".join(str(path) for path in there)
        click.echo(f"{names}: there already, and nothing was changed. Name another file with -o, or overwrite with --force.", err=True)
        sys.exit(1)
    try:
        _write(moved, output)
    except OSError as error:
        click.echo(f"{error.filename or output}: cannot be written: {(error.strerror or '').lower()}", err=True)
        sys.exit(1)
    _account(moved, err=False)
    secrets = f", {many(len(moved.secrets), 'secret')} beside it" if moved.secrets else ""
    if not moved.config.devices:
        click.echo(
            f"\n{output}: written{secrets}, but there is no device in it yet: add one under `devices`, or migrate its service as well."
        )
        return
    click.echo(f"\n{output}: {many(len(moved.config.devices), 'device')}{secrets}. It passes `ohmstead check`.")
    click.echo(f"Stop the former services, then: ohmstead run -c {output}")


def _write(moved: Moved, output: Path) -> None:
    for name, secret in moved.secrets.items():
        (output.parent / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(output.parent / name, f"{secret}\n".encode())
    partial = output.with_name(output.name + ".tmp")
    partial.write_text(moved.text, encoding="utf-8")
    partial.replace(output)


def _account(moved: Moved, *, err: bool) -> None:
    """What became of each key."""
    for service in moved.services:
        click.echo(f"{service.file} ({service.upstream}): {many(len(service.outcomes), 'key')}", err=err)
        for fate, heading in _HEADINGS.items():
            outcomes = [outcome for outcome in service.outcomes if outcome.fate == fate]
            if outcomes:
                click.echo(f"  {heading}", err=err)
            for outcome in outcomes:
                click.echo(f"    {outcome.key:32} {outcome.text}", err=err)
    for note in moved.notes:
        click.echo(note, err=err)
