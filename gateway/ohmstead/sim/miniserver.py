"""A Loxone Miniserver at the broker of a running appliance: it commands a charge, and the inverter's registers tell what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from .appliance import BATTERY, Appliance
from .chain import Verdict
from .listener import Listener
from .registers import Write

RATE, FROM_GRID, SLOT = 1090, 1092, 1102
"""Of battery first: how fast in % of the rated power, whether from the grid, whether its slot is in force."""

LEASE_S = 6.0
_POLL_S = 0.02
_SLOW_S = 15.0
"""For a few exchanges on the inverter's line, which wants 250 ms between two of them."""


class Miniserver:
    """Scenes of an appliance with a node and a section `loxone`; between the two anything else may be looked at. None waits past
    `deadline` (monotonic clock)."""

    def __init__(self, appliance: Appliance, listener: Listener, verdict: Verdict, deadline: float = float("inf")) -> None:
        self._appliance = appliance
        self._inverter = appliance.battery
        self._listener = listener
        self._verdict = verdict
        self._deadline = deadline
        self._root = f"loxone/{BATTERY}"
        self._asked_at = 0.0

    def commands_a_charge(self, kilowatts: float = 1.5) -> None:
        """With a decimal comma and `ON`, as a Miniserver may say it; for six seconds."""
        heard = self._until(lambda: self._heard("mode") == "auto" and self._heard("fresh") == "1", _SLOW_S)
        self._verdict("the battery's status is there for a Miniserver", heard, self._listener_text("status")[:60])
        self._say("timeout", f"{LEASE_S / 60:.3f}".replace(".", ","))
        self._until(lambda: self._heard("timeout") == f"{LEASE_S / 60:.1f}", _SLOW_S)
        asked, self._asked_at = time.monotonic(), time.time()
        self._say("charge/power", f"{kilowatts:.2f}".replace(".", ","))
        self._say("charge/enable", "ON")
        rate = round(kilowatts / 5 * 100)
        obeyed = self._until(lambda: (self._inverter[RATE], self._inverter[FROM_GRID], self._inverter[SLOT]) == (rate, 1, 1), _SLOW_S)
        took = time.monotonic() - asked
        self._verdict("a charge is commanded from Loxone, the registers change", obeyed, f"{self._registers()} after {took:.1f} s")

    def lets_it_end(self) -> None:
        """Nobody says anything any more: the charge ends with its lease, also while nobody looks."""
        ended = self._until(lambda: (self._inverter[FROM_GRID], self._inverter[SLOT]) == (0, 0), LEASE_S + _SLOW_S)
        told = self._until(lambda: self._heard("charge_author") == "" and self._heard("charge_on") == "0", _SLOW_S)
        took = max((write.time for write in self._inverter.writes if _ends(write)), default=0.0) - self._asked_at
        figures = f"{self._registers()} {took:.1f} s after it was asked for {LEASE_S:g} s"
        self._verdict("it reverts at the lease's end, and Loxone is told", ended and told and took >= LEASE_S, figures)
        self._say("timeout", "60")

    def _say(self, topic: str, text: str) -> None:
        self._listener.publish(f"{self._root}/{topic}", text)

    def _heard(self, key: str) -> str:
        return self._listener_text(f"status/{key}")

    def _listener_text(self, topic: str) -> str:
        return (self._listener.last(f"{self._root}/{topic}") or b"").decode()

    def _registers(self) -> str:
        return f"{RATE} = {self._inverter[RATE]} %, {FROM_GRID} = {self._inverter[FROM_GRID]}, {SLOT} = {self._inverter[SLOT]}"

    def _until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Whether it came true in time."""
        until = min(time.monotonic() + seconds, self._deadline)
        while not condition():
            self._appliance.check()
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
        return True


def _ends(write: Write) -> bool:
    """Whether a write takes the slot out of force."""
    at = SLOT - write.address
    return 0 <= at < len(write.words) and write.words[at] == 0
