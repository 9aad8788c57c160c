"""The power limit of SunSpec's model 123, as a limit that ends by itself.

It is written with a reversion time, after which the device drops it unless it is written again; the gateway does that while it lives. A
device that keeps no reversion time is not limited at all: nobody would end it. Only power is ever taken away, never asked for.
Source: SunSpec model 123 (WMaxLimPct 5, WinTms 6, RvrtTms 7, RmpTms 8, WMaxLim_Ena 9, WMaxLimPct_SF 23; registers from the model's ID).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from ohmstead.errors import Refused, WrongAnswer
from ohmstead.profiles.sunspec import Model, exponent_of
from ohmstead.sources.sunspec_line import RegisterLine

MODEL = 123
FIELD = "123.1.WMaxLimPct"
ALL = 100
"""Percent: no limit."""

REVERSION_S = 300
RENEW_S = 100.0

_PERCENT, _REVERSION, _ENABLED, _FACTOR = 5, 7, 9, 23
_NOTHING = 0xFFFF


class _State(NamedTuple):
    """How it stands: the limit in %, whether it is in force, its reversion time in seconds (None: there is none), its scale factor."""

    percent: float
    enabled: bool
    reversion: int | None
    exponent: int

    @property
    def effective(self) -> int:
        return round(self.percent) if self.enabled else ALL


class PowerLimit:
    """Of one device. `mono` gives seconds."""

    def __init__(self, line: RegisterLine, device: str, *, mono: Callable[[], float] = time.monotonic) -> None:
        self._line = line
        self._mono = mono
        self._wanted: int | None = None
        self._due = 0.0
        self._log = structlog.get_logger(service="sunspec").bind(device=device)

    async def held(self, model: Model) -> int:
        """The limit in force in %, 100 where there is none. Raises SourceError."""
        return (await self._state(model)).effective

    async def set(self, model: Model, percent: int) -> int:
        """Limits it to so many % from now on, 100: no more; what it reads back as. Raises SourceError."""
        state = await self._state(model)
        self._wanted = None
        if percent >= ALL:
            if state.enabled:
                await self._write(model, state, ALL, 0)
            return (await self._state(model)).effective
        if state.reversion is None:
            raise Refused(f"{self._line.where} has no reversion time for its power limit; nobody would end it, so it is not set")
        if state.effective != percent or state.reversion != REVERSION_S:
            await self._write(model, state, percent, REVERSION_S)
            state = await self._state(model)
            if state.enabled and state.reversion != REVERSION_S:
                await self._write(model, state, ALL, 0)
                raise Refused(f"{self._line.where} keeps no reversion time for its power limit; nobody would end it, so it was taken back")
        if state.effective == percent:
            self._wanted, self._due = percent, self._mono() + RENEW_S
        return state.effective

    async def renew(self, model: Model) -> None:
        """Puts the end of a limit off where that is due. One that somebody else has changed is left alone. Raises SourceError."""
        if self._wanted is None or self._mono() < self._due:
            return
        state = await self._state(model)
        if state.effective != self._wanted:
            self._log.warning("the power limit is another one than was set; it is left alone", wanted=self._wanted, found=state.effective)
            self._wanted = None
            return
        await self._write(model, state, self._wanted, REVERSION_S)
        self._due = self._mono() + RENEW_S

    async def _state(self, model: Model) -> _State:
        octets = await self._line.read(model.address, _FACTOR + 1)
        words = [int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)]
        exponent = exponent_of(octets[2 * _FACTOR :])
        if (words[0], words[1]) != (model.id, model.length) or exponent is None or not -4 <= exponent <= 0:
            raise WrongAnswer(f"{self._line.where} has no power limit at {model.address}")
        reversion = None if words[_REVERSION] == _NOTHING else words[_REVERSION]
        return _State(words[_PERCENT] * 10.0**exponent, words[_ENABLED] == 1, reversion, exponent)

    async def _write(self, model: Model, state: _State, percent: int, reversion: int) -> None:
        """At once, without a window and a ramp; a limit of 100 % is none."""
        raw = percent * 10**-state.exponent
        if raw >= _NOTHING:
            raise Refused(f"{self._line.where} cannot hold a limit of {percent} %")
        await self._line.write(model.address + _PERCENT, [raw, 0, reversion, 0, int(percent < ALL)])
