"""`ohmstead simulate luxtronik`: a heat pump's controller that is not there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import click

from .luxtronik import LuxtronikPump, Mood, Vectors, read_dump
from .serve import read_with

_KINDS = (
    "splits",
    "silent",
    "ignores-writes",
    "ends-after=BYTES",
    "stops-after=BYTES",
    "late=SECONDSs",
    "count=COMMAND:N",
    "echo=COMMAND:N",
)


def _mood(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> Mood:
    mood = Mood(counts={}, echoes={})
    for text in texts:
        try:
            _make(mood, *text.partition("=")[::2])
        except ValueError:
            raise click.BadParameter(f"{text!r} is none; known are {', '.join(_KINDS)}") from None
    return mood


def _make(mood: Mood, kind: str, size: str) -> None:
    """Raises ValueError for what is no mood."""
    if kind in ("splits", "silent", "ignores-writes") and not size:
        setattr(mood, kind.replace("-", "_"), True)
    elif kind in ("ends-after", "stops-after"):
        setattr(mood, kind.replace("-", "_"), int(size))
    elif kind == "late":
        mood.late_s = float(size.removesuffix("s"))
    elif kind in ("count", "echo"):
        command, _, number = size.partition(":")
        told = mood.counts if kind == "count" else mood.echoes
        if told is not None:
            told[int(command)] = int(number)
    else:
        raise ValueError(kind)


@click.command(
    "luxtronik",
    epilog="""\b
Examples:
  ohmstead simulate luxtronik
      an air-to-water pump that is made up and lives by the clock
  ohmstead simulate luxtronik --dump dump.json --port 8889
      what a controller once said: {"params": [...], "calcs": [...], "visis": [...]}
  ohmstead simulate luxtronik --unkind splits --unkind late=2s
  ohmstead simulate luxtronik --unkind count=3003:2147483647
      it claims to send two thousand million parameters
""",
)
@click.option("--port", default=8889, show_default=True, type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--dump",
    "vectors",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=read_with(read_dump),
    help="Raw values, JSON.",
)
@click.option("--unkind", "mood", multiple=True, callback=_mood, help=f"{', '.join(_KINDS)}; may be given several times.")
@click.option("--seed", default=1, show_default=True, help="Where answers are cut up.")
def luxtronik(port: int, host: str, vectors: Vectors | None, mood: Mood, seed: int) -> None:
    """A heat pump with a Luxtronik controller, which keeps what is written to it."""
    try:
        asyncio.run(_serve(LuxtronikPump(vectors, host=host, port=port, mood=mood, seed=seed)))
    except OSError as error:
        raise click.ClickException(str(error)) from None


async def _serve(pump: LuxtronikPump) -> None:
    ended = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    async with pump:
        vectors = pump.said()
        counts = f"{len(vectors.parameters)} parameters, {len(vectors.calculations)} calculations, {len(vectors.visibilities)} visibilities"
        click.echo(f"Luxtronik: {pump.host}:{pump.port}, {counts}")
        click.echo("Ctrl-C ends it.")
        await ended.wait()
    click.echo(f"{pump.connections} connections, {len(pump.written)} writes.")
