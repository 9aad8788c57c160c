"""`ohmstead keys`: the secrets of a home's nodes."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import click

from ohmstead.errors import in_words

KEY_BYTES = 32
PRIVATE, PUBLIC = "update.pem", "update.pub"


@click.command(
    epilog="""\b
Examples:
  ohmstead keys cellar attic     keys/cellar.key, keys/attic.key, and the pair that signs updates
  ohmstead keys cellar --folder /etc/ohmstead/keys
"""
)
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True)
@click.option("--folder", default=Path("keys"), show_default=True, type=click.Path(path_type=Path), help="Where they are kept.")
def keys(nodes: tuple[str, ...], folder: Path) -> None:
    """Makes a key for each NODE, and the RSA pair by which nodes know genuine updates. What is there already is left as it is.

    Only you can read the files. Keep `update.pem` where you run `ohmstead node update`, not on the machine of the gateway, and a copy of
    it elsewhere: without it no node takes an update over the air any more.
    """
    from ohmstead.nodes.package import PackageError, new_key_pair

    for node in nodes:
        if not node or not all(character in "abcdefghijklmnopqrstuvwxyz0123456789_-" for character in node):
            raise click.UsageError(f"{node!r} is no name for a node (a-z, 0-9, _ and -)")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for node in nodes:
            _make(folder / f"{node}.key", (secrets.token_hex(KEY_BYTES) + "\n").encode())
        if (folder / PRIVATE).exists():
            click.echo(f"{folder / PRIVATE}: is there already, left as it is")
            if not (folder / PUBLIC).exists():
                command = f"openssl pkey -in {folder / PRIVATE} -pubout -out {folder / PUBLIC}"
                raise PackageError(f"{folder / PUBLIC} is missing beside it; make it of that one: {command}")
        else:
            private, public = new_key_pair()
            if _make(folder / PUBLIC, public):
                _make(folder / PRIVATE, private)
            else:
                raise PackageError(f"{folder / PUBLIC} has lost its {PRIVATE}; move it away if a new pair is to be made")
    except OSError as error:
        click.echo(f"{error.filename or folder}: {in_words(error)}; name another folder with --folder", err=True)
        sys.exit(1)
    except PackageError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    click.echo("\nIn ohmstead.yaml:\n  nodes:")
    for node in nodes:
        click.echo(f"    {node}: {{…, key_file: {folder / f'{node}.key'}, update_key_file: {folder / PUBLIC}}}")


def _make(path: Path, content: bytes) -> bool:
    """Writes a new file that only its owner can read; False, and nothing, where there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        click.echo(f"{path}: is there already, left as it is")
        return False
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - created with its mode
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()
        raise
    click.echo(f"{path}: made")
    return True
