"""`ohmstead simulate sunspec`: an inverter, a hybrid or a meter that speaks SunSpec over Modbus TCP."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

import click

from .faults import Faults
from .growatt_cli import faults_given
from .serve import serve
from .station import Station
from .sunspec import SunSpec, grid_meter, inverter, storage

KINDS = ("inverter", "hybrid", "meter")
_DAY_S = 86_400.0
_PEAK_W = 3000.0
_HOUSE_W = 600.0


def day(kind: str, base: int, *, soc: float = 60.0, began: float = 0.0) -> SunSpec:
    """A device whose power follows the sun of an ideal day of UTC; `began` is when its counters were at their begin."""
    models: Sequence[int] = {"inverter": (1, 103), "hybrid": (1, 103, 120, 123, 124, 1, 203), "meter": (1, 203)}[kind]

    def moves_on(device: SunSpec) -> None:
        now = time.time()
        sun = max(0.0, _PEAK_W * -math.cos(2 * math.pi * (now % _DAY_S) / _DAY_S))
        if kind != "meter":
            device["103.1.W"] = round(sun)
            device["103.1.DCW"] = round(sun * 1.03)
            device["103.1.WH"] = round(1_234_500 + max(0.0, now - began) * _PEAK_W / math.pi / 3600)
            device["103.1.St"] = 4 if sun > 0 else 2
        if kind != "inverter":
            device["203.1.W"] = round(_HOUSE_W - sun if kind == "hybrid" else _HOUSE_W)

    said: dict[str, float | str | None] = {} if kind == "meter" else inverter()
    if kind == "hybrid":
        said |= (
            storage(soc)
            | {"120.1.WRtg": 5000.0, "120.1.DERTyp": 82, "123.1.WMaxLimPct": 100.0, "123.1.WMaxLimPct_RvrtTms": 0}
            | {"123.1.WMaxLim_Ena": 0}
        )
    if kind != "inverter":
        said |= grid_meter(_HOUSE_W)
    if kind == "meter":
        said |= {"1.1.Mn": "Acme", "1.1.Md": "Meter 3", "1.1.SN": "M-0007"}
    return SunSpec(models, said, base=base, factors={"W_SF": 0, "DCW_SF": 0, "WH_SF": 0}, before=moves_on)


@click.command(
    epilog="""\b
Examples:
  ohmstead simulate sunspec --tcp 5022
      an inverter with three phases
  ohmstead simulate sunspec --tcp 5022 --kind hybrid --base 50000
      with a battery and a meter, its chain at 50000
  ohmstead simulate sunspec --tcp 5022 --fault exception=6:20%
      an unkind one
"""
)
@click.option("--kind", default="inverter", show_default=True, type=click.Choice(KINDS), help="What it is.")
@click.option("--tcp", metavar="PORT", required=True, type=click.IntRange(0, 65535), help="Serve Modbus TCP; 0 takes a free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--unit", default=1, show_default=True, type=click.IntRange(1, 255), help="Modbus unit.")
@click.option("--base", default="40000", show_default=True, type=click.Choice(["40000", "0", "50000"]), help="Where its chain begins.")
@click.option("--soc", default=60.0, show_default=True, type=click.FloatRange(0, 100), help="State of charge of a hybrid, in %.")
@click.option("--fault", "faults", multiple=True, callback=faults_given, help="What goes wrong, as of `simulate mtec`.")
def sunspec(kind: str, tcp: int, host: str, unit: int, base: str, soc: float, faults: Faults) -> None:
    """A SunSpec device: an inverter, one with a battery and a meter, or a meter."""
    device = day(kind, int(base), soc=soc, began=time.time())
    what = f"models {', '.join(str(model.id) for model in device.chain)} from {base}"
    try:
        asyncio.run(serve(Station(device, faults, 0.0), what, None, 9600, "none", unit, tcp, host, 0.0, name=f"SunSpec {kind}"))
    except OSError as error:
        raise click.ClickException(str(error)) from None
