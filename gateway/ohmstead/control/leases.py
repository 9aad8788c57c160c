"""What authors still want: a command that must end lives on at the node only while somebody renews it.

The node gets a short lease, however long the author wants the control; the gateway renews it while the author does. So a gateway that
dies ends everything that would be dangerous if it stayed, within `NODE_LEASE_S`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ohmstead.control.target import Target

NODE_LEASE_S = 120.0
"""How long a node holds a control without hearing from the gateway, at most."""

RENEW_S = 40.0
"""How often it hears from it: two renewals may get lost."""


@dataclass(slots=True)
class Held:
    """A control that somebody owns. Times are monotonic, in seconds: `since`, wanted until `until`, granted until `granted`, renewed at
    `due`."""

    target: Target
    raw: int
    text: str
    author: str
    entry: int
    until: float
    granted: float
    due: float
    since: float
    renewals: int = 0

    def lease(self, now: float) -> float:
        """How long a lease that is asked for now should be, in seconds."""
        return min(self.until - now, NODE_LEASE_S)


class Leases:
    """The controls that are held, by device and control."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Held] = {}

    def hold(self, held: Held) -> None:
        """Somebody owns it from now on; whoever did before does not any more."""
        self._held[held.target.device, held.target.control] = held

    def drop(self, device: str, control: str) -> Held | None:
        """Nobody owns it any more; who did."""
        return self._held.pop((device, control), None)

    def of(self, device: str, control: str) -> Held | None:
        return self._held.get((device, control))

    def over(self, now: float) -> list[Held]:
        """What has come to its end, and is nobody's from now on: the node ends it at the same moment by itself."""
        over = [held for held in self._held.values() if held.until <= now]
        for held in over:
            self.drop(held.target.device, held.target.control)
        return over

    def due(self, now: float) -> list[Held]:
        """What is to be renewed now."""
        return [held for held in self._held.values() if held.due <= now and held.granted < held.until]

    def renewed(self, held: Held, lease_s: float, now: float) -> None:
        """The node was asked for `lease_s` seconds more at `now`."""
        held.granted = now + lease_s
        held.due = now + RENEW_S
        held.renewals += 1
