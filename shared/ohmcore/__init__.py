"""The core that node and gateway share: MODBUS frames, register kinds, and the wire between them.

Pure: no I/O, no clock, no threads; the same files run on CPython (3.11 or newer) and MicroPython (1.22 or newer).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:

    def const(value: int) -> int: ...

else:
    try:
        from micropython import const  # its compiler puts the value in place of the name; a name that begins with _ vanishes
    except ImportError:

        def const(value):
            return value
