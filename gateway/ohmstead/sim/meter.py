"""A meter that is not there: the registers of any profile, with values that are said or follow from a power.

Numbers become registers by `struct`, not by `ohmcore`: whoever is tested against this meets a second implementation.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from ohmstead.profiles.model import Point, Profile

from .registers import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, READ_HOLDING, READ_INPUT, RefusalError

_CODES = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d", "bit": "I"}
_KWH = 3.6e6
_VOLTS = 230.0
_MAINS_HZ = 50.0

Values = Mapping[str, float | str]
"""Point → value in the point's unit."""


def words_of(point: Point, value: float | str) -> list[int]:
    """The registers that hold a value of a point. Raises ValueError for one that they cannot hold."""
    size = 2 * point.words
    if point.kind == "str":
        octets = str(value).encode().ljust(size, b"\0")
        if len(octets) > size:
            raise ValueError(f"{point.id}: {value!r} does not fit {point.words} registers")
    elif point.kind in _CODES and not isinstance(value, str):
        raw = value / point.scale
        try:
            octets = struct.pack(f">{_CODES[point.kind]}", raw if point.kind in ("f32", "f64") else round(raw))
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{point.id}: {value:g} {point.unit} does not fit {point.kind}: {error}") from error
        octets = octets[-size:] if point.kind == "bit" else octets
    else:
        raise ValueError(f"{point.id}: {value!r} is nothing that {point.kind} holds here")
    words = [int.from_bytes(octets[at : at + 2], "big") for at in range(0, size, 2)]
    return words if point.order == "big" or point.kind == "str" else words[::-1]


class Meter:
    """The registers of `profile`. What is not said is 0, and so are its readable registers that belong to no point.

    `watts` makes it a meter on a line: the powers of its phases at a moment, positive for an import, from which the points that are
    called as in our meters' profiles follow (`power`, `power_l1`, `voltage_l1`, `current_l1`, `energy_import` …); energies grow with
    `clock`, seconds. Reads are refused as meters do: other addresses, more registers than `max_read`, and, where all points begin at
    even addresses and have an even number of registers, odd ones.
    """

    def __init__(
        self,
        profile: Profile,
        values: Values | None = None,
        *,
        watts: Callable[[float], Sequence[float]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.profile = profile
        self._lock = threading.Lock()
        self._watts = watts
        self._clock = clock
        self._counted = clock()
        self._energy = {"import": 0.0, "export": 0.0}
        points = [point for point in profile.points.values() if point.table is not None]
        self._even = all(point.address % 2 == 0 and point.words % 2 == 0 for point in points)
        self._words: dict[tuple[int, int], int] = {}
        for first, last in profile.line.readable:
            for function in {point.function for point in points}:
                self._words.update({(function, at): 0 for at in range(first, last + 1)})
        for point in points:
            self._words.update({(point.function, at): 0 for at in range(point.address, point.last + 1)})
        for name, value in (values or {}).items():
            self[name] = value

    def __setitem__(self, point: str, value: float | str) -> None:
        """From now on the meter says this, in the point's unit. Raises KeyError, and ValueError for what does not fit."""
        chosen = self.profile.points[point]
        words = words_of(chosen, value)
        with self._lock:
            self._words.update({(chosen.function, chosen.address + at): word for at, word in enumerate(words)})

    def counts(self, imported: float, exported: float) -> None:
        """Sets what it has counted so far, in kWh: the begin of its life, or a reset."""
        self._energy = {"import": imported * _KWH, "export": exported * _KWH}

    def read(self, function: int, address: int, count: int) -> list[int]:
        if function not in (READ_HOLDING, READ_INPUT):
            raise RefusalError(ILLEGAL_FUNCTION)
        if count > self.profile.line.max_read or (self._even and (count % 2 or address % 2)):
            raise RefusalError(ILLEGAL_VALUE)
        if self._watts is not None:
            self._move_on(self._watts)
        with self._lock:
            try:
                return [self._words[function, at] for at in range(address, address + count)]
            except KeyError:
                raise RefusalError(ILLEGAL_ADDRESS) from None

    def write(self, function: int, address: int, words: Sequence[int]) -> None:
        raise RefusalError(ILLEGAL_FUNCTION)

    def _move_on(self, watts: Callable[[float], Sequence[float]]) -> None:
        now = self._clock()
        phases = list(watts(now))
        power = sum(phases)
        self._energy["import" if power > 0 else "export"] += abs(power) * max(0.0, now - self._counted)
        self._counted = now
        imported, exported = (joules / _KWH for joules in self._energy.values())
        shown = {
            "power": power, "power_import": max(power, 0.0), "power_export": max(-power, 0.0),
            "apparent_power": abs(power), "reactive_power": 0.0, "power_factor": 1.0, "frequency": _MAINS_HZ,
            "voltage": _VOLTS, "current": abs(power) / _VOLTS,
            "energy_import": imported, "energy_export": exported, "energy_sum": imported + exported,
        }  # fmt: skip
        for number, phase in enumerate(phases, start=1):
            shown |= {f"power_l{number}": phase, f"voltage_l{number}": _VOLTS, f"current_l{number}": abs(phase) / _VOLTS}
            shown[f"power_factor_l{number}"] = 1.0
        for name, value in shown.items():
            if name in self.profile.points:
                self[name] = value
