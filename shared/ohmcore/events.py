"""What the arbiter is told. An event is a tuple whose first part says its kind; it may come back from JSON as a list (`from_plain`).

Whatever else an event is, it is answered with a rejection and changes nothing: nothing is checked in here.
"""

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ohmcore.records import Event


def wish(
    author: str,
    control: str,
    value: int,
    identity: int,
    lease_ms: "int | None" = None,
    age_ms: int = 0,
    retained: bool = False,
    words: str = "",
) -> "Event":
    """`identity` grows with each wish of an author: one that does not is a copy. `lease_ms` None: as long as the device's wishes last by
    default; it counts from when the wish was made, `age_ms` ago. `retained`: a copy that a broker kept. `words`: the author's reason."""
    return ("wish", author, control, value, identity, lease_ms, age_ms, retained, words)


def withdraw(author: str, control: str = "") -> "Event":
    """Nobody of this author's rank wants anything of the control any more; without its name: of any control."""
    return ("withdraw", author, control)


def mode(author: str, name: str, lease_ms: "int | None" = None) -> "Event":
    """`auto`: manual wishes end now. `manual`: the plan pauses until the lease ends."""
    return ("mode", author, name, lease_ms)


def lease(author: str, lease_ms: int) -> "Event":
    """How long wishes last from now on that do not say."""
    return ("lease", author, lease_ms)


def tick() -> "Event":
    """Time has passed."""
    return ("tick",)


def telemetry(values: "Sequence[tuple[str, int | None]]", age_ms: int = 0) -> "Event":
    """Values of sources, all read at the same moment, `age_ms` ago; None: the device does not know."""
    return ("telemetry", tuple(values), age_ms)


def heartbeat() -> "Event":
    """The network operator's box is alive."""
    return ("heartbeat",)


def grid(watts: "int | None") -> "Event":
    """What the network operator lets the house take; None: there is no limit."""
    return ("grid", watts)


def stop(level: int) -> "Event":
    """The level of the emergency stop, 0 or 1."""
    return ("stop", level)


def reset(author: str) -> "Event":
    """An authenticated reset."""
    return ("reset", author)


def trip(name: str) -> "Event":
    """The node tripped, or is latched for a reason of its own (`pin`)."""
    return ("trip", name)


def trip_cleared(name: str) -> "Event":
    """The reason of a trip is gone; that alone releases nothing."""
    return ("trip cleared", name)


def result(control: str, identity: int, outcome: str, value: "int | None" = None) -> "Event":
    """What became of the command `identity`: done, unchanged (it was so already), failed, rejected (nothing was written), or unsent: a
    newer one took its place before anybody could hear it. `value`: as read back."""
    return ("result", control, identity, outcome, value)


def readback(control: str, value: int) -> "Event":
    """A poll saw this value in the control's own registers."""
    return ("readback", control, value)


def external(control: str, value: int) -> "Event":
    """The node says that somebody else wrote this; it looked twice."""
    return ("external", control, value)


def restart(was_ms: int, known: bool = True) -> "Event":
    """The first event after a stored state was loaded. `was_ms`: what the clock of before would say now; it may be another one since.

    Not `known`: nobody can tell (the machine was off); `was_ms` is what it said last (`decide.clock`), and leases end."""
    return ("restart", was_ms, known)


def from_plain(written: "Any") -> "Event":
    """An event that was written as JSON. Anything else stays what it is, to be rejected."""
    if not isinstance(written, (list, tuple)):
        return (written,)
    return tuple(
        [tuple([tuple(pair) if isinstance(pair, list) else pair for pair in part]) if isinstance(part, list) else part for part in written]
    )
