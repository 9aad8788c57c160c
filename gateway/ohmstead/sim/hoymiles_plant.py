"""Microinverters on a roof through a simulated day, as the 20 registers that a Hoymiles DTU has of each of their ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from struct import pack
from typing import NamedTuple
from zoneinfo import ZoneInfo

from .sun import clouds, on_plane, sky

_WAKES_AT_W = 3.0
"""What the panels of an inverter must give together for it to be at work."""
_LONGEST_STEP_S = 60


@dataclass(frozen=True)
class Roof:
    """The place, and what hangs on it: serial number of each inverter → peak W of the panel at each of its ports."""

    inverters: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("116180123456", (420, 420, 420, 420)),
        ("104162778899", (330, 330)),
        ("114182a0b1c2", (380, 380)),
        ("112174000007", (400,)),
    )
    serial: str = "10f8a1b2c3d4"
    seed: int = 1
    latitude: float = 50.0
    longitude: float = 14.4
    tilt: float = 35.0
    orientation: float = 180.0
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Europe/Prague"))


class PortState(NamedTuple):
    """One port at one moment: W, and the energies of its day and in all in Ws."""

    power: float
    today: float
    total: float


class Plant:
    """The roof at a time that only goes forward (`advance`). Each port begins with some thousand kWh behind it."""

    def __init__(self, roof: Roof, start: float) -> None:
        self.roof = roof
        self.time = start
        self.limit = 100
        """Percent of its peak that each panel may give."""
        self.producing = True
        self._ports: dict[tuple[str, int], PortState] = {}
        for row, (serial, peaks) in enumerate(roof.inverters):
            for port, peak in enumerate(peaks, 1):
                self._ports[serial, port] = PortState(0.0, 0.0, 3600.0 * peak * (2000 + 7 * row + port))
        midnight = datetime.fromtimestamp(start, roof.zone).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        self.time = midnight
        self.advance(start)

    def advance(self, time: float) -> None:
        """Lives on until `time` (seconds since 1970), in steps of a minute at most."""
        while self.time < time:
            step = min(_LONGEST_STEP_S, time - self.time)
            before = datetime.fromtimestamp(self.time, self.roof.zone).date()
            self.time += step
            new_day = datetime.fromtimestamp(self.time, self.roof.zone).date() != before
            light = self._light()
            for serial, peaks in self.roof.inverters:
                for port, peak in enumerate(peaks, 1):
                    self._ports[serial, port] = _later(self._ports[serial, port], self._power(peak, light), step, new_day)

    def asleep(self, serial: str) -> bool:
        """Whether too little light falls on an inverter for it to be at work."""
        return sum(self.port(serial, port).power for port in self.ports(serial)) < _WAKES_AT_W

    def ports(self, serial: str) -> Sequence[int]:
        return [port for other, port in self._ports if other == serial]

    def port(self, serial: str, port: int) -> PortState:
        return self._ports[serial, port]

    def _light(self) -> float:
        """W/m² on the panels."""
        roof = self.roof
        bright = sky(self.time, roof.latitude, roof.longitude)
        return on_plane(bright, roof.tilt, roof.orientation, clouds(roof.seed, self.time)) if bright.elevation > 0 else 0.0

    def _power(self, peak: int, light: float) -> float:
        return min(peak * light / 1000 * 0.94, peak * self.limit / 100) if self.producing else 0.0

    def records(self) -> list[bytes]:
        """All records, 40 bytes each, without the one behind the last."""
        return [self.record(serial, port) for serial, port in self._ports]

    def record(self, serial: str, port: int) -> bytes:
        """What the DTU has of a port; all zero but for its name while the inverter sleeps."""
        if self.asleep(serial):
            return record(serial, port, link=0)
        state = self.port(serial, port)
        volts = 34.0 + 2.0 * (state.power > 0) - state.power / 200
        amperes = state.power / volts
        return record(
            serial,
            port,
            voltage=round(volts * 10),
            current=round(amperes * (10 if serial.startswith("10") else 100)),
            grid_voltage=2310 + round(state.power / 40),
            grid_frequency=5000,
            power=round(state.power * 10),
            today=int(state.today / 3600),
            total=int(state.total / 3600),
            temperature=round(10 * (12 + state.power / 12)),
            status=3,
        )


def _later(state: PortState, power: float, seconds: float, new_day: bool) -> PortState:
    energy = power * seconds
    return PortState(power, energy if new_day else state.today + energy, state.total + energy)


def record(
    serial: str,
    port: int,
    *,
    voltage: int = 0,
    current: int = 0,
    grid_voltage: int = 0,
    grid_frequency: int = 0,
    power: int = 0,
    today: int = 0,
    total: int = 0,
    temperature: int = 0,
    status: int = 0,
    alarm_code: int = 0,
    alarm_count: int = 0,
    link: int = 1,
) -> bytes:
    """The 40 bytes of a record, everything raw."""
    head = pack(">B6sB", 0x0C, bytes.fromhex(serial), port)
    grid = pack(">HHHHH", voltage, current, grid_voltage, grid_frequency, power)
    state = pack(">HIhHHHBB6x", today, total & 0xFFFFFFFF, temperature, status, alarm_code, alarm_count, link, 7)
    return head + grid + state


NO_RECORD = record("000000000000", 0, link=0)
"""Stands behind the last one: no serial number, but not all zero."""


def moment(date: str, hour: float, zone: ZoneInfo) -> float:
    """Seconds since 1970 of a local date (YYYY-MM-DD) and hour."""
    local = datetime.fromisoformat(date).replace(tzinfo=zone)
    return local.replace(hour=int(hour), minute=int(hour % 1 * 60)).astimezone(UTC).timestamp()
