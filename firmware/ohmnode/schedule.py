"""Which request comes next on a bus.

A group is due once a period, on a grid that does not drift; slots that were missed are skipped, not caught up with. Among all that is
due or begun on all devices the group whose period ends first gets the next request: short periods go before long ones, and what has
waited long goes before any. Equal ones take turns. A device that does not answer leaves the queue and is probed with single requests at
growing intervals, in a gap between the others' reads while there is one; its first answer brings it back.
A group that a trip watches (priority `WATCHED`) is on time: when it is due it goes before others, and none of their reads is begun that
would last beyond that moment, unless the other one is late itself.
"""

from array import array

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Sequence

    from hal import Hal

    Read = Sequence[int]  # function, address, count
    Form = tuple[int, str, int]  # of a serial line: baud, parity (N, E, O), stop bits

COUNTERS = ("requests", "ok", "no_answer", "partial", "crc", "exception", "wrong", "late_bytes", "retries")

READ = const(4)  # numbers of a read in `Group.reads`, and which of them is where it begins
START = const(3)
WATCHED = const(-1)
_FAILURES = const(3)
_PROBE_FIRST_MS = const(1000)
_PROBE_MOST_MS = const(30000)
_IDLE_MS = const(60000)
_THINKS_MS = const(30)  # a device, before it answers
_AROUND = const(13)  # characters of a read and its answer beside the payload


class Group:
    """Reads that make one snapshot. `reads` has four numbers for each: function, address, count, and where its bytes begin in `image`,
    which holds those of all; they count if `good[i]`. `position`: the read that comes next, -1: the snapshot has not begun.
    """

    def __init__(self, name: str, period_ms: int, priority: int, reads: "list[Read]", now: int) -> None:
        self.name = name
        self.period_ms = period_ms
        self.priority = priority
        self.reads = array("H", bytes(2 * READ * len(reads)))
        size = position = 0
        for function, address, count in reads:
            self.reads[position] = function
            self.reads[position + 1] = address
            self.reads[position + 2] = count
            self.reads[position + START] = size
            position += READ
            size += payload_size(function, count)
        self.image = bytearray(size)
        self.good = bytearray(len(reads))
        self.due = now
        self.deadline = now  # while begun: when the slot it was due in ends
        self.position = -1
        self.attempts = 0  # how often it was tried in vain
        self.skipped = 0  # slots that went by without a snapshot

    def abandon(self) -> None:
        """The snapshot comes to nothing; the group stays due."""
        self.position = -1
        self.attempts = 0


class Device:
    """`timeout_ms`: from the end of a request to the first byte of the answer. `pause_ms`: the rest it wants after an exchange.

    `form`: what the line has to be set to for it; None where there is no serial line, or only one format on it.

    `counters`: since the node started; `requests` is the sum of the six outcomes.
    """

    def __init__(self, name: str, unit: int, timeout_ms: int, retries: int, pause_ms: int, groups: "list[Group]") -> None:
        self.name = name
        self.unit = unit
        self.timeout_ms = timeout_ms
        self.retries = retries
        self.pause_ms = pause_ms
        self.groups = groups
        self.form: "Form | None" = None
        self.online = True
        self.failures = 0  # requests in a row without an answer
        self.turn = 0
        self.held_until: "int | None" = None
        self.probe_at = 0
        self.backoff_ms = _PROBE_FIRST_MS
        self.counters = dict.fromkeys(COUNTERS, 0)

    def count(self, outcome: str) -> None:
        """A request of this device came to its end."""
        self.counters["requests"] += 1
        self.counters[outcome] += 1

    def hold(self, until: int) -> None:
        """Nothing is asked of it before `until`: its late answers could not be told from new ones."""
        self.held_until = until


class Schedule:
    """`pick` what to ask, then report how it went: `read`, `missed` or `refused`. All times in ticks of the HAL. `char_us`: what a
    character takes on the line, 0 where that is nothing.
    """

    def __init__(self, hal: "Hal", devices: "list[Device]", char_us: int = 0) -> None:
        self._hal = hal
        self.devices = devices
        self._turn = 0
        self._char_us = char_us
        self._kept_ms = 0  # for how long the line is kept free

    def pick(self, now: int) -> "tuple[Device, Group] | None":
        """The device and group to serve with one request now; None when nothing is due."""
        chosen: "Device | None" = None
        best: "Group | None" = None
        probe: "Device | None" = None
        best_slack = 0
        gap = watched = _IDLE_MS
        self._kept_ms = 0
        diff = self._hal.ticks_diff
        for device in self.devices:
            if self._held_ms(device, now):
                continue
            if not device.online:
                if diff(now, device.probe_at) >= 0 and (probe is None or diff(probe.probe_at, device.probe_at) > 0):
                    probe = device
                continue
            for group in device.groups:
                ahead = diff(group.due, now)
                if ahead > 0 and group.position < 0:
                    gap = min(gap, ahead)
                    if group.priority == WATCHED:
                        watched = min(watched, ahead)
                    continue
                slack = diff(group.deadline, now) if group.position >= 0 else ahead + group.period_ms
                if group.priority == WATCHED and slack > 0:
                    slack = 0  # before all that is not late
                if chosen is None or best is None or slack < best_slack or (slack == best_slack and _before(device, group, chosen, best)):
                    chosen, best, best_slack = device, group, slack
        if probe is not None:
            waited = diff(now, probe.probe_at)
            if (best is None and gap > probe.timeout_ms) or waited >= probe.backoff_ms:
                chosen, best = probe, probe.groups[0]
        if chosen is None or best is None:
            return None
        if best.priority != WATCHED and best_slack > 0 and watched < self._lasts_ms(chosen, best):
            self._kept_ms = watched
            return None
        if best.position < 0:
            if not chosen.online:
                best.due = now  # its slots since it went away do not count
            self._begin(best, now)
        self._turn += 1
        chosen.turn = self._turn
        return chosen, best

    def wait_ms(self, now: int) -> int:
        """How long nothing will be due."""
        diff = self._hal.ticks_diff
        wait = _IDLE_MS
        for device in self.devices:
            held = self._held_ms(device, now)
            if held:
                wait = min(wait, held)
            elif device.online:
                for group in device.groups:
                    wait = min(wait, diff(group.due, now))
            else:
                wait = min(wait, max(diff(device.probe_at, now), 50))
        return max(wait, self._kept_ms)

    def read(self, device: Device, group: Group, now: int) -> bool:
        """The read at `group.position` succeeded. True when the device has come back by that."""
        group.good[group.position] = 1
        self._next(group)
        return self.answered(device, now)

    def refused(self, device: Device, group: Group, now: int) -> bool:
        """The device answered with an exception: the range is left out, the device is there. True when it has come back by that."""
        self._next(group)
        return self.answered(device, now)

    def answered(self, device: Device, now: int) -> bool:
        """Something came from the device. True when it has come back by that: all its groups are due."""
        device.failures = 0
        if device.online:
            return False
        device.online = True
        device.backoff_ms = _PROBE_FIRST_MS
        for group in device.groups:
            if group.position < 0:
                group.due = now
        return True

    def missed(self, device: Device, group: "Group | None", now: int) -> bool:
        """A request got no usable answer. True when the device is given up by that."""
        device.failures += 1
        if not device.online:
            device.backoff_ms = min(device.backoff_ms * 2, _PROBE_MOST_MS)
            device.probe_at = self._hal.ticks_add(now, device.backoff_ms)
            if group is not None:
                group.abandon()
            return False
        if device.failures >= _FAILURES and device.groups:
            device.online = False
            device.probe_at = self._hal.ticks_add(now, device.backoff_ms)
            return True
        if group is not None:
            group.attempts += 1
            if group.attempts > device.retries:
                self._next(group)
        return False

    def complete(self, group: Group) -> bool:
        """Whether the snapshot has all it will get."""
        return group.position >= len(group.good)

    def close(self, group: Group) -> None:
        """The snapshot is done with; the next one is due a period after this one was."""
        group.abandon()
        group.due = self._hal.ticks_add(group.due, group.period_ms)

    def _lasts_ms(self, device: Device, group: Group) -> int:
        """What the group's next read takes, about, with the rest after it."""
        place = READ * max(group.position, 0)
        size = payload_size(group.reads[place], group.reads[place + 2])
        return (_AROUND + size) * self._char_us // 1000 + _THINKS_MS + device.pause_ms if self._char_us else 0

    def _held_ms(self, device: Device, now: int) -> int:
        if device.held_until is None:
            return 0
        left = self._hal.ticks_diff(device.held_until, now)
        if left > 0:
            return left
        device.held_until = None
        return 0

    def _begin(self, group: Group, now: int) -> None:
        """A new snapshot. It keeps the rank it has by now; the next one is due in the next slot that is still to come."""
        group.position = group.attempts = 0
        for i in range(len(group.good)):
            group.good[i] = 0
        group.deadline = self._hal.ticks_add(group.due, group.period_ms)
        missed = self._hal.ticks_diff(now, group.due) // group.period_ms
        if missed > 0:
            group.skipped += missed
            group.due = self._hal.ticks_add(group.due, missed * group.period_ms)

    def _next(self, group: Group) -> None:
        group.position += 1
        group.attempts = 0


def _before(device: Device, group: Group, rival: Device, other: Group) -> bool:
    if group.priority != other.priority:
        return group.priority < other.priority
    return device is not rival and device.turn < rival.turn


def payload_size(function: int, count: int) -> int:
    """Bytes that the answer to a read carries: 2 a register, a bit a coil."""
    return (count + 7) >> 3 if function <= 2 else count << 1
