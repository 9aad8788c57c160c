"""What is new has to prove itself: a configuration that came over the air, the copy of one that works, an image after an update.

Loaded at the start, gone when everything is proven.
"""

from ohmcore import const
from ohmnode import configuration, slots

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal
    from ohmnode.configuration import Configuration
    from ohmnode.outbox import Outbox

_GOOD_AFTER_MS = const(60000)
_TRIAL_MS = const(60000)
_PROVE_MS = const(600000)


class Proof:
    """Of the node that begins to run now. `slot`: the image's, empty without slots."""

    def __init__(self, hal: "Hal", outbox: "Outbox", configured: "Configuration", slot: str) -> None:
        self._hal = hal
        self._outbox = outbox
        self._configured = configured
        self._began = outbox.uptime_ms()
        self._good_after = hal.setting("good_after_ms", _GOOD_AFTER_MS)
        self._good = configured.source == configuration.LAST_GOOD
        self._confirmed = True
        self._fresh = False
        if slot and slot != slots.SAFE:
            _, previous, _, self._confirmed = slots.read(hal)
            # What came by an update has to find the broker. What lay on the flash before is not given up because the house is dark.
            self._fresh = previous != slots.SAFE

    def done(self) -> bool:
        return self._good and self._confirmed

    def step(self, connected: bool, restarts: int) -> "str | None":
        """Now and then. Returns what the node is to be left for: a configuration's name, or nothing ("") for a restart."""
        age = self._outbox.uptime_ms() - self._began
        configured = self._configured
        trial = configured.source == configuration.NEXT
        if trial and not connected and age >= self._hal.setting("trial_ms", _TRIAL_MS):
            return configuration.CURRENT
        if self._fresh and not self._confirmed and not connected and age >= self._hal.setting("prove_ms", _PROVE_MS):
            return ""
        if age < self._good_after:
            return None
        if trial and connected:
            self._hal.rename(configuration.NEXT, configuration.CURRENT)
            configured.source = configuration.CURRENT
            self._outbox.event("", "configuration", {"stage": "kept", "hash": configured.fingerprint})
        if restarts:
            return None
        if connected and not self._good:
            self._good = True
            if configuration.keep_as_good(self._hal, configured.fingerprint):
                self._outbox.log("node", "this configuration works: kept as the last good one")
        if not self._confirmed and (connected or not self._fresh):
            self._confirmed = True
            slot, previous, _, _ = slots.read(self._hal)
            slots.write(self._hal, slot, previous, 0, True)
            self._outbox.log("node", f"image {slot} works: confirmed")
            self._outbox.event("", "slot", {"slot": slot, "stage": "confirmed"})
        return None
