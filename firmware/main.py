"""The node. On an ESP32 it starts by itself; elsewhere: `micropython firmware/main.py <state directory>`.

Elsewhere MICROPYPATH has to name `firmware`, `shared` and the folder that holds `umqtt`. On a flash with several images it is
`root/main.py` that is started, and that imports this one.
"""

import sys

if ".frozen" not in sys.path:
    sys.path.append(".frozen")  # asyncio lives there; setting MICROPYPATH takes it off the path

import asyncio

from ohmnode import start

if sys.platform == "esp32":
    from hal.esp32 import Esp32Hal

    asyncio.run(start.run(Esp32Hal()))
elif len(sys.argv) == 2:
    from hal.unix import UnixHal

    sys.exit(asyncio.run(start.run(UnixHal(sys.argv[1]))))
else:
    print("usage: micropython firmware/main.py <state directory>")
    sys.exit(64)
