"""The one thread that writes: takes what is queued, commits it as one group, says what is settled.

The queue is bounded. While the store cannot take anything, the oldest entry makes room for the newest: a frame comes again,
because its node was not told that it is safe; a snapshot of the gateway's own sources is lost. Both are counted.

What can never be stored, whatever becomes of the disk, must not hold up the rest: a batch that is unfit is halved until the entry
is found. Of a frame the raw message is kept, so that its node is told to forget it; a snapshot is dropped. Both are counted and logged.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from ohmstead.readings import Snapshot
from ohmstead.store.protocol import Acknowledgements, Anchor, Batch, BootKey, Frame, Store, UnfitError

log = structlog.get_logger(service="store")

_RETRY_S = (0.2, 5.0)
_PRUNE_EVERY_S = 600.0


class Writer:
    """Feeds a `Store` from its own thread.

    `flush`: how long entries may wait for company, in seconds (0: not at all). `capacity`: frames and snapshots that may wait.
    `trouble` says why nothing is being stored at the moment; it is empty when all is well.
    """

    def __init__(self, store: Store, *, flush: float = 1.0, capacity: int = 20_000) -> None:
        self.store = store
        self.trouble = ""
        self.commits = 0
        self.commit_seconds = 0.0
        self.committed = 0
        self.dropped_frames = 0
        self.lost_snapshots = 0
        self.unfit_frames = 0
        self.unfit_snapshots = 0
        self._callbacks: list[Callable[[Acknowledgements], None]] = []
        self._flush = flush
        self._capacity = capacity
        self._queue: deque[Frame | Snapshot] = deque()
        self._first_seqs: dict[BootKey, int] = {}
        self._anchors: dict[BootKey, Anchor] = {}
        self._changed = threading.Condition()
        self._under_way = 0
        self._stopping = False
        self._prune_at = time.monotonic() + _PRUNE_EVERY_S / 10
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def on_commit(self, callback: Callable[[Acknowledgements], None]) -> None:
        """`callback` runs in the writer's thread, strictly after a commit that settled something has returned."""
        self._callbacks.append(callback)

    def start(self) -> None:
        self._thread.start()

    def close(self, seconds: float = 10.0) -> bool:
        """Commits what is queued and ends the thread; False if the store did not take it within `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        if self._queue:
            log.error("not stored at the end", entries=len(self._queue), trouble=self.trouble)
        return not self._queue and not self._thread.is_alive()

    @property
    def healthy(self) -> bool:
        return not self.trouble

    @property
    def queued(self) -> int:
        """What waits for a commit or is being committed."""
        with self._changed:  # else it could miss what is just being taken out of the queue
            return len(self._queue) + len(self._first_seqs) + self._under_way

    def record(self, snapshot: Snapshot) -> None:
        """Queues a snapshot of a source that needs no acknowledgement."""
        with self._changed:
            self._queue.append(snapshot)
            self._make_room()
            self._changed.notify()

    def submit(self, frames: Sequence[Frame], anchors: dict[BootKey, Anchor], first_seqs: dict[BootKey, int] | None = None) -> None:
        """Queues frames in their order, with what is known by now of the boots they belong to."""
        with self._changed:
            self._queue.extend(frames)
            self._anchors.update(anchors)
            if first_seqs:
                self._first_seqs.update(first_seqs)
            self._make_room()
            self._changed.notify()

    def _make_room(self) -> None:
        while len(self._queue) > self._capacity:
            if isinstance(self._queue.popleft(), Frame):
                self.dropped_frames += 1
            else:
                self.lost_snapshots += 1

    def _run(self) -> None:
        pause = 0.0
        last = False
        while not last:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting)
                if not self._waiting:
                    return
                self._changed.wait_for(lambda: self._stopping, pause or self._flush)
                last = self._stopping
                batch = self._take()
            if self._attempt(batch):
                pause = 0.0
                last = False
                self._prune_sometimes()
            else:
                pause = min(max(pause * 2, _RETRY_S[0]), _RETRY_S[1])

    @property
    def _waiting(self) -> bool:
        return bool(self._queue or self._first_seqs)

    def _take(self) -> Batch:
        entries, self._queue = self._queue, deque()
        batch = Batch(
            [entry for entry in entries if isinstance(entry, Frame)],
            [entry for entry in entries if isinstance(entry, Snapshot)],
            self._first_seqs,
            self._anchors,
        )
        self._under_way = len(entries) + len(batch.first_seqs)
        self._first_seqs, self._anchors = {}, {}
        return batch

    def _attempt(self, batch: Batch) -> bool:
        begun = time.monotonic()
        settled: Acknowledgements = {}
        parts = [batch]
        trouble = ""
        while parts and not trouble:
            part = parts.pop()
            try:
                settled.update(self.store.commit(part))
            except UnfitError as error:
                parts += self._smaller(part, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing of it was stored: keep it, say so, try again
                parts.append(part)
                trouble = str(error) or type(error).__name__
            else:
                self.commits += 1
                self.committed += len(part.frames) + len(part.snapshots)
        if trouble and trouble != self.trouble:
            log.error("nothing is stored", reason=trouble, waiting=self.queued)
        elif self.trouble and not trouble:
            log.info("stored again", waiting=self.queued)
        if trouble:
            self._put_back(_joined(parts[::-1]), trouble)
        else:
            self.trouble = ""
            self.commit_seconds += time.monotonic() - begun
        if settled:
            self._tell(settled)
        if not trouble:
            self._under_way = 0
        return not trouble

    def _smaller(self, batch: Batch, error: UnfitError) -> list[Batch]:
        """What is left to commit of an unfit batch, the last part first: its halves, or what can be saved of a single entry."""
        entries = _entries(batch)
        if len(entries) > 1:
            middle = len(entries) // 2
            return [_joined(entries[middle:]), _joined(entries[:middle])]
        for frame in batch.frames:
            bare = frame._replace(values={}, event=None, behind={}, time_ms=frame.received_ms)
            self.unfit_frames += frame != bare
            log.error(
                "a frame cannot be stored, only its raw message" if frame != bare else "a frame cannot be stored at all",
                node=frame.node, boot=frame.boot, seq=frame.seq, device=frame.device, reason=str(error),
            )  # fmt: skip
            return [batch._replace(frames=[bare])] if frame != bare else []
        for snapshot in batch.snapshots:
            self.unfit_snapshots += 1
            log.error("a snapshot cannot be stored", device=snapshot.device, group=snapshot.group, reason=str(error))
        for key in {**batch.first_seqs, **batch.anchors}:
            log.error("what a node said of its boot cannot be stored", node=key[0], boot=key[1], reason=str(error))
        return []

    def _tell(self, settled: Acknowledgements) -> None:
        for callback in self._callbacks:
            try:
                callback(settled)
            except Exception:
                log.exception("committed, and nobody took the acknowledgement")  # the node sends again and hears it then

    def _put_back(self, batch: Batch, trouble: str) -> None:
        with self._changed:
            self.trouble = trouble
            self._under_way = 0
            self._queue.extendleft(reversed(batch.snapshots))
            self._queue.extendleft(reversed(batch.frames))
            self._first_seqs = {**batch.first_seqs, **self._first_seqs}
            self._anchors = {**batch.anchors, **self._anchors}
            self._make_room()

    def _prune_sometimes(self) -> None:
        """Off the way of the frames: after a commit, every ten minutes; trouble here shows at the next commit."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + _PRUNE_EVERY_S
        try:
            self.store.prune(round(time.time() * 1000))
        except Exception as error:  # noqa: BLE001 - old bodies stay a little longer
            log.warning("old frames stay for now", reason=str(error))


def _entries(batch: Batch) -> list[Batch]:
    """A batch in its smallest parts, in their order: one frame, one snapshot, or what is known of one boot."""
    boots = {**batch.first_seqs, **batch.anchors}
    return [
        *(Batch([frame]) for frame in batch.frames),
        *(Batch(snapshots=[snapshot]) for snapshot in batch.snapshots),
        *(
            Batch(
                first_seqs={key: batch.first_seqs[key]} if key in batch.first_seqs else {},
                anchors={key: batch.anchors[key]} if key in batch.anchors else {},
            )
            for key in boots
        ),
    ]


def _joined(batches: Sequence[Batch]) -> Batch:
    return Batch(
        [frame for batch in batches for frame in batch.frames],
        [snapshot for batch in batches for snapshot in batch.snapshots],
        {key: seq for batch in batches for key, seq in batch.first_seqs.items()},
        {key: anchor for batch in batches for key, anchor in batch.anchors.items()},
    )
