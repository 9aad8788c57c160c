"""`ohmstead simulate meter`: a meter of any profile on a serial line or behind a TCP port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import click

from ohmstead.errors import ConfigurationError
from ohmstead.profiles import library
from ohmstead.profiles.model import Profile

from .faults import Faults
from .growatt_cli import faults_given
from .load import load
from .meter import Meter
from .serve import serve
from .station import Station


def _profile(_context: click.Context, _option: click.Parameter, name: str) -> Profile:
    try:
        profile = library.load(name)
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from None
    if not any(point.table for point in profile.points.values()):
        raise click.BadParameter(f"{name} has no registers")
    return profile


def _set(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> dict[str, float | str]:
    values: dict[str, float | str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise click.BadParameter(f"{text!r}: write it POINT=VALUE, e.g. power=-1500")
        try:
            values[name] = float(value)
        except ValueError:
            values[name] = value
    return values


def _house(seed: int, speed: float, watts: float | None) -> Callable[[float], Sequence[float]]:
    """The phases of a house of this day, or a power that does not change, divided among them."""
    if watts is not None:
        return lambda _: (watts / 3,) * 3

    def phases(moment: float) -> Sequence[float]:
        local = datetime.fromtimestamp(moment).astimezone()
        demand = load(seed, local.toordinal(), local.hour * 3600 + local.minute * 60 + local.second)
        return [float(sum(pair)) for pair in zip(demand.house, demand.backup, strict=True)]

    return phases


@click.command(
    epilog="""\b
Examples:
  ohmstead simulate meter --tcp 5021
      an Eastron SDM630 that measures a house
  ohmstead simulate meter --profile carlo-gavazzi-em24 --rtu ./rs485 --unit 5 --watts -1500
      on a serial line, 1500 W are exported
  ohmstead simulate meter --tcp 5021 --set power=nan --fault no-answer:10%
      an unkind one
"""
)
@click.option("--profile", default="eastron-sdm630", show_default=True, callback=_profile, help="Any profile with registers.")
@click.option(
    "--rtu", metavar="LINK", type=click.Path(path_type=Path), help="Serve Modbus RTU on a pseudo terminal; LINK will point to it."
)
@click.option("--tcp", metavar="PORT", type=click.IntRange(0, 65535), help="Serve Modbus TCP; 0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--unit", type=click.IntRange(1, 255), help="Modbus unit [default: the profile's]")
@click.option("--baud", type=click.IntRange(300, 1_000_000), help="True speed of the line [default: the profile's]")
@click.option("--watts", type=float, help="A power that does not change, positive for an import [default: a house's day]")
@click.option("--set", "values", metavar="POINT=VALUE", multiple=True, callback=_set, help="What a point says; stays so.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Times as fast as the clock.")
@click.option("--seed", default=1, show_default=True, help="Appliances of the house.")
@click.option("--fault", "faults", multiple=True, callback=faults_given, help="What goes wrong, as of `simulate mtec`.")
def meter(
    profile: Profile,
    rtu: Path | None,
    tcp: int | None,
    host: str,
    unit: int | None,
    baud: int | None,
    watts: float | None,
    values: dict[str, float | str],
    speed: float,
    seed: int,
    faults: Faults,
) -> None:
    """A meter of any profile: Eastron, Carlo Gavazzi, or one of your own."""
    if rtu is None and tcp is None:
        raise click.UsageError("nothing to serve: give --rtu LINK, --tcp PORT or both")
    line, began = profile.line, time.time()

    def clock() -> float:
        return began + (time.time() - began) * speed

    try:
        device = Meter(profile, values, watts=None if values else _house(seed, speed, watts), clock=clock)
    except KeyError as error:
        raise click.BadParameter(f"{profile.id} has no point {error}") from None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    what = "what was said" if values else "a house's day" if watts is None else f"{watts:g} W"
    try:
        asyncio.run(
            serve(Station(device, faults), what, rtu, baud or line.baud, line.parity, unit or line.unit, tcp, host, 0.0, name=profile.name)
        )
    except OSError as error:
        raise click.ClickException(str(error)) from None
