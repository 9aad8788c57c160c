"""How the polls of a DTU went: what hoymiles-mqtt's users look at under `/health` and `/metrics`."""

from __future__ import annotations

from ohmstead.errors import SourceError

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper ends of the histogram of durations, those that prometheus-client has by default."""


class PollFigures:
    """Counts since the start. Times are UTC seconds, None while nothing of the kind has happened."""

    def __init__(self) -> None:
        self.queries = 0
        self.errors: dict[str, int] = {}
        """By what went wrong: the name of the error's type."""
        self.last_success: float | None = None
        self.last_error: str | None = None
        self.last_error_time: float | None = None
        self.first_success: float | None = None
        self.durations = [0] * (len(BUCKETS_S) + 1)
        """How many successful polls took no longer than each of `BUCKETS_S` (and no less than the one before); the last: longer."""
        self.duration_s = 0.0
        """All of them together."""

    def succeeded(self, now: float, took_s: float | None) -> None:
        """`took_s` is None where nobody knows: a node does not say."""
        self.queries += 1
        self.last_success = now
        if self.first_success is None:
            self.first_success = now
        if took_s is None:
            return
        self.durations[next((index for index, end in enumerate(BUCKETS_S) if took_s <= end), len(BUCKETS_S))] += 1
        self.duration_s += took_s

    def failed(self, error: SourceError, now: float) -> None:
        name = type(error).__name__
        self.queries += 1
        self.errors[name] = self.errors.get(name, 0) + 1
        self.last_error, self.last_error_time = str(error), now
