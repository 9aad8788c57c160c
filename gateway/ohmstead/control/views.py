"""What everybody who shows or commands a battery sees of the arbiter: devices with their controls, and how they stand. All of it is data.

Values with `raw` are integers in the smallest unit of their control (`ControlView.scale` units each), as events and decisions have them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple


class ControlView(NamedTuple):
    """A control of a battery as the home has it.

    `word` is what it does: `charge`, `discharge` or `export`. `least`, `most`, `step`, `home` and `safe` are raw; `home` is what it has
    when nobody wants anything. It takes what lies between `least` and `most`, and beside that `home` and `safe`. A raw value is so many
    `unit`s times `scale`, and so many W times `watts`; that is None where nobody said what 100 % is.
    """

    name: str
    title: str
    word: str
    unit: str
    scale: float
    least: int
    most: int
    step: int
    home: int
    safe: int
    watts: float | None = None

    def takes(self, raw: int) -> bool:
        return self.least <= raw <= self.most or raw in (self.home, self.safe)

    def in_unit(self, raw: int) -> float:
        return round(raw * self.scale, 6)

    def kw(self, raw: int) -> float | None:
        """The power of a raw value in kW; None where 100 % of the control is not known."""
        return None if self.watts is None else raw * self.watts / 1000

    def raw_of(self, size: float) -> int:
        """The raw value of a size in `unit`, on the step below it. It may lie outside of the range: the arbiter says so."""
        return self._step(round(size / self.scale, 6))

    def raw_of_kw(self, kw: float) -> int | None:
        """The raw value of a power in kW, on the step below it; None where 100 % of the control is not known."""
        return None if self.watts is None else self._step(round(kw * 1000 / self.watts, 6))

    def _step(self, raw: float) -> int:
        return self.least + math.floor(round((raw - self.least) / self.step, 6)) * self.step


class DeviceView(NamedTuple):
    """A battery inverter under the arbiter: `title` is what the owner calls it. `controls` by name, in the profile's order."""

    name: str
    title: str
    controls: Mapping[str, ControlView]
    read_only: bool = False

    def by_word(self, word: str) -> ControlView | None:
        """The control for `charge`, `discharge` or `export`; also takes a control's own name."""
        return self.controls.get(word) or next((control for control in self.controls.values() if control.word == word), None)


class ControlStatus(NamedTuple):
    """How a control stands; raw values, None is unknown.

    `author` rules (empty: nobody) with `wanted` for another `left_s` seconds. `acknowledged`: what the device was last told and confirmed;
    `read_back`: what is known to be in its registers; `clamp`, `by`: what makes it another value than the one wanted. `reason` is a
    sentence for the owner.
    """

    author: str
    rank: str
    left_s: float
    wanted: int
    commanded: int | None
    acknowledged: int | None
    read_back: int | None
    pending: bool
    clamp: str
    by: str
    reason: str


class Refused(NamedTuple):
    """The last rejection: of whom, of what, why (`reason` is a code, `detail` a sentence), at a UTC second."""

    author: str
    control: str
    reason: str
    by: str
    detail: str
    time: float


class Status(NamedTuple):
    """How a device stands. `mode`: auto, manual or stopped; `latched`: why it is stopped, empty where it is not. `soc` in %, None where
    it is unknown or old; `telemetry_age_s`: of the oldest reading that a limit needs, None: there is none yet. `grid_w`: what the network
    operator lets the house take, None: no limit; `failsafe`: the operator's box is silent. `stop`: the level of the emergency stop, None:
    not heard since the start.
    """

    mode: str
    latched: str
    controls: Mapping[str, ControlStatus]
    soc: float | None
    telemetry_age_s: float | None
    lease_s: float
    manual_left_s: float
    grid_w: int | None
    failsafe: bool
    stop: int | None
    rejected: Refused | None
    trouble: str
    """Why nothing can be commanded at the moment (the audit cannot be kept); empty when all is well."""
