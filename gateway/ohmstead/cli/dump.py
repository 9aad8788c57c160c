"""`ohmstead dump`: what somebody who helps needs to know of one device."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured, write_private

if TYPE_CHECKING:
    from ohmstead.config.model import Config


@click.command(
    epilog="""\b
Examples:
  ohmstead dump mtec -o mtec.json       asks the inverter once for everything that is read of it
  ohmstead dump mtec --stored           only what is known already; beside a running gateway the device is left alone
"""
)
@click.argument("device")
@CONFIGURATION
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write, for its owner only; else it is printed."
)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--stored", is_flag=True, help="Do not ask the device. Some take only one connection, which a running gateway has.")
def dump(device: str, file: Path, output: Path | None, force: bool, stored: bool) -> None:
    """Raw data of DEVICE for support, as JSON: configuration, versions, what the device says and what is kept of it. Passwords, keys and
    tokens are taken out; users, public addresses and places are only hinted at. Look through it all the same before you give it away."""

    def write(config: Config) -> None:
        if device not in config.devices:
            click.echo(f"{file}: there is no device {device!r} under `devices`; it has {', '.join(config.devices) or 'none'}", err=True)
            sys.exit(2)
        if output is not None and output.exists() and not force:
            click.echo(f"{output} is there already; name another file, or say --force", err=True)
            sys.exit(2)
        from ohmstead import dump as dumping
        from ohmstead.config.redacted import secrets
        from ohmstead.observe import logs

        logs.configure("console", "warning", config.zone, secrets(config), sys.stderr)
        text = json.dumps(dumping.dump(config, device, ask=not stored), indent=1, ensure_ascii=False, allow_nan=False, default=str)
        text = text.encode(errors="backslashreplace").decode()  # half a character of a device's name, as JSON writes it
        if output is None:
            click.echo(text)
        else:
            try:
                write_private(output, (text + "\n").encode())
            except OSError as error:
                click.echo(f"{output}: {error.strerror}", err=True)
                sys.exit(1)
            click.echo(f"{output}: {len(text) // 1000 + 1} kB of {device}; look through it before you give it away.")

    configured(write, file)
