"""The arbiter's audit: records are made durable in groups, in their order, and only then acted upon.

While a group is being written the next one gathers: one flush to the medium is paid by all who wait for it. What nobody waits for (a
reading that decided nothing) waits a little for company. When the store takes nothing, all that waits is lost together, whoever gave it is
told, and nothing is done of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import structlog

import ohmstead
from ohmcore.decide import packed
from ohmcore.records import Decision, Event, State
from ohmstead.control.setup import written
from ohmstead.errors import OhmsteadError
from ohmstead.store.trail import Checkpoint, Record, Standing, Trail

log = structlog.get_logger(service="control")

_PAUSE_S = 1.0
_CORE = ("actuation", "clamps", "decide", "limits", "records", "standing", "wishes")
"""What a decision comes of, of `ohmcore`."""


class Entry(NamedTuple):
    """An event of a device at `now` (ms), what was decided, and the state after it. `done` is told when that is durable, or lost.

    Not `recorded`: it changed nothing, and only waits for what was before it."""

    device: str
    now: int
    time: float
    event: Event
    decisions: Sequence[Decision]
    state: State
    done: asyncio.Future[None] | None = None
    recorded: bool = True


class Audit:
    """`committed` takes each entry when it is durable, `lost` all those that are not; `checkpoints` gives those that are due before a
    group. `boot` names the run of this machine, for its clock.

    `flush_s`: how long an entry may wait for company. `trouble` says why nothing is being kept; empty when all is well.
    """

    def __init__(
        self,
        trail: Trail,
        committed: Callable[[Entry], None],
        lost: Callable[[Sequence[Entry], OhmsteadError], None],
        checkpoints: Callable[[], Sequence[Checkpoint]] = tuple,
        *,
        boot: str,
        flush_s: float = 1.0,
    ) -> None:
        self.trouble = ""
        self.commits = 0
        self.entries = 0
        self._trail = trail
        self._committed = committed
        self._lost = lost
        self._boot = boot
        self._flush_s = flush_s
        self._queue: list[Entry] = []
        self._checkpoints = checkpoints
        self._some = asyncio.Event()
        self._urgent = asyncio.Event()
        self._closing = False

    def add(self, entry: Entry) -> None:
        """Queues an entry. Somebody waits for it if it decided something or has a `done`."""
        self._queue.append(entry)
        self._some.set()
        if entry.done is not None or entry.decisions:
            self._urgent.set()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def run(self) -> None:
        """Until `close`; what waits then is still written."""
        while not (self._closing and not self._queue):
            await self._some.wait()
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._flush_s):
                        await self._urgent.wait()
            self._some.clear()
            self._urgent.clear()
            await self.flush()

    def close(self) -> None:
        """`run` returns as soon as all that waits is written, or could not be."""
        self._closing = True
        self._some.set()
        self._urgent.set()

    async def flush(self) -> bool:
        """Writes what waits, as one group; whether the store took it."""
        group, self._queue = self._queue, []
        if not group:
            return True
        try:
            if kept := [entry for entry in group if entry.recorded]:
                await asyncio.to_thread(self._write, kept, self._checkpoints())
        except OhmsteadError as error:
            if str(error) != self.trouble:
                log.error("nothing is decided, the audit cannot be kept", reason=str(error))
            self.trouble = str(error)
            late, self._queue = self._queue, []
            for entry in (*group, *late):
                if entry.done is not None and not entry.done.done():
                    entry.done.set_exception(error)
            self._lost((*group, *late), error)
            if not self._closing:
                await asyncio.sleep(_PAUSE_S)
            return False
        if kept:
            if self.trouble:
                log.info("the audit is kept again")
            self.trouble = ""
            self.commits += 1
            self.entries += len(kept)
        for entry in group:
            self._committed(entry)
            if entry.done is not None and not entry.done.done():
                entry.done.set_result(None)
        return True

    def _write(self, group: Sequence[Entry], checkpoints: Sequence[Checkpoint]) -> None:
        """In a thread. A device's state is written once a group, the last one."""
        last = {entry.device: entry for entry in group}
        self._trail.commit(
            [
                Record(
                    entry.device,
                    entry.now,
                    round(entry.time * 1000),
                    _json(entry.event),
                    _json(entry.decisions) if entry.decisions else "[]",
                )
                for entry in group
            ],
            [Standing(device, self._boot, round(entry.time * 1000), _json(packed(entry.state))) for device, entry in last.items()],
            checkpoints,
        )


def checkpoint(device: str, state: State, time: float) -> Checkpoint:
    """One of a state, at a UTC second, from which on this program decides."""
    return Checkpoint(device, round(time * 1000), _json(written(state[0])), _json(packed(state)), program=program())


@cache
def program() -> str:
    """Who decides: the version, and a digest of the core's files, which tells two apart that have the same version."""
    core = resources.files("ohmcore")
    digest = hashlib.sha256(b"\0".join(core.joinpath(f"{module}.py").read_bytes() for module in _CORE))
    return f"ohmstead {ohmstead.__version__} (core {digest.hexdigest()[:12]})"


def _json(plain: object) -> str:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=repr)
