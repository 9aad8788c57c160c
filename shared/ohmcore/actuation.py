"""From what is wanted to what is commanded: the pipeline SELECT, CLAMP, SAFE for each control, then interval, budget, ramp and retries.

What leads towards safety is never delayed. What is out is at any moment no further from `safe` than what somebody wants now, or it is
the reversion value.
"""

from ohmcore import const
from ohmcore.clamps import between, clamped, opposite, stale
from ohmcore.limits import ramped
from ohmcore.records import RANKS, Decision, notice
from ohmcore.wishes import ruling, strongest

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ohmcore.clamps import Clamped
    from ohmcore.records import Wish
    from ohmcore.standing import Desk, Device, Told

_MOST_DOUBLINGS = const(16)
_SAFETY = ("latched", "stale", "failed", "budget")
_BINDING = ("latched", "stale", "failed", "exclusive", "grid", "failsafe", "limit")  # no rival is given way to against these


def judged(device: "Device", desk: "Desk", ruler: "Wish | None", strong: int, holder: int) -> "Clamped":
    """What the control should have by what is wanted, known and limited; `strong`: the effects that prevail, `holder`: by which control."""
    control = desk.control
    if device.cause:
        return control.safe, "latched", device.cause
    goal = control.reversion if ruler is None else ruler.value
    effect = control.effect(goal)
    unknown = stale(device, effect) if effect else ""
    if unknown:
        return control.safe, "stale", unknown
    if desk.failed and ruler is not None and goal != control.safe:
        return control.safe, "failed", ""
    if not effect:
        return goal, "", ""
    if ruler is not None and opposite(strong) & effect and device.desks[holder] is not desk:
        return control.safe, "exclusive", device.setup.controls[holder].name
    return clamped(device, desk, goal)


def settle(device: "Device", asked: str, said: "list[Decision]") -> None:
    """Commands what has to be, and explains what has changed; `asked`: a control whose author waits for an answer."""
    if device.setup.read_only:
        return
    rulers = [ruling(device, desk) for desk in device.desks]
    strong, holder = strongest(device, rulers)
    first: "list[Decision]" = []
    then: "list[Decision]" = []
    goals: "list[Clamped]" = []
    for i in range(len(rulers)):
        desk, ruler = device.desks[i], rulers[i]
        outcome = judged(device, desk, ruler, strong, holder)
        if _renewed(desk, ruler, outcome[1]) and outcome[1] == "failed":
            outcome = judged(device, desk, ruler, strong, holder)
        goals.append(outcome)
    idle = [i for i in range(len(goals)) if not device.desks[i].control.effect(goals[i][0])]
    for i in idle + [i for i in range(len(goals)) if i not in idle]:  # what has to be off makes way first
        desk, ruler = device.desks[i], rulers[i]
        goal, clamp, by = goals[i]
        value, hindrance, hinderer = permitted(device, desk, ruler, goal)
        if hindrance:
            clamp, by = hindrance, hinderer
        write = _due(device, desk, value, clamp)
        if write and value == desk.out and ruler is not None and value != desk.control.safe:  # the same again
            if _early(device, desk):
                write = False
            elif _exhausted(device, desk):
                value, clamp, by = desk.control.safe, "budget", ""
                write = _due(device, desk, value, clamp)
        safer = desk.out is None or between(desk.control, value, desk.out)
        decision = _decided(device, desk, ruler, (value, clamp, by), write, asked)
        if decision is not None:
            (first if safer else then).append(decision)
    said.extend(first)
    said.extend(then)


def _renewed(desk: "Desk", ruler: "Wish | None", clamp: str) -> bool:
    """Something new is wanted, or the device is back: failures and rivals of before do not count any more."""
    rank, told = (-1 if ruler is None else ruler.rank), desk.told
    unclamped = desk.control.reversion if ruler is None else ruler.value
    if told[1] != rank or told[4] != unclamped or (told[2] == "stale") != (clamp == "stale"):
        desk.tries = desk.fights = desk.odd = 0
        desk.failed = desk.yielded = False
        return True
    return False


def permitted(device: "Device", desk: "Desk", ruler: "Wish | None", goal: int) -> "Clamped":
    """What may be out now on the way to `goal`, and what stands in the way, if anything does."""
    control, out, now = desk.control, desk.out, device.now
    safe = control.safe
    if ruler is None or goal in (safe, out):
        return goal, "", ""
    base = safe if out is None else out
    if not between(control, base, goal) and not between(control, goal, base):
        if desk.pending or desk.read != safe:
            return safe, "ramp", ""  # to the other side by way of safe
        base = safe  # it is there already
    if between(control, goal, base):
        return (safe, "budget", "") if _exhausted(device, desk) else (goal, "", "")
    if base == safe and desk.pending and control.up and control.down:
        return base, "ramp", ""  # until it is known to be off
    effects = opposite(control.effect(goal))
    for other in device.desks:
        if effects and other is not desk and not other.harmless(effects):
            return base, "exclusive", other.control.name
    if _early(device, desk):
        return base, "interval", ""
    if _exhausted(device, desk):
        return base, "budget", ""
    if control.ramp:
        passed = 1000 if desk.out_at is None else now - desk.out_at
        value = ramped(base, goal, control.ramp * passed // 1000, control.field)
        if value != goal:
            return value, "ramp", ""
    return goal, "", ""


def _exhausted(device: "Device", desk: "Desk") -> bool:
    budget = desk.control.budget
    return budget > 0 and desk.used(device.now, device.setup.day_ms) >= budget


def _early(device: "Device", desk: "Desk") -> bool:
    return desk.out_at is not None and device.now - desk.out_at < desk.control.interval_ms


def _due(device: "Device", desk: "Desk", value: int, clamp: str) -> bool:
    """Whether something has to be written for the control to have this value."""
    if value != desk.out:
        return desk.pending != 0 or desk.out is None or desk.read != value
    if desk.pending:
        return False
    if desk.again is not None:
        return device.now >= desk.again
    return desk.read is not None and desk.read != value and (not desk.yielded or clamp in _BINDING)


def _decided(device: "Device", desk: "Desk", ruler: "Wish | None", outcome: "Clamped", write: bool, asked: str) -> "Decision | None":
    value, clamp, by = outcome
    control, now = desk.control, device.now
    there = not write and value != desk.out
    if there:  # already, without a command
        desk.out = value
        desk.again = None
    author, rank, unclamped, lease_ms, words = "", -1, control.reversion, 0, ""
    if ruler is not None:
        author, rank, unclamped, lease_ms, words = ruler.author, ruler.rank, ruler.value, ruler.until - now, ruler.words
    if not clamp and desk.yielded:
        clamp = "external"
    told: "Told" = (author, rank, clamp, by, unclamped)
    if not write:
        if told == desk.told and not there and control.name != asked:
            return None
        desk.told = told
        return Decision("hold", control.name, value, author, RANKS[rank] if author else "nobody", clamp, by, unclamped, 0, lease_ms, words)
    desk.told = told
    desk.out, desk.out_at, desk.read, desk.again, desk.odd = value, now, None, None, 0
    desk.pending = device.next()
    desk.until = now + device.setup.result_ms
    if control.budget:
        desk.spend(now, device.setup.day_ms)
    if clamp in _SAFETY and value == control.safe:
        kind, reason = "safe", clamp
    elif ruler is None:
        kind, reason = "revert", "nobody"
    else:
        kind, reason = "command", RANKS[rank]
    return Decision(kind, control.name, value, author, reason, clamp, by, unclamped, desk.pending, lease_ms, words)


def failed(device: "Device", desk: "Desk", reason: str, read: "int | None", said: "list[Decision]") -> None:
    """A command came to nothing, for all that is known."""
    control = desk.control
    said.append(notice(reason, "", control.name, read, "", desk.pending))
    desk.pending = 0
    desk.read = read
    desk.again = device.now + min(device.setup.retry_ms << min(desk.tries, _MOST_DOUBLINGS), device.setup.longest_retry_ms)
    desk.tries += 1
    if desk.tries >= device.setup.tries:
        desk.failed = True


def rival(device: "Device", desk: "Desk", value: int, said: "list[Decision]") -> None:
    """Somebody else wrote: it is written over, but not for ever."""
    desk.read = value
    desk.odd = 0
    desk.fights += 1
    desk.yielded = desk.fights > device.setup.fights
    said.append(notice("external", "", desk.control.name, value, "yielded" if desk.yielded else ""))
