"""How each battery stands, for a Miniserver: `loxone/<device>/status` as `k=v;k=v`, each value plain under it, and `…/status/json`.

Everything is retained, sent again after each connection, and with each heartbeat (a number that counts up), because a LoxBerry hands on
only what changes and nothing that was retained. Powers are in kW and never negative: charging is `charge`, discharging is `discharge`.
A value that is not known is missing from the text, empty as a plain topic and null in the object.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping

from ohmcore.records import RANKS
from ohmstead.control.arbitration import Arbitration
from ohmstead.control.views import ControlStatus, ControlView, DeviceView, Status
from ohmstead.messages import Messenger
from ohmstead.publish.loxone_answers import LoxoneAnswers, LoxoneRejection
from ohmstead.readings import Snapshot

ROOT = "loxone"
HEARTBEAT = "heartbeat"
MODES = {"auto": 0, "manual": 1, "stopped": 2}
"""The modes as numbers, for blocks that know only these."""

Field = str | int | float | None
_LONGEST_TEXT, _LONGEST_PART = 255, 100
"""Characters of a text on a topic of its own, and within the packed one."""

_SOON_S = 0.05
_PASSING = ("age", HEARTBEAT)
"""Changes all the time; alone it is no reason to send anything."""

_SEPARATORS = str.maketrans({";": ",", "=": ":", "\n": " ", "\r": " "})


def fields(view: DeviceView, status: Status, rejection: LoxoneRejection | None, rejected: int, heartbeat: int) -> dict[str, Field]:
    """All that is told of a device, in the order of the text; numbers first, sentences last. None is unknown."""
    said: dict[str, Field] = {
        HEARTBEAT: heartbeat,
        "mode": status.mode,
        "mode_number": MODES[status.mode],
        "soc": status.soc,
        "age": None if status.telemetry_age_s is None else round(status.telemetry_age_s),
        "fresh": int(status.soc is not None),
        "timeout": round(status.lease_s / 60, 1),
        "manual_left": round(status.manual_left_s / 60, 1),
        "grid_limit": None if status.grid_w is None else round(status.grid_w / 1000, 3),
        "failsafe": int(status.failsafe),
    }
    for control in view.controls.values():
        said |= dict(_of_control(control, status.controls[control.name]))
    said["rejected"] = rejected
    said["latched"] = status.latched
    said["rejection"] = rejection.reason if rejection is not None else ""
    said["rejection_topic"] = rejection.topic.removeprefix(f"{ROOT}/{view.name}/") if rejection is not None else ""
    said["rejection_detail"] = rejection.detail if rejection is not None else ""
    said["trouble"] = status.trouble
    for control in view.controls.values():
        said[f"{word(control)}_reason"] = status.controls[control.name].reason
    return said


def _of_control(control: ControlView, status: ControlStatus) -> Iterator[tuple[str, Field]]:
    name = word(control)
    ruled = status.rank in RANKS
    yield name, _kw(control, status.read_back)
    yield f"{name}_on", None if status.commanded is None else int(status.commanded != control.home)
    yield f"{name}_wanted", _kw(control, status.wanted if ruled else None)
    yield f"{name}_acknowledged", _kw(control, status.acknowledged)
    yield f"{name}_left", round(status.left_s / 60, 1)
    yield f"{name}_author", status.author
    yield f"{name}_clamp", f"{status.clamp} {status.by}".strip()


def _kw(control: ControlView, raw: int | None) -> float | None:
    size = None if raw is None else control.kw(raw)
    return None if size is None else round(size, 3)


def word(control: ControlView) -> str:
    """What a control is called in topics and texts: what it does, `charge`, `discharge` or `export`."""
    return control.word or control.name


def plain(value: Field, longest: int = _LONGEST_TEXT) -> str:
    """As one text; empty where it is unknown."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return value.translate(_SEPARATORS)[:longest] if isinstance(value, str) else str(value)


def packed(said: Mapping[str, Field]) -> str:
    """`k=v;k=v` of all that is known. The first key has no `;` before it, all others have: `;charge=` is no part of `;discharge=`."""
    return ";".join(f"{key}={plain(value, _LONGEST_PART)}" for key, value in said.items() if value is not None)


def pattern(key: str) -> str:
    """The command recognition that finds the number of `key` in the packed text, for a virtual input of Loxone Config."""
    return f"\\i{'' if key == HEARTBEAT else ';'}{key}=\\i\\v"


class LoxoneStatus:
    """Publishes how each device stands: at once when something is decided, at the latest with the next heartbeat (s)."""

    def __init__(self, messenger: Messenger, arbitration: Arbitration, answers: LoxoneAnswers, heartbeat_s: float) -> None:
        self._messenger = messenger
        self._arbitration = arbitration
        self._answers = answers
        self._heartbeat_s = heartbeat_s
        self._beats = 0
        self._beat_at: float | None = None
        self._said: dict[str, dict[str, Field]] = {}
        self._soon: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        self._messenger.on_connect(self._all)
        self._arbitration.subscribe(lambda device, _decisions, _status: self._changed(device))
        self._answers.changed = self._changed

    def take(self, snapshot: Snapshot) -> None:
        """What readings decide comes from the arbiter."""

    def tick(self, now: float) -> None:
        if self._beat_at is None or now - self._beat_at >= self._heartbeat_s:
            self._beat_at = now
            self._beats += 1
            self._all()
            return
        for device in self._arbitration.devices:
            if self._telling(device) != self._telling_of(self._said.get(device, {})):
                self._changed(device)

    def close(self) -> None:
        """The heartbeat ends; that says it."""
        for timer in self._soon.values():
            timer.cancel()

    def fields(self, device: str) -> dict[str, Field]:
        """What is told of a device now."""
        view = self._arbitration.devices[device]
        rejection, count = self._answers.last.get(device), self._answers.rejected[device]
        return fields(view, self._arbitration.status(device), rejection, count, self._beats)

    def _telling(self, device: str) -> dict[str, Field]:
        return self._telling_of(self.fields(device))

    @staticmethod
    def _telling_of(said: Mapping[str, Field]) -> dict[str, Field]:
        return {key: value for key, value in said.items() if key not in _PASSING and not key.endswith("_left")}

    def _changed(self, device: str) -> None:
        if device in self._arbitration.devices and device not in self._soon:
            self._soon[device] = asyncio.get_running_loop().call_later(_SOON_S, self._publish, device, False)

    def _all(self) -> None:
        for device in self._arbitration.devices:
            self._publish(device, whole=True)

    def _publish(self, device: str, whole: bool) -> None:
        waiting = self._soon.pop(device, None)
        if waiting is not None:
            waiting.cancel()
        if not self._messenger.connected:
            return
        said, before = self.fields(device), self._said.get(device, {})
        self._said[device] = said
        root = f"{ROOT}/{device}/status"
        self._messenger.publish(root, packed(said), retain=True)
        self._messenger.publish(f"{root}/json", json.dumps(said, ensure_ascii=False), retain=True)
        for key, value in said.items():
            if whole or key not in before or before[key] != value:
                self._messenger.publish(f"{root}/{key}", plain(value), retain=True)
