"""How a device and its controls stand: the arbiter's state, which is one tuple, and the working copy that a decision is made on.

The tuple never changes. `Device(state)` opens it, `state()` closes it again; two states are equal if nothing tells them apart.
"""

from ohmcore import const
from ohmcore.records import MANUAL, PLAN, Wish

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ohmcore.records import Control, Setup, State

    Told = tuple[str, int, str, str, int]

_SLOTS = const(24)  # of a day, in which writes are counted
_FORMAT = const(1)

# What nobody has told yet.
_UNTOLD = ("", -2, "", "", 0)


class Desk:
    """A control. Times are of the same clock as the events'.

    `wishes`: by rank. `waiting`: what the plan wishes for after the dwell time. `adopted`: when its last wish came to rule. `out`:
    commanded last, None: not since the restart. `out_at`: when. `read`: known to be there. `pending`: the command whose result is owed,
    `until` then. `tries`: failures in a row, `again`: not before. `failed`: given up. `odd`: read-backs in a row that differ. `fights`:
    rewrites, `yielded`: no more of them. `spent`: begin and number of writes by slot of a day. `told`: what was told last: author, rank,
    clamp, by, unclamped value.
    """

    __slots__ = (
        "adopted",
        "again",
        "control",
        "failed",
        "fights",
        "odd",
        "out",
        "out_at",
        "pending",
        "read",
        "spent",
        "told",
        "tries",
        "until",
        "waiting",
        "wishes",
        "yielded",
    )

    def __init__(self, control: "Control", frozen: "tuple[Any, ...]") -> None:
        self.control = control
        self.wishes: "tuple[Wish | None, ...]"
        self.waiting: "Wish | None"
        self.adopted: "int | None"
        self.out: "int | None"
        self.out_at: "int | None"
        self.read: "int | None"
        self.pending: int
        self.until: int
        self.tries: int
        self.again: "int | None"
        self.failed: bool
        self.odd: int
        self.fights: int
        self.yielded: bool
        self.spent: "tuple[tuple[int, int], ...]"
        self.told: "Told"
        (
            self.wishes,
            self.waiting,
            self.adopted,
            self.out,
            self.out_at,
            self.read,
            self.pending,
            self.until,
            self.tries,
            self.again,
            self.failed,
            self.odd,
            self.fights,
            self.yielded,
            self.spent,
            self.told,
        ) = frozen

    def state(self) -> "State":
        return (
            self.wishes,
            self.waiting,
            self.adopted,
            self.out,
            self.out_at,
            self.read,
            self.pending,
            self.until,
            self.tries,
            self.again,
            self.failed,
            self.odd,
            self.fights,
            self.yielded,
            self.spent,
            self.told,
        )

    def put(self, rank: int, wish: "Wish | None") -> None:
        """The wish of a rank; None: it has none any more."""
        default, plan, manual = self.wishes
        self.wishes = (default, plan, wish) if rank == MANUAL else (default, wish, manual) if rank == PLAN else (wish, plan, manual)

    def used(self, now: int, day_ms: int) -> int:
        """Writes within the last day, and not a little less."""
        writes = 0
        for start, number in self.spent:
            if now - start < day_ms + day_ms // _SLOTS:
                writes += number
        return writes

    def spend(self, now: int, day_ms: int) -> None:
        """One more write. No more of them are kept than can matter: as many as the budget has, and one that may be refunded."""
        slot = day_ms // _SLOTS
        kept = [entry for entry in self.spent if now - entry[0] < day_ms + slot]
        if kept and now - kept[-1][0] < slot:
            kept[-1] = (kept[-1][0], kept[-1][1] + 1)
        else:
            kept.append((now, 1))
        over = sum([number for _, number in kept]) - self.control.budget - 1
        while over > 0:
            start, number = kept[0]
            if number > over:
                kept[0] = (start, number - over)
            else:
                kept.pop(0)
            over -= number
        self.spent = tuple(kept)

    def refund(self, at: int = -1) -> None:
        """The last write was none. Which of those before was none does not matter: without the oldest (`at` 0) the rest counts longest."""
        kept = list(self.spent)
        if kept:
            start, number = kept.pop(at)
            if number > 1:
                kept.insert(0 if at == 0 else len(kept), (start, number - 1))
        self.spent = tuple(kept)

    def harmless(self, effects: int) -> bool:
        """Whether the device is known to do nothing of these effects on this control's account."""
        out, read, control = self.out, self.read, self.control
        if not (control.up | control.down) & effects:
            return True
        return out is not None and read is not None and not (control.effect(out) | control.effect(read)) & effects

    def forget(self) -> None:
        """What the device holds is unknown."""
        self.out = self.read = self.again = None
        self.pending = self.until = self.tries = self.odd = self.fights = 0
        self.failed = self.yielded = False
        self.told = _UNTOLD

    def shift(self, ms: int) -> None:
        """The clock says `ms` more from now on."""
        self.wishes = tuple([_later(wish, ms) for wish in self.wishes])
        self.waiting = _later(self.waiting, ms)
        self.adopted = None if self.adopted is None else self.adopted + ms
        self.out_at = None if self.out_at is None else self.out_at + ms
        self.spent = tuple([(start + ms, number) for start, number in self.spent])


def _later(wish: "Wish | None", ms: int) -> "Wish | None":
    return None if wish is None else Wish(wish.author, wish.rank, wish.value, wish.until + ms, wish.order, wish.words)


class Device:
    """A device and all that is known of it.

    `order`: grows with wishes and commands. `cause`: of the latch; empty: not latched. `level`: of the stop; None: not heard since the
    restart. `trips`: that stand. `manual`: until when the plan pauses. `buckets`: wishes counted against each author's rate (ms), and when.
    `last`: each author's last identity. `beat`, `stated`: last heartbeat and statement of the operator (since failsafe), `grid`: its limit.
    `seen`: each source's last value and when it was read. `active`: two bits for each limit, low and high.
    """

    __slots__ = (
        "active",
        "beat",
        "buckets",
        "cause",
        "desks",
        "failsafe",
        "grid",
        "last",
        "lease_ms",
        "level",
        "manual",
        "now",
        "order",
        "seen",
        "setup",
        "stated",
        "trips",
    )

    def __init__(self, state: "State") -> None:
        self.setup: "Setup"
        self.now: int
        self.order: int
        self.cause: str
        self.level: "int | None"
        self.trips: "tuple[str, ...]"
        self.manual: "int | None"
        self.lease_ms: int
        self.buckets: "tuple[tuple[int, int], ...]"
        self.last: "tuple[int | None, ...]"
        self.beat: "int | None"
        self.stated: "int | None"
        self.grid: "int | None"
        self.failsafe: bool
        self.seen: "tuple[tuple[int | None, int] | None, ...]"
        self.active: int
        (
            self.setup,
            self.now,
            self.order,
            self.cause,
            self.level,
            self.trips,
            self.manual,
            self.lease_ms,
            self.buckets,
            self.last,
            self.beat,
            self.stated,
            self.grid,
            self.failsafe,
            self.seen,
            self.active,
            desks,
        ) = state
        controls = self.setup.controls
        self.desks = [Desk(controls[i], desks[i]) for i in range(len(controls))]

    def state(self) -> "State":
        return (
            self.setup,
            self.now,
            self.order,
            self.cause,
            self.level,
            self.trips,
            self.manual,
            self.lease_ms,
            self.buckets,
            self.last,
            self.beat,
            self.stated,
            self.grid,
            self.failsafe,
            self.seen,
            self.active,
            tuple([desk.state() for desk in self.desks]),
        )

    def mode(self) -> str:
        """`stopped`: latched. `manual`: somebody's manual wish lives, or the plan pauses. `auto`."""
        if self.cause:
            return "stopped"
        if self.manual is not None:
            return "manual"
        for desk in self.desks:
            if desk.wishes[MANUAL] is not None:
                return "manual"
        return "auto"

    def next(self) -> int:
        self.order += 1
        return self.order

    def stale(self, at: int) -> bool:
        seen = self.seen[at]
        return seen is None or seen[0] is None or self.now - seen[1] > self.setup.sources[at].stale_ms

    def value(self, at: int) -> "int | None":
        """A source's last value, however old."""
        seen = self.seen[at]
        return None if seen is None else seen[0]

    def restart(self, was_ms: int, now: int) -> None:
        """The clock that would say `was_ms` says `now`; what device and telemetry were like is not known any more."""
        ms = now - was_ms
        self.now = now
        self.buckets = tuple([(used, at + ms) for used, at in self.buckets])
        self.manual = None if self.manual is None else self.manual + ms
        self.seen = tuple([None for _ in self.seen])
        self.level = self.beat = self.stated = None
        self.failsafe = self.setup.heartbeat_ms > 0
        for desk in self.desks:
            desk.shift(ms)
            desk.forget()


def begin(setup: "Setup", now: int) -> "State":
    """Nothing is wished, nothing is known. The first event makes every control be commanded."""
    desk = ((None, None, None), None, None, None, None, None, 0, 0, 0, None, False, 0, 0, False, (), _UNTOLD)
    return (
        setup,
        now,
        0,
        "",
        None,
        (),
        None,
        setup.lease_ms,
        tuple([(0, now) for _ in setup.authors]),
        tuple([None for _ in setup.authors]),
        None,
        None,
        None,
        setup.heartbeat_ms > 0,
        tuple([None for _ in setup.sources]),
        0,
        tuple([desk for _ in setup.controls]),
    )


def packed(state: "State") -> "list[Any]":
    """The state as lists, numbers and texts, with the names of what the setup has, but without the setup itself."""
    setup = state[0]
    names = [[named.name for named in group] for group in (setup.controls, setup.limits, setup.sources, setup.authors)]
    return [_FORMAT, names, _listed(state[1:])]


def unpacked(setup: "Setup", plain: "Any") -> "State":
    """A state that was packed, for a setup that may have changed since: what is new begins anew, what is gone is forgotten, and a wish
    that is no value of its control any more is none. ValueError: this is no packed state."""
    fresh = begin(setup, 0)
    try:
        number, names, parts = plain
        controls, limits, sources, authors = names
        if number != _FORMAT or len(parts) != len(fresh) - 1:
            raise ValueError("a state of another version")
        now, order, cause, level, trips, manual, lease_ms, buckets, last, beat, stated, grid, failsafe, seen, active, desks = _tupled(parts)
        kept = (
            setup,
            int(now),
            int(order),
            str(cause),
            level,
            tuple([str(name) for name in trips]),
            manual,
            min(int(lease_ms), setup.most_lease_ms),
            _matched(setup.authors, authors, buckets, (0, int(now))),
            _matched(setup.authors, authors, last, None),
            beat,
            stated,
            grid,
            bool(failsafe) or (setup.heartbeat_ms > 0 and beat is None),
            _matched(setup.sources, sources, seen, None),
            sum([(active >> 2 * limits.index(limit.name) & 3) << 2 * i for i, limit in enumerate(setup.limits) if limit.name in limits]),
            tuple(
                [
                    _desk(setup, setup.controls[i], frozen, authors)
                    for i, frozen in enumerate(_matched(setup.controls, controls, desks, fresh[-1][0] if fresh[-1] else ()))
                ]
            ),
        )
        Device(kept)
        return kept
    except (TypeError, AttributeError, IndexError, KeyError):
        pass  # MicroPython does not chain exceptions, and grumbles
    raise ValueError("no state of the arbiter")


def _desk(setup: "Setup", control: "Control", frozen: "tuple[Any, ...]", authors: "list[str]") -> "State":
    def sound(parts: "tuple[Any, ...] | None", rank: int) -> "Wish | None":
        if parts is None:
            return None
        wish = Wish(*parts)
        at = setup.find("author", wish.author)
        return wish if at >= 0 and setup.authors[at].rank == wish.rank == rank and control.has(int(wish.value)) else None

    if len(frozen[0]) != MANUAL + 1:
        raise ValueError("no state of the arbiter: not one wish a rank")
    return (tuple([sound(frozen[0][rank], rank) for rank in range(MANUAL + 1)]), sound(frozen[1], PLAN)) + tuple(frozen[2:])


def _matched(named: "tuple[Any, ...]", names: "list[str]", parts: "tuple[Any, ...]", new: "Any") -> "tuple[Any, ...]":
    return tuple([parts[names.index(one.name)] if one.name in names else new for one in named])


def _listed(part: "Any") -> "Any":
    return [_listed(inner) for inner in part] if isinstance(part, tuple) else part


def _tupled(part: "Any") -> "Any":
    return tuple([_tupled(inner) for inner in part]) if isinstance(part, (list, tuple)) else part
