"""`ohmstead simulate`: devices that are not there."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import click
import structlog

from ohmstead.profiles import library

from . import growatt as growatt_sph
from .day import House, start_of
from .faults import Faults
from .growatt_cli import faults_given, growatt_mqtt
from .growatt_families import FAMILIES
from .hoymiles_cli import hoymiles
from .inverter import PhysicalInverter
from .luxtronik_cli import luxtronik
from .meter_cli import meter
from .mtec import UNIT_RTU, UNIT_TCP, WRITABLE
from .registers import RegisterImage, Registers, read_image
from .serve import read_with, serve
from .shelly_cli import shelly
from .station import Station
from .sunspec_cli import sunspec
from .vicare_cli import vicare
from .weather_cli import weather

PROFILE = "mtec-energybutler"


@click.group(epilog="See `ohmstead simulate mtec --help` for examples.")
def simulate() -> None:
    """Devices that are not there: on a serial line true to its baud rate, or behind a TCP port."""
    _quiet()


simulate.add_command(growatt_mqtt)
simulate.add_command(hoymiles)
simulate.add_command(luxtronik)
simulate.add_command(meter)
simulate.add_command(shelly)
simulate.add_command(sunspec)
simulate.add_command(vicare)
simulate.add_command(weather)


def _quiet() -> None:
    """Each lost client and damaged request is worth a line to whoever debugs, not to whoever watches."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


def _rivals(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> list[tuple[int, int, float]]:
    matches = [re.fullmatch(r"(\d+)=(\d+)/(\d+(?:\.\d+)?)s", text) for text in texts]
    if None in matches:
        raise click.BadParameter("write it REGISTER=WORD/SECONDSs, e.g. 1102=0/20s")
    return [(int(match[1]), int(match[2]), float(match[3])) for match in matches if match is not None]


@simulate.command(
    epilog="""\b
Examples:
  ohmstead simulate mtec --tcp 5020
      an inverter on Modbus TCP; today from 11 h on, at the clock's speed
  ohmstead simulate mtec --rtu ./rs485 --baud 9600 --day 2026-06-21 --hour 11 --speed 60 --seed 1
      on a serial line; a midsummer's day in 24 minutes
  ohmstead simulate mtec --tcp 5020 --image registers.json
      fixed registers: a JSON object of address to word
  ohmstead simulate mtec --rtu ./rs485 --fault no-answer:5% --fault exception=4@11000..11041
      an unkind one
\b
Faults: KIND[=VALUE][@FIRST..LAST][:PERCENT%][xTIMES], of the kinds no-answer, crc, half, late=1.5s, slow=80ms,
exception=4, wrong-unit, wrong-function, noise=3, refused-write=4, ignored-write, unplugged.
"""
)
@click.option(
    "--rtu", metavar="LINK", type=click.Path(path_type=Path), help="Serve Modbus RTU on a pseudo terminal; LINK will point to it."
)
@click.option("--baud", default=9600, show_default=True, type=click.IntRange(300, 1_000_000), help="True speed of the line.")
@click.option("--parity", default="none", show_default=True, type=click.Choice(["none", "even", "odd"]))
@click.option("--unit", type=click.IntRange(1, 255), help=f"Modbus unit [default: {UNIT_RTU} on RTU, {UNIT_TCP} on TCP]")
@click.option("--tcp", metavar="PORT", type=click.IntRange(0, 65535), help="Serve Modbus TCP; 0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--latency", default=0.0, show_default=True, type=click.FloatRange(0), help="Seconds before each TCP answer.")
@click.option("--turnaround", default=0.020, show_default=True, type=click.FloatRange(0), help="Seconds before each RTU answer.")
@click.option(
    "--image",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=read_with(read_image),
    help="Fixed registers, JSON.",
)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="A physical day: this one [default: today].")
@click.option("--hour", default=11.0, show_default=True, type=click.FloatRange(0, 23.99), help="Local hour at which it starts.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Times as fast as the clock.")
@click.option("--seed", default=1, show_default=True, help="Clouds and appliances.")
@click.option("--fault", "faults", multiple=True, callback=faults_given, help="What goes wrong; may be given several times.")
def mtec(
    rtu: Path | None,
    baud: int,
    parity: str,
    unit: int | None,
    tcp: int | None,
    host: str,
    latency: float,
    turnaround: float,
    image: dict[int, int] | None,
    day: date | None,
    hour: float,
    speed: float,
    seed: int,
    faults: Faults,
) -> None:
    """An M-TEC Energybutler: 86 registers, nine of them writable."""
    if rtu is None and tcp is None:
        raise click.UsageError("nothing to serve: give --rtu LINK, --tcp PORT or both")
    if image is not None and day is not None:
        raise click.UsageError("either --image or --day, not both")
    registers: Registers
    if image is not None:
        registers, what = RegisterImage(image, WRITABLE), f"{len(image)} fixed registers"
    else:
        registers, what = _physical(day, hour, speed, seed)
    station = Station(registers, faults, turnaround)
    try:
        asyncio.run(serve(station, what, rtu, baud, parity, unit, tcp, host, latency))
    except OSError as error:
        raise click.ClickException(str(error)) from None


def _physical(day: date | None, hour: float, speed: float, seed: int) -> tuple[PhysicalInverter, str]:
    house = House(seed=seed)
    when = f"{day or date.today():%Y-%m-%d}"
    inverter = PhysicalInverter(library.load(PROFILE), house, start_of(house, when, hour), speed=speed)
    return inverter, f"the day {when} from {hour:g} h at {speed:g} times its speed, seed {seed}"


@simulate.command(
    epilog="""\b
Examples:
  ohmstead simulate growatt --rtu ./rs485
      on a serial line at 9600 baud; the battery follows what is written
  ohmstead simulate growatt --tcp 5020 --soc 16 --speed 60
      almost empty, an hour in a minute
  ohmstead simulate growatt --family min --rtu ./rs485 --fault ignored-write@3038..3041
      a MIN/MOD that takes a slot and does not keep it
  ohmstead simulate growatt --tcp 5020 --rival 1102=0/20s
      somebody else ends the charging every 20 seconds
"""
)
@click.option(
    "--rtu", metavar="LINK", type=click.Path(path_type=Path), help="Serve Modbus RTU on a pseudo terminal; LINK will point to it."
)
@click.option("--baud", default=9600, show_default=True, type=click.IntRange(300, 1_000_000), help="True speed of the line.")
@click.option("--unit", default=growatt_sph.UNIT, show_default=True, type=click.IntRange(1, 255), help="Modbus unit.")
@click.option("--tcp", metavar="PORT", type=click.IntRange(0, 65535), help="Serve Modbus TCP; 0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--soc", default=55.0, show_default=True, type=click.FloatRange(0, 100), help="State of charge at the start, in %.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="The simulated day [default: today].")
@click.option("--hour", default=11.0, show_default=True, type=click.FloatRange(0, 23.99), help="Local hour at which it starts.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Times as fast as the clock.")
@click.option("--seed", default=1, show_default=True, help="Clouds and appliances.")
@click.option("--fault", "faults", multiple=True, callback=faults_given, help="What goes wrong; may be given several times.")
@click.option("--family", default="sph", show_default=True, type=click.Choice(sorted(FAMILIES)), help="SPH, or MIN/MOD (TL-XH).")
@click.option("--rival", "rivals", multiple=True, callback=_rivals, metavar="REGISTER=WORD/SECONDSs", help="Somebody else who writes.")
def growatt(
    rtu: Path | None,
    baud: int,
    unit: int,
    tcp: int | None,
    host: str,
    soc: float,
    day: datetime | None,
    hour: float,
    speed: float,
    seed: int,
    faults: Faults,
    family: str,
    rivals: Sequence[tuple[int, int, float]],
) -> None:
    """A Growatt: charges and discharges by its slots, wants 250 ms between frames and 64 registers at most."""
    if rtu is None and tcp is None:
        raise click.UsageError("nothing to serve: give --rtu LINK, --tcp PORT or both")
    hardware = growatt_sph.Hardware(seed=seed)
    start = growatt_sph.morning((day or datetime.now(hardware.zone)).date(), hour, hardware.zone)
    inverter = growatt_sph.Growatt(hardware, family=FAMILIES[family], soc=soc, start=start, speed=speed)
    for rival in rivals:
        inverter.rival(*rival)
    station = growatt_sph.PacedStation(inverter, faults)
    what = f"from {hour:g} h on at {speed:g} times its speed, {soc:g} % charged, seed {seed}"
    try:
        asyncio.run(serve(station, what, rtu, baud, "none", unit, tcp, host, 0.0, name=inverter.family.name))
    except OSError as error:
        raise click.ClickException(str(error)) from None


_REPORTS_MS = 2000
"""How often a node reports that is examined; more would fill the room for its events while broker or gateway are away."""

_PAGE = click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Of the page; a free one if it is taken."
)
_SPEED = click.option("--speed", type=click.FloatRange(0.1, 600), help="How fast the simulated day goes by [default: 60; with a story 1].")
_SEED = click.option("--seed", default=1, show_default=True, help="Clouds and appliances of the simulated day.")
_AMQTT = click.option("--amqtt", is_flag=True, help="Do without mosquitto even where it is present.")
_NO_NODE = click.option("--no-node", is_flag=True, help="Do without MicroPython: the gateway reads the inverter itself.")


@click.command(epilog="\b\nExamples:\n  ohmstead demo\n  ohmstead demo --port 9000 --speed 300 --seed 7\n  ohmstead demo story")
@click.argument("what", metavar="[story]", required=False, type=click.Choice(["story"]))
@_PAGE
@click.option("--host", default="127.0.0.1", show_default=True, help="Address the page listens on; 0.0.0.0 for the whole network.")
@_SPEED
@_SEED
@_AMQTT
@_NO_NODE
def demo(what: str | None, port: int, host: str, speed: float | None, seed: int, amqtt: bool, no_node: bool) -> None:
    """The whole appliance with simulated inverters, until Ctrl-C.

    With `story` it ends by itself: a discharge is commanded, the gateway is killed, the battery gets empty, somebody stops everything;
    every step is said, and what was seen of it on the bus.
    """
    from .appliance import Plan
    from .demo import run, story

    _quiet()
    pace = speed or (1.0 if what else 60.0)
    plan = Plan(
        page=port,
        host=host,
        speed=pace,
        seed=seed,
        mosquitto=not amqtt,
        micropython=not no_node,
        report_every_ms=_REPORTS_MS if what else None,
    )
    raise SystemExit((story if what else run)(plan, click.echo))


@click.command(epilog="\b\nExamples:\n  ohmstead smoke\n  ohmstead smoke --amqtt --no-node")
@_SEED
@_AMQTT
@_NO_NODE
def smoke(seed: int, amqtt: bool, no_node: bool) -> None:
    """The demo without a face: verifies the whole chain in less than a minute, says what it verified; exit code 0 or 1."""
    from .appliance import Plan
    from .smoke import run

    _quiet()
    plan = Plan(page=0, seed=seed, mosquitto=not amqtt, micropython=not no_node, report_every_ms=_REPORTS_MS)
    raise SystemExit(run(plan, click.echo))
