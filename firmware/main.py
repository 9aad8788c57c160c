"""The node. On an ESP32 it starts by itself; elsewhere: `micropython firmware/main.py <state directory>`.

Elsewhere MICROPYPATH has to name `firmware`, `shared` and the folder that holds `umqtt`. On a flash with several images it is
`root/main.py` that is started, and that imports this one.
"""

import gc
import sys

gc.threshold(4096)  # loading code leaves garbage between what stays: collected often, it leaves no holes. `start` ends it
if ".frozen" not in sys.path:
    sys.path.append(".frozen")  # asyncio lives there; setting MICROPYPATH takes it off the path

from asyncio import core  # type: ignore[attr-defined] # noqa: E402 - the stub lacks it; after the threshold: loading is what it is for

# What runs the tasks is all in asyncio's core. The package around it and what nobody here calls is let go: 1.7 kB.
for name in ("TimeoutError", "_stop_task", "_stopper", "current_task", "get_event_loop", "new_event_loop", "sleep"):
    if hasattr(core, name):
        delattr(core, name)
sys.modules["asyncio"] = core.core = core.Loop = core
core.call_exception_handler = lambda context: sys.print_exception(context["exception"])

from ohmnode import start  # noqa: E402 - as above

if sys.platform == "esp32":
    from hal.esp32 import Esp32Hal

    core.run(start.run(Esp32Hal()))
elif len(sys.argv) == 2:
    from hal.unix import UnixHal

    sys.exit(core.run(start.run(UnixHal(sys.argv[1]))))
else:
    print("usage: micropython firmware/main.py <state directory>")
    sys.exit(64)
