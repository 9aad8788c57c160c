"""Starts one of the images on the flash. Lies in its root, as `main.py`, and is never changed by an update: keep it small and plain.

What an image has to have: a module `main` that runs it when it is imported. Which image it is says `starter.py`, which is in memory only
before that and after an image has failed.
"""

import sys

RESTART = 85  # the exit code that asks whoever started this to start it again

board = sys.platform == "esp32"
root = "" if board else sys.argv[0].rpartition("/")[0] or "."
boot = ("/state" if board else sys.argv[1]) + "/boot"
sys.path[:] = [root, ".frozen"]
SLOT = __import__("starter").choose(boot)
sys.modules.pop("starter").__dict__.clear()
sys.path[0] = f"{root}/{SLOT}"
if board:
    import machine

    machine.WDT(timeout=120000)  # an image that hangs before it has its own is another one that failed
try:
    import main  # noqa: F401 - that is its whole purpose
except Exception as failure:  # noqa: BLE001 - whatever it was: the next start has to be this one's or the previous image's
    sys.print_exception(failure)
    sys.path[0] = root
    sys.modules.clear()  # it may have been for want of memory
    __import__("starter").failed(boot)
if board:
    import time

    time.sleep(1)
    machine.reset()
sys.exit(RESTART)
