"""Who wants what, for how long: wishes are checked, taken, wait for the dwell time, and end.

A check that fails returns the reason and what exactly, as (reason, by), and has changed nothing.
"""

from ohmcore import const
from ohmcore.clamps import opposite, stale
from ohmcore.records import MANUAL, PLAN, RANKS, Wish, notice

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ohmcore.records import Control, Decision, Event
    from ohmcore.standing import Desk, Device

    Refusal = tuple[str, str]

_MOST_TEXT = const(200)
_MOST_NUMBER = const(1 << 62)


def whole(value: object, least: int = 0, most: int = _MOST_NUMBER) -> bool:
    """Whether it is an integer (no truth value, no float, however round) within these ends."""
    return type(value) is int and least <= value <= most


def text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_TEXT


def take(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    """A wish."""
    _, author, name, value, identity, lease_ms, age_ms, retained, words = event
    setup = device.setup
    if not (text(author) and text(name) and text(words) and type(retained) is bool and whole(identity) and whole(age_ms)):
        return "malformed", "wish"
    if type(value) is not int:
        return "malformed", "value"
    who, at = setup.find("author", author), setup.find("control", name)
    if who < 0:
        return "unauthorised", "author"
    if at < 0:
        return "malformed", "control"
    if retained:
        return "duplicate", "retained"
    last = device.last[who]
    if last is not None and identity <= last:
        return "duplicate", "identity"
    if setup.read_only:
        return "read-only", ""
    desk = device.desks[at]
    control = desk.control
    if not control.has(value):
        return "out of range", "value" if not control.least <= value <= control.most else "step"
    if lease_ms is None:
        lease_ms = device.lease_ms
    elif not whole(lease_ms, 1, setup.most_lease_ms):
        return ("out of range" if type(lease_ms) is int else "malformed"), "lease"
    # From here on it is a sound wish: whatever becomes of it, no copy of it will be taken.
    device.last = device.last[:who] + (identity,) + device.last[who + 1 :]
    if device.cause:
        return "latched", device.cause
    if age_ms >= lease_ms:
        return "stale", "age"
    effect = control.effect(value)
    unknown = stale(device, effect) if effect else ""
    if unknown:
        return "stale", unknown
    rank = setup.authors[who].rank
    held = desk.wishes[rank]
    if not admit(device, who, value == control.safe and (held is None or held.value != value)):
        return "rate limit", "author"
    wish = Wish(author, rank, value, device.now - age_ms + lease_ms, device.next(), words)
    _enter(device, desk, wish, said)
    return None


def _enter(device: "Device", desk: "Desk", wish: "Wish", said: "list[Decision]") -> None:
    before = desk.wishes[wish.rank]
    if before is not None and before.author != wish.author:
        said.append(notice("superseded", before.author, desk.control.name, before.value, wish.author))
    if wish.rank == PLAN:
        if before is not None and before.value == wish.value:  # the same for longer
            desk.waiting = None
        elif desk.adopted is not None and device.now - desk.adopted < device.setup.dwell_ms:
            desk.waiting = wish
            said.append(notice("dwell", wish.author, desk.control.name, wish.value))
            return
        else:
            desk.waiting = None
            desk.adopted = device.now
    elif wish.rank == MANUAL and desk.failed:
        desk.failed = False  # somebody tries again
        desk.tries = 0
    desk.put(wish.rank, wish)


def admit(device: "Device", who: int, always: bool) -> bool:
    """Counts a wish of an author; False, and not counted: there were too many. What leads to safety is never too much."""
    setup = device.setup
    used, at = device.buckets[who]
    used = max(0, used - (device.now - at))
    if used > (setup.burst - 1) * setup.refill_ms:
        return always
    device.buckets = device.buckets[:who] + ((used + setup.refill_ms, device.now),) + device.buckets[who + 1 :]
    return True


def withdraw(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    _, author, name = event
    who = device.setup.find("author", author)
    if not (text(author) and text(name)):
        return "malformed", "withdraw"
    if who < 0:
        return "unauthorised", "author"
    if name and device.setup.find("control", name) < 0:
        return "malformed", "control"
    if device.setup.read_only:
        return "read-only", ""
    if device.cause:
        return "latched", device.cause
    _end(device, device.setup.authors[who].rank, name, "withdrawn", author, said)
    return None


def mode(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    _, author, name, lease_ms = event
    setup = device.setup
    who = setup.find("author", author)
    if not text(author) or name not in ("auto", "manual"):
        return "malformed", "mode"
    if who < 0 or setup.authors[who].rank != MANUAL:
        return "unauthorised", "author"
    if lease_ms is None:
        lease_ms = device.lease_ms
    elif not whole(lease_ms, 1, setup.most_lease_ms):
        return ("out of range" if type(lease_ms) is int else "malformed"), "lease"
    if setup.read_only:
        return "read-only", ""
    if device.cause:
        return "latched", device.cause
    if not admit(device, who, False):
        return "rate limit", "author"
    if name == "auto":
        device.manual = None
        _end(device, MANUAL, "", "withdrawn", author, said)
    else:
        device.manual = device.now + lease_ms
    return None


def lease(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    _, author, lease_ms = event
    who = device.setup.find("author", author)
    if not text(author) or type(lease_ms) is not int:
        return "malformed", "lease"
    if who < 0 or device.setup.authors[who].rank != MANUAL:
        return "unauthorised", "author"
    if not 1 <= lease_ms <= device.setup.most_lease_ms:
        return "out of range", "lease"
    if device.cause:
        return "latched", device.cause
    if not admit(device, who, False):
        return "rate limit", "author"
    if lease_ms != device.lease_ms:
        device.lease_ms = lease_ms
        said.append(notice("lease", author, "", lease_ms))
    return None


def _end(device: "Device", rank: int, name: str, reason: str, by: str, said: "list[Decision]") -> None:
    for desk in device.desks:
        if name and desk.control.name != name:
            continue
        wish = desk.wishes[rank]
        if wish is None and rank == PLAN:
            wish = desk.waiting
        if wish is not None:
            said.append(notice(reason, wish.author, desk.control.name, wish.value, by))
            desk.put(rank, None)
        if rank == PLAN:
            desk.waiting = None


def end_all(device: "Device", reason: str, by: str, said: "list[Decision]") -> None:
    """Nobody wants anything any more. Without a reason nothing is said."""
    device.manual = None
    for rank in range(len(RANKS)):
        _end(device, rank, "", reason, by, said if reason else [])


def pass_time(device: "Device", said: "list[Decision]") -> None:
    """Leases end, and what waited for the dwell time comes to rule. Whatever changes in here is said."""
    now = device.now
    if device.manual is not None and device.manual <= now:
        device.manual = None
        said.append(notice("lease ended", "", "", None, "mode"))
    for desk in device.desks:
        waiting = desk.waiting
        for wish in desk.wishes:
            if wish is not None and wish.until <= now:
                desk.put(wish.rank, None)
                said.append(notice("lease ended", wish.author, desk.control.name, wish.value))
        if waiting is not None:
            if waiting.until <= now:
                desk.waiting = None
                said.append(notice("lease ended", waiting.author, desk.control.name, waiting.value, "dwell"))
            elif desk.adopted is None or now - desk.adopted >= device.setup.dwell_ms:
                desk.waiting = None
                desk.adopted = now
                desk.put(PLAN, waiting)
                said.append(notice("dwell over", waiting.author, desk.control.name, waiting.value))


def ruling(device: "Device", desk: "Desk") -> "Wish | None":
    """The wish that is selected; None: nobody wants anything."""
    default, plan, manual = desk.wishes
    if manual is not None:
        return manual
    if plan is not None and device.manual is None:
        return plan
    return default


def precedence(wish: "Wish") -> "tuple[int, int]":
    return wish.rank, wish.order


def strongest(device: "Device", rulers: "list[Wish | None]") -> "tuple[int, int]":
    """Of the wishes that rule and make the device charge, discharge or export, the one that comes first: its effects, and whose control
    it is; (0, -1): there is none."""
    effect, at, best = 0, -1, (-1, -1)
    for i in range(len(rulers)):
        wish = rulers[i]
        if wish is not None:
            control: "Control" = device.desks[i].control
            own = control.effect(wish.value)
            if opposite(own) and precedence(wish) > best:
                effect, at, best = own, i, precedence(wish)
    return effect, at
