"""What the guard has to know after a power cut: the latch, the leases that were alive, what was set, what was spent of the budgets.

`control.state` is 8 bytes of the SHA-256 of the rest, and the rest: `[1, cause, [[device, control, kept, hours or nil]…]]`.
`kept` is that of `writes.Control`.
"""

from hashlib import sha256

from ohmcore import const
from ohmcore.errors import PackError
from ohmcore.pack import unpack

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from hal import Hal
    from ohmnode.outbox import Outbox
    from ohmnode.writes import Control

_FILE = "control.state"
_DIGEST = const(8)
_DEPTH = const(3)
_ITEMS = const(400)
_MOST = const(2048)


def load(hal: "Hal", controls: "list[Control]") -> str:
    """Gives the controls what the file says of them; returns the cause of the latch. No file: a node that has not written anything yet."""
    try:
        raw = hal.read(_FILE)
        if raw is None:
            return ""
        if sha256(raw[_DIGEST:]).digest()[:_DIGEST] != raw[:_DIGEST]:
            raise ValueError
        content: "Any" = unpack(raw[_DIGEST:], _DEPTH, _ITEMS, _MOST)
        _, cause, entries = content
        for device, name, kept, hours in entries:
            for control in controls:
                if control.name == name and control.device.name == device:
                    control.kept = int(kept)
                    if hours and control.most:
                        control.spend(0).hours[: len(hours)] = hours
        return str(cause)
    except (OSError, PackError, TypeError, ValueError):
        for control in controls:  # whatever it said: nothing is owned, and nothing may be spent for a day
            control.kept = 1
            if control.most:
                control.spend(255)
        return "damaged state"


def save(hal: "Hal", outbox: "Outbox", cause: str, controls: "list[Control]") -> bool:
    """Whole or not at all. False: it could not be kept."""
    entries: "list[Any]" = []
    for control in controls:
        hours = None
        if control.budget is not None and control.left() < control.most:
            hours = bytes(control.budget.hours)
        if control.kept or hours:
            entries.append([control.device.name, control.name, int(control.kept), hours])
    packer = outbox.packer
    try:
        packer.reset()
        packer.value((1, cause, entries))
        body = packer.message()
        hal.write(_FILE, sha256(body).digest()[:_DIGEST] + body)
    except (OSError, PackError) as failure:
        outbox.log("guard", f"cannot keep {_FILE}: {failure}")
        return False
    return True
