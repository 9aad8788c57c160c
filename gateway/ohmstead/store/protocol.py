"""What the gateway asks of a store. SQLite is the first that answers; a database server for many homes would be the second.

Everything here may block on a disk or a network and is called outside the event loop; `Writer` does so for the flow of
frames and snapshots. Times are UTC: integer milliseconds since 1970 where a name ends in `_ms`, else seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ohmstead.errors import OhmsteadError
from ohmstead.readings import Snapshot, Value

if TYPE_CHECKING:
    from ohmstead.store.plans import PlanStore
    from ohmstead.store.samples import Samples
    from ohmstead.store.trail import Trail


class StoreError(OhmsteadError):
    """The store could not do what was asked; nothing of it was written. A full disk may have room again later (`try_again`)."""

    def __init__(self, text: str, *, try_again: bool = True) -> None:
        super().__init__(text)
        self.try_again = try_again


class UnfitError(StoreError):
    """The medium is well, but what it was given has no place in it and never will; nothing of it was written."""

    def __init__(self, text: str) -> None:
        super().__init__(text, try_again=False)


OF_SOURCES = "source/"
"""What the keys begin with under which a store has what sources keep."""

BootKey = tuple[str, int]
"""A node's name and the random number it drew when it booted."""

Acknowledgements = dict[BootKey, int]
"""Per boot the highest number up to which everything is settled: committed, or given up by the node itself."""


class NodeEvent(NamedTuple):
    """What a node reported beside readings: `kind` and `detail` as in the wire's event body."""

    kind: str
    detail: Mapping[str, Any]


class Frame(NamedTuple):
    """One numbered message of a node, decoded. (node, boot, seq) is stored exactly once, whatever is committed twice.

    `body` is the message as it came, kept so that a better profile can read it again. An event has no `values`. `behind` are the values of
    what was found behind the device, by its name.
    """

    node: str
    boot: int
    seq: int
    received_ms: int
    time_ms: int
    device: str
    values: Mapping[str, Value]
    body: bytes
    event: NodeEvent | None = None
    behind: Mapping[str, Mapping[str, Value]] = {}


class Anchor(NamedTuple):
    """When a boot began: `offset` is the UTC second of uptime zero, as known at the UTC second `at`."""

    offset: float
    at: float


class Boot(NamedTuple):
    """What the store remembers of a boot, for the gateway to resume from. `contiguous` is what was last acknowledged."""

    node: str
    boot: int
    contiguous: int
    anchor: Anchor | None


class Batch(NamedTuple):
    """What is committed together. `first_seqs` has, per boot, the lowest number its node still holds (from its hello)."""

    frames: Sequence[Frame] = ()
    snapshots: Sequence[Snapshot] = ()
    first_seqs: Mapping[BootKey, int] = {}
    anchors: Mapping[BootKey, Anchor] = {}


class Latest(NamedTuple):
    """The newest stored value of a point."""

    device: str
    point: str
    unit: str
    time: float
    value: Value


class Bucket(NamedTuple):
    """A point over one span of time that begins at `time`: mean, lowest and highest of `samples` numbers.

    For texts all three are the last text of the span.
    """

    time: float
    mean: Value
    low: Value
    high: Value
    samples: int


class StoredEvent(NamedTuple):
    """An event as it was stored."""

    time: float
    node: str
    device: str
    kind: str
    detail: Mapping[str, Any]


class AuditEntry(NamedTuple):
    """Who asked for what, and what became of it so far (`outcome` is empty while nothing is known)."""

    id: int
    time: float
    author: str
    device: str
    control: str
    requested: str
    reason: str
    outcome: str
    outcome_reason: str
    outcome_time: float | None


class Store(Protocol):
    """All methods are safe to call from any thread and raise `StoreError` when the medium fails; then nothing was written."""

    @property
    def plans(self) -> PlanStore:
        """Prices, the exchange rate and plans."""
        ...

    @property
    def trail(self) -> Trail:
        """What the arbiter was told and decided."""
        ...

    @property
    def samples(self) -> Samples:
        """What was measured, as it was."""
        ...

    def commit(self, batch: Batch) -> Acknowledgements:
        """Makes the batch durable, power cut included, before it returns. Idempotent: a frame that is there already is
        ignored with all its values. Returns the acknowledgement of each boot that the batch names. Raises `UnfitError` when it
        is the batch that is at fault."""
        ...

    def boots(self) -> Sequence[Boot]:
        """The boots last heard of, newest first, at most some hundred."""
        ...

    def prune(self, now_ms: int) -> int:
        """Forgets raw bodies that are past their time, a bounded number at once; returns how many. What is settled stays
        settled: a forgotten frame that is sent again is still a duplicate."""
        ...

    def append_audit(self, *, time: float, author: str, device: str, control: str, requested: str, reason: str = "") -> int:
        """Notes a command, durable before it returns; returns the entry's id. Comes before the actuation it describes."""
        ...

    def finish_audit(self, entry: int, *, time: float, outcome: str, reason: str = "") -> None:
        """Notes what became of it. Several outcomes may follow each other; the same outcome twice is noted once."""
        ...

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        """The newest entries, newest first, each with its last outcome."""
        ...

    def read_meta(self, key: str) -> str | None:
        """What was last kept under a key of the gateway's own, such as a counter that must only grow."""
        ...

    def write_meta(self, key: str, value: str) -> None:
        """Keeps a value under a key, durable before it returns."""
        ...

    def latest(self) -> list[Latest]:
        """The newest value of every point."""
        ...

    def history(self, device: str, point: str, start: float, end: float, bucket: float) -> list[Bucket]:
        """A point from `start` (included) to `end` (excluded), in spans of `bucket` seconds; empty spans are absent. Where only changes are
        recorded each value counts by how long it stood."""
        ...

    def append_event(self, event: StoredEvent) -> None:
        """Notes something that the gateway itself has to tell (its `node` is empty), durable before it returns."""
        ...

    def events(self, limit: int = 100) -> list[StoredEvent]:
        """The newest events, newest first."""
        ...

    def close(self) -> None: ...
