"""The document behind the live page: every value with its age, the power flow, nodes, broker and store (`/api/now`, `/api/live`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ohmstead.control.arbiter import Arbiter
from ohmstead.control.document import document
from ohmstead.observe.latest import LatestValue
from ohmstead.observe.overview import Overview, Standing
from ohmstead.profiles.formula import Formula
from ohmstead.profiles.model import Point, Profile
from ohmstead.publish.numbers import plain
from ohmstead.publish.values import decimals
from ohmstead.readings import Value
from ohmstead.roster import Listed


class LiveDocument:
    """Composes the document; texts are formatted as on the plain topics."""

    def __init__(self, overview: Overview, arbiter: Arbiter | None = None) -> None:
        """Without an arbiter nothing is said of who commands."""
        self._overview = overview
        self._arbiter = arbiter
        self._flows: dict[str, dict[str, Formula | None] | None] = {}
        self._texts: dict[str, dict[str, Callable[[Value], str]]] = {}
        for listed in overview.roster:
            self._add(listed)
        overview.roster.on_change(self._add)

    def _add(self, listed: Listed) -> None:
        profile = listed.profile
        self._flows[listed.device] = profile.flow.formulas() if profile.flow else None
        self._texts[listed.device] = {
            point.id: plain(decimals(profile, point)) for point in profile.points.values() if point.shown != "never"
        }

    def compose(self) -> dict[str, Any]:
        overview = self._overview
        config = overview.config
        now = overview.wall()
        return {
            "site": config.site,
            "zone": config.timezone,
            "time": now,
            "version": overview.version,
            "broker": overview.mqtt.connected,
            "store": {"healthy": overview.writer.healthy, "trouble": overview.writer.trouble, "kept": overview.writer.committed},
            "nodes": [self._node(name, now) for name in overview.fleet.nodes],
            "devices": [self._device(listed, now) for listed in overview.roster],
            "alerts": [self._alert(one) for one in overview.alerts() if one.on],
            "control": self._control(),
        }

    def _control(self) -> dict[str, Any]:
        """How each battery that can be commanded stands, as under `/api/control`; the titles of its controls with it."""
        arbiter = self._arbiter
        if arbiter is None:
            return {}
        standing = {}
        for device, view in arbiter.devices.items():
            said = document(view, arbiter.status(device))
            for name, control in said["controls"].items():
                control["title"] = view.controls[name].title
            standing[device] = said
        return standing

    def _alert(self, alert: Standing) -> str:
        """An alert in words, e.g. "Roof: PV power is above 9800 W"."""
        listed = self._overview.roster[alert.device]
        return f"{listed.title}: {listed.profile.points[alert.point].name} is {alert.text}"

    def _node(self, name: str, now: float) -> dict[str, Any]:
        node = self._overview.fleet.nodes[name]
        hello = node.hello
        bus: Mapping[str, Any] = node.bus or _sum(device.bus for device in node.devices.values())
        return {
            "name": name,
            "online": bool(node.online),
            "age": None if node.heard is None else max(0.0, now - node.heard),
            "firmware": hello.firmware if hello else None,
            "uptime": max(0.0, now - node.started) if node.online and node.started is not None else None,
            "latched": node.latched,
            "tripped": node.tripped,
            "bus": dict(bus),
        }

    def _device(self, listed: Listed, now: float) -> dict[str, Any]:
        overview, device, profile = self._overview, listed.device, listed.profile
        values = overview.latest.values(device)
        serial = values.get(profile.identity.serial or "")
        return {
            "name": device,
            "title": listed.title,
            "parent": listed.parent,
            "state": overview.state(device),
            "age": overview.age(device),
            "via": listed.via,
            "serial": serial.value if serial else listed.serial,
            "flow": flow(self._flows[device], values),
            "groups": [self._group(device, group, profile, values, now) for group in profile.groups],
        }

    def _group(self, device: str, group: str, profile: Profile, values: Mapping[str, LatestValue], now: float) -> dict[str, Any]:
        points = [point for point in profile.in_group(group) if point.shown != "never"]
        times = [values[point.id].time for point in points if point.id in values]
        return {
            "name": group,
            "age": max(0.0, now - max(times)) if times else None,
            "points": [self._point(device, point, values.get(point.id)) for point in points],
        }

    def _point(self, device: str, point: Point, read: LatestValue | None) -> dict[str, Any]:
        text = None if read is None else self._texts[device][point.id](read.value)
        return {"id": point.id, "name": point.name, "text": text, "unit": point.unit, "sign": point.sign}


def flow(formulas: Mapping[str, Formula | None] | None, values: Mapping[str, LatestValue]) -> dict[str, float | None] | None:
    """The figures of the picture, by the profile's formulas; None for a device that has no part in it, an unknown figure is None."""
    if formulas is None:
        return None
    numbers = {point: read.value for point, read in values.items() if isinstance(read.value, int | float)}
    return {name: formula.evaluate(numbers) if formula else None for name, formula in formulas.items()}


def _sum(reports: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for report in reports:
        for name, count in report.items():
            if isinstance(count, int):
                total[name] = total.get(name, 0) + count
    return total
