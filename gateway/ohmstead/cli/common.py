"""What several commands share: which configuration, which node, and files that only their owner reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.store.protocol import Store

FILE = Path("ohmstead.yaml")

CONFIGURATION = click.option(
    "-c",
    "--config",
    "file",
    default=FILE,
    show_default=True,
    envvar="OHMSTEAD_CONFIG",
    type=click.Path(path_type=Path),
    help="The configuration of this home.",
)


class LazyGroup(click.Group):
    """A group whose further commands are loaded when they are asked for. `later`: their names, and where they are (module:name)."""

    later: ClassVar[dict[str, str]] = {}

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *self.later])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.later:
            return super().get_command(context, name)
        module, _, attribute = self.later[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.list_commands(context), n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", context) from error


def configured(run: Callable[[Config], None], file: Path) -> None:
    """Runs `run` with the configuration; its mistakes go to stderr, exit code 2."""
    from ohmstead.config import load, summary
    from ohmstead.errors import ConfigurationError

    if not file.is_file():
        what = "is a folder" if file.is_dir() else "is no file" if file.exists() else "there is no such file"
        click.echo(f"{file}: {what}. Write a configuration (the README has an example), or name yours with -c FILE.", err=True)
        sys.exit(2)
    try:
        config = load(file, os.environ)
        run(config)
    except ConfigurationError as error:
        click.echo(summary(error), err=True)
        sys.exit(2)


_NOTHING_TO_RUN = """\
{file}: no mistakes, but no device either: there is nothing to run. Add one, for instance

devices:
  mtec: {{profile: mtec-energybutler, via: tcp://192.0.2.10}}

with the address of your inverter, or with the name of a node under `nodes` for `via`."""


def must_have_a_device(config: Config, file: Path) -> None:
    """Ends the command with exit code 2, and with advice, when there is nothing to run."""
    if not config.devices:
        click.echo(_NOTHING_TO_RUN.format(file=file), err=True)
        sys.exit(2)


@contextmanager
def opened_store(config: Config) -> Iterator[Store]:
    """The home's store, also beside a running gateway; ends the command with exit code 1, and with advice, where there is none."""
    import logging

    import structlog

    from ohmstead.store.protocol import StoreError
    from ohmstead.store.sqlite import SqliteStore

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if not config.store.path.is_file():
        click.echo(f"{config.store.path}: there is no store yet; the gateway makes it at its first start", err=True)
        sys.exit(1)
    try:
        store = SqliteStore(config.store.path)
    except StoreError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    try:
        yield store
    finally:
        store.close()


def must_know(config: Config, node: str, file: Path) -> None:
    """Ends the command with exit code 2 when the configuration has no such node."""
    if node not in config.nodes:
        click.echo(f"{file}: there is no node {node!r} under `nodes`; it has {', '.join(config.nodes) or 'none'}", err=True)
        sys.exit(2)


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all. Raises OSError."""
    partial = path.with_name(path.name + ".tmp")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - created with its mode
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
