"""The images on the flash, as `root/main.py` starts them: which one runs, and its word in the file `boot`."""

from ohmcore import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from hal import Hal

BOOT = "boot"
SAFE = "safe"


def running() -> str:
    """`a`, `b` or `safe`; empty when the node was not started out of a slot, as from a checkout."""
    return str(getattr(__import__("__main__"), "SLOT", ""))


def read(hal: "Hal") -> "tuple[str, str, int, bool]":
    """(slot, previous slot, tries, confirmed)."""
    slot, previous, tries, confirmed = str(hal.read(BOOT) or b"a safe 0 0", "utf-8").split()
    return slot, previous, int(tries), confirmed == "1"


def write(hal: "Hal", slot: str, previous: str, tries: int, confirmed: bool) -> None:
    hal.write(BOOT, f"{slot} {previous} {tries} {int(confirmed)}".encode())
