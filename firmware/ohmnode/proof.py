"""What is new has to prove itself: a configuration that came over the air, the copy of one that works, an image after an update.

Loaded at the start, gone when everything is proven.
"""

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal
    from ohmnode.start import Life

_SAFE = "safe"  # as in `slots`
CURRENT, LAST_GOOD, NEXT = "config.ohm", "config.good", "config.next"  # as in `configuration`, which is not loaded for a word
_DIGEST_END = const(36)  # of a configuration file
_GOOD_AFTER_MS = const(60000)
_TRIAL_MS = const(60000)
_PROVE_MS = const(600000)


def keep_as_good(hal: "Hal", fingerprint: bytes) -> bool:
    """Copies the current file over the last good one, if it still is the one that runs. False when there was nothing to do."""
    raw = hal.read(CURRENT, _DIGEST_END)
    if raw is None or raw[4:12] != fingerprint or raw == hal.read(LAST_GOOD, _DIGEST_END):
        return False
    hal.copy(CURRENT, LAST_GOOD)
    return True


class Proof:
    """Of the node that began to run at this uptime."""

    def __init__(self, hal: "Hal", life: "Life", began: int) -> None:
        slot = life.slot
        self._hal = hal
        self._life = life
        self._outbox = life.outbox
        self._began = began
        self._good_after = hal.setting("good_after_ms", _GOOD_AFTER_MS)
        self._good = life.source == LAST_GOOD
        self._confirmed = True
        self._fresh = False
        if slot and slot != _SAFE:
            from ohmnode import slots

            _, previous, _, self._confirmed = slots.read(hal)
            # What came by an update has to find the broker. What lay on the flash before is not given up because the house is dark.
            self._fresh = previous != _SAFE

    def done(self) -> bool:
        return self._good and self._confirmed

    def step(self, connected: bool, restarts: int) -> "str | None":
        """Now and then. Returns what the node is to be left for: a configuration's name, or nothing ("") for a restart."""
        age = self._outbox.uptime_ms() - self._began
        life = self._life
        trial = life.source == NEXT
        if trial and (restarts or not connected) and age >= self._hal.setting("trial_ms", _TRIAL_MS):
            return CURRENT
        if self._fresh and not self._confirmed and not connected and age >= self._hal.setting("prove_ms", _PROVE_MS):
            return ""
        if age < self._good_after:
            return None
        if restarts:
            return None
        if trial and connected:
            raw = self._hal.read(NEXT, _DIGEST_END)
            if raw is None or raw[4:12] != life.fingerprint:  # a newer one has come, and has its own trial before it
                return None
            self._hal.rename(NEXT, CURRENT)
            life.source = CURRENT
            self._outbox.event("", "configuration", {"stage": "kept", "hash": life.fingerprint})
        if connected and not self._good:
            kept = keep_as_good(self._hal, life.fingerprint)
            self._good = True
            if kept:
                self._outbox.log("node", "this configuration works: kept as the last good one")
        if not self._confirmed and (connected or not self._fresh):
            from ohmnode import slots

            slot, previous, _, _ = slots.read(self._hal)
            if slot == life.slot:  # else the file is about another one: the flash took nothing at the start, or an update came since
                slots.write(self._hal, slot, previous, 0, True)
                self._outbox.log("node", f"image {slot} works: confirmed")
                self._outbox.event("", "slot", {"slot": slot, "stage": "confirmed"})
            self._confirmed = True
        return None
