"""`ohmstead simulate vicare`: Viessmann's cloud, on this computer."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import click

from .vicare import CLIENT_ID, PASSWORD, USER, Kindness, ViessmannCloud
from .vicare_home import Equipment, recorded

_CONFIGURATION = """\
devices:
  heating: {{source: vicare, client_id: {client}, user: {user}, password: {password}, cloud: "{url}"}}"""


def _answer(_context: click.Context, _option: click.Parameter, path: Path | None) -> list[Equipment] | None:
    if path is None:
        return None
    try:
        return [recorded(json.loads(path.read_text()), path.stem)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.BadParameter(f"{path}: no recorded answer of the features ({error})") from None


@click.command(
    "vicare",
    epilog="""\b
Examples:
  ohmstead simulate vicare
      a heat pump with two circuits, a thermostat and their gateway, all made up
  ohmstead simulate vicare --answer features.json --port 8090
      what an installation once said: {"data": [{"feature": ..., "properties": ...}, ...]}
  ohmstead simulate vicare --unkind limit
      every request is one too many
""",
)
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option(
    "--answer",
    "equipment",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_answer,
    help="A recorded answer, JSON; its times are moved to now.",
)
@click.option("--unkind", "kindness", type=click.Choice(Kindness.ALL[1:]), help="What it does to those who ask.")
@click.option("--day-limit", default=1450, show_default=True, type=click.IntRange(1), help="Requests that it takes in 24 hours.")
@click.option("--token", "token_s", default=3600.0, show_default=True, type=click.FloatRange(1), help="Seconds that a token is good for.")
def vicare(port: int, equipment: list[Equipment] | None, kindness: str | None, day_limit: int, token_s: float) -> None:
    """Viessmann's cloud: logging in, tokens, limits, and the features of an account. A browser that comes by is taken for the owner."""
    ended = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: ended.set())
    cloud = ViessmannCloud(equipment, port=port, day_limit=day_limit, token_s=token_s)
    try:
        cloud.start()
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from None
    cloud.be(kindness or Kindness.KIND)
    click.echo(f"Viessmann's cloud: {cloud.url}, {len(cloud.equipment)} devices{f', {kindness}' if kindness else ''}")
    click.echo(_CONFIGURATION.format(client=CLIENT_ID, user=USER, password=PASSWORD, url=cloud.url))
    click.echo("Ctrl-C ends it.")
    ended.wait()
    cloud.stop()
    click.echo(f"{len(cloud.asked)} requests, {cloud.logins} by password.")
