"""The arbiter as everybody else sees it: publishers, the page, Loxone. `control.arbiter.Arbiter` is the one that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ohmcore.records import Decision, Event, Why
from ohmstead.control.views import DeviceView, Status

Told = Callable[[str, Sequence[Decision], Status], None]
"""Is told, in the event loop, what was decided for a device, after it is durable, and how that stands now."""

LOXONE, DASHBOARD, HOME_ASSISTANT, API, MQTT, PLAN = "loxone", "dashboard", "home_assistant", "api", "mqtt", "plan"
MANUAL_AUTHORS = (LOXONE, DASHBOARD, HOME_ASSISTANT, API, MQTT)
"""The authors there are: the plan, and those of one rank above it, of whom the latest wins."""


class Arbitration(Protocol):
    """Decides what each battery does. Times in seconds, values raw; KeyError for a device or a control that is not there."""

    @property
    def devices(self) -> Mapping[str, DeviceView]:
        """The devices that the arbiter commands, by name."""
        ...

    async def submit(self, device: str, event: Event) -> list[Decision]:
        """Hands in an event (`ohmcore.events`) and returns what was decided, all of it durable in the audit. Writes begin after that and
        are not waited for. A wish that is not taken is answered by a decision of kind `rejection`. Raises StoreError where the audit
        cannot be kept: then nothing was changed."""
        ...

    def next_identity(self, device: str, author: str) -> int:
        """The number for the next wish of an author whose wishes come without one."""
        ...

    def explain(self, device: str, control: str) -> Why:
        """How a control stands, as the core has it."""
        ...

    def why(self, device: str, control: str) -> str:
        """The same as one paragraph for the owner."""
        ...

    def mode(self, device: str) -> str:
        """`auto`, `manual` or `stopped`."""
        ...

    def status(self, device: str) -> Status: ...

    def subscribe(self, told: Told) -> None:
        """`told` gets all decisions but those of readings that decided nothing."""
        ...
