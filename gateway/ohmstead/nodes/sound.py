"""What the gateway holds of a node's messages between their checks and their time."""

from __future__ import annotations

from typing import NamedTuple

from ohmstead.nodes.fleet import NodeState
from ohmstead.store.protocol import BootKey, NodeEvent


class BootState:
    """One boot of a node: how far the store has settled it, and the events beyond that have been handed out."""

    __slots__ = ("events", "settled", "waits")

    def __init__(self, settled: int = 0) -> None:
        self.settled = settled
        self.events: set[int] = set()
        self.waits = float("inf")  # since when its frames are not taken, on the monotonic clock


class Sound(NamedTuple):
    """A message that passed the checks, before it has a time."""

    node: NodeState
    key: BootKey
    seq: int
    uptime_ms: int
    device: str
    payload: bytes
    group: str = ""
    quality: int = 0
    ranges: tuple[tuple[int, int, bytes], ...] = ()
    event: NodeEvent | None = None
    handed_out: bool = False
