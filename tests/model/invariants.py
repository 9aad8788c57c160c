"""The invariants of control as predicates on one transition: what was, what happened, what is now, and what was decided.

They are written from the rules, not from the code; what they need to know of a limit or a lease they work out themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ohmcore.records import CHARGE, DISCHARGE, EXPORT, MANUAL, PLAN, Control, Decision, Event, State, Wish
from ohmcore.standing import Desk, Device, packed, unpacked

WRITES = ("command", "revert", "safe")
SAFE_CODES = ("latched", "stale", "failed", "budget")
REASONS = ("malformed", "out of range", "rate limit", "latched", "stale", "unauthorised", "read-only", "duplicate")
INVALID = ("malformed", "out of range", "unauthorised", "read-only", "duplicate")
_REPEATED = ("tick", "stop", "grid", "readback")  # repeating all would take twice as long


class Step:
    """One transition, and `decide`, with which it was made."""

    def __init__(
        self,
        before: State,
        event: Event,
        now: int,
        after: State,
        decisions: Sequence[Decision],
        decide: Callable[[State, Event, int], tuple[State, list[Decision]]],
    ) -> None:
        self.raw_before, self.event, self.now, self.raw_after, self.decisions, self.decide = before, event, now, after, decisions, decide
        self.kind = event[0] if event else None
        self.setup = before[0]
        self.rejections = [said for said in decisions if said.kind == "rejection"]
        self.writes = [said for said in decisions if said.kind in WRITES]
        self.before, self.after = Device(before), Device(after)
        self.shift = now - event[1] if self.kind == "restart" and not self.rejections else 0
        """By which the clock has changed."""
        self.pairs: list[tuple[Desk, Desk]] = list(zip(self.before.desks, self.after.desks, strict=True))

    def written(self, control: str) -> Decision | None:
        return next((said for said in self.writes if said.control == control), None)

    def refused(self, *reasons: str) -> bool:
        return any(said.reason in reasons for said in self.rejections)


def effect(control: Control, value: int | None) -> int:
    if value is None or value == control.safe:
        return 0
    return control.up if value > control.safe else control.down


def fresh(device: Device, name: str) -> bool:
    at = [source.name for source in device.setup.sources].index(name)
    seen = device.seen[at]
    return seen is not None and seen[0] is not None and device.now - seen[1] <= device.setup.sources[at].stale_ms


def value_of(device: Device, name: str) -> int | None:
    seen = device.seen[[source.name for source in device.setup.sources].index(name)]
    return None if seen is None else seen[0]


def covers(control: Control, wanted: int, out: int) -> bool:
    """Whether `out` is not more than what is wanted."""
    return (out - control.safe) * (wanted - control.safe) >= 0 and abs(out - control.safe) <= abs(wanted - control.safe)


def ruler(device: Device, desk: Desk) -> Wish | None:
    default, plan, manual = desk.wishes
    return manual or (plan if device.manual is None else None) or default


def i01_latched_means_safe(step: Step) -> bool:
    """Latched if and only if the safe-off value is out for that reason; a stop or a trip always latches."""
    device = step.after
    if not step.setup.read_only and any((desk.told[2] == "latched") != bool(device.cause) for desk in device.desks):
        return False
    if (step.event == ("stop", 1) or (step.kind == "trip" and not step.rejections)) and not device.cause:
        return False
    return not device.cause or step.setup.read_only or all(desk.out == desk.control.safe for desk in device.desks)


def i02_nothing_forced_on_stale_telemetry(step: Step) -> bool:
    for desk in step.after.desks:
        does = effect(desk.control, desk.out)
        if not does:
            continue
        for limit in step.setup.limits:
            if (limit.low_blocks | limit.high_blocks) & does and not all(
                fresh(step.after, name) for name in (limit.source, limit.own) if name
            ):
                return False
    return True


def i03_floor_and_ceiling_hold(step: Step) -> bool:
    """And what is out is a value that the home allows."""
    for desk in step.after.desks:
        control, out = desk.control, desk.out
        if out not in (None, control.safe, control.reversion) and not control.least <= (out or 0) <= control.most:
            return False
    for i, limit in enumerate(step.setup.limits):
        value, was = value_of(step.after, limit.source), step.before
        for bit, blocks in ((1, limit.low_blocks), (2, 0 if limit.own else limit.high_blocks)):
            if not blocks or value is None:
                continue
            active = bool(step.after.active >> 2 * i & bit)
            if bit == 1:
                beyond, back = value < (limit.low or 0), value >= (limit.low or 0) + limit.hysteresis
            else:
                beyond, back = value > (limit.high or 0), value <= (limit.high or 0) - limit.hysteresis
            if active != (beyond or (not back and bool(was.active >> 2 * i & bit))) and fresh(step.after, limit.source):
                return False
            if (active or beyond) and any(effect(desk.control, desk.out) & blocks for desk in step.after.desks):
                return False
        if limit.own and value is not None and fresh(step.after, limit.source) and fresh(step.after, limit.own):
            own = value_of(step.after, limit.own) or 0
            for desk in step.after.desks:
                out, control = desk.out, desk.control
                if out is not None and effect(control, out) & limit.high_blocks:
                    power = abs(out - control.safe) * control.milliwatts / 1000
                    if power > max((limit.high or 0) - value + own, 0):
                        return False
    return True


def i04_nobody_owns_after_the_lease(step: Step) -> bool:
    for desk in step.after.desks:
        live = [wish for wish in desk.wishes if wish is not None]
        if any(wish.until <= step.after.now or wish.until > step.after.now + step.setup.most_lease_ms for wish in live):
            return False
        out, control = desk.out, desk.control
        rules = ruler(step.after, desk)
        if out in (None, control.safe) or (out == control.reversion and rules is None):
            continue
        if not step.setup.read_only and (rules is None or not covers(control, rules.value, out or 0)):
            return False
    return True


def i05_no_charge_under_a_grid_limit(step: Step) -> bool:
    device = step.after
    limited = device.failsafe or device.grid is not None
    return not (limited and any(effect(desk.control, desk.out) & CHARGE for desk in device.desks))


def i06_heartbeat_lost_is_failsafe(step: Step) -> bool:
    device, was, longest = step.after, step.before, step.setup.heartbeat_ms
    if not longest:
        return not device.failsafe

    def recent(moment: int | None) -> bool:
        return moment is not None and device.now - moment <= longest

    if not device.failsafe and not recent(device.beat):
        return False
    for kind, moment, before in (("heartbeat", device.beat, was.beat), ("grid", device.stated, was.stated)):
        heard = step.kind == kind and not step.rejections
        if heard != (moment == device.now) and (heard or moment != before) and moment is not None:
            return False
        if device.failsafe and not was.failsafe and not heard and moment is not None:
            return False  # what was heard before counts no more
    if was.failsafe and not device.failsafe:
        return step.kind in ("heartbeat", "grid") and recent(device.beat) and recent(device.stated)
    return True


def i07_only_a_reset_unlatches(step: Step) -> bool:
    was, device = step.before, step.after
    if was.cause and not device.cause:
        allowed = [author.name for author in step.setup.authors if author.may_reset]
        stopped = device.level == 1 or (device.level is None and was.cause == "stop")
        if step.kind != "reset" or step.event[1] not in allowed or stopped or device.trips:
            return False
    if was.cause and step.kind in ("wish", "withdraw", "mode", "lease") and not step.rejections:
        return False
    return not device.cause or all(wish is None for desk in device.desks for wish in (*desk.wishes, desk.waiting))


def i08_a_copy_never_extends_a_lease(step: Step) -> bool:
    shift = step.shift
    for was, desk in step.pairs:
        known = [wish._replace(until=wish.until + shift) for wish in (*was.wishes, was.waiting) if wish is not None]
        for wish in (*desk.wishes, desk.waiting):
            if wish is None or wish in known:
                continue
            if step.kind != "wish" or step.rejections:
                return False
            _, author, control, value, identity, lease_ms, age_ms, retained, _ = step.event
            at = [author.name for author in step.setup.authors].index(author)
            last = step.before.last[at]
            longest = step.before.lease_ms if lease_ms is None else lease_ms
            if retained or (last is not None and identity <= last) or wish.until != step.after.now - age_ms + longest:
                return False
            if (wish.author, desk.control.name, wish.value) != (author, control, value):
                return False
    return True


def i09_no_flip_within_the_dwell_time(step: Step) -> bool:
    for was, desk in step.pairs:
        plan, had = desk.wishes[PLAN], was.wishes[PLAN]
        shift = step.shift
        adopted = None if was.adopted is None else was.adopted + shift
        if plan is not None and (had is None or had.value != plan.value or had.until + shift <= step.after.now):
            if adopted is not None and step.after.now - adopted < step.setup.dwell_ms:
                return False
            if desk.adopted != step.after.now:
                return False
        elif desk.adopted != adopted and step.kind != "restart":
            return False
    return True


def i10_a_live_manual_wish_wins(step: Step) -> bool:
    if step.setup.read_only:
        return True
    for desk in step.after.desks:
        manual = desk.wishes[MANUAL]
        if manual is None:
            continue
        author, rank, clamp, by, unclamped = desk.told
        if (author, rank, unclamped) != (manual.author, MANUAL, manual.value):
            return False
        if desk.out != manual.value and not clamp:
            return False
        if clamp and not justified(step, desk, clamp, by):
            return False
    return True


def justified(step: Step, desk: Desk, clamp: str, by: str) -> bool:
    """Whether there is a reason for a clamp; `by` is what it names."""
    device, control = step.after, desk.control
    rules = ruler(device, desk)
    goal = control.reversion if rules is None else rules.value
    does = effect(control, goal)
    if clamp == "latched":
        return device.cause == by != ""
    if clamp == "stale":
        return not fresh(device, by)
    if clamp == "grid":
        return device.grid is not None and bool(does & CHARGE)
    if clamp == "failsafe":
        return device.failsafe and bool(does & CHARGE)
    if clamp == "limit":
        i = [limit.name for limit in step.setup.limits].index(by)
        limit = step.setup.limits[i]
        return bool(limit.own or device.active >> 2 * i & 3) and bool((limit.low_blocks | limit.high_blocks) & does)
    if clamp == "exclusive":
        against = (DISCHARGE | EXPORT) if does & CHARGE else CHARGE
        other = next(other for other in device.desks if other.control.name == by)
        theirs = ruler(device, other)
        wanted = theirs is not None and effect(other.control, theirs.value) & against
        stands = other.read is None or (effect(other.control, other.read) | effect(other.control, other.out)) & against
        return other is not desk and bool(wanted or stands)
    if clamp == "interval":
        return desk.out_at is not None and device.now - desk.out_at < control.interval_ms
    if clamp == "budget":
        return control.budget > 0 and sum(number for _, number in desk.spent) >= control.budget
    return (clamp == "ramp" and (control.ramp > 0 or control.down > 0)) or clamp in ("failed", "external")


def i11_no_author_means_reversion(step: Step) -> bool:
    if step.setup.read_only or step.after.cause:
        return True
    for desk in step.after.desks:
        if ruler(step.after, desk) is None and desk.out != desk.control.reversion and not effect(desk.control, desk.control.reversion):
            return False
        if desk.told[0] and (ruler(step.after, desk) is None or ruler(step.after, desk) not in desk.wishes):
            return False
    return True


def unwritten(step: Step, was: Desk) -> int:
    """How many of the commands on record turn out to have been no writes."""
    if step.kind != "result" or step.event[1] != was.control.name or not was.pending:
        return 0
    identity, outcome, value = step.event[2:5]
    if identity == was.pending:
        return int(outcome in ("rejected", "unsent") or (outcome == "unchanged" and value in (None, was.out)))
    return int(outcome == "unsent" and identity < was.pending)


def i12_writes_are_few(step: Step) -> bool:
    day = step.setup.day_ms
    for was, desk in step.pairs:
        said, control = step.written(desk.control.name), desk.control
        counted = sum(number for _, number in desk.spent) - sum(number for _, number in was.spent)
        if control.budget and was.spent and not step.rejections and counted > (said is not None) - unwritten(step, was):
            return False
        if said is None:
            if counted > 0:
                return False
            continue
        shift = step.shift
        spent = sum(number for start, number in was.spent if step.after.now - (start + shift) < day)
        spent -= unwritten(step, was)
        towards_safety = said.value == control.safe or (said.value == control.reversion and not said.author)
        if control.budget and not towards_safety and spent >= control.budget:
            return False
        if control.budget and not any(start == step.after.now or step.after.now - start < day // 24 for start, _ in desk.spent):
            return False
        known = was.read
        if step.kind in ("readback", "external") and step.event[1] == control.name and not step.rejections:
            known = step.event[2]
        elif step.kind == "result" and step.event[1:3] == (control.name, was.pending):
            known = was.out if step.event[3] in ("done", "unchanged") and step.event[4] in (None, was.out) else step.event[4]
        if known == said.value and was.out is not None and step.kind != "restart" and not was.pending:
            return False
    return True


def i13_read_only_means_no_writes(step: Step) -> bool:
    if not step.setup.read_only:
        return True
    return not step.writes and all(wish is None for desk in step.after.desks for wish in (*desk.wishes, desk.waiting))


def i14_nothing_is_out_that_was_not_decided(step: Step) -> bool:
    """Whoever stores event and decisions before acting has all of it on record: no command without a decision that says everything."""
    identities = [said.identity for said in step.writes]
    if len(set(identities)) != len(identities) or any(identity <= step.before.order for identity in identities):
        return False
    for was, desk in step.pairs:
        said = step.written(desk.control.name)
        if said is None:
            if desk.pending not in (0, was.pending):
                return False
            if desk.out != was.out and desk.out is not None and desk.read != desk.out:
                return False
        else:
            author, _, clamp, by, unclamped = desk.told
            told = (desk.pending, desk.out, author, clamp, by, unclamped)
            if told != (said.identity, said.value, said.author, said.clamp, said.by, said.unclamped):
                return False
            if said.value != said.unclamped and not said.clamp:
                return False
    return True


def i15_a_restart_never_lengthens_a_lease(step: Step) -> bool:
    if step.kind != "restart" or step.rejections:
        return True
    _, was_ms, known = step.event
    for was, desk in step.pairs:
        for before, after in zip((*was.wishes, was.waiting), (*desk.wishes, desk.waiting), strict=True):
            candidates = [wish for wish in (before, was.waiting) if wish is not None]
            if after is None:
                continue
            if not known or not candidates:
                return False
            left = max(wish.until - was_ms for wish in candidates if wish.value == after.value)
            if after.until - step.after.now > left:
                return False
    return True


def i16_off_is_sent_after_a_restart(step: Step) -> bool:
    if step.setup.read_only or step.kind != "restart" or step.rejections:
        return True
    return all(step.written(desk.control.name) is not None for desk in step.after.desks)


def i17_the_same_again_decides_the_same(step: Step) -> bool:
    """Also from what was stored; and a tick that decides nothing changes nothing but the time."""
    if step.kind == "tick" and not step.decisions and step.raw_after[2:] != step.raw_before[2:]:
        return False
    if step.kind not in _REPEATED:
        return True
    stored = unpacked(step.setup, json.loads(json.dumps(packed(step.raw_before))))
    again, decisions = step.decide(stored, step.event, step.now)
    return stored == step.raw_before and again == step.raw_after and decisions == list(step.decisions)


def i18_invalid_input_changes_nothing(step: Step) -> bool:
    if (
        any(said.reason not in REASONS or (not said.by and said.reason != "read-only") for said in step.rejections)
        or len(step.rejections) > 1
    ):
        return False
    if step.rejections and step.refused(*INVALID):
        return step.raw_after == step.decide(step.raw_before, ("tick",), step.now)[0]
    if step.kind == "wish" and not step.rejections:
        _, author, control, value, _, lease_ms, _, retained, _ = step.event
        named = [one for one in step.setup.controls if one.name == control]
        if author not in [one.name for one in step.setup.authors] or not named or type(value) is not int:
            return False
        inside = named[0].least <= value <= named[0].most and (value - named[0].least) % named[0].step == 0
        inside = inside or value in (named[0].safe, named[0].reversion)
        return inside and not step.setup.read_only and not retained and (lease_ms is None or 0 < lease_ms <= step.setup.most_lease_ms)
    return True


def i19_never_charge_and_discharge_at_once(step: Step) -> bool:
    """The wish that comes first makes the others stop, and nothing is begun before what it excludes is known to have stopped."""

    def against(does: int) -> int:
        return (DISCHARGE | EXPORT if does & CHARGE else 0) | (CHARGE if does & (DISCHARGE | EXPORT) else 0)

    if step.setup.read_only:
        return True
    desks = step.after.desks
    wanted = [
        (wish.rank, wish.order, desk) for desk in desks for wish in [ruler(step.after, desk)] if wish and effect(desk.control, wish.value)
    ]
    if wanted:
        rank, order, first = max(wanted, key=lambda one: one[:2])
        value = next(wish.value for wish in first.wishes if wish is not None and (wish.rank, wish.order) == (rank, order))
        excluded = against(effect(first.control, value))
        if any(effect(desk.control, desk.out) & excluded for desk in desks if desk is not first):
            return False
    for was, desk in step.pairs:
        said, does = step.written(desk.control.name), effect(desk.control, desk.out)
        raised = said is not None and does and not (was.out is not None and covers(desk.control, was.out, desk.out or 0))
        for other_was, other in step.pairs:
            if other is desk:
                continue
            if effect(other.control, other.out) & against(does):
                return False
            known = other_was.out if step.written(other.control.name) else other.read
            able = (other.control.up | other.control.down) & against(does)
            if raised and able and (known is None or effect(other.control, known) & against(does)):
                return False
    return True


INVARIANTS: dict[str, Callable[[Step], bool]] = {
    name: predicate for name, predicate in sorted(vars().items()) if name[:1] == "i" and name[1:3].isdigit()
}


def violations(step: Step) -> list[str]:
    """The names of the invariants that this transition breaks."""
    return [name for name, holds in INVARIANTS.items() if not holds(step)]
