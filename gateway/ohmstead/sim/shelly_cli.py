"""`ohmstead simulate shelly`: a Shelly that measures, over HTTP, on a broker, or both."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

import click

from .growatt_cli import broker_given
from .load import load
from .shelly import KINDS, Mood, Shelly, ShellyServer
from .shelly_mqtt import ShellyAtBroker


def _mood(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> Mood:
    mood = Mood()
    for text in texts:
        kind, _, size = text.partition("=")
        try:
            if kind in ("silent", "html", "wrong-id"):
                setattr(mood, kind.replace("-", "_"), True)
            elif kind in ("cut", "status"):
                setattr(mood, kind, int(size))
            elif kind == "slow":
                mood.slow_s = float(size.removesuffix("s"))
            else:
                raise ValueError
        except ValueError:
            raise click.BadParameter(f"{text!r} is none; known are silent, html, wrong-id, cut=BYTES, status=503 and slow=2s") from None
    return mood


def _house(seed: int, watts: float | None, channels: int) -> Callable[[float], Sequence[float]]:
    """The powers of its channels: a house of this day, or what was said, divided among them."""
    if watts is not None:
        return lambda _: (watts / channels,) * channels

    def phases(moment: float) -> Sequence[float]:
        local = datetime.fromtimestamp(moment).astimezone()
        demand = load(seed, local.toordinal(), local.hour * 3600 + local.minute * 60 + local.second)
        return [float(sum(pair)) for pair in zip(demand.house, demand.backup, strict=True)][:channels]

    return phases


@click.command(
    epilog="""\b
Examples:
  ohmstead simulate shelly --port 8012
      a Pro 3EM with three phases on http://localhost:8012
  ohmstead simulate shelly --port 8012 --password secret --kind monophase --watts -1500
      three channels of their own, behind a password
  ohmstead simulate shelly --broker mqtt://localhost --every 2
      at a broker, telling what changes
  ohmstead simulate shelly --port 8012 --unkind cut=200 --unkind slow=3s
      an unkind one: silent, html, wrong-id, cut=BYTES, status=503, slow=2s
"""
)
@click.option("--kind", default="triphase", show_default=True, type=click.Choice(KINDS), help="What it measures with.")
@click.option("--port", type=click.IntRange(0, 65535), help="Serve HTTP; 0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--broker", callback=broker_given, help="Be at this broker, mqtt://host[:port].")
@click.option("--every", default=0.0, show_default=True, type=click.FloatRange(0), help="At a broker: seconds between two notifications.")
@click.option("--password", help="Wants digest authentication with it, user admin.")
@click.option("--watts", type=float, help="A power that does not change, positive for an import [default: a house's day]")
@click.option("--seed", default=1, show_default=True, help="Appliances of the house.")
@click.option("--unkind", "mood", multiple=True, callback=_mood, help="Of its HTTP side.")
def shelly(
    kind: str,
    port: int | None,
    host: str,
    broker: tuple[str, int] | None,
    every: float,
    password: str | None,
    watts: float | None,
    seed: int,
    mood: Mood,
) -> None:
    """A Shelly that measures: a Pro 3EM in both of its profiles, or a switch with a meter."""
    if port is None and broker is None:
        raise click.UsageError("nobody would see it: give --port PORT, --broker mqtt://host or both")
    device = Shelly(kind, watts=_house(seed, watts, 1 if kind == "switch" else 3))
    try:
        asyncio.run(_serve(device, host, port, password, mood, broker, every))
    except OSError as error:
        raise click.ClickException(str(error)) from None


async def _serve(
    device: Shelly, host: str, port: int | None, password: str | None, mood: Mood, broker: tuple[str, int] | None, every: float
) -> None:
    ended = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    async with AsyncExitStack() as open_:
        click.echo(f"Shelly {device.name}: {device.kind}")
        if port is not None:
            server = ShellyServer(device, password=password, host=host, port=port)
            server.mood = mood
            await open_.enter_async_context(server)
            click.echo(f"HTTP: {host}:{server.port}{', with a password' if password else ''}")
        if broker is not None:
            open_.enter_context(ShellyAtBroker(device, *broker, every=every))
            click.echo(f"MQTT: {broker[0]}:{broker[1]}, prefix {device.name}")
        click.echo("Ctrl-C ends it.")
        await ended.wait()
    click.echo(f"Answered {len(device.calls)} calls.")
