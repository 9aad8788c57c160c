"""Tells nodes how far the store has settled their boots: what they may forget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from msgpack import packb  # type: ignore[import-untyped] # it comes without types

from ohmcore.frames import PROTOCOL
from ohmstead.messages import Publisher
from ohmstead.nodes.fleet import Fleet
from ohmstead.nodes.sound import BootState
from ohmstead.store.protocol import BootKey

_PAUSE_S = 0.25


class Acknowledger:
    """Acknowledges the boots that are `due`, a few times a second at most once it is started. `root` is what the topics of all nodes begin
    with, `boots` what is known of each boot; `mono` and `wall` are the clocks, in seconds."""

    def __init__(
        self,
        root: str,
        fleet: Fleet,
        publisher: Publisher,
        boots: Mapping[BootKey, BootState],
        *,
        mono: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.due: set[BootKey] = set()
        self._root = root
        self._fleet = fleet
        self._publisher = publisher
        self._boots = boots
        self._mono = mono
        self._wall = wall
        self._timer: asyncio.TimerHandle | None = None
        self._sent = float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on what is due may wait for company, in this loop."""
        self._loop = loop

    def send(self) -> None:
        """What is due goes out, at once or when it is time again."""
        if self._timer is not None:
            return
        pause = self._sent + _PAUSE_S - self._mono()
        if pause > 0 and self._loop is not None:
            self._timer = self._loop.call_later(pause, self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        """What is due goes out now.

        A number lower than the node has heard before, such as 0, tells it that this store has not seen the beginning: time for a hello.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sent = self._mono()
        due, self.due = self.due, set()
        for key in due:
            node, boot = key
            seq = self._boots[key].settled if key in self._boots else 0
            self._publisher.publish(f"{self._root}/{node}/down/ack", packb((PROTOCOL, boot, seq, round(self._wall() * 1000))))
            if node in self._fleet.nodes and not self._fleet.nodes[node].is_earlier(boot):
                self._fleet.nodes[node].acknowledged = seq
