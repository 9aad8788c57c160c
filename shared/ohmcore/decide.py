"""The arbiter: who commands a battery, and what comes of it. One pure function of (state, event, now).

Leases, heartbeats and latches; then for each control SELECT one wish (manual before plan before default), CLAMP it to what telemetry and
the network operator allow, and override it with SAFE where nobody knows enough or the device is latched. Every decision names the winner,
what clamped it, and what it would have been. What is not a sound event changes nothing and is answered with a rejection.
"""

from ohmcore import const
from ohmcore.actuation import failed, judged, rival, settle
from ohmcore.clamps import see
from ohmcore.records import PLAN, Why, notice, rejection
from ohmcore.standing import Device, begin, packed, unpacked
from ohmcore.wishes import end_all, lease, mode, pass_time, ruling, strongest, take, text, whole, withdraw

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from ohmcore.records import Decision, Event, State
    from ohmcore.wishes import Refusal

    Handler = Callable[[Device, Event, list[Decision]], Refusal | None]

__all__ = ("begin", "clock", "decide", "due", "explain", "mode_of", "next_identity", "packed", "unpacked")

_MOST_TRIPS = const(16)
_MOST_SHOWN = const(64)


def decide(state: "State", event: "Event", now: int) -> "tuple[State, list[Decision]]":
    """What the event at `now` (ms, never before the last one) changes, and what is to be done about it, in this order.

    Raises nothing for any event. A tick that decides nothing changes nothing but the time.
    """
    device = Device(state)
    said: "list[Decision]" = []
    before = device.mode()
    kind = event[0] if event else None
    handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
    if handler is not None and len(event) != _PARTS[str(kind)]:
        handler = None
    if handler is not None and kind == "restart" and _restarted(device, event, said) is None:
        _restart(device, event, now, said)
    elif now > device.now:
        device.now = now
    _pass_time(device, said)
    refusal = ("malformed", "event") if handler is None else handler(device, event, said)
    asked = ""
    if refusal is not None:
        said.append(_refused(refusal, event))
    elif kind == "wish":
        asked = event[2]
    after = device.mode()
    if after != before:
        said.append(notice("mode", "", "", None, after))
    settle(device, asked, said)
    return device.state(), said


def _refused(refusal: "Refusal", event: "Event") -> "Decision":
    """The answer, with as much of the event as is a text or a number in its place."""
    author = control = ""
    value = None
    identity = 0
    kind = event[0] if event else None
    if kind in ("wish", "withdraw", "mode", "lease", "reset") and len(event) > 1 and isinstance(event[1], str):
        author = event[1][:_MOST_SHOWN]
    if kind in ("wish", "withdraw") and len(event) > 2 and isinstance(event[2], str):
        control = event[2][:_MOST_SHOWN]
    elif kind in ("result", "readback", "external") and len(event) > 1 and isinstance(event[1], str):
        control = event[1][:_MOST_SHOWN]
    if kind == "wish" and len(event) > 4:
        value = event[3] if whole(event[3], -(1 << 62)) else None
        identity = event[4] if whole(event[4]) else 0
    return rejection(refusal[0], refusal[1], author, control, value, identity)


def _restart(device: "Device", event: "Event", now: int, said: "list[Decision]") -> None:
    """A clock of before that would have gone backwards is not known either."""
    _, was_ms, known = event
    if not device.failsafe and device.setup.heartbeat_ms:
        said.append(notice("failsafe", "", "", device.setup.failsafe_w))
    if not known or was_ms < device.now:
        end_all(device, "lease ended", "restart", said)
    device.restart(max(was_ms, device.now), now)


def _pass_time(device: "Device", said: "list[Decision]") -> None:
    now = device.now
    pass_time(device, said)
    heartbeat_ms = device.setup.heartbeat_ms
    if heartbeat_ms and not device.failsafe and (device.beat is None or now - device.beat > heartbeat_ms):
        device.failsafe = True
        device.beat = device.stated = None
        said.append(notice("failsafe", "", "", device.setup.failsafe_w))
    for desk in device.desks:
        if desk.pending and now >= desk.until:
            failed(device, desk, "lost", None, said)


def _tick(_device: "Device", _event: "Event", _said: "list[Decision]") -> "Refusal | None":
    return None


def _telemetry(device: "Device", event: "Event", _said: "list[Decision]") -> "Refusal | None":
    _, values, age_ms = event
    if not isinstance(values, tuple) or not whole(age_ms):
        return "malformed", "telemetry"
    for pair in values:
        if not isinstance(pair, tuple) or len(pair) != 2 or device.setup.find("source", pair[0]) < 0:
            return "malformed", "source"
        if pair[1] is not None and not whole(pair[1], -(1 << 62)):
            return "malformed", "value"
    for name, value in values:
        see(device, device.setup.find("source", name), value, device.now - age_ms)
    return None


def _heartbeat(device: "Device", _event: "Event", said: "list[Decision]") -> "Refusal | None":
    device.beat = device.now
    _leave_failsafe(device, said)
    return None


def _grid(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    watts = event[1]
    if watts is not None and not whole(watts):
        return "malformed", "watts"
    device.stated = device.now
    if watts != device.grid:
        device.grid = watts
        said.append(notice("grid", "", "", watts))
    _leave_failsafe(device, said)
    return None


def _leave_failsafe(device: "Device", said: "list[Decision]") -> None:
    """By a heartbeat and a statement since, both of them fresh."""
    if not device.failsafe or device.beat is None or device.stated is None:
        return
    if device.now - min(device.beat, device.stated) <= device.setup.heartbeat_ms:
        device.failsafe = False
        said.append(notice("failsafe over", "", "", device.grid))


def _stop(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    if not whole(event[1], 0, 1):
        return "malformed", "level"
    device.level = event[1]
    if device.level:
        _latch(device, "stop", said)
    return None


def _trip(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    name = event[1]
    if not text(name) or not name:
        return "malformed", "trip"
    if name not in device.trips and len(device.trips) < _MOST_TRIPS:
        device.trips = device.trips + (name,)
    _latch(device, name, said)
    return None


def _trip_cleared(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    name = event[1]
    if not text(name):
        return "malformed", "trip"
    if name in device.trips:
        device.trips = tuple([trip for trip in device.trips if trip != name])
        said.append(notice("trip cleared", "", "", None, name))
    return None


def _latch(device: "Device", cause: str, said: "list[Decision]") -> None:
    """All wishes end: what somebody wanted before is not begun again by a reset."""
    if not device.cause:
        device.cause = cause
        said.append(notice("latched", "", "", None, cause))
        end_all(device, "", "", said)


def _reset(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    author = event[1]
    at = device.setup.find("author", author)
    if not text(author):
        return "malformed", "reset"
    if at < 0 or not device.setup.authors[at].may_reset:
        return "unauthorised", "author"
    if not device.cause:
        said.append(notice("not latched", author))
        return None
    if device.level == 1 or (device.level is None and device.cause == "stop"):  # unheard since the restart: it may stand still
        return "latched", "stop"
    if device.trips:
        return "latched", device.trips[0]
    said.append(notice("reset", author, "", None, device.cause))
    device.cause = ""
    return None


def _result(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    _, name, identity, outcome, value = event
    at = device.setup.find("control", name)
    if at < 0 or not whole(identity) or not (value is None or whole(value, -(1 << 62))):
        return "malformed", "result"
    if outcome not in ("done", "unchanged", "failed", "rejected", "unsent"):
        return "malformed", "outcome"
    desk = device.desks[at]
    if outcome == "unsent" and identity < desk.pending:
        desk.refund(0)
        return None
    if not desk.pending or identity != desk.pending:
        return "duplicate", "result"
    if outcome in ("failed", "rejected", "unsent"):
        failed(device, desk, outcome, value, said)
        if outcome != "failed":
            desk.refund()
    elif value is not None and value != desk.out:
        failed(device, desk, "ignored", value, said)
    else:
        desk.read = desk.out
        desk.pending = desk.tries = 0
        if outcome == "unchanged":
            desk.refund()
    return None


def _readback(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    """Two in a row that differ are a rival's doing; one may be a disturbance. While a command is under way it says nothing."""
    _, name, value = event
    at = device.setup.find("control", name)
    if at < 0 or not whole(value, -(1 << 62)):
        return "malformed", "readback"
    desk = device.desks[at]
    if desk.pending:
        return None
    if desk.out is None or value == desk.out:
        desk.read = value
        desk.again = None
        desk.odd = desk.tries = 0
    elif desk.again is not None:
        return None  # it will be written again
    elif value == desk.read:
        return None  # known
    else:
        desk.odd += 1
        if desk.odd > 1:
            rival(device, desk, value, said)
    return None


def _external(device: "Device", event: "Event", said: "list[Decision]") -> "Refusal | None":
    _, name, value = event
    at = device.setup.find("control", name)
    if at < 0 or not whole(value, -(1 << 62)):
        return "malformed", "external"
    desk = device.desks[at]
    if desk.out is not None and not desk.pending and value != desk.out:
        rival(device, desk, value, said)
    return None


def _restarted(_device: "Device", event: "Event", _said: "list[Decision]") -> "Refusal | None":
    return None if whole(event[1], -(1 << 62)) and type(event[2]) is bool else ("malformed", "clock")


_HANDLERS: "dict[str, Handler]" = {
    "wish": take,
    "withdraw": withdraw,
    "mode": mode,
    "lease": lease,
    "tick": _tick,
    "telemetry": _telemetry,
    "heartbeat": _heartbeat,
    "grid": _grid,
    "stop": _stop,
    "reset": _reset,
    "trip": _trip,
    "trip cleared": _trip_cleared,
    "result": _result,
    "readback": _readback,
    "external": _external,
    "restart": _restarted,
}
_PARTS = {
    "wish": 9,
    "withdraw": 3,
    "mode": 4,
    "lease": 3,
    "tick": 1,
    "telemetry": 3,
    "heartbeat": 1,
    "grid": 2,
    "stop": 2,
    "reset": 2,
    "trip": 2,
    "trip cleared": 2,
    "result": 5,
    "readback": 3,
    "external": 3,
    "restart": 3,
}


def clock(state: "State") -> int:
    """The time of the last event."""
    return Device(state).now


def next_identity(state: "State", author: str) -> int:
    """One that no wish of this author has had yet, for those whose wishes come without. KeyError: there is no such author."""
    device = Device(state)
    at = device.setup.find("author", author)
    if at < 0:
        raise KeyError(author)
    last = device.last[at]
    return 1 if last is None else last + 1


def mode_of(state: "State") -> str:
    """`auto`, `manual` or `stopped`."""
    return Device(state).mode()


def explain(state: "State", name: str, now: int) -> "Why":
    """How a control stands at `now`. KeyError: there is none of this name."""
    device = Device(state)
    at = device.setup.find("control", name)
    if at < 0:
        raise KeyError(name)
    device.now = max(device.now, now)
    desk = device.desks[at]
    ruler = ruling(device, desk)
    plan, waiting = desk.wishes[PLAN], desk.waiting
    author, rank, left_ms, wanted, words = "", -1, 0, desk.control.reversion, ""
    if ruler is not None:
        author, rank, left_ms, wanted, words = ruler.author, ruler.rank, max(ruler.until - device.now, 0), ruler.value, ruler.words
    return Why(
        desk.out,
        desk.read,
        desk.pending != 0,
        author,
        rank,
        left_ms,
        wanted,
        words,
        desk.told[2],
        desk.told[3],
        None if plan is None else plan.value,
        0 if plan is None else max(plan.until - device.now, 0),
        None if waiting is None else waiting.value,
    )


def due(state: "State") -> "int | None":
    """When a tick could command something or end something if nothing else happens; None: never. Explanations may change before."""
    device = Device(state)
    setup = device.setup
    moments = [] if device.manual is None else [device.manual]
    if setup.heartbeat_ms and not device.failsafe and device.beat is not None:
        moments.append(device.beat + setup.heartbeat_ms + 1)
    rulers = [ruling(device, desk) for desk in device.desks]
    strong, holder = strongest(device, rulers)
    for i in range(len(rulers)):
        desk, ruler = device.desks[i], rulers[i]
        control = desk.control
        moments.extend([wish.until for wish in desk.wishes if wish is not None])
        if desk.waiting is not None:
            moments.append(min(desk.waiting.until, device.now if desk.adopted is None else desk.adopted + setup.dwell_ms))
        if desk.pending:
            moments.append(desk.until)
        elif desk.again is not None:
            moments.append(desk.again)
        goal = judged(device, desk, ruler, strong, holder)[0]
        if desk.out_at is not None and (goal != desk.out or desk.read != goal):
            moments.append(desk.out_at + control.interval_ms)
            if control.ramp:
                moments.append(desk.out_at + -(-1000 * control.step // control.ramp))
            moments.extend([start + setup.day_ms + setup.day_ms // 24 for start, _ in desk.spent])
        if control.effect(control.reversion if ruler is None else ruler.value):
            for at in range(len(setup.sources)):
                seen = device.seen[at]
                if seen is not None:
                    moments.append(seen[1] + setup.sources[at].stale_ms + 1)
    return min([moment for moment in moments if moment > device.now], default=None)
