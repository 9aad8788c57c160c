"""`ohmstead simulate weather`: Open-Meteo on this machine."""

from __future__ import annotations

import signal
import threading

import click

from ohmstead.errors import in_words

from .weather import UNKIND, OpenMeteo


@click.command(
    "weather",
    epilog="""\b
Examples:
  ohmstead simulate weather --port 8090
      then, in ohmstead.yaml: {source: open-meteo, url: http://127.0.0.1:8090/v1/forecast, …}
  ohmstead simulate weather --port 8090 --unkind limited
      it has had enough questions
""",
)
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--unkind", type=click.Choice(UNKIND), help="What goes wrong with each question.")
def weather(port: int, host: str, unkind: str | None) -> None:
    """The forecast of Open-Meteo, made up from the day alone."""
    ended = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: ended.set())
    service = OpenMeteo(host=host, port=port)
    service.kindness = unkind or ""
    try:
        service.start()
    except OSError as error:
        raise click.ClickException(f"{host}:{port}: {in_words(error)}") from None
    click.echo(f"Weather: {service.url}")
    click.echo("Ctrl-C ends it.")
    ended.wait()
    service.stop()
    click.echo(f"Asked {len(service.asked)} times.")
