"""`ohmstead simulate hoymiles`: a DTU with inverters on a roof that is not there."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click

from .hoymiles import Dtu, Mood
from .hoymiles_plant import Plant, Roof, moment, record
from .registers import read_image
from .serve import read_with

_INVERTER = re.compile(r"([0-9a-f]{12}):([1-9])(?:x(\d+)W?)?")
_KINDS = (
    "silent",
    "hangs-below=SECONDSs",
    "late=SECONDSs",
    "cut=BYTES",
    "byte-count=N",
    "registers=MORE",
    "refuse=PLACE:CODE",
    "silent-at=PLACE",
    "closes-at=PLACE",
    "asleep=SERIAL",
    "without=SERIAL/PORT",
    "double=SERIAL/PORT",
    "no-serial",
    "refuses-writes",
    "ignores-writes",
)
_SWITCHES = {"silent": "silent", "no-serial": "no_serial", "refuses-writes": "refuse_writes", "ignores-writes": "forget_writes"}
_SECONDS = {"hangs-below": "hangs_below_s", "late": "delay_s"}
_NUMBERS = {"cut": "cut", "byte-count": "byte_count", "registers": "registers"}


def _inverters(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    matches = [_INVERTER.fullmatch(text.lower().replace("w", "")) for text in texts]
    if None in matches:
        raise click.BadParameter("write it SERIAL:PORTS or SERIAL:PORTSxPEAK, e.g. 114182a0b1c2:2x380")
    return tuple((match[1], (int(match[3] or 400),) * int(match[2])) for match in matches if match is not None)


def _mood(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> Mood:
    mood = Mood()
    for text in texts:
        try:
            _make(mood, *text.partition("=")[::2])
        except ValueError:
            raise click.BadParameter(f"{text!r} is none; known are {', '.join(_KINDS)}") from None
    return mood


def _make(mood: Mood, kind: str, said: str) -> None:
    """Adds a fault. Raises ValueError for what is none."""
    if kind in _SWITCHES and not said:
        setattr(mood, _SWITCHES[kind], True)
    elif kind in _SECONDS:
        setattr(mood, _SECONDS[kind], float(said.removesuffix("s")))
    elif kind in _NUMBERS:
        setattr(mood, _NUMBERS[kind], int(said))
    elif kind == "refuse":
        place, _, code = said.partition(":")
        mood.refuse_at[int(place)] = int(code or 4)
    elif kind == "silent-at":
        mood.silent_at |= {int(said)}
    elif kind == "closes-at":
        mood.close_at |= {int(said)}
    elif kind == "asleep":
        mood.asleep |= {_serial(said)}
    elif kind == "without":
        mood.leave_out |= {_port(said)}
    elif kind == "double":
        mood.double = record(*_port(said), voltage=300, current=100, power=300, status=3)
    else:
        raise ValueError(kind)


def _serial(text: str) -> str:
    return bytes.fromhex(text).hex()


def _port(text: str) -> tuple[str, int]:
    serial, _, port = text.partition("/")
    return _serial(serial), int(port)


@click.command(
    "hoymiles",
    epilog="""\b
Examples:
  ohmstead simulate hoymiles
      a DTU with four inverters and nine ports, today from now on
  ohmstead simulate hoymiles --tcp 5021 --day 2026-06-21 --hour 4 --speed 600
      a midsummer's day in two and a half minutes; the inverters wake up one after the other
  ohmstead simulate hoymiles --inverter 114182a0b1c2:2x380 --inverter 116180123456:4
      inverters of your own, with so many ports and panels of so many watts
  ohmstead simulate hoymiles --unkind hangs-below=20s --unkind byte-count=80
      it hangs when it is asked more often than each 20 s, and says a wrong byte count
  ohmstead simulate hoymiles --image registers.json
      fixed registers: a JSON object of address to word
""",
)
@click.option("--tcp", default=5021, show_default=True, type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--unit", default=1, show_default=True, type=click.IntRange(1, 255), help="Modbus unit.")
@click.option("--serial", default=Roof().serial, show_default=True, help="Serial number of the DTU.")
@click.option(
    "--inverter", "inverters", multiple=True, callback=_inverters, metavar="SERIAL:PORTS[xPEAK]", help="May be given several times."
)
@click.option(
    "--image",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=read_with(read_image),
    help="Fixed registers, JSON.",
)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="The simulated day [default: today].")
@click.option("--hour", type=click.FloatRange(0, 23.99), help="Local hour at which it starts [default: now].")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Times as fast as the clock.")
@click.option("--seed", default=1, show_default=True, help="Clouds.")
@click.option("--unkind", "mood", multiple=True, callback=_mood, help=f"{', '.join(_KINDS)}; may be given several times.")
def hoymiles(
    tcp: int,
    host: str,
    unit: int,
    serial: str,
    inverters: tuple[tuple[str, tuple[int, ...]], ...],
    image: dict[int, int] | None,
    day: datetime | None,
    hour: float | None,
    speed: float,
    seed: int,
    mood: Mood,
) -> None:
    """A Hoymiles DTU: its list of PV ports, its limit and its switch for all inverters."""
    if not re.fullmatch(r"[0-9a-fA-F]{12}", serial):
        raise click.BadParameter("a serial number has 12 digits (0-9, a-f)", param_hint="--serial")
    roof = Roof(serial=serial.lower(), seed=seed)
    roof = replace(roof, inverters=inverters) if inverters else roof
    now = datetime.now(roof.zone)
    start = moment(f"{day or now:%Y-%m-%d}", now.hour + now.minute / 60 if hour is None else hour, roof.zone)
    began = time.monotonic()
    dtu = Dtu(
        None if image is not None else Plant(roof, start),
        image=image,
        host=host,
        port=tcp,
        unit=unit,
        clock=lambda: start + (time.monotonic() - began) * speed,
    )
    dtu.mood = mood
    ports = sum(len(peaks) for _, peaks in roof.inverters)
    what = f"{len(image)} fixed registers" if image is not None else f"{len(roof.inverters)} inverters, {ports} ports, seed {seed}"
    try:
        asyncio.run(_serve(dtu, what))
    except OSError as error:
        raise click.ClickException(str(error)) from None


async def _serve(dtu: Dtu, what: str) -> None:
    ended = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    async with dtu:
        click.echo(f"Hoymiles DTU: {what}")
        click.echo(f"Modbus TCP: {dtu.host}:{dtu.port}")
        click.echo("Ctrl-C ends it.")
        await ended.wait()
    click.echo(f"Answered {dtu.requests} requests over {dtu.connections} connections, obeyed {len(dtu.writes)} writes.")
