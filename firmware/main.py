"""The node. On an ESP32 it starts by itself; elsewhere: `micropython firmware/main.py <state directory>`.

Elsewhere MICROPYPATH has to name `firmware`, `shared` and the folder that holds `umqtt`.
"""

import sys

if ".frozen" not in sys.path:
    sys.path.append(".frozen")  # asyncio lives there; setting MICROPYPATH takes it off the path

import asyncio

from ohmnode import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hal import Hal


def hal() -> "Hal":
    """Of the machine this runs on."""
    if sys.platform == "esp32":
        from hal.esp32 import Esp32Hal

        return Esp32Hal()
    from hal.unix import UnixHal

    if len(sys.argv) != 2:
        print("usage: micropython firmware/main.py <state directory>")
        sys.exit(64)
    return UnixHal(sys.argv[1])


if __name__ == "__main__":
    sys.exit(asyncio.run(start.run(hal())))
