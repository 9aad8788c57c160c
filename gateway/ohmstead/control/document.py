"""How a battery stands under the arbiter, as plain data for MQTT, the page and programs: values in the units of their controls."""

from __future__ import annotations

from typing import Any

from ohmstead.control.views import ControlStatus, ControlView, DeviceView, Status


def document(view: DeviceView, status: Status) -> dict[str, Any]:
    """JSON of a device's status. Null is unknown, or nothing of the kind."""
    rejected = status.rejected
    return {
        "mode": status.mode,
        "latched": status.latched,
        "stop": status.stop,
        "soc": status.soc,
        "telemetry_age_s": None if status.telemetry_age_s is None else round(status.telemetry_age_s, 1),
        "lease_min": round(status.lease_s / 60, 2),
        "manual_left_s": round(status.manual_left_s),
        "grid_limit_w": status.grid_w,
        "failsafe": status.failsafe,
        "read_only": view.read_only,
        "trouble": status.trouble,
        "rejected": None if rejected is None else rejected._asdict(),
        "controls": {name: _control(view.controls[name], control) for name, control in status.controls.items()},
    }


def _control(view: ControlView, status: ControlStatus) -> dict[str, Any]:
    def sized(raw: int | None) -> float | None:
        return None if raw is None else view.in_unit(raw)

    return {
        "unit": view.unit,
        "author": status.author,
        "rank": status.rank,
        "left_s": round(status.left_s),
        "wanted": sized(status.wanted),
        "commanded": sized(status.commanded),
        "acknowledged": sized(status.acknowledged),
        "read_back": sized(status.read_back),
        "pending": status.pending,
        "clamped_by": status.by or status.clamp,
        "clamp": status.clamp,
        "reason": status.reason,
    }
