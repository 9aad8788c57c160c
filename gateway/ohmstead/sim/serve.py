"""A simulated Modbus device served by the command line until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TypeVar

import click

from .mtec import UNIT_RTU, UNIT_TCP
from .rtu import Line
from .station import Station
from .tcp import TcpServer

Read = TypeVar("Read")


def read_with(read: Callable[[Path], Read]) -> Callable[[click.Context, click.Parameter, Path | None], Read | None]:
    """What makes of a file option what `read` finds in it; a `ValueError` is told as the option's."""

    def of_file(_context: click.Context, _option: click.Parameter, path: Path | None) -> Read | None:
        try:
            return None if path is None else read(path)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return of_file


async def serve(
    station: Station,
    what: str,
    rtu: Path | None,
    baud: int,
    parity: str,
    unit: int | None,
    tcp: int | None,
    host: str,
    latency: float,
    *,
    name: str = "M-TEC inverter",
) -> None:
    """One device behind a serial line, a TCP port or both, until SIGINT or SIGTERM; says where, and how much it answered.

    `what` is said after the `name`; `unit` None takes that of an M-TEC; `latency` in seconds. Raises `OSError` where a port is taken.
    """
    ended = asyncio.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    with ExitStack() as lines:
        async with AsyncExitStack() as servers:
            click.echo(f"{name}: {what}")
            if rtu is not None:
                number = unit or UNIT_RTU
                line = lines.enter_context(Line({number: station}, baud=baud, parity=parity[0].upper(), link=rtu))
                click.echo(f"Modbus RTU: {line.path}, {baud} baud, parity {parity}, unit {number}")
            if tcp is not None:
                number = unit or UNIT_TCP
                server = await servers.enter_async_context(TcpServer({number: station}, host=host, port=tcp, latency=latency))
                click.echo(f"Modbus TCP: {host}:{server.port}, unit {number}")
            click.echo("Ctrl-C ends it.")
            await ended.wait()
    click.echo(f"Answered {station.requests} requests.")
