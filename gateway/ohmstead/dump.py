"""What support needs of one device, as one JSON document without secrets: the configuration, what the device says in its own words, what
is kept of it and what was logged.

The device is asked once for all that is read of it (`ask=False`: not at all), with requests that only read. What is behind a node is not
asked: its last messages are in the store as they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import platform
import secrets as random
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import ohmstead
from ohmcore.errors import FrameError, ModbusError
from ohmstead.assembly import broker_of
from ohmstead.clock import Clock
from ohmstead.config.model import Config
from ohmstead.config.redacted import Scrubber, redacted
from ohmstead.dryrun import harmless, kept_by_sources, read_only
from ohmstead.errors import OhmsteadError
from ohmstead.messages import Message
from ohmstead.mqtt import MqttClient
from ohmstead.nodeless import Surroundings, source_of
from ohmstead.profiles.decode import Decoder
from ohmstead.readings import Snapshot
from ohmstead.sources.growatt_mqtt import GrowattMqtt
from ohmstead.sources.modbus import Away, ModbusSource
from ohmstead.sources.polling import Dumper, Member, PolledSource, Subscriber
from ohmstead.store.protocol import OF_SOURCES

_LIBRARIES = ("pydantic", "pymodbus", "paho-mqtt", "httpx", "luxtronik", "PyViCare", "fastapi", "uvicorn", "structlog")
_EVENTS, _FRAMES, _LINES = 50, 20, 300
_LISTEN_S = 15.0
_LONGEST_S = 240.0


def dump(config: Config, device: str, *, ask: bool = True, listen_s: float = _LISTEN_S) -> dict[str, Any]:
    """The document; plain values that JSON can carry. `listen_s`: how long an OpenInverterGateway is listened to, in seconds."""
    said: dict[str, Any] = {
        "made": datetime.now(config.zone).isoformat(timespec="seconds"),
        "device": device,
        "versions": _versions(),
        "configuration": redacted(config),
        "polled": _polled(config, device),
        "raw": asyncio.run(_raw(config, device, listen_s)) if ask and config.devices[device].via.node is None else None,
        "stored": _stored(config, device),
        "log": _log(config),
    }
    scrubbed: dict[str, Any] = Scrubber(config)(said)
    return scrubbed


def _versions() -> dict[str, str]:
    found = {
        "ohmstead": ohmstead.__version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
    }
    for library in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found


def _polled(config: Config, device: str) -> dict[str, Any]:
    """What is asked of it, and how often."""
    profile = config.profile(device)
    by_plan = profile.reader == "registers" or config.devices[device].via.node is not None
    groups = config.poll_groups(device) if by_plan else []
    return {
        "profile": profile.id,
        "reader": profile.reader,
        "line": redacted(profile.line),
        "periods_s": config.periods(device),
        "unit": config.unit(device) if by_plan else None,
        "reads": {group.name: [f"function {read.function}: {read.address}+{read.count}" for read in group.reads] for group in groups},
    }


async def _raw(config: Config, device: str, listen_s: float) -> Any:
    """What the device says, in its own words; or why it says nothing."""
    with tempfile.TemporaryDirectory(prefix="ohmstead-dump-") as folder:
        dry = harmless(config, Path(folder))
        snapshots: list[Snapshot] = []
        members: list[Member] = []
        client = MqttClient(broker_of(dry)._replace(client_id=f"ohmstead-dump-{random.token_hex(4)}"), None)
        around = Surroundings(dry, client, snapshots.append, members.append, _Lent(kept_by_sources(config.store.path)), Clock())
        source = source_of(device, Decoder(config.profile(device), config.zone, config.poll_groups(device)), around)
        try:
            async with asyncio.timeout(_LONGEST_S):
                if isinstance(source, ModbusSource):
                    return await _registers(config, device, source)
                async with _connected(client):
                    if isinstance(source, GrowattMqtt):
                        return await _heard(client, source.base, listen_s)
                    return await _read(source, snapshots, members)
        except OhmsteadError as error:
            return {"error": str(error)}
        except TimeoutError:
            return {"error": f"no answer within {_LONGEST_S:g} s"}
        except Exception as error:  # noqa: BLE001 - a device that nobody foresaw is what a dump is made for
            return {"error": "".join(traceback.format_exception(error))}


async def _registers(config: Config, device: str, source: ModbusSource) -> dict[str, Any]:
    """Each range that is polled: its registers as hexadecimal digits, four each, and what they are taken for."""
    decoder = Decoder(config.profile(device), config.zone, config.poll_groups(device))
    said: dict[str, Any] = {}
    try:
        for group in config.poll_groups(device):
            ranges = said[group.name] = []
            for read in group.reads:
                told: dict[str, Any] = {"function": read.function, "address": read.address, "count": read.count}
                try:
                    octets = await source.read(read)
                    told["registers"] = octets.hex(" ", 2)
                    told["values"] = dict(decoder.decode(read.function, read.address, octets, group.name))
                except Away as error:
                    return {**said, "error": str(error)}
                except (ModbusError, FrameError) as error:
                    told["error"] = f"{type(error).__name__}: {error}"
                ranges.append(told)
    finally:
        source.close()
    return said


async def _heard(client: MqttClient, base: str, seconds: float) -> list[dict[str, Any]]:
    """Everything below a base topic for a while."""
    heard: list[dict[str, Any]] = []

    def take(messages: Sequence[Message]) -> None:
        heard.extend(
            {"topic": message.topic, "payload": message.payload.decode(errors="replace"), "retained": message.retain}
            for message in messages
        )

    client.subscribe(f"{base}/#", take)
    await asyncio.sleep(seconds)
    return heard


async def _read(source: PolledSource, snapshots: list[Snapshot], members: list[Member]) -> dict[str, Any]:
    """One poll: what came, if the reader can say that, else what it was taken for."""
    reader = source.reader
    try:
        if isinstance(reader, Subscriber):
            reader.start()
        if isinstance(reader, Dumper):
            said: dict[str, Any] = {"answers": await reader.dump()}
        else:
            said = {"snapshots": [snapshot._asdict() for snapshot in [*await reader.read(), *snapshots]]}
    finally:
        await reader.close()
    return {**said, "behind": [{"device": member.device, "name": member.name, "serial": member.serial} for member in members]}


@contextlib.asynccontextmanager
async def _connected(client: MqttClient) -> AsyncIterator[None]:
    """The broker's client runs meanwhile, whether it is reached or not."""
    running = asyncio.create_task(client.run())
    try:
        await client.tried.wait()
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await client.close()


class _Lent:
    """What sources keep, to be read; what they would keep anew is forgotten."""

    def __init__(self, kept: Sequence[tuple[str, str]]) -> None:
        self._kept = {key.removeprefix(OF_SOURCES): value for key, value in kept}

    def read(self, key: str) -> str | None:
        return self._kept.get(key)

    def write(self, key: str, value: str) -> None:
        self._kept[key] = value


def _stored(config: Config, device: str) -> dict[str, Any]:
    """What the store has of the device and of what is behind it: the newest values, events, and its node's last messages as they came."""
    node = config.devices[device].via.node or ""
    behind = f"{device}-"
    try:
        with read_only(config.store.path) as store:
            if store is None:
                return {"error": "there is no store yet"}
            values = store.execute(
                "SELECT device, point, unit, ts, value FROM series JOIN samples ON series_id = series.id"
                " AND ts = (SELECT max(ts) FROM samples WHERE series_id = series.id)"
                " WHERE device = ? OR substr(device, 1, ?) = ? ORDER BY series.id",
                (device, len(behind), behind),
            ).fetchall()
            events = store.execute(
                "SELECT time, node, device, kind, detail FROM events WHERE device = ? OR (node = ? AND node <> '')"
                " OR substr(device, 1, ?) = ? ORDER BY id DESC LIMIT ?",
                (device, node, len(behind), behind, _EVENTS),
            ).fetchall()
            frames = store.execute(
                "SELECT boot, seq, received, body FROM frames JOIN boots ON boots.id = boot_id WHERE node = ?"
                " ORDER BY received DESC LIMIT ?",
                (node, _FRAMES),
            ).fetchall()
    except sqlite3.Error as error:
        return {"error": str(error)}
    return {
        "values": [[*row[:3], _moment(config, row[3]), row[4]] for row in values],
        "events": [[_moment(config, row[0]), *row[1:4], json.loads(row[4])] for row in events],
        "messages": [[boot, seq, _moment(config, received), bytes(body).hex()] for boot, seq, received, body in frames],
    }


def _moment(config: Config, milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, config.zone).isoformat(timespec="milliseconds")


def _log(config: Config) -> list[str]:
    """The last lines of the log's file, where there is one."""
    if config.log.file is None:
        return ["no file: `log: {file: ohmstead.log}` keeps one"]
    lines: list[str] = []
    for path in (config.log.file.with_name(f"{config.log.file.name}.1"), config.log.file):
        try:
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            lines.append(f"{path.name} cannot be read: {error.strerror}")
    return lines[-_LINES:]
