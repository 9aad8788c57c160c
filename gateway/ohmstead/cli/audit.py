"""`ohmstead audit`, `ohmstead replay`, `ohmstead why`: what was decided about the batteries, once more, and why it is as it is.

All three only read the store; they work beside a running gateway and without one.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ohmstead.cli.common import CONFIGURATION, configured, many, opened_store

if TYPE_CHECKING:
    from ohmstead.config.model import Config
    from ohmstead.control.setup import Battery
    from ohmstead.store.trail import StoredRecord

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command(
    epilog="""\b
Examples:
  ohmstead audit                          the last 50 decisions about all batteries
  ohmstead audit --device growatt --day 2026-01-14
  ohmstead audit --json -n 1000           one JSON object a line, for programs
"""
)
@CONFIGURATION
@click.option("-n", "--number", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many, the newest.")
@click.option("--device", default="", help="Only of this device.")
@click.option("--day", type=_DAY, help="Only of this day, in the home's time.")
@click.option("--all", "silent", is_flag=True, help="Also readings and heartbeats that changed nothing.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, a line each.")
def audit(file: Path, number: int, device: str, day: datetime | None, silent: bool, as_json: bool) -> None:
    """Every wish, rejection, decision, command, result and change of mode, with its moment."""

    def show(config: Config) -> None:
        batteries = _batteries(config)
        if device:
            _must_have(batteries, device, file)
        since, until = _span(config, day)
        with opened_store(config) as store:
            found = store.trail.last(number, device=device, silent=silent, since=since, until=until)
        for stored in reversed(found):
            click.echo(_as_json(stored) if as_json else _line(stored, config, batteries))
        if not found and not as_json:
            click.echo("Nothing was decided then.")

    configured(show, file)


@click.command(
    epilog="""\b
Examples:
  ohmstead replay                   today
  ohmstead replay --day 2026-01-14  that day, with the decisions of the program as it is now
"""
)
@CONFIGURATION
@click.option("--day", type=_DAY, help="Which day, in the home's time; today unless given.")
@click.option("--device", default="", help="Only this device.")
def replay(file: Path, day: datetime | None, device: str) -> None:
    """Gives a day's events to the arbiter once more and compares what it decides: the same, or the first difference (exit code 1)."""

    def again(config: Config) -> None:
        from ohmstead.control import words
        from ohmstead.control.replay import replay as replayed
        from ohmstead.store.protocol import StoreError

        batteries = _batteries(config)
        if device:
            _must_have(batteries, device, file)
        elif not batteries:
            click.echo(f"{file}: there is no battery that is commanded, so that nothing was decided.")
        since, until = _span(config, day or datetime.now(config.zone))
        failed = False
        for name in [device] if device else list(batteries):
            try:
                with opened_store(config) as store:
                    said = replayed(store.trail, name, since, until)
            except (StoreError, ValueError) as error:
                click.echo(f"{name}: cannot be replayed: {error}", err=True)
                failed = True
                continue
            if said.difference is None:
                click.echo(f"{name}: {many(said.records, 'event')}, {many(said.decisions, 'decision')}: the same.")
                continue
            failed = True
            record = said.difference.record
            moment = datetime.fromtimestamp(record.record.time / 1000, config.zone).isoformat(timespec="milliseconds")
            click.echo(f"{name}: the same for {many(said.records, 'event')}, then not: number {record.id} at {moment},")
            click.echo(f"  told: {words.event(json.loads(record.record.event))}")
            click.echo(f"  then: {json.dumps(said.difference.then, ensure_ascii=False)}")
            click.echo(f"  now:  {json.dumps(said.difference.now, ensure_ascii=False)}")
            click.echo(f"  {_why_otherwise(said.difference.program)}")
        sys.exit(1 if failed else 0)

    configured(again, file)


@click.command(
    epilog="""\b
Examples:
  ohmstead why growatt.charge
  ohmstead why growatt           all controls of the device
"""
)
@click.argument("what")
@CONFIGURATION
def why(what: str, file: Path) -> None:
    """Says in a paragraph what a control of a battery does now, who wants that, and what stands in the way."""

    def say(config: Config) -> None:
        from ohmcore.decide import clock, explain, unpacked
        from ohmstead.batteries import boot_id
        from ohmstead.control import account

        device, _, control = what.partition(".")
        batteries = _batteries(config)
        _must_have(batteries, device, file)
        views = batteries[device].view.controls
        view = batteries[device].view.by_word(control) if control else None
        if control and view is None:
            click.echo(f"{device} has no control {control!r}; it has {', '.join(views)}", err=True)
            sys.exit(2)
        with opened_store(config) as store:
            kept = store.trail.standing(device)
        if kept is None:
            click.echo(f"Nothing was decided about {device} yet: the gateway has not run with it.")
            return
        state = unpacked(batteries[device].setup, json.loads(kept.state))
        same_clock = kept.boot == boot_id() and clock(state) <= time.monotonic() * 1000
        now = int(time.monotonic() * 1000) if same_clock else clock(state)
        if not same_clock:
            told = datetime.fromtimestamp(kept.time / 1000, config.zone).strftime("%Y-%m-%d %H:%M")
            click.echo(f"(as it was at {told}; the machine was started since)")
        for name in [view.name] if view is not None else views:
            found = explain(state, name, now)
            until = datetime.fromtimestamp(time.time() + found.left_ms / 1000, config.zone).strftime("%H:%M") if found.author else ""
            click.echo(account.why(batteries[device], state, now, name, until=until))

    configured(say, file)


def _why_otherwise(then: str) -> str:
    """What it means that something is decided otherwise than `then` did."""
    from ohmstead.control.audit import program

    now = program()
    if not then:
        return f"Which version decided it is not on record; this is {now}. Another one may decide otherwise, without any fault."
    if then != now:
        return f"It was decided by {then}, another version than this, {now}: versions may differ, without any fault."
    return f"It was decided by this very version, {now}: the record was changed since, or it is a fault: please report it."


def _batteries(config: Config) -> dict[str, Battery]:
    from ohmstead.batteries import batteries, targets_of

    return batteries(config, {device: targets_of(config, device) for device in config.devices})


def _must_have(batteries: dict[str, Battery], device: str, file: Path) -> None:
    if device not in batteries:
        click.echo(f"{file}: there is no battery {device!r} that is commanded; there is {', '.join(batteries) or 'none'}", err=True)
        sys.exit(2)


def _span(config: Config, day: datetime | None) -> tuple[int, int]:
    """From when to when, UTC ms; a day of the home may have 23 or 25 hours."""
    if day is None:
        return 0, 1 << 62
    first: date = day.date()
    edges = [datetime(edge.year, edge.month, edge.day, tzinfo=config.zone) for edge in (first, first + timedelta(days=1))]
    return round(edges[0].timestamp() * 1000), round(edges[1].timestamp() * 1000)


def _line(stored: StoredRecord, config: Config, batteries: dict[str, Battery]) -> str:
    from ohmcore.records import Decision
    from ohmstead.control import words

    record = stored.record
    views = batteries[record.device].view.controls if record.device in batteries else {}
    moment = datetime.fromtimestamp(record.time / 1000, config.zone).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    head = f"{moment}  {record.device}  {words.event(json.loads(record.event))}"
    return "\n    ".join([head, *(words.decision(Decision(*said), views) for said in json.loads(record.decisions))])


def _as_json(stored: StoredRecord) -> str:
    record = stored.record
    said = {
        "id": stored.id,
        "time": record.time / 1000,
        "device": record.device,
        "event": json.loads(record.event),
        "decisions": json.loads(record.decisions),
    }
    return json.dumps(said, ensure_ascii=False)
