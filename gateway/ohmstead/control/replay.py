"""The audit's events once more through the core: whether it decides the same, and where it first does not.

A replay begins at the last checkpoint before the span and goes on through all restarts; a checkpoint with another setup (the home was
changed) sets it anew.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ohmcore import events
from ohmcore.decide import decide, packed, unpacked
from ohmcore.records import Decision, State
from ohmstead.control.setup import setup_of
from ohmstead.store.trail import Checkpoint, StoredRecord, Trail


class Difference(NamedTuple):
    """The first record that is decided otherwise now. `program` decided it then; empty where that is not on record."""

    record: StoredRecord
    then: list[list[Any]]
    now: list[list[Any]]
    program: str = ""


class Replayed(NamedTuple):
    """What a replay of a device came to: records and decisions that were the same, and the first that was not."""

    device: str
    records: int
    decisions: int
    difference: Difference | None = None
    state: State | None = None
    """After the last record; None where there was nothing to begin with."""


def replay(trail: Trail, device: str, since: int = 0, until: int = 1 << 62) -> Replayed:
    """Replays a device's records from UTC ms `since` to `until`; what lies between the checkpoint and `since` is decided, too,
    but not counted.

    Raises StoreError, and ValueError where a checkpoint or a record is not readable (another version wrote it).
    """
    begin = trail.checkpoint(device, since)
    if begin is None:
        return Replayed(device, 0, 0)
    later = trail.checkpoints(device, begin.after)
    setup, state, program = begin.setup, _state(begin), begin.program
    records = decisions = 0
    for stored in trail.records(device, begin.after, until):
        while later and later[0].after < stored.id:
            checkpoint = later.pop(0)
            program = checkpoint.program
            if checkpoint.setup != setup:
                setup, state = checkpoint.setup, _state(checkpoint)
        record = stored.record
        state, now = decide(state, events.from_plain(json.loads(record.event)), record.at)
        said, then = _plain(now), json.loads(record.decisions)
        if said != then:
            return Replayed(device, records, decisions, Difference(stored, then, said, program), state)
        if record.time >= since:
            records += 1
            decisions += len(now)
    return Replayed(device, records, decisions, None, state)


def same_end(trail: Trail, replayed: Replayed) -> bool:
    """Whether a replay up to now ends in the state that the store has for the device."""
    kept = trail.standing(replayed.device)
    return kept is not None and replayed.state is not None and json.loads(kept.state) == json.loads(json.dumps(packed(replayed.state)))


def _state(checkpoint: Checkpoint) -> State:
    return unpacked(setup_of(json.loads(checkpoint.setup)), json.loads(checkpoint.state))


def _plain(decisions: list[Decision]) -> list[list[Any]]:
    plain: list[list[Any]] = json.loads(json.dumps(decisions))
    return plain
