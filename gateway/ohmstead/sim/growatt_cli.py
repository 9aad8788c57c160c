"""`ohmstead simulate growatt-mqtt`: an inverter behind an OpenInverterGateway on a broker that is there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import fields
from urllib.parse import urlsplit

import click

from .faults import Faults, parse
from .growatt import Growatt, Hardware
from .growatt_families import FAMILIES
from .inverter_gateway import BASE, InverterGateway, Mood

_MOODS = tuple(field.name.replace("_", "-") for field in fields(Mood) if field.type == "int")


def broker_given(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, int] | None:
    """Host and port of a `--broker` option."""
    if text is None:
        return None
    url = urlsplit(text)
    try:
        port = url.port or 1883
    except ValueError:
        port = 0
    if url.scheme != "mqtt" or not url.hostname or not port:
        raise click.BadParameter("write it mqtt://host or mqtt://host:port")
    return url.hostname, port


def _mood(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> Mood:
    mood = Mood()
    for text in texts:
        kind, _, size = text.partition("=")
        try:
            if kind == "late":
                mood.late_s = float(size.removesuffix("s"))
            elif kind in _MOODS:
                setattr(mood, kind, int(size or 1_000_000_000))
            else:
                raise ValueError
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is none; known are {', '.join(_MOODS)} (with =COUNT for so many commands) and late=2s"
            ) from None
    return mood


def faults_given(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> Faults:
    """The faults of a `--fault` option."""
    try:
        for text in texts:
            parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return Faults(*texts)


@click.command(
    "growatt-mqtt",
    epilog="""\b
Examples:
  ohmstead simulate growatt-mqtt
      an SPH on the broker of this machine, on energy/solar
  ohmstead simulate growatt-mqtt --broker mqtt://nas --base energy/shed --family min --soc 20
  ohmstead simulate growatt-mqtt --unkind silent=2 --unkind late=3s --fault ignored-write@1100..1102
      two commands are obeyed without an answer, the others answered late; slots are taken and not kept
""",
)
@click.option("--broker", default="mqtt://localhost", show_default=True, callback=broker_given, help="Where the broker is.")
@click.option("--base", default=BASE, show_default=True, help="The base topic.")
@click.option("--family", default="sph", show_default=True, type=click.Choice(sorted(FAMILIES)), help="SPH, or MIN/MOD (TL-XH).")
@click.option("--every", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds between two messages of telemetry.")
@click.option("--soc", default=55.0, show_default=True, type=click.FloatRange(0, 100), help="State of charge at the start, in %.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Times as fast as the clock.")
@click.option("--seed", default=1, show_default=True, help="Clouds and appliances.")
@click.option("--unkind", "mood", multiple=True, callback=_mood, help=f"Of the stick: {', '.join(_MOODS)} [=COUNT], late=SECONDSs.")
@click.option(
    "--fault", "faults", multiple=True, callback=faults_given, help="Of the line between stick and inverter, as of `simulate growatt`."
)
def growatt_mqtt(
    broker: tuple[str, int], base: str, family: str, every: float, soc: float, speed: float, seed: int, mood: Mood, faults: Faults
) -> None:
    """A Growatt behind an OpenInverterGateway: telemetry and commands over MQTT."""
    ended = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: ended.set())
    inverter = Growatt(Hardware(seed=seed), family=FAMILIES[family], soc=soc, speed=speed)
    gateway = InverterGateway(inverter, *broker, base=base, every=every, faults=faults, mood=mood)
    try:
        gateway.start()
    except OSError as error:
        raise click.ClickException(f"no broker at {broker[0]}:{broker[1]}: {error}") from None
    click.echo(f"{inverter.family.name}: behind an OpenInverterGateway, {soc:g} % charged, seed {seed}")
    click.echo(f"MQTT: {broker[0]}:{broker[1]}, telemetry on {base}, commands on {base}/command/#, results on {base}/result")
    click.echo("Ctrl-C ends it.")
    ended.wait()
    gateway.stop()
    click.echo(f"Obeyed {len(gateway.commands)} commands.")
