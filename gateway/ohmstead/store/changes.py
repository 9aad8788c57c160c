"""What of a talkative device is worth keeping: its changes, and every now and then what stays the same."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ohmstead.readings import Snapshot, Value

AGAIN_S = 300.0
"""A value that stays is kept again after so long: averages over a quarter of an hour need one."""


class Changes:
    """Stands before `record` for some `devices`; what the others say goes through whole. A heat pump that says 80 values every 30 s changes
    about ten of them."""

    def __init__(self, record: Callable[[Snapshot], None], devices: Collection[str], again_s: float = AGAIN_S) -> None:
        self._record = record
        self._kept: dict[str, dict[str, tuple[Value, float]]] = {device: {} for device in devices}
        self._again_s = again_s

    def record(self, snapshot: Snapshot) -> None:
        """Passes on what changed, or was passed on too long ago; nothing at all where there is nothing."""
        kept = self._kept.get(snapshot.device)
        if kept is None:
            self._record(snapshot)
            return
        values: dict[str, Value] = {}
        for point, value in snapshot.values.items():
            before = kept.get(point)
            if before is None or before[0] != value or abs(snapshot.time - before[1]) >= self._again_s:  # also when the clock was set
                values[point] = value
                kept[point] = value, snapshot.time
        if values:
            self._record(snapshot._replace(values=values))
