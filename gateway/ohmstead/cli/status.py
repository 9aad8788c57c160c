"""`ohmstead status`: how the devices of a running gateway are, a line each."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ohmstead.cli.common import CONFIGURATION, configured
from ohmstead.errors import in_words

if TYPE_CHECKING:
    from ohmstead.config.model import Config

_TIMEOUT_S = 5.0
_HEAD = ("device", "state", "age", "battery", "grid", "sun", "way")
_NOTHING = "–"
_OK = ("ok", "waiting")
_OF_NOW = ("devices", "nodes", "broker", "store", "alerts")


@click.command(epilog="\b\nExamples:\n  ohmstead status\n  ohmstead status -c /etc/ohmstead/ohmstead.yaml")
@CONFIGURATION
def status(file: Path) -> None:
    """How each device is: when it was heard, what it does, what is wrong. Asks the gateway that runs; exit code 1 if one is not well."""

    def show(config: Config) -> None:
        if not config.web.enabled:
            click.echo("the gateway of this configuration has no page (web.enabled: false), so that nobody can ask it", err=True)
            sys.exit(2)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.web.host, config.web.host)
        try:
            now, stats = (_asked(host, config.web.port, path) for path in ("/api/now", "/api/stats"))
        except (OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            said = in_words(reason) if isinstance(reason, OSError) and not isinstance(reason, urllib.error.HTTPError) else reason
            click.echo(f"no gateway answers at {host}:{config.web.port}: {said}. Does it run (`ohmstead run -c {file}`)?", err=True)
            sys.exit(1)
        if not _is_of_a_gateway(now, _OF_NOW) or not _is_of_a_gateway(stats, ("devices",)):
            click.echo(f"what answers at {host}:{config.web.port} is no gateway of this version", err=True)
            sys.exit(1)
        runs = {device["name"] for device in now["devices"] if not device.get("parent")}
        if now.get("site", config.site) != config.site or runs.isdisjoint(config.devices):
            of = f"site {now.get('site')}, {', '.join(sorted(runs)) or 'no device'}"
            click.echo(f"the gateway at {host}:{config.web.port} is another one ({of}), not that of {file}; see web.port", err=True)
            sys.exit(1)
        for line in table(now, stats):
            click.echo(line)
        changed = sorted(runs.symmetric_difference(config.devices))
        if changed:
            click.echo(f"{file} has changed since it was started ({', '.join(changed)}): start it anew", err=True)
        well = all(device["state"] in _OK for device in now["devices"]) and now["store"]["healthy"]
        sys.exit(0 if well and not changed else 1)

    configured(show, file)


def table(now: Mapping[str, Any], stats: Mapping[str, Any]) -> Iterator[str]:
    """The lines, from what `/api/now` and `/api/stats` say."""
    rows: list[Sequence[str]] = [_HEAD, *(_row(device, stats["devices"].get(device["name"], {})) for device in now["devices"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    for node in now["nodes"]:
        heard = "never heard" if node["age"] is None else f"heard {age(node['age'])} ago"
        said = "online" if node["online"] else f"offline, {heard}"
        yield f"node {node['name']}: {said}" + (f", stopped ({node['tripped'] or node['latched']})" if node["latched"] else "")
    if not now["broker"]:
        yield "the broker is away"
    if not now["store"]["healthy"]:
        yield f"nothing is stored: {now['store']['trouble']}"
    for alert in now["alerts"]:
        yield f"alert: {alert}"


def age(seconds: float) -> str:
    """A length of time in its largest unit: 2 s, 4 min, 3 h."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _row(device: Mapping[str, Any], said: Mapping[str, Any]) -> Sequence[str]:
    flow = device["flow"] or {}
    fresh = device["state"] == "ok"
    bus = said.get("bus") or {}
    errors = sum(count for name, count in bus.items() if name in ("no_answer", "partial", "crc", "wrong") and isinstance(count, int))
    way = f"{device['via']}  {errors:,} errors in {bus['requests']:,}" if fresh and bus.get("requests") else device["via"]
    return (
        device["name"],
        device["state"],
        _NOTHING if device["age"] is None else age(device["age"]),
        _percent(flow.get("soc")) if fresh else _NOTHING,
        _kilowatts(flow.get("grid"), signed=True) if fresh else _NOTHING,
        _kilowatts(flow.get("pv")) if fresh else _NOTHING,
        f"{way}: {said['trouble']}" if said.get("trouble") and not device.get("parent") else way,
    )


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.0f} %"


def _kilowatts(watts: float | None, *, signed: bool = False) -> str:
    """In kW; to the grid is negative."""
    return _NOTHING if watts is None else f"{watts / 1000:{'+' if signed else ''}.1f} kW"


def _is_of_a_gateway(said: Any, parts: Sequence[str]) -> bool:
    return isinstance(said, dict) and all(part in said for part in parts)


def _asked(host: str, port: int, path: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{f'[{host}]' if ':' in host else host}:{port}{path}", timeout=_TIMEOUT_S) as answer:
        return json.loads(answer.read())
