"""What telemetry and the network operator leave of a wish. Never delayed by anything."""

from ohmcore import const
from ohmcore.records import CHARGE, DISCHARGE, EXPORT

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ohmcore.records import Control, Limit
    from ohmcore.standing import Desk, Device

    Clamped = tuple[int, str, str]  # value, clamp, by which one


def opposite(effect: int) -> int:
    """The effects that a device must not have at the same time."""
    return (DISCHARGE | EXPORT if effect & CHARGE else 0) | (CHARGE if effect & (DISCHARGE | EXPORT) else 0)


def see(device: "Device", at: int, value: "int | None", read_at: int) -> None:
    """A source's value as it was at `read_at`. One that is older than what is known changes nothing."""
    before = device.seen[at]
    if before is not None and read_at < before[1]:
        return
    device.seen = device.seen[:at] + ((value, read_at),) + device.seen[at + 1 :]
    if value is None:
        return
    limits = device.setup.limits
    for i in range(len(limits)):
        limit = limits[i]
        if limit.at == at:
            low, high = 1 << 2 * i, 2 << 2 * i
            if limit.low is not None:
                if value < limit.low:
                    device.active |= low
                elif value >= limit.low + limit.hysteresis:
                    device.active &= ~low
            if limit.high is not None and not limit.own:
                if value > limit.high:
                    device.active |= high
                elif value <= limit.high - limit.hysteresis:
                    device.active &= ~high


def stale(device: "Device", effect: int) -> str:
    """The source that would have to be known for this effect and is not; empty: all is known."""
    for limit in device.setup.limits:
        if (limit.low_blocks | limit.high_blocks) & effect:
            if device.stale(limit.at):
                return limit.source
            if limit.own and device.stale(limit.own_at):
                return limit.own
    return ""


def clamped(device: "Device", desk: "Desk", goal: int) -> "Clamped":
    """What limits leave of a goal that has an effect, all its telemetry being fresh."""
    control = desk.control
    effect = control.effect(goal)
    if effect & CHARGE and (device.failsafe or device.grid is not None):
        return control.safe, "failsafe" if device.failsafe else "grid", ""
    limits = device.setup.limits
    active = device.active
    for i in range(len(limits)):
        limit = limits[i]
        if (active >> 2 * i & 1 and limit.low_blocks & effect) or (active >> 2 * i & 2 and limit.high_blocks & effect):
            return control.safe, "limit", limit.name
    value, by = goal, ""
    for limit in limits:
        if limit.own and limit.high_blocks & effect:
            left = _left(device, limit, desk, goal)
            if abs(left - control.safe) < abs(value - control.safe):
                value, by = left, limit.name
    return value, "limit" if by else "", by


def _left(device: "Device", limit: "Limit", desk: "Desk", goal: int) -> int:
    """How far towards `goal` a limit on what flows lets the control go."""
    control = desk.control
    flowing, own = device.value(limit.at), device.value(limit.own_at)
    if flowing is None or own is None or limit.high is None:
        return control.safe
    watts = limit.high - flowing + own
    units = watts * 1000 // control.milliwatts if watts > 0 else 0
    if units >= abs(goal - control.safe):
        return goal
    value = towards(control, units, goal)
    if not control.has(value):
        return control.safe  # what is left is less than the least it may have
    out = desk.out
    if out is not None and between(control, out, value) and abs(value - out) * control.milliwatts < limit.hysteresis * 1000:
        return out
    return value


def towards(control: "Control", units: int, goal: int) -> int:
    """The value that is at most so many units away from `safe`, on the side of `goal`."""
    if goal >= control.safe:
        value = control.least + (control.safe + units - control.least) // control.step * control.step
        return max(value, control.safe)
    value = control.least - (control.least - control.safe + units) // control.step * control.step
    return min(value, control.safe)


def between(control: "Control", near: int, far: int) -> bool:
    """Whether `near` is no further from `safe` than `far`, and not on its other side."""
    safe = control.safe
    return safe <= near <= far if far >= safe else far <= near <= safe
