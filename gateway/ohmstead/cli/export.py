"""`ohmstead export`: what a device said on a day or in a week, as CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from ohmstead.cli.common import CONFIGURATION, configured, many, opened_store
from ohmstead.units import UnitError, duration

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.readings import Value
    from ohmstead.store.samples import Samples
    from ohmstead.store.table import Line

_PERIODS = 2.5
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _day(_context: click.Context, _option: click.Parameter, text: str | None) -> date | str | None:
    """A date, or the words `today` and `yesterday`, which only the home's zone gives a date."""
    if text is None or text in ("today", "yesterday"):
        return text
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day; write it 2026-01-14, today or yesterday") from None


def _every(_context: click.Context, _option: click.Parameter, text: str | None) -> float:
    try:
        return 0.0 if text is None else duration(text)
    except UnitError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    epilog="""\b
Examples:
  ohmstead export --device pump                       today, to the terminal
  ohmstead export --device pump --day yesterday -o .  2026-01-13_daily.csv in this folder
  ohmstead export --device pump --week 2026-01-14 --every 5min -o week.csv
      the week from Monday to Sunday that this day is in, a line every five minutes
  ohmstead export --device pump --point flow_temperature --point outside_temperature
"""
)
@CONFIGURATION
@click.option("--device", required=True, help="Whose values; also one that was found behind another, or that is gone.")
@click.option("--day", metavar="DAY", callback=_day, help="Which day, in the home's time: 2026-01-14, today or yesterday [default: today].")
@click.option("--week", metavar="DAY", callback=_day, help="The week from Monday to Sunday that this day is in.")
@click.option("--point", "points", multiple=True, help="Only this point; may be given several times.")
@click.option("--all", "everything", is_flag=True, help="Also what is kept beside the device's points.")
@click.option("--every", metavar="DURATION", callback=_every, help="A line at most so often, e.g. 5min [default: all there are].")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file; a folder gets <day>_daily.csv or <day>_weekly.csv.")
def export(
    file: Path,
    device: str,
    day: date | str | None,
    week: date | str | None,
    points: tuple[str, ...],
    everything: bool,
    every: float,
    output: Path | None,
) -> None:
    """What a device said, as CSV: the moment in the home's time, then a column for each point with its unit. Works beside a running
    gateway.

    Of some devices only changes are kept: a value stands in the lines after it, for a quarter of an hour at most if it is read often.
    """
    if day is not None and week is not None:
        raise click.UsageError("either --day or --week, not both")

    def write(config: Config) -> None:
        from ohmstead.store.protocol import StoreError
        from ohmstead.store.table import table

        first, days = _span(config, day, week)
        edges = [_midnight(config, first), _midnight(config, first + timedelta(days=days))]
        try:
            with opened_store(config) as store:
                units = _known(store.samples, device)
                columns = _columns(config, device, units, points, everything)
                lines = table(store.samples, device, columns, *edges, every_s=every, stands_s=_standing(config, device, columns))
                header = ["time", *(f"{point} [{units[point]}]" if units[point] else point for point in columns)]
                rows = (_row(line, config) for line in lines)
                if output is None:
                    if isinstance(sys.stdout, io.TextIOWrapper):
                        sys.stdout.reconfigure(encoding="utf-8")  # as a file has it, whatever the terminal
                    _written(sys.stdout, header, rows)
                    return
                path = output / f"{first}_{'weekly' if week else 'daily'}.csv" if output.is_dir() else output
                count = _into(path, header, rows)
        except StoreError as error:
            click.echo(str(error), err=True)
            sys.exit(1)
        click.echo(f"{path}: {many(count, 'line')}, {many(len(columns), 'point')} of {device}.")

    configured(write, file)


def _span(config: Config, day: date | str | None, week: date | str | None) -> tuple[date, int]:
    """The first day, and how many."""
    chosen = week or day or "today"
    if isinstance(chosen, str):
        chosen = datetime.now(config.zone).date() - timedelta(days=chosen == "yesterday")
    return (chosen - timedelta(days=chosen.weekday()), 7) if week else (chosen, 1)


def _midnight(config: Config, day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=config.zone).timestamp()


def _known(samples: Samples, device: str) -> dict[str, str]:
    """The device's points and their units; ends the command where there is nothing of it."""
    units = samples.units(device)
    if not units:
        known = ", ".join(samples.devices()) or "nothing yet"
        click.echo(f"nothing is kept of a device {device!r}; there is {known}", err=True)
        sys.exit(1)
    return units


def _columns(config: Config, device: str, units: Mapping[str, str], points: tuple[str, ...], everything: bool) -> list[str]:
    """In the order of the profile; of a device without one, by their names."""
    if unknown := [point for point in points if point not in units]:
        click.echo(f"{device} has no point {unknown[0]!r}; it has {', '.join(list(units)[:40])}{' …' if len(units) > 40 else ''}", err=True)
        sys.exit(1)
    if points:
        return list(dict.fromkeys(points))
    named = [point for point in config.profile(device).points if point in units] if device in config.devices else []
    return [*named, *(point for point in units if point not in named)] if everything or not named else named


def _standing(config: Config, device: str, columns: Iterable[str]) -> dict[str, float]:
    """For how long a value stands: what is read seldom, until it should have been read again; of changes, until they are told again."""
    from ohmstead.store.changes import STANDS_LONG_S, TALKATIVE
    from ohmstead.store.table import STANDS_S

    of = device if device in config.devices else _behind(config, device)
    if of is None:
        return dict.fromkeys(columns, STANDS_S)
    points, periods = config.profile(of).points if of == device else {}, config.periods(of)
    rest = STANDS_LONG_S if config.profile(of).reader in TALKATIVE else max(STANDS_S, _PERIODS * max(periods.values()))
    return {point: max(STANDS_S, _PERIODS * periods[points[point].group]) if point in points else rest for point in columns}


def _behind(config: Config, device: str) -> str | None:
    """The device that another one was found behind, by its name."""
    return max((name for name in config.devices if device.startswith(f"{name}-")), key=len, default=None)


def _row(line: Line, config: Config) -> list[str]:
    """As text, empty where nothing is known."""
    moment = datetime.fromtimestamp(line.time, config.zone).isoformat(timespec="milliseconds")
    return [moment, *(_cell(value) for value in line.values)]


def _cell(value: Value | None) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it: some devices say what others made them say."""
    if isinstance(value, float):
        return f"{value:.10g}"
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _written(out: TextIO, header: list[str], rows: Iterable[list[str]]) -> int:
    """Writes a line for each row; how many there were."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def _into(path: Path, header: list[str], rows: Iterable[list[str]]) -> int:
    """The same into a file, whole or not at all."""
    partial = path.with_name(path.name + ".tmp")
    try:
        with partial.open("w", encoding="utf-8", newline="") as out:
            count = _written(out, header, rows)
        partial.replace(path)
    except OSError as error:
        click.echo(f"{path}: {error.strerror}", err=True)
        sys.exit(1)
    finally:
        partial.unlink(missing_ok=True)
    return count
