"""Which of the images on the flash starts. Lies in its root beside `main.py`, and is never changed by an update: keep it small and plain.

The folders `a` and `b` beside it take turns with the updates; `safe` is the image that was flashed and is never written again. The file
`boot` of the state directory says `<slot> <previous slot> <tries> <1 if it is confirmed>`. An image that nothing has confirmed yet has
three starts; then the previous one has three, and then `safe` runs until the next start. From there on it is three of the last one and
one of `safe`: that it was the power that ended its starts, and not the image, is never out of the question. `safe` does not restart by
itself, so there is time to send it an update. An image confirms itself (`ohmnode/slots.py`).
"""

import os

SLOTS = ("a", "b", "safe")
TRIES = 3


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
    chosen = slot
    if tries >= TRIES:
        chosen = previous
        tries = 0
        if previous != "safe":
            slot, previous = previous, "safe"
    try:
        write(file, slot, previous, tries + (chosen == slot), False)
    except OSError as full:  # a flash that takes nothing is no reason to stand still
        print("boot:", full)
    return chosen


def failed(file: str) -> None:
    """The image raised an exception: from now on its starts are counted, also if it was confirmed once."""
    slot, previous, _, confirmed = read(file)
    if confirmed:
        try:
            write(file, slot, previous, 1, False)
        except OSError as full:
            print("boot:", full)
