"""When did it happen? A node has no clock; its frames carry its uptime, and this finds the moment its boot began.

A frame that was read at uptime `u` and received at `r` says that the boot began no later than `r - u`; how much earlier is the
time the frame was under way. So of all frames the one that travelled fastest is right, and every later copy from a
spool merely says less: the lower envelope of `r - u`. A crystal drifts (40 ppm are 3.5 s a day), so what was true an hour
ago is not quite true now: each sample is let go up at `SLACK`, faster than any crystal drifts, and samples older than `WINDOW_S`
are forgotten. With the slack a slow crystal is followed between two quick frames; a fast one needs none, its new samples
are lower by themselves. The forgetting heals what the slack cannot: a worse crystal, an uptime that was once wrong.

The oldest sample is kept until newer ones have come for a whole window: a gateway that was away for hours knows again when
the boot began, and what its node repeats from the spool lands where it happened.

All of this is on the gateway's monotonic clock. UTC is taken from the wall clock when a frame is received, as "so many seconds
before now"; a jump of the wall clock (NTP after a cold start) moves what comes after it and bends nothing. Only what is kept
over a restart is UTC.
"""

from __future__ import annotations

from collections.abc import Iterable

from ohmstead.store.protocol import Anchor, Boot, BootKey

SLACK = 100e-6
"""Seconds per second that an old sample is let go up; crystals stay within 40e-6, a disciplined clock's slewing on top."""

WINDOW_S = 3600.0
BUCKET_S = 600.0
_TOO_OLD_S = 30 * 86_400.0
_BOOTS = 500


class Envelope:
    """The lower envelope of one boot. Instants are the gateway's monotonic seconds, uptimes the node's."""

    __slots__ = ("_best", "_buckets")

    def __init__(self, began: float | None = None, at: float = 0.0) -> None:
        """`began`: when the boot began as it was known at the instant `at`, from before a restart."""
        self._buckets: list[list[float]] = []  # [first instant, lowest sample with the slack taken out], oldest first
        self._best = float("inf")
        if began is not None:
            self._best = began - SLACK * at
            self._buckets.append([at, self._best])

    def heard(self, uptime: float, received: float) -> None:
        """A message that was made at `uptime` came at the instant `received`."""
        sample = received - uptime - SLACK * received
        buckets = self._buckets
        if not buckets or received >= buckets[-1][0] + BUCKET_S:
            while len(buckets) > 1 and buckets[1][0] <= received - WINDOW_S:
                del buckets[0]
            buckets.append([received, sample])
            self._best = min(lowest for _, lowest in buckets)
        elif sample < buckets[-1][1]:
            buckets[-1][1] = sample
            if sample < self._best:
                self._best = sample

    def began(self, now: float) -> float:
        """The instant of uptime zero, as known now; needs a sample."""
        return self._best + SLACK * now


class Anchors:
    """The envelopes of all boots, between the monotonic clock and UTC. `mono` and `wall` are both clocks read together."""

    def __init__(self, boots: Iterable[Boot], *, mono: float, wall: float) -> None:
        """`boots`: what the store remembers. An anchor of the future or of long ago was made with a wrong clock: ignored."""
        self._envelopes: dict[BootKey, Envelope] = {}
        shift = wall - mono
        for boot in boots:
            if boot.anchor is not None and wall - _TOO_OLD_S < boot.anchor.at <= wall + 1.0:
                self._envelopes[boot.node, boot.boot] = Envelope(boot.anchor.offset - shift, boot.anchor.at - shift)

    def __contains__(self, key: BootKey) -> bool:
        return key in self._envelopes

    def heard(self, key: BootKey, uptime: float, mono: float) -> None:
        """A message of a boot, made at `uptime` seconds, received at `mono`. Not for a broker's retained copies."""
        envelope = self._envelopes.get(key)
        if envelope is None:
            if len(self._envelopes) >= _BOOTS:
                del self._envelopes[next(iter(self._envelopes))]
            envelope = self._envelopes[key] = Envelope()
        envelope.heard(uptime, mono)

    def earlier(self, key: BootKey, later: BootKey, seconds: float, mono: float) -> None:
        """`key` began at least `seconds` before `later` did, and nobody knows more. Not for a boot of which more is known."""
        if key not in self._envelopes and later in self._envelopes:
            self.heard(key, mono - self._envelopes[later].began(mono) + seconds, mono)

    def anchor(self, key: BootKey, mono: float, wall: float) -> Anchor:
        """The UTC second of the boot's uptime zero: `offset + uptime` is never later than `wall` for what has been `heard`."""
        return Anchor(self._envelopes[key].began(mono) + wall - mono, wall)
