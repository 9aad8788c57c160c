"""`ohmstead node update`: new software over the air."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured, must_know
from ohmstead.cli.keys import PRIVATE
from ohmstead.cli.node import NODE, told

if TYPE_CHECKING:
    from ohmstead.config.model import Config

_CHECKOUT = Path(__file__).resolve().parents[3]


@click.command(
    epilog="""\b
Examples:
  ohmstead node update cellar                            what `just node-image` built, signed with keys/update.pem
  ohmstead node update cellar --image new.pack --key ~/keys/update.pem
"""
)
@NODE
@CONFIGURATION
@click.option(
    "--image", metavar="PATH", type=click.Path(path_type=Path), help="An image's folder or its package [default: build/node-image]."
)
@click.option(
    "--key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What it is signed with [default: keys/update.pem beside the configuration].",
)
@click.option(
    "--wait", "patience", metavar="SECONDS", default=240.0, show_default=True, type=click.FloatRange(1), help="For its self-test."
)
def update(node: str, file: Path, image: Path | None, key: Path | None, patience: float) -> None:
    """Sends NODE new software: signed, in pieces, into the slot that does not run. It starts it, tests itself, and goes back if it fails.

    Interrupted, run it again: the node goes on where it was. The gateway may run or not.
    """

    def run(config: Config) -> None:
        from ohmstead.nodes.direct import Direct
        from ohmstead.nodes.package import image_id, modulus_of, read_private_key, sign
        from ohmstead.nodes.renewal import PATTERNS, RenewalError, await_update, must_be_online
        from ohmstead.nodes.transfer import Transfer

        must_know(config, node, file)
        with told():
            unsigned = _package(image or _CHECKOUT / "build" / "node-image")
            private = read_private_key(key or file.parent / "keys" / PRIVATE)
            known = config.nodes[node].update_key
            if known is not None and known != modulus_of(private):
                raise RenewalError(f"{node} would not believe this key: `update_key` of nodes.{node} in {file} is that of another pair")
            signed = sign(unsigned, private)
            with Direct(config, *(f"{node}/{pattern}" for pattern in PATTERNS)) as direct:
                hello = must_be_online(direct, node)
                click.echo(
                    f"{node}: {hello.firmware}, slot {hello.slot}. Sending package {image_id(unsigned)}, {len(signed) / 1024:.1f} KiB."
                )
                with click.progressbar(length=len(signed), label="Sending") as bar:
                    Transfer(direct, config, node, "update", signed, lambda has: bar.update(has - bar.pos)).send()
                click.echo(f"{node} has verified it and restarts.")
                await_update(direct, node, hello, click.echo, patience)

    configured(run, file)


def _package(path: Path) -> bytes:
    """The unsigned package at `path`: a file, or what is made of an image's folder."""
    from ohmstead.nodes.flash import read_software
    from ohmstead.nodes.package import MAGIC, PackageError, pack

    if path.is_dir():
        return pack(read_software(path, _CHECKOUT).image)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read: {error.strerror}; `just node-image` builds an image, --image names another") from None
    if not content.startswith(MAGIC):
        raise PackageError(f"{path}: no package of a node's software")
    return content
