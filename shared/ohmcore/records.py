"""What the arbiter is told of a device once and for all, and what it says: controls, limits, authors; wishes, decisions, explanations.

All values are integers in the smallest unit of their control, all times milliseconds of a monotonic clock that the caller reads.
"""

from collections import namedtuple

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple

# What a control makes the device do, as a set of bits.
CHARGE = 1
DISCHARGE = 2
EXPORT = 4

# The ranks of authors.
DEFAULT = 0
PLAN = 1
MANUAL = 2
RANKS = ("default", "plan", "manual")

_FURTHEST = const(0x3FFFFFFF)
_DAY_MS = const(86400000)


class Control:
    """A writable target. `least`..`most` by `step`, and beside these `reversion`, which it has when nobody wants anything, and `safe`:
    safe-off.

    `up`, `down`: what values above and below `safe` make the device do (bits of CHARGE, DISCHARGE, EXPORT). `ramp`: units a second away
    from `safe`, 0: at once. `budget`: writes within any 24 hours, 0: as many as you like. `milliwatts`: of one unit, where it is a power.
    """

    def __init__(
        self,
        name: str,
        least: int,
        most: int,
        step: int = 1,
        reversion: int = 0,
        safe: int = 0,
        up: int = 0,
        down: int = 0,
        ramp: int = 0,
        interval_ms: int = 0,
        budget: int = 0,
        milliwatts: int = 0,
    ) -> None:
        self.name = name
        self.least = least
        self.most = most
        self.step = step
        self.reversion = reversion
        self.safe = safe
        self.up = up
        self.down = down
        self.ramp = ramp
        self.interval_ms = interval_ms
        self.budget = budget
        self.milliwatts = milliwatts
        self.field = (0, 0, 0, least, most, step)  # as `limits.ramped` wants it
        if not name or step < 1 or not -_FURTHEST <= least <= most <= _FURTHEST:
            raise ValueError(f"control {name}: its range makes no sense")
        for value in (reversion, safe):
            if not -_FURTHEST <= value <= _FURTHEST or (value - least) % step:
                raise ValueError(f"control {name}: {value} is no value of it")
        if min(up, down, ramp, interval_ms, budget, milliwatts) < 0 or up & down:
            raise ValueError(f"control {name}: its effects or limits make no sense")

    def effect(self, value: int) -> int:
        """What the device does at this value."""
        return self.up if value > self.safe else self.down if value < self.safe else 0

    def has(self, value: int) -> bool:
        if value in (self.reversion, self.safe):
            return True
        return self.least <= value <= self.most and (value - self.least) % self.step == 0


class Source:
    """A value of telemetry that limits depend on: stale once it is older than `stale_ms`."""

    def __init__(self, name: str, stale_ms: int) -> None:
        self.name = name
        self.stale_ms = stale_ms
        if not name or stale_ms < 1:
            raise ValueError(f"source {name}: it would always be stale")


class Limit:
    """Below `low`, the effects `low_blocks` have to be off until the value is back at `low` + `hysteresis`; above `high`, `high_blocks`
    until it is at `high` - `hysteresis`.

    With `own`, `high` is what may flow (W): the effects `high_blocks` get what is left of it, the source's value without the power of the
    source `own`; they are raised only by `hysteresis` or more, or to all that is wanted.
    """

    def __init__(
        self,
        name: str,
        source: str,
        low: "int | None" = None,
        high: "int | None" = None,
        hysteresis: int = 0,
        low_blocks: int = 0,
        high_blocks: int = 0,
        own: str = "",
    ) -> None:
        self.name = name
        self.source = source
        self.low = low
        self.high = high
        self.hysteresis = hysteresis
        self.low_blocks = low_blocks if low is not None else 0
        self.high_blocks = high_blocks if high is not None else 0
        self.own = own
        self.at = self.own_at = 0  # where the sources stand in the setup
        if hysteresis < 0 or (low is not None and high is not None and low > high) or (own and high is None):
            raise ValueError(f"limit {name}: its ends make no sense")


class Author:
    """Somebody who may wish, by `rank`. `may_reset`: may also end a latch."""

    def __init__(self, name: str, rank: int, may_reset: bool = False) -> None:
        self.name = name
        self.rank = rank
        self.may_reset = may_reset
        if not name or not DEFAULT <= rank <= MANUAL:
            raise ValueError(f"author {name}: no such rank")


class Setup:
    """A device as its home has it. ValueError where that makes no sense.

    `heartbeat_ms`: how long the network operator's box may be silent before failsafe (0: there is none). `failsafe_w`: what the house
    may take then (W). `lease_ms`: of a wish that does not say; `most_lease_ms`: the longest. `dwell_ms`: between two different wishes of
    the plan. `burst` wishes of an author at once, one more every `refill_ms`. `result_ms`: how long a result is waited for. `retry_ms`:
    until the first new try, twice as long each time up to `longest_retry_ms`. `tries`: failures after which a wish is given up.
    `fights`: how often a rival's value is written over. `day_ms`: of the write budget; tests have shorter days.
    """

    def __init__(
        self,
        device: str,
        controls: "Sequence[Control]",
        limits: "Sequence[Limit]" = (),
        sources: "Sequence[Source]" = (),
        authors: "Sequence[Author]" = (),
        heartbeat_ms: int = 0,
        failsafe_w: int = 0,
        lease_ms: int = 3600000,
        most_lease_ms: int = _DAY_MS,
        dwell_ms: int = 300000,
        burst: int = 60,
        refill_ms: int = 2000,
        result_ms: int = 10000,
        retry_ms: int = 1000,
        longest_retry_ms: int = 30000,
        tries: int = 3,
        fights: int = 3,
        day_ms: int = _DAY_MS,
        read_only: bool = False,
    ) -> None:
        self.device = device
        self.controls = tuple(controls)
        self.limits = tuple(limits)
        self.sources = tuple(sources)
        self.authors = tuple(authors)
        self.heartbeat_ms = heartbeat_ms
        self.failsafe_w = failsafe_w
        self.lease_ms = lease_ms
        self.most_lease_ms = most_lease_ms
        self.dwell_ms = dwell_ms
        self.burst = burst
        self.refill_ms = refill_ms
        self.result_ms = result_ms
        self.retry_ms = retry_ms
        self.longest_retry_ms = longest_retry_ms
        self.tries = tries
        self.fights = fights
        self.day_ms = day_ms
        self.read_only = read_only
        if (
            min(heartbeat_ms, dwell_ms, fights, failsafe_w) < 0
            or min(burst, refill_ms, result_ms, retry_ms, longest_retry_ms, tries) < 1
            or day_ms < 24
        ):
            raise ValueError(f"{device}: its times and numbers make no sense")
        if not 1 <= lease_ms <= most_lease_ms:
            raise ValueError(f"{device}: its leases make no sense")
        self._index: "dict[str, dict[str, int]]" = {}
        for what, named in (("control", self.controls), ("source", self.sources), ("author", self.authors)):
            self._index[what] = {}
            for i in range(len(named)):
                if named[i].name in self._index[what]:
                    raise ValueError(f"{device}: {what} {named[i].name} is there twice")
                self._index[what][named[i].name] = i
        for limit in self.limits:
            at, own_at = self.find("source", limit.source), self.find("source", limit.own) if limit.own else 0
            if at < 0 or own_at < 0:
                raise ValueError(f"{device}: limit {limit.name} has no such source")
            limit.at, limit.own_at = at, own_at
            if limit.own and not all(c.milliwatts for c in self.controls if (c.up | c.down) & limit.high_blocks):
                raise ValueError(f"{device}: limit {limit.name} is about controls that have no power")

    def find(self, what: str, name: object) -> int:
        """Where the control, source or author of this name stands; -1: there is none."""
        return self._index[what].get(name, -1) if isinstance(name, str) else -1


if TYPE_CHECKING:

    class Wish(NamedTuple):
        """What an author wants of a control until `until`. `order`: the higher, the later it was taken."""

        author: str
        rank: int
        value: int
        until: int
        order: int
        words: str

    class Decision(NamedTuple):
        """What is to be done, or was not, and why.

        `kind`: command, revert, safe (write `value`); hold (nothing is written, and why); rejection; notice. `author`: whose wish it is,
        or who is answered. `clamp`: what made it another value than `unclamped`, the one wanted; `by`: which one of these. `identity`: of
        the command, for its result; of a rejected wish its own. `lease_ms`: what is left of the wish. `words`: its author's reason.
        """

        kind: str
        control: str
        value: int | None
        author: str
        reason: str
        clamp: str
        by: str
        unclamped: int | None
        identity: int
        lease_ms: int
        words: str

    class Why(NamedTuple):
        """How a control stands. `value`: commanded last (None: not since the start); `read_back`: known to be there; `pending`: a result
        is owed. `author`, `rank`, `left_ms`, `wanted`, `words`: of the wish that rules (empty, -1, 0, the reversion value, empty:
        nobody's). `clamp`, `by`: as in Decision. `plan`, `plan_left_ms`: what the plan has wished for; `waiting`: what it will have after
        the dwell time.
        """

        value: int | None
        read_back: int | None
        pending: bool
        author: str
        rank: int
        left_ms: int
        wanted: int
        words: str
        clamp: str
        by: str
        plan: int | None
        plan_left_ms: int
        waiting: int | None

    State = tuple[Any, ...]
    Event = tuple[Any, ...]
else:
    State = Event = tuple
    Wish = namedtuple("Wish", ("author", "rank", "value", "until", "order", "words"))
    Decision = namedtuple(
        "Decision",
        ("kind", "control", "value", "author", "reason", "clamp", "by", "unclamped", "identity", "lease_ms", "words"),
    )
    Why = namedtuple(
        "Why",
        (
            "value",
            "read_back",
            "pending",
            "author",
            "rank",
            "left_ms",
            "wanted",
            "words",
            "clamp",
            "by",
            "plan",
            "plan_left_ms",
            "waiting",
        ),
    )


def notice(reason: str, author: str = "", control: str = "", value: "int | None" = None, by: str = "", identity: int = 0) -> "Decision":
    """Something that everybody should know, and nobody has to act upon."""
    return Decision("notice", control, value, author, reason, "", by, None, identity, 0, "")


def rejection(reason: str, by: str, author: str = "", control: str = "", value: "int | None" = None, identity: int = 0) -> "Decision":
    """An event that changed nothing. `by` says more about the reason."""
    return Decision("rejection", control, value, author, reason, "", by, None, identity, 0, "")
