"""The network operator's limit as it comes over MQTT: `ohm/<site>/grid/limit` and `ohm/<site>/grid/heartbeat`.

The limit is what the house may take in kW (`4.2`, `4,2`), `none`, or one of the home's own words. It is a level and may be retained, but a
copy that a broker kept only limits: that nothing is limited has to be said afresh, and so has whatever ends a failsafe. Each heartbeat is
a live message, whatever it says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from ohmcore import events
from ohmcore.records import Event
from ohmstead.messages import Message, Messenger

log = structlog.get_logger(service="control")

_MOST_BYTES = 64
_MOST_KW = 1e6
_BEATS_S = 0.5
"""Heartbeats that come faster are one."""

_FREE = ("none", "")


class GridInput:
    """Hands each statement to `feed`, and whether it is fresh. `named`: the home's words for limits, W or None for no limit. `refused`
    counts what is no limit."""

    def __init__(
        self,
        site: str,
        messenger: Messenger,
        named: Mapping[str, float | None],
        feed: Callable[[Event, bool], None],
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = f"ohm/{site}/grid"
        self._messenger = messenger
        self._named = named
        self._feed = feed
        self._mono = mono
        self._beat = -math.inf
        self.refused = 0
        self.retained = 0

    def start(self) -> None:
        self._messenger.subscribe(f"{self._root}/limit", self._limited)
        self._messenger.subscribe(f"{self._root}/heartbeat", self._beats)

    def _limited(self, messages: Sequence[Message]) -> None:
        for message in messages:
            said = message.payload[: _MOST_BYTES + 1].decode(errors="replace").strip()
            known, watts = limit_of(said, self._named)
            if message.retain and watts is None:
                self.retained += 1
                continue
            if not known:
                self.refused += 1
                log.warning("no limit of the grid", said=said)
                self._feed(("grid", said), True)  # the audit knows of it; nothing changes
                continue
            self._feed(events.grid(watts), not message.retain)

    def _beats(self, messages: Sequence[Message]) -> None:
        live = [message for message in messages if not message.retain]
        self.retained += len(messages) - len(live)
        if live and self._mono() - self._beat >= _BEATS_S:
            self._beat = self._mono()
            self._feed(events.heartbeat(), True)


def limit_of(said: str, named: Mapping[str, float | None]) -> tuple[bool, int | None]:
    """Whether a text is a limit, and which, in W; None: there is none. An empty text is nobody's statement and no limit at all."""
    if said in named:
        watts = named[said]
        return True, None if watts is None else math.floor(watts)
    if said.lower() in _FREE:
        return said != "", None
    try:
        kw = float(said.replace(",", ".")) if len(said) <= _MOST_BYTES and said.isascii() and "_" not in said else math.nan
    except ValueError:
        return False, None
    return (True, math.floor(round(kw * 1000, 6))) if math.isfinite(kw) and 0 <= kw <= _MOST_KW else (False, None)
