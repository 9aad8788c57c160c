"""`ohmstead run --dry-run`: reads and shows, publishes and writes nothing.

Every device is read only, whatever it could do. The broker is listened to under another name, without a last will, and what would be
published is counted and dropped: nodes get no acknowledgement and keep their readings for the gateway they belong to. The store, and
whatever else would be kept, is in a folder that goes with the run; what sources keep over restarts is copied there first, so that a
cloud is not asked more often than it allows. A Miniserver hears nothing by UDP and nobody listens for it, the log has no file, the API
takes no commands. The page is there if its port is free.

A Shelly that is reached over the broker is only heard when it speaks by itself, and of an inverter behind an OpenInverterGateway the
settings are not known: to ask would be to publish. The token of a Viessmann
account is used as long as it is good and not renewed, because that could end the one that another gateway has.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import structlog

from ohmstead import app
from ohmstead.assembly import broker_of
from ohmstead.clock import Clock
from ohmstead.config.devices import Device
from ohmstead.config.model import Config
from ohmstead.config.vicare import VicareDevice
from ohmstead.mqtt import MqttClient
from ohmstead.publish.numbers import plain
from ohmstead.publish.values import decimals
from ohmstead.readings import Quality, Snapshot
from ohmstead.roster import Roster

log = structlog.get_logger(service="app")

_SHOWN = 12
"""So many values of a snapshot on its line."""


def run(config: Config) -> int:
    """Until SIGTERM or SIGINT; the exit code. Snapshots go to stdout, a line each; logging is configured by then, and not to stdout."""
    with tempfile.TemporaryDirectory(prefix="ohmstead-dry-run-") as folder:
        return app.run(harmless(config, Path(folder)), lambda changed: DryGateway(changed, config.store.path))


def harmless(config: Config, folder: Path) -> Config:
    """The configuration of a run that leaves nothing behind but `folder`."""
    devices = {name: _harmless(device, name, config, folder) for name, device in config.devices.items()}
    return config.model_copy(
        update={
            "devices": devices,
            "mqtt": config.mqtt.model_copy(update={"client_id": f"{config.client_id}-dry-run-{secrets.token_hex(3)}"}),
            "store": config.store.model_copy(update={"path": folder / "dry-run.db"}),
            "web": config.web.model_copy(update={"token": None}),
            "log": config.log.model_copy(update={"file": None}),
            "loxone": None,
        }
    )


def _harmless(device: Device, name: str, config: Config, folder: Path) -> Device:
    update: dict[str, object] = {"read_only": True}
    if isinstance(device, VicareDevice):
        update["token_path"] = _lent_token(device.token_kept(name, config.store.path), folder / f"vicare-{name}.json")
    return device.model_copy(update=update)


def _lent_token(kept: Path, lent: Path) -> Path:
    """A copy of a token that opens, but cannot be renewed."""
    try:
        token = json.loads(kept.read_text(encoding="utf-8"))
        text = json.dumps({**token, "refresh_token": ""})
    except (OSError, ValueError, TypeError) as error:
        log.info("no token to begin with", file=str(kept), reason=str(error))
        return lent
    lent.touch(mode=0o600)
    lent.write_text(text, encoding="utf-8")
    return lent


class ListeningClient(MqttClient):
    """A client of the broker that nobody notices: `publish` drops, and counts in `withheld`."""

    withheld = 0

    def publish(self, topic: str, payload: str | bytes, *, retain: bool = False, qos: int = 0) -> None:
        self.withheld += 1


class DryGateway(app.Gateway):
    """A gateway with a harmless configuration. `home` is the home's own store, of which only is read what sources keep."""

    def __init__(self, config: Config, home: Path, clock: Clock | None = None, out: TextIO | None = None) -> None:
        super().__init__(config, clock)
        for key, value in kept_by_sources(home):
            self.store.write_meta(key, value)
        self.stream.subscribe(Show(self.roster, config, out or sys.stdout))

    def _client(self) -> MqttClient:
        self._listening = ListeningClient(broker_of(self.config), None)
        return self._listening

    async def _start_web(self) -> Any:
        try:
            return await super()._start_web()
        except OSError as error:
            log.warning("no page: another program has its port", port=self.config.web.port, reason=str(error))
            return None

    async def _close(self, web: Any) -> None:
        await super()._close(web)
        log.info("nothing was published and nothing written", messages_withheld=self._listening.withheld)


class Show:
    """Writes each snapshot on a line: when, of which device, which poll group, its first values."""

    def __init__(self, roster: Roster, config: Config, out: TextIO) -> None:
        self._roster = roster
        self._zone = config.zone
        self._out = out

    def __call__(self, snapshot: Snapshot) -> None:
        texts = list(self._texts(snapshot))
        more = f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        partly = " (in part)" if snapshot.quality is not Quality.GOOD else ""
        moment = datetime.fromtimestamp(snapshot.time, self._zone).strftime("%H:%M:%S")
        line = f"{moment} {snapshot.device} {snapshot.group}{partly}: {', '.join(texts[:_SHOWN]) or 'nothing'}{more}"
        print(line, file=self._out, flush=True)

    def _texts(self, snapshot: Snapshot) -> Iterator[str]:
        profile = self._roster[snapshot.device].profile if snapshot.device in self._roster else None
        for name, value in snapshot.values.items():
            point = profile.points.get(name) if profile is not None else None
            if profile is None or point is None:
                if "." not in name:  # one of the decoder's own
                    yield f"{name} {value}"
            elif not point.clock:
                yield f"{name} {plain(decimals(profile, point))(value)} {point.unit}".rstrip()


def kept_by_sources(store: Path) -> list[tuple[str, str]]:
    """What sources keep over restarts in a store, under its keys there (`source/…`); nothing where that cannot be read."""
    try:
        with read_only(store) as connection:
            if connection is None:
                return []
            return [(str(key), str(value)) for key, value in connection.execute("SELECT key, value FROM meta WHERE key LIKE 'source/%'")]
    except sqlite3.Error as error:
        log.warning("what sources keep over restarts cannot be read; they begin anew", store=str(store), reason=str(error))
        return []


@contextmanager
def read_only(store: Path) -> Iterator[sqlite3.Connection | None]:
    """A store that may be another gateway's: nothing is written, no file appears beside it. None where there is none.

    Raises sqlite3.Error, also from what is done with it.
    """
    if not store.is_file():
        yield None
        return
    in_use = store.with_name(store.name + "-wal").exists()
    connection = sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro{'' if in_use else '&immutable=1'}", uri=True, timeout=2.0)
    try:
        yield connection
    finally:
        connection.close()
