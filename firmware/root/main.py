"""Starts one of the images on the flash. Lies in its root, as `main.py`, and is never changed by an update: keep it small and plain.

The folders `a` and `b` beside it take turns with the updates; `safe` is the image that was flashed and is never written again. The file
`boot` of the state directory says `<slot> <previous slot> <tries> <1 if it is confirmed>`. An image that nothing has confirmed yet has
three starts; then the previous one has three, and then `safe` runs. An image confirms itself (`ohmnode/slots.py`).
What an image has to have: a module `main` that runs it when it is imported.
"""

import os
import sys

SLOTS = ("a", "b", "safe")
TRIES = 3
RESTART = 85  # the exit code that asks whoever started this to start it again


def read(file: str) -> "tuple[str, str, int, bool]":
    """What the file `boot` says; without it, or where it makes no sense, the image of the first day, which nothing has confirmed."""
    try:
        with open(file) as boot:
            slot, previous, tries, confirmed = boot.read().split()
        if slot in SLOTS and previous in SLOTS:
            return slot, previous, int(tries), confirmed == "1"
    except (OSError, ValueError):
        pass
    return "a", "safe", 0, False


def write(file: str, slot: str, previous: str, tries: int, confirmed: bool) -> None:
    """Whole or not at all."""
    with open(file + ".tmp", "w") as boot:
        boot.write(f"{slot} {previous} {tries} {int(confirmed)}")
    os.rename(file + ".tmp", file)


def choose(file: str) -> str:
    """The slot to start. One that is not confirmed has its try counted before it runs."""
    slot, previous, tries, confirmed = read(file)
    if confirmed or slot == "safe":
        return slot
    if tries >= TRIES:
        slot, previous, tries = previous, "safe", 0
    write(file, slot, previous, tries + (slot != "safe"), False)
    return slot


def failed(file: str) -> None:
    """The image raised an exception: from now on its starts are counted, also if it was confirmed once."""
    slot, previous, _, confirmed = read(file)
    if confirmed:
        write(file, slot, previous, 1, False)


if __name__ == "__main__":
    board = sys.platform == "esp32"
    root = "" if board else sys.argv[0].rpartition("/")[0] or "."
    boot = ("/state" if board else sys.argv[1]) + "/boot"
    try:
        SLOT = choose(boot)
    except OSError as full:  # a flash that takes nothing is no reason to stand still
        print("boot:", full)
        SLOT = read(boot)[0]
    sys.path[:] = [f"{root}/{SLOT}", ".frozen"]
    try:
        import main  # noqa: F401 - that is its whole purpose
    except Exception as failure:  # noqa: BLE001 - whatever it was: the next start has to be this one's or the previous image's
        sys.print_exception(failure)
        try:
            failed(boot)
        except OSError as full:
            print("boot:", full)
    if board:
        import time

        import machine

        time.sleep(1)
        machine.reset()
    sys.exit(RESTART)
